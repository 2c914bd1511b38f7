"""Errors on photos of faces by how they are turned and by the tone of their skin, from labels and pixels alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from anymark.canonical.posed import yaw_deg
from anymark.evaluate.metrics import mean_error, quantile
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import YAWS_DEG
from anymark.evaluate.score import Scores

Array = npt.NDArray[np.float64]

CHEEKS = (50, 101, 118, 280, 330, 347)
"""Points of the face mesh on the cheeks, bare in most photos."""

TONES: Mapping[str, float] = {"very light": 55, "light": 41, "intermediate": 28, "tan": 10, "brown": -30, "dark": -90}
"""Class of skin -> the least individual typology angle of it, degrees (Chardon et al. 1991; Del Bino et al. 2006)."""

GREY = "grey photo"

_PATCH = 0.03  # half a side of a patch of cheek, of the box's longer side
_LEAST_CHROMA = 3.0  # of CIELAB; skin has 10 and more, grey photos none


def by_yaw(scores: Scores) -> Detail:
    """NME by which way the face is turned, as its labels with depth say."""
    low, high = YAWS_DEG
    names = [f"yaw 0-{low:g}", f"yaw {low:g}-{high:g}", f"yaw {high:g}-90"]
    yaw = np.array([abs(yaw_deg(face.truth["xyz_px"])) for face in scores.benchmark.faces])
    return _grouped("by yaw, as labelled", scores, [names[i] for i in np.searchsorted(YAWS_DEG, yaw)], names)


def by_tone(scores: Scores) -> Detail:
    """NME by the tone of the skin as the photo shows it: whatever light and camera made of it, too."""
    tones = [tone(skin_lab(face.load(), face.points_px)) for face in scores.benchmark.faces]
    return _grouped("by skin tone, as photographed (ITA)", scores, tones, [*TONES, GREY])


def _grouped(title: str, scores: Scores, groups: Sequence[str], names: Sequence[str]) -> Detail:
    rows: dict[str, dict[str, float]] = {}
    for name in names:
        nme = scores.nme[[i for i, group in enumerate(groups) if group == name]]
        if len(nme):
            missed = int(np.isinf(nme).sum())
            rows[name] = {"n": len(nme), "missed": missed, "NME": mean_error(nme), "P50": quantile(nme, 0.5)}
    return Detail(title, rows, percent=True)


def skin_lab(pixels: npt.NDArray[np.uint8], points_px: Array) -> Array:
    """(3,) median CIELAB colour (D65) of the cheeks of a face, (468, 2) points, in sRGB pixels (H, W, 3); NaN where the
    photo does not show them."""
    side = _PATCH * float(np.ptp(points_px, axis=0).max())
    low, high = (np.rint(points_px[list(CHEEKS)] + sign * side).astype(int) for sign in (-1, 1))
    patches = [
        pixels[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1].reshape(-1, 3)
        for (x0, y0), (x1, y1) in zip(low, high, strict=True)
        if x1 >= 0 and y1 >= 0
    ]
    skin = np.concatenate(patches) if patches else np.zeros((0, 3), np.uint8)
    return lab(np.median(skin, axis=0)) if len(skin) else np.full(3, np.nan)


def lab(srgb: npt.ArrayLike) -> Array:
    """(..., 3) sRGB in 0..255 -> CIELAB under D65 (IEC 61966-2-1; CIE 15)."""
    value = np.asarray(srgb, np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ_OF_RGB.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


_XYZ_OF_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _XYZ_OF_RGB.sum(1)


def tone(colour: Array) -> str:
    """The class of a skin's CIELAB colour (3,) by its individual typology angle, atan((L - 50) / b)."""
    lightness, a, b = colour
    if not np.hypot(a, b) >= _LEAST_CHROMA:
        return GREY
    angle = np.degrees(np.arctan2(lightness - 50, max(b, 1e-6)))
    return next(name for name, least in TONES.items() if angle > least or least == -90)
