"""Surfaces drawn as they would look: shaded, from any side, alone or over a photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.apps.head_pixels import MOST_SAMPLES
from anymark.canonical.meshes import vertex_normals
from anymark.detect.raster import rasterise
from anymark.errors import AnymarkError

Floats = npt.NDArray[np.float32]

_LIGHT = np.array([-0.3, -0.5, -0.8])  # where it comes from, in the camera's frame: above, from the left, from behind
_AMBIENT = 0.35


@dataclass(frozen=True, eq=False)
class Drawn:
    """A surface in a box of a picture."""

    box_px: tuple[int, int, int, int]
    """x0, y0, x1, y1: the first column and row, and the first ones beyond."""
    rgba: Floats
    """(h, w, 4) 0..1, multiplied by alpha."""


def shaded(
    camera_mm: npt.NDArray[np.floating],
    triangles: npt.NDArray[np.integer],
    xy_px: npt.NDArray[np.floating],
    size: tuple[int, int],
    colours: npt.NDArray[np.floating],
    factor: int = 2,
) -> Drawn:
    """A surface, smooth and matt.

    Args:
        camera_mm: (V, 3) its vertices in the camera's frame.
        triangles: (T, 3) counter-clockwise seen from outside; what faces away is not drawn.
        xy_px: (V, 2) where they are in the picture.
        size: (width, height) of the picture.
        colours: (T, 3) of each triangle, 0..1.
        factor: Places that each pixel is looked at in, along a side.

    Raises:
        AnymarkError: it is too large to be drawn.
    """
    xy = np.asarray(xy_px, np.float64)
    low, high = (np.clip(edge, 0, size).astype(int) for edge in (np.floor(xy.min(0)), np.ceil(xy.max(0))))
    width, height = (int(length) for length in np.maximum(high - low, 0))
    if width * height * factor**2 > MOST_SAMPLES:
        raise AnymarkError(f"a surface of {width} x {height} pixels is too large to draw")
    raster = rasterise((xy - low) * factor, camera_mm[:, 2], triangles, (width * factor, height * factor))
    normals = vertex_normals(camera_mm, triangles)
    light = _AMBIENT + (1 - _AMBIENT) * np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    bright = raster.of_vertices(light, triangles)
    shown = raster.triangle >= 0
    out = np.zeros((*shown.shape, 4), np.float32)
    out[shown, :3] = colours[raster.triangle[shown]] * bright[shown, None]
    out[shown, 3] = 1
    x0, y0 = low.tolist()
    rgba = out.reshape(height, factor, width, factor, 4).mean((1, 3))
    return Drawn((x0, y0, x0 + width, y0 + height), rgba)


def over(photo: npt.NDArray[np.uint8], drawn: Drawn, opacity: float = 1.0) -> npt.NDArray[np.uint8]:
    """(H, W, 3) what was drawn over a photo."""
    x0, y0, x1, y1 = drawn.box_px
    out = photo.copy()
    under, rgba = photo[y0:y1, x0:x1], opacity * drawn.rgba
    out[y0:y1, x0:x1] = np.rint(under * (1 - rgba[..., 3:]) + 255 * rgba[..., :3]).astype(np.uint8)
    return out
