"""Heads in 3D from calibrated photos: dense maps say which pixels show the same point, cameras say where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.correspond import FAR_MM, Finder, head_pixels
from anymark.apps.pixels import sampled
from anymark.detect.camera import Camera
from anymark.detect.dense import DenseMap
from anymark.errors import AnymarkError
from anymark.files import atomic

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

LEAST_MATCHES = 3
"""Points that a cloud is made of, at least."""

AWAY_PX = 3.0
"""How far from its pixel a point may lie in a view that is believed."""

_COLOURS = ("red", "green", "blue")
_LEAST_TURN_DEG = 0.5  # between two rays that say how far away a point is
_ROUNDS = 4  # of Gauss-Newton


@dataclass(frozen=True, eq=False)
class Cloud:
    """N points of a head in 3D."""

    points_mm: Array
    """(N, 3) the frame that the cameras share."""
    colours: npt.NDArray[np.uint8]
    """(N, 3) RGB."""
    canonical_mm: Floats
    """(N, 3) which points of the canonical head they are."""
    residual_px: Array
    """(N,) mean distance to where the views that are believed have them."""
    views: npt.NDArray[np.intp]
    """(N,) how many these are."""

    def __len__(self) -> int:
        return len(self.points_mm)

    def save(self, path: Path | str) -> None:
        """A .ply file, binary: x, y, z, colours, and residual_px; complete or not at all.

        Raises:
            AnymarkError: another suffix, or it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".ply":
            raise AnymarkError(f"{path}: a cloud's file must end in .ply")
        kind = {**dict.fromkeys("xyz", "<f4"), **dict.fromkeys(_COLOURS, "u1"), "residual_px": "<f4"}
        rows = np.empty(len(self), list(kind.items()))
        for i, axis in enumerate("xyz"):
            rows[axis] = self.points_mm[:, i]
        for i, colour in enumerate(_COLOURS):
            rows[colour] = self.colours[:, i]
        rows["residual_px"] = self.residual_px
        names = {"<f4": "float", "u1": "uchar"}
        header = [
            "ply",
            "format binary_little_endian 1.0",
            "comment anymark: millimetres",
            f"element vertex {len(rows)}",
        ]
        header += [f"property {names[code]} {name}" for name, code in kind.items()]
        with atomic(path, "wb") as file:
            file.write(("\n".join([*header, "end_header"]) + "\n").encode())
            file.write(rows.tobytes())


def reconstruct(
    maps: Sequence[DenseMap],
    cameras: Sequence[Camera],
    photos: Sequence[npt.NDArray[np.uint8]],
    *,
    step: int = 1,
    away_px: float = AWAY_PX,
) -> Cloud:
    """Points of a head that two views or more agree about.

    Each pixel of a map is looked for in the others; of the views that have it, every pair says where it is in 3D, and
    the place that most views agree with, to `away_px`, is kept and made better by all of them.

    Args:
        maps: of V >= 2 photos of one head, taken at one time.
        cameras: of each photo; R_camera_head and t_camera_head_mm are those of the frame that they share.
        photos: (H, W, 3) each.
        step: every so-manieth pixel of the maps, along each axis.

    Raises:
        AnymarkError: fewer than two views or other counts of cameras and photos, a map that shows no head, views from
            one place, or fewer than `LEAST_MATCHES` points.
    """
    count = len(maps)
    if count < 2 or not len(cameras) == len(photos) == count:
        raise AnymarkError(f"stereo: {count} maps, {len(cameras)} cameras, {len(photos)} photos; at least 2 of each")
    centres = np.stack([-c.R_camera_head.T @ c.t_camera_head_mm for c in cameras])
    if np.linalg.norm(centres - centres[0], axis=1).max() < 1e-6:
        raise AnymarkError("stereo: all cameras stand in one place: nothing says how far away the head is")
    finders = [Finder(each) for each in maps]
    clouds = [_from(i, maps, finders, cameras, photos, step, away_px) for i in range(count)]
    cloud = Cloud(*(np.concatenate([getattr(c, k) for c in clouds]) for k in Cloud.__dataclass_fields__))
    if len(cloud) < LEAST_MATCHES:
        raise AnymarkError(
            f"stereo: {len(cloud)} points that two views agree about; at least {LEAST_MATCHES} are needed "
            "(are these one head, and its cameras?)"
        )
    return cloud


def _from(
    first: int,
    maps: Sequence[DenseMap],
    finders: Sequence[Finder],
    cameras: Sequence[Camera],
    photos: Sequence[npt.NDArray[np.uint8]],
    step: int,
    away_px: float,
) -> Cloud:
    """The points that one view's pixels show."""
    own = maps[first]
    some = head_pixels(own, step)
    canonical = own.points_mm.reshape(-1, 3)[some]
    xy = np.full((len(maps), len(some), 2), np.nan)
    xy[first] = own.pixels_px.reshape(-1, 2)[some]
    for i, finder in enumerate(finders):
        if i != first:
            found = finder(canonical)
            near = found.near(FAR_MM)
            xy[i, near] = found.xy_px[near]
    points, inside = agreed(xy, cameras, away_px)
    keep = inside[first] & (inside.sum(0) >= 2)
    points, inside, xy = points[keep], inside[:, keep], xy[:, keep]
    away = np.stack([np.linalg.norm(c.project(points) - at, axis=1) for c, at in zip(cameras, xy, strict=True)])
    views = inside.sum(0)
    residual = np.where(inside, away, 0).sum(0) / np.maximum(views, 1)
    colours = np.rint(sampled(photos[first].astype(np.float32), xy[first])).astype(np.uint8)
    return Cloud(points, colours, canonical[keep], residual, views)


