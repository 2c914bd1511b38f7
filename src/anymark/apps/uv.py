"""Pictures in the head's texture coordinates: painted by artists, or taken from photos.

`CanonicalHead.uv` lies on square tiles side by side: face and ears, the back of the head, gums and tongue, teeth, the
left eye, the right eye. A picture shows the first of them, or the first few from left to right: it is as tall as a tile
and so many times as wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anymark.canonical import CanonicalHead
from anymark.detect.image import open_picture
from anymark.detect.raster import Floats, Raster, rasterise
from anymark.errors import AnymarkError

TILES = 6
MODES = ("RGBA", "RGB", "LA", "L", "P", "PA", "1")
"""Of Pillow, that a picture may have."""

_LINE = (90, 90, 90, 255)


@dataclass(frozen=True, eq=False)
class UvPicture:
    """A picture of the first few tiles."""

    rgba: npt.NDArray[np.uint8]
    """(S, S * tiles, 4) not multiplied by alpha; the top row is v = 1."""

    @property
    def tiles(self) -> int:
        """How many tiles it shows."""
        return self.rgba.shape[1] // self.rgba.shape[0]

    @classmethod
    def load(cls, path: Path | str) -> UvPicture:
        """Read a picture; one without transparency is opaque everywhere.

        Raises:
            AnymarkError: it cannot be read, has another mode than `MODES`, or is not 1 to 6 times as wide as tall.
        """
        image = open_picture(path)
        if image.mode not in MODES:
            raise AnymarkError(f"{path}: a picture of mode {image.mode}; {', '.join(MODES)} can be painted from")
        width, height = image.size
        if width % height or not 1 <= width // height <= TILES:
            said = f"{width} x {height}; a picture on the head is square, or 2 to {TILES} tiles wide"
            raise AnymarkError(f"{path}: {said}")
        return cls(np.asarray(image.convert("RGBA")))

    @cached_property
    def painted(self) -> npt.NDArray[np.intp]:
        """Ids of the head's triangles that something is painted on, and of some beside them."""
        size = len(self.rgba)
        total = np.pad(np.cumsum(np.cumsum(self.rgba[..., 3] > 0, 0), 1), ((1, 0), (1, 0)))
        corners = np.stack([CanonicalHead.load().uv[..., 0], 1 - CanonicalHead.load().uv[..., 1]], -1) * size
        limits = (size * self.tiles, size)
        x0, y0 = np.clip(np.floor(corners.min(1)) - 1, 0, limits).astype(int).T
        x1, y1 = np.clip(np.ceil(corners.max(1)) + 1, 0, limits).astype(int).T
        inside = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
        return np.flatnonzero(inside > 0)

    def nearest(self, raster: Raster) -> npt.NDArray[np.uint8]:
        """(H, W, 4) the texel that each place of a drawn head shows; 0 beside the head and beyond the tiles."""
        x, y, there = self._places(raster)
        size = len(self.rgba)
        texel = self.rgba[y.astype(np.intp).clip(0, size - 1), x.astype(np.intp).clip(0, self.rgba.shape[1] - 1)]
        return np.where(there[..., None], texel, np.uint8(0))

    def smooth(self, raster: Raster) -> Floats:
        """(H, W, 4) the colour between the texels, 0..1, multiplied by alpha; 0 beside the head and beyond the tiles.

        Where several texels fall into a place, they are averaged.
        """
        x, y, there = self._places(raster)
        rgba: Floats = self.rgba.astype(np.float32) / np.float32(255)
        rgba[..., :3] *= rgba[..., 3:]
        factor = max(1, int(_texels_a_place(x, y, there)))
        if factor > 1:
            rgba, x, y = _reduced(rgba, factor), x / factor, y / factor
        tall, wide = rgba.shape[:2]
        x, y = x - 0.5, y - 0.5
        column, row = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
        fx, fy = (x - column)[..., None].astype(np.float32), (y - row)[..., None].astype(np.float32)
        left, right = column.clip(0, wide - 1), (column + 1).clip(0, wide - 1)
        top, bottom = row.clip(0, tall - 1), (row + 1).clip(0, tall - 1)
        above = rgba[top, left] * (1 - fx) + rgba[top, right] * fx
        below = rgba[bottom, left] * (1 - fx) + rgba[bottom, right] * fx
        return np.where(there[..., None], above * (1 - fy) + below * fy, np.float32(0))

    def _places(self, raster: Raster) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """(H, W) x and y in texels of what each place shows, and where there is something."""
        uv = raster.of_corners(CanonicalHead.load().uv)
        size = len(self.rgba)
        there = (raster.triangle >= 0) & (uv[..., 0] < self.tiles)
        return uv[..., 0] * size, (1 - uv[..., 1]) * size, there


def unwrapped(size: int, tiles: int) -> Raster:
    """(size, size * tiles) which triangle of the head each texel lies on; nothing is hidden by anything."""
    head = CanonicalHead.load()
    corners = np.arange(3 * len(head.triangles)).reshape(-1, 3)
    xy = np.stack([head.uv[..., 0], 1 - head.uv[..., 1]], -1).reshape(-1, 2).astype(np.float64) * size
    # mirrored triangles run the other way round; all are to be seen
    a, b, c = np.moveaxis(xy[corners], 1, 0)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    turned = np.where(area[:, None] > 0, corners[:, [0, 2, 1]], corners)
    raster = rasterise(xy, np.ones(len(xy)), turned, (size * tiles, size))
    weights = raster.weights.copy()
    back = (raster.triangle >= 0) & (area[raster.triangle] > 0)
    weights[back] = weights[back][:, [0, 2, 1]]
    return Raster(raster.triangle, weights, raster.nearness)


def template(size: int, tiles: int = 1) -> Image.Image:
    """A picture to paint over, RGBA: the head's triangles, its regions in pale colours; transparent beside the head."""
    head = CanonicalHead.load()
    raster = unwrapped(size, tiles)
    region = np.zeros(len(head.triangles), np.int64)
    for i, ids in enumerate(head.regions.values()):
        region[ids] = i
    hue = (region * 0.618033988749895 % 1.0)[:, None]
    pale = 255 - np.rint(60 * np.clip(np.abs((hue * 6 + [0, 4, 2]) % 6 - 3) - 1, 0, 1))
    picture = np.zeros((size, size * tiles, 4), np.uint8)
    here = raster.triangle >= 0
    picture[here] = np.column_stack([pale[raster.triangle[here]], np.full(here.sum(), 255)])
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    corners = np.stack([head.uv[..., 0], 1 - head.uv[..., 1]], -1) * size - 0.5
    for corner in corners[corners[..., 0].max(1) < size * tiles]:
        pen.polygon([tuple(xy) for xy in corner.tolist()], outline=_LINE)
    return image


def _texels_a_place(x: Floats, y: Floats, there: npt.NDArray[np.bool_]) -> float:
    """How many texels apart neighbouring places are, in the median."""
    both = there[:, 1:] & there[:, :-1]
    if not both.any():
        return 1.0
    return float(np.median(np.hypot(np.diff(x, axis=1), np.diff(y, axis=1))[both]))


def _reduced(rgba: Floats, factor: int) -> Floats:
    """Means over squares of texels; those at the right and below may be smaller."""
    tall, wide = rgba.shape[:2]
    rows, columns = np.arange(0, tall, factor), np.arange(0, wide, factor)
    total = np.add.reduceat(np.add.reduceat(rgba, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, tall]), np.diff([*columns, wide]))
    return (total / counts[..., None]).astype(np.float32)
