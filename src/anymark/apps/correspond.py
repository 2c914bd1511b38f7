"""Correspondence through the canonical head: points found in dense maps, two maps matched, one head warped to another
(DenseMarks, figures 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.apps.pixels import sampled
from anymark.canonical.frame import CUBE_CENTRE_MM, CUBE_SIDE_MM, mm_to_uvw
from anymark.detect.dense import LEAST_HEAD, DenseMap
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

FAR_MM = 15.0
"""What has nothing nearer in a map is not in it."""

_AT_ONCE = 65_536  # points that a tree is asked for at once; bounds memory
_STEPS = 5  # of Gauss-Newton, from the nearest pixel
_FADE = 0.3, 0.7  # probabilities of the head between which what is warped appears
_FARTHEST = 1.5  # pixels of the map that these may lead away from it


@dataclass(frozen=True, eq=False)
class Found:
    """Where a map shows N canonical points."""

    xy_px: Array
    """(N, 2) pixels of the photo."""
    gap_mm: Array
    """(N,) how far what is there lies from the point asked for."""
    sigma_mm: Floats
    """(N,) how sure the map is there."""

    def near(self, most_mm: float = FAR_MM) -> Bools:
        """(N,) which points the map shows."""
        return self.gap_mm <= most_mm


class Finder:
    """Finds canonical points in a dense map: the inverse of it.

    Args:
        dense: the map.
        least_head: pixels that are less likely to show the head are left out.

    Raises:
        AnymarkError: the map shows no head.
    """

    def __init__(self, dense: DenseMap, least_head: float = LEAST_HEAD) -> None:
        self.dense = dense
        self._pixels = np.flatnonzero(dense.head.ravel() > least_head)
        if not len(self._pixels):
            raise AnymarkError("no head in the picture: no pixel of it is likely to show one")

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import KDTree

        return KDTree(self.dense.points_mm.reshape(-1, 3)[self._pixels])

    def __call__(self, points_mm: npt.ArrayLike, refine: bool = True) -> Found:
        """Where the map shows points (N, 3): at the nearest pixels, then between them.

        Args:
            refine: whether to look between the pixels.
        """
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        if len(points) > _AT_ONCE:
            parts = [self(points[i : i + _AT_ONCE], refine) for i in range(0, len(points), _AT_ONCE)]
            xy, gap, sigma = zip(*((part.xy_px, part.gap_mm, part.sigma_mm) for part in parts), strict=True)
            return Found(np.concatenate(xy), np.concatenate(gap), np.concatenate(sigma))
        nearest, gap = self.nearest(points)
        xy = self.dense.pixels_px.reshape(-1, 2)[nearest].astype(np.float64)
        if refine:
            xy, gap = descend(self.dense, points, xy, gap)
        return Found(xy, gap, self.dense.at(xy).sigma_mm)

    def nearest(self, points_mm: Array) -> tuple[npt.NDArray[np.int64], Array]:
        """(N,) the pixels of the map, row by row, that lie nearest to points (N, 3), and how near (N,)."""
        gap, index = self._tree.query(points_mm, workers=-1)
        return self._pixels[index], gap


def head_pixels(dense: DenseMap, step: int = 1) -> npt.NDArray[np.int64]:
    """The pixels of a map that show the head, row by row; every so-manieth along each axis."""
    grid = np.zeros(dense.head.shape, bool)
    grid[step // 2 :: step, step // 2 :: step] = True
    return np.flatnonzero(grid.ravel() & (dense.head.ravel() > LEAST_HEAD))


def descend(dense: DenseMap, points_mm: Array, xy_px: Array, gap_mm: Array) -> tuple[Array, Array]:
    """Gauss-Newton from pixels (N, 2) to where a map shows points (N, 3); steps that do not lead nearer are halved.

    Returns:
        the places (N, 2) and how far what is there lies from the points (N,).
    """
    start, best, gap = xy_px, xy_px.copy(), gap_mm.copy()
    share = np.ones((len(start), 1))
    for _ in range(_STEPS):
        jacobian = dense.gradient(best)
        away = dense.at(best).points_mm - points_mm
        normal = np.einsum("nki,nkj->nij", jacobian, jacobian) + 1e-6 * np.eye(2)
        step = -np.linalg.solve(normal, np.einsum("nki,nk->ni", jacobian, away)[..., None])[..., 0]
        trial = best + share * step
        reach = _FARTHEST * dense.pixel_px
        trial = start + np.clip(trial - start, -reach, reach)
        there = dense.at(trial)
        new_gap = np.linalg.norm(there.points_mm - points_mm, axis=1)
        better = (new_gap < gap) & (there.head > LEAST_HEAD)
        best[better], gap[better] = trial[better], new_gap[better]
        share = np.where(better[:, None], 1.0, share / 2)
    return best, gap


def reference_point(clicks: Sequence[tuple[DenseMap, npt.NDArray[np.floating] | Sequence[float]]]) -> Floats:
    """(3,) the canonical point that was clicked on a few references: the mean of what their maps have there.

    Args:
        clicks: maps, and a pixel (2,) of each one's photo.

    Raises:
        AnymarkError: there is none, or one is not on a head.
    """
    if not clicks:
        raise AnymarkError("no clicks given")
    found = []
    for i, (dense, xy) in enumerate(clicks):
        pixel = np.asarray(xy, np.float64)
        at = dense.at(pixel)
        if not at.head > LEAST_HEAD:
            raise AnymarkError(f"click {i}: {pixel.round(1).tolist()} is not on the head")
        found.append(at.points_mm)
    return np.mean(found, 0).astype(np.float32)


def in_cube(centre_mm: npt.NDArray[np.floating] | Sequence[float], radius_mm: float) -> bool:
    """Whether any of a ball lies in the unit cube, where canonical points are."""
    away = np.abs(np.asarray(centre_mm, np.float64) - CUBE_CENTRE_MM) - CUBE_SIDE_MM / 2
    return bool(np.linalg.norm(np.maximum(away, 0)) <= radius_mm)


def in_ball(
    points_mm: npt.NDArray[np.floating], centre_mm: npt.NDArray[np.floating] | Sequence[float], radius_mm: float
) -> Bools:
    """(...) which of the canonical points (..., 3) lie within a ball.

    Raises:
        AnymarkError: the radius is not above 0.
    """
    if not radius_mm > 0:
        raise AnymarkError(f"radius {radius_mm}: must be above 0")
    return np.linalg.norm(points_mm - np.asarray(centre_mm, np.float32), axis=-1) <= radius_mm


def in_volume(points_mm: npt.NDArray[np.floating], volume: Bools) -> Bools:
    """(...) which of the canonical points (..., 3) lie in a painted volume (N, N, N) of the unit cube, axes u, v, w.

    Raises:
        AnymarkError: the volume is no cube.
    """
    if volume.ndim != 3 or len(set(volume.shape)) != 1 or not len(volume):
        raise AnymarkError(f"volume: must be (N, N, N), not {volume.shape}")
    cell = np.clip((mm_to_uvw(points_mm) * len(volume)).astype(int), 0, len(volume) - 1)
    return volume[cell[..., 0], cell[..., 1], cell[..., 2]]


@dataclass(frozen=True, eq=False)
class Matches:
    """M pixels of one photo and those of another that show the same points of the head."""

    first_px: Array
    """(M, 2)"""
    second_px: Array
    """(M, 2)"""
    gap_mm: Array
    """(M,) how far apart the two maps have them on the head."""
    points_mm: Floats
    """(M, 3) canonical points, the mean of the two."""

    def __len__(self) -> int:
        return len(self.first_px)


def match(first: DenseMap, second: DenseMap, *, mutual: bool = True, most_mm: float = FAR_MM, step: int = 1) -> Matches:
    """Pixels of two maps that lie nearest to one another on the head.

    Args:
        mutual: only pixels that are each other's nearest, to a pixel of the map.
        most_mm: how far apart two may lie.
        step: every so-manieth pixel of the first map, along each axis.

    Raises:
        AnymarkError: one of the maps shows no head.
    """
    there, back = Finder(second), Finder(first)
    some = head_pixels(first, step)
    points = first.points_mm.reshape(-1, 3)[some].astype(np.float64)
    xy = first.pixels_px.reshape(-1, 2)[some].astype(np.float64)
    found = there(points)
    keep = found.near(most_mm)
    if mutual:
        returned = back(second.at(found.xy_px).points_mm)
        keep &= np.linalg.norm(returned.xy_px - xy, axis=1) <= 1.5 * first.pixel_px
    middle = (points + second.at(found.xy_px).points_mm) / 2
    return Matches(xy[keep], found.xy_px[keep], found.gap_mm[keep], middle[keep].astype(np.float32))


@dataclass(frozen=True, eq=False)
class Warp:
    """Where each pixel of one photo has its counterpart in another."""

    source_px: Floats
    """(H, W, 2) pixels of the source; NaN where there is none."""
    weight: Floats
    """(H, W) 0..1, how much of it is to be seen."""

    def apply(self, source: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The source's pixels (h, w, 3) on the head of the target (H, W, 3)."""
        there = self.weight > 0
        weight = self.weight[there][:, None]
        out = target.copy()
        taken = sampled(source.astype(np.float32), self.source_px[there])
        out[there] = np.rint(target[there] * (1 - weight) + taken * weight).astype(np.uint8)
        return out


def warp(source: DenseMap, target: DenseMap, *, most_mm: float = 2 * FAR_MM) -> Warp:
    """Where the head of the target's photo has its counterpart in the source's.

    Args:
        most_mm: what lies farther than this from anything in the source has none; half as far, it fades.

    Raises:
        AnymarkError: one of the maps shows no head.
    """
    finder = Finder(source)
    Finder(target)  # is there a head?
    points, head, _ = target.on_photo()
    on = head > _FADE[0]
    found = finder(points[on])
    source_px = np.full((*head.shape, 2), np.nan, np.float32)
    weight = np.zeros(head.shape, np.float32)
    source_px[on] = found.xy_px
    near = np.clip(2 - 2 * found.gap_mm / most_mm, 0, 1)
    weight[on] = near * np.clip((head[on] - _FADE[0]) / (_FADE[1] - _FADE[0]), 0, 1)
    return Warp(source_px, weight)
