"""Dense maps as files and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.arrays import open_arrays
from anymark.canonical.frame import CUBE_SIDE_MM, mm_to_uvw
from anymark.detect.dense import DenseMap
from anymark.detect.window import Crop
from anymark.files import atomic

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_SHOWN = 0.2, 0.8  # of the unit cube, from black to full colour
_LINE_MM = 20.0  # between the lines of the grid that is drawn
_LINE_SHARE = 0.08  # of that, how wide a line is
_OPACITY = 0.75


def save_maps(path: Path, maps: Sequence[DenseMap]) -> None:
    """An .npz of M maps, whole or not at all: points_mm (M, S, S, 3), head (M, S, S), sigma_mm (M, S, S), crop
    (M, 2, 3) and image_size_px (2,).

    Raises:
        AnymarkError: it cannot be written.
    """
    with atomic(path, "wb") as file:
        np.savez_compressed(
            file,
            points_mm=np.stack([each.points_mm for each in maps]),
            head=np.stack([each.head for each in maps]),
            sigma_mm=np.stack([each.sigma_mm for each in maps]),
            crop=np.stack([each.crop.affine for each in maps]),
            image_size_px=np.array(maps[0].image_size_px),
        )


def load_maps(path: Path) -> list[DenseMap]:
    """What `save_maps` wrote.

    Raises:
        AnymarkError: the file is missing, damaged or something else.
    """
    with open_arrays(path, "a file of dense maps") as data:
        width, height = (int(v) for v in data["image_size_px"])
        points, head, sigma, crops = (data[key] for key in ("points_mm", "head", "sigma_mm", "crop"))
        parts = zip(points, head, sigma, map(Crop, crops), strict=True)
        return [DenseMap(*part, (width, height)) for part in parts]


def rgba_of(maps: Sequence[DenseMap]) -> Floats:
    """(H, W, 4) of the photo: u, v, w, and how likely the head is there; the surest of the maps where they overlap."""
    width, height = maps[0].image_size_px
    out = np.zeros((height, width, 4), np.float32)
    for each in maps:
        points, head, _ = each.on_photo()
        surer = head > out[..., 3]
        out[surer] = np.concatenate([mm_to_uvw(points[surer]), head[surer, None]], -1)
    return out


def coloured(photo: Pixels, maps: Sequence[DenseMap]) -> Pixels:
    """(H, W, 3) the maps as colours over a photo, with lines every 20 mm of the canonical head."""
    rgba = rgba_of(maps)
    low, high = _SHOWN
    colours = np.clip((rgba[..., :3] - low) / (high - low), 0, 1)
    cells = rgba[..., :3] * (CUBE_SIDE_MM / _LINE_MM)
    line = (np.abs(cells - np.rint(cells)) < _LINE_SHARE / 2).any(-1)
    colours[line] *= 0.6
    weight = _OPACITY * rgba[..., 3:]
    return np.rint(photo * (1 - weight) + 255 * colours * weight).astype(np.uint8)