def agreed(xy_px: Array, cameras: Sequence[Camera], away_px: float = AWAY_PX) -> tuple[Array, Bools]:
    """RANSAC of every pair of views, for many points at once.

    Args:
        xy_px: (V, N, 2) pixels; NaN where a view does not have a point.

    Returns:
        (N, 3) points, and (V, N) which views agree with each; none where no pair can tell.
    """
    views, count = xy_px.shape[:2]
    best, inside = np.zeros((count, 3)), np.zeros((views, count), bool)
    error = np.full(count, np.inf)
    for i, j in combinations(range(views), 2):
        pair = np.zeros((views, count), bool)
        pair[[i, j]] = True
        pair &= np.isfinite(xy_px).all(-1)
        points, fine = triangulate(xy_px, cameras, pair)
        away = _away(points, xy_px, cameras)
        agrees = (away < away_px) & fine
        total = np.where(agrees, away, 0).sum(0)
        more = agrees.sum(0) - total / (away_px * views)  # of as many views, those that are nearer
        better = (agrees.sum(0) >= 2) & (-more < error)
        best[better], inside[:, better], error[better] = points[better], agrees[:, better], -more[better]
    some = np.flatnonzero(inside.sum(0) >= 2)
    if len(some):
        best[some] = _polished(best[some], xy_px[:, some], cameras, inside[:, some])
        inside[:, some] &= _away(best[some], xy_px[:, some], cameras) < away_px
    return best, inside


def triangulate(xy_px: Array, cameras: Sequence[Camera], which: Bools) -> tuple[Array, Bools]:
    """The points (N, 3) nearest to the rays through pixels (V, N, 2) of the views (V, N) that count, and (N,) where
    these tell: at least two, that are not parallel, with the point before them."""
    matrix, right = np.zeros((xy_px.shape[1], 3, 3)), np.zeros((xy_px.shape[1], 3))
    for xy, camera, counts in zip(xy_px, cameras, which, strict=True):
        ahead = np.column_stack([(np.nan_to_num(xy) - camera.principal_px) / camera.focal_px, np.ones(len(xy))])
        ray = ahead @ camera.R_camera_head
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        across = (np.eye(3) - ray[:, :, None] * ray[:, None, :]) * counts[:, None, None]
        matrix += across
        right += across @ (-camera.R_camera_head.T @ camera.t_camera_head_mm)
    least = np.linalg.eigvalsh(matrix)[:, 0]
    fine = (which.sum(0) >= 2) & (least > np.sin(np.radians(_LEAST_TURN_DEG)) ** 2 / 2)
    matrix[~fine] = np.eye(3)
    points = np.linalg.solve(matrix, right[..., None])[..., 0]
    for camera, counts in zip(cameras, which, strict=True):
        fine &= (camera.in_camera_mm(points)[:, 2] > 0) | ~counts
    return np.asarray(points, np.float64), fine


def _polished(points: Array, xy_px: Array, cameras: Sequence[Camera], inside: Bools) -> Array:
    """The same points where the squared distances in the pictures are least."""
    for _ in range(_ROUNDS):
        normal, pull = np.tile(1e-9 * np.eye(3), (len(points), 1, 1)), np.zeros((len(points), 3))
        for xy, camera, counts in zip(xy_px, cameras, inside, strict=True):
            seen = camera.in_camera_mm(points)
            z = np.maximum(seen[:, 2], 1e-6)
            away = np.where(counts[:, None], camera.project(points) - xy, 0)
            rows = np.zeros((len(points), 2, 3))
            rows[:, 0, 0] = rows[:, 1, 1] = camera.focal_px / z
            rows[:, :, 2] = -camera.focal_px * seen[:, :2] / z[:, None] ** 2
            jacobian = (rows @ camera.R_camera_head) * counts[:, None, None]
            normal += np.einsum("nki,nkj->nij", jacobian, jacobian)
            pull += np.einsum("nki,nk->ni", jacobian, away)
        points = points - np.linalg.solve(normal, pull[..., None])[..., 0]
    return points


def _away(points: Array, xy_px: Array, cameras: Sequence[Camera]) -> Array:
    """(V, N) pixels from where the views have points; infinite where one does not, or has it behind it."""
    out = np.full(xy_px.shape[:2], np.inf)
    for i, (xy, camera) in enumerate(zip(xy_px, cameras, strict=True)):
        ahead = (camera.in_camera_mm(points)[:, 2] > 0) & np.isfinite(xy).all(1)
        out[i, ahead] = np.linalg.norm(camera.project(points[ahead]) - xy[ahead], axis=1)
    return out
