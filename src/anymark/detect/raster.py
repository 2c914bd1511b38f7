"""Triangles drawn in numpy: which of the pixels, or of the cells of a z-buffer, each one covers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.intp]
Number = TypeVar("Number", bound=np.number[Any])

NEAREST = 1.0
"""No vertex is nearer to the camera: a millimetre."""

_FLAT = 1e-6  # triangles of less area, in pixels, are seen from the side
_AT_ONCE = 2_000_000  # pixels of triangles' boxes; bounds memory


class Fragments(NamedTuple):
    """P pairs of a pixel and a triangle that covers its middle."""

    triangle: Ids
    """(P,) index of the triangle."""
    pixel: Ids
    """(P,) row * width + column."""
    weights: Floats
    """(3, P) of the triangle's corners there, in the picture; they sum to 1."""


@dataclass(frozen=True, eq=False)
class Raster:
    """What is nearest in each pixel."""

    triangle: npt.NDArray[np.int32]
    """(H, W) index of the triangle, -1 where there is none."""
    weights: Floats
    """(H, W, 3) of its corners, in space; they sum to 1, and are 0 where there is none."""
    nearness: Floats
    """(H, W) 1 / depth, 0 where there is none."""

    def of_vertices(self, values: npt.NDArray[np.floating], triangles: npt.NDArray[np.integer]) -> Floats:
        """Values (V, ...) of vertices -> (H, W, ...) in between; 0 where there is no triangle.

        Args:
            triangles: (T, 3) as they were drawn.
        """
        return self.of_corners(np.asarray(values, np.float32)[triangles])

    def of_corners(self, values: npt.NDArray[np.floating]) -> Floats:
        """Values (T, 3, ...) of triangles' corners -> (H, W, ...) in between; 0 where there is no triangle."""
        out = np.zeros((*self.triangle.shape, *values.shape[2:]), np.float32)
        here = self.triangle >= 0
        out[here] = np.einsum("nk,nk...->n...", self.weights[here], values[self.triangle[here]].astype(np.float32))
        return out


def rasterise(
    xy_px: npt.NDArray[np.floating],
    depth: npt.NDArray[np.floating],
    triangles: npt.NDArray[np.integer],
    size: tuple[int, int],
) -> Raster:
    """Draw the triangles that face the camera; the nearest is on top.

    Args:
        xy_px: (V, 2) vertices; (0, 0) is the outer corner of the first pixel.
        depth: (V,) in any unit; what is nearer than `NEAREST`, or behind the camera, counts as so near.
        triangles: (T, 3) vertex ids, counter-clockwise seen from outside.
        size: (width, height) of the picture.
    """
    width, height = size
    corners = np.ascontiguousarray(triangles.T, np.intp)
    near = (1 / np.maximum(depth, NEAREST)).astype(np.float32).take(corners)
    nearest = np.zeros(width * height, np.float32)
    triangle = np.full(width * height, -1, np.int32)
    weights = np.zeros((width * height, 3), np.float32)
    for drawn in covered(np.asarray(xy_px), corners, width, height):
        near_here = near[:, drawn.triangle] * drawn.weights  # 1 / depth is affine in the picture
        nearness = near_here.sum(0)
        np.maximum.at(nearest, drawn.pixel, nearness)
        top = np.flatnonzero(nearness >= nearest[drawn.pixel])
        pixel = drawn.pixel[top]
        triangle[pixel] = drawn.triangle[top]
        weights[pixel] = (near_here[:, top] / nearness[top]).T
    shape = (height, width)
    return Raster(triangle.reshape(shape), weights.reshape(*shape, 3), nearest.reshape(shape))


def covered(
    xy: npt.NDArray[np.floating], corners: Ids, width: int, height: int, most: int | None = None
) -> Iterator[Fragments]:
    """The fragments of all triangles that face the camera, some at a time.

    Args:
        xy: (V, 2) vertices in pixels.
        corners: (3, T) their ids, counter-clockwise seen from outside; y is down.
        width: Of the picture; what lies beside it is left out.
        height: The same.
        most: Triangles whose upright box holds more pixels are left out.
    """
    xs, ys = (values.astype(np.float32).take(corners) for values in xy.T)
    area = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (ys[1] - ys[0]) * (xs[2] - xs[0])
    ids = np.flatnonzero(area < -_FLAT)
    (left, right), (top, bottom) = _between(xs.take(ids, 1), width), _between(ys.take(ids, 1), height)
    across, down = (np.maximum(end - start, 0) for start, end in ((left, right), (top, bottom)))
    pixels = across.astype(np.int64) * down
    some = np.flatnonzero((pixels > 0) & (pixels <= (most or width * height)))
    cuts = np.flatnonzero(np.diff(np.cumsum(pixels[some]) // _AT_ONCE)) + 1
    for part in np.split(some, cuts):
        if len(part):
            of = ids[part]
            yield _fragments(xs[:, of], ys[:, of], area[of], of, left[part], top[part], across[part], down[part], width)


def _fragments(
    xs: Floats,
    ys: Floats,
    area: Floats,
    ids: Ids,
    left: npt.NDArray[np.int32],
    top: npt.NDArray[np.int32],
    across: npt.NDArray[np.int32],
    down: npt.NDArray[np.int32],
    width: int,
) -> Fragments:
    """Of triangles with corners (3, t) and upright boxes."""
    (xa, xb, xc), (ya, yb, yc) = xs, ys
    pixels = across * down
    # the corners' weights are affine in the pixel: at the first one of the triangle's box, and a step right and down
    right_b, down_b = (yc - ya) / area, (xa - xc) / area
    right_c, down_c = (ya - yb) / area, (xb - xa) / area
    x, y = left.astype(np.float32) + 0.5 - xa, top.astype(np.float32) + 0.5 - ya
    first_b, first_c = x * right_b + y * down_b, x * right_c + y * down_c

    def each(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        return np.repeat(values, pixels)

    index = np.arange(int(pixels.sum()), dtype=np.int32) - each(np.cumsum(pixels, dtype=np.int32) - pixels)
    row = index // each(across)
    column = index - row * each(across)
    right, below = column.astype(np.float32), row.astype(np.float32)
    b = each(first_b) + right * each(right_b) + below * each(down_b)
    c = each(first_c) + right * each(right_c) + below * each(down_c)
    inside = np.flatnonzero((b >= 0) & (c >= 0) & (b + c <= 1))
    of = each(np.arange(len(ids)))[inside]
    pixel = (top[of].astype(np.intp) + row[inside]) * width + left[of] + column[inside]
    b, c = b[inside], c[inside]
    return Fragments(ids[of], pixel, np.stack([1 - b - c, b, c]))


def _between(corners: Floats, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """(T,) the first of `count` pixels whose middle lies between corners (3, T), and the first one beyond them, along
    an axis."""
    low, high = np.clip(corners.min(0), -1, count + 1), np.clip(corners.max(0), -1, count + 1)
    first, end = np.ceil(low - 0.5).astype(np.int32), np.floor(high + 0.5).astype(np.int32)
    return np.clip(first, 0, count), np.clip(end, 0, count)
