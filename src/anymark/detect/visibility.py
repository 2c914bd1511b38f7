"""Which points of a head its own surface hides: a z-buffer of the predicted mesh, and the way its skin faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from anymark.canonical.head import SKIN, CanonicalHead
from anymark.detect.camera import Camera
from anymark.detect.raster import NEAREST, covered

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.intp]

CELLS = 128
"""Cells of the z-buffer along the longer side of the head, shoulders and all: one is about 3 mm wide."""

ON_SURFACE_MM = 3.0
"""Canonical points this near to the surface are taken for points of it; others are hidden by whatever is nearer."""

RIMS = ("upper lip", "lower lip", "right eyelids", "left eyelids")
"""Regions that curl inwards: a landmark on a lip's or a lid's rim counts as seen although it lies a little behind the
rest of it and faces down or up. They are only hidden by what is `_RIM_MM` nearer."""

_NEARER_MM, _RIM_MM, _NEARER_SOFT_MM = 3.0, 9.0, 0.6  # hidden by half by what is so much nearer; how gradually
_FACING, _FACING_SOFT = -0.1, 0.05  # the same for the cosine between the normal and the way to the camera
_INNER = -0.85  # what faces backwards by more than this cosine, on the canonical head, is a lip's back and no rim
_MOST_CELLS = 1000  # in a triangle's box; those of what is no head may be larger, and would fill the memory
_POINTS_AT_ONCE = 1024  # bounds memory


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface of one head before its camera.

    What it hides is worked out when it is first asked for, a few milliseconds, and kept for the heads asked last.
    """

    vertices_mm: Callable[[], Floats]
    """Gives (V, 3), the vertices of `CanonicalHead` as predicted for this head, head frame."""
    camera: Camera
    trust: float = 1.0
    """0..1, how surely a point that it hides is hidden: predicted heads are a little off."""

    def visible(self, canonical_mm: npt.NDArray[np.float32], xyz_mm: Floats) -> Array:
        """(N,) the probability that each point is not hidden by the head itself.

        Args:
            canonical_mm: (N, 3) points of the canonical head. Those on its surface are taken to this head's.
            xyz_mm: (N, 3) the same points on this head, head frame. It decides for those inside of the head.
        """
        relief, anchor = _relief(self), _anchor(canonical_mm.tobytes())
        carried = relief.vertices[anchor.vertex] + anchor.offset_mm @ self.camera.R_camera_head.T
        places = np.where(anchor.on_surface[:, None], carried, self.camera.in_camera_mm(xyz_mm))
        behind = places[:, 2] - relief.depth_at(places)
        free = _sigmoid((np.where(anchor.rim, _RIM_MM, _NEARER_MM) - behind) / _NEARER_SOFT_MM)
        normals = relief.normals[anchor.vertex]
        lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(places, axis=1)
        facing = -(normals * places).sum(1) / np.maximum(lengths, 1e-12)
        shown = np.where(anchor.skin, _sigmoid((facing - _FACING) / _FACING_SOFT), 1.0) * free
        return 1 - self.trust * (1 - shown)


@dataclass(frozen=True, eq=False)
class _Relief:
    """A head's vertices, normals and z-buffer in the camera frame."""

    vertices: Array
    """(V, 3) millimetres."""
    normals: Array
    """(V, 3) outwards, of any length."""
    nearness: npt.NDArray[np.float32]
    """(H, W) 1 / depth of the nearest surface in the middle of each cell; 0 where there is none, as all around."""
    low: Array
    """(2,) X / Z and Y / Z of the outer corner of the first cell."""
    cell: float
    """Side of a cell in the same unit."""

    def depth_at(self, points: Array) -> Array:
        """(N,) depth of the nearest surface on the rays of points (N, 3); infinite beside the head.

        It is that of the deepest of the four cells about each, so that slopes do not hide themselves.
        """
        at = (points[:, :2] / np.maximum(points[:, 2:], NEAREST) - self.low) / self.cell
        height, width = self.nearness.shape
        column, row = np.clip(np.rint(at), 1, (width - 1, height - 1)).astype(int).T
        four = [self.nearness[row + i, column + j] for i in (-1, 0) for j in (-1, 0)]
        with np.errstate(divide="ignore"):
            return 1 / np.min(four, axis=0).astype(np.float64)


@lru_cache(maxsize=4)  # for the heads asked last: who keeps many landmarks does not keep all of this
def _relief(surface: Surface) -> _Relief:
    vertices = surface.camera.in_camera_mm(surface.vertices_mm())
    nearness = 1 / np.maximum(vertices[:, 2], NEAREST)
    flat = vertices[:, :2] * nearness[:, None]
    low, high = flat.min(0), flat.max(0)
    cell = float((high - low).max()) / CELLS
    low = low - cell
    width, height = np.ceil((high - low) / cell).astype(int) + 1
    buffer = _z_buffer((flat - low) / cell, nearness, int(width), int(height))
    return _Relief(vertices, _normals(vertices), buffer, low, cell)


def _z_buffer(xy: Array, nearness: Array, width: int, height: int) -> npt.NDArray[np.float32]:
    """(H, W) the largest nearness, of the triangles that face the camera, in the middle of each cell.

    Args:
        xy: (V, 2) vertices in cells.
        nearness: (V,) 1 / depth, which is affine across a triangle.
    """
    near = nearness.astype(np.float32).take(_corners())
    buffer = np.zeros(height * width, np.float32)
    for drawn in covered(xy, _corners(), width, height, _MOST_CELLS):
        np.maximum.at(buffer, drawn.pixel, (near[:, drawn.triangle] * drawn.weights).sum(0))
    return buffer.reshape(height, width)


@dataclass(frozen=True, eq=False)
class _Anchor:
    """Where N points are on the canonical head."""

    vertex: Ids
    """(N,) the nearest one."""
    offset_mm: Array
    """(N, 3) from there to the point."""
    on_surface: npt.NDArray[np.bool_]
    """(N,) whether they lie on the surface."""
    rim: npt.NDArray[np.bool_]
    """(N,) whether they lie on one of `RIMS`,"""
    skin: npt.NDArray[np.bool_]
    """(N,) or on other skin, which is only seen from its outside."""


@lru_cache(maxsize=8)
def _anchor(points: bytes) -> _Anchor:
    """Points (N, 3) float32, as bytes."""
    points_mm = np.frombuffer(points, np.float32).reshape(-1, 3)
    head = CanonicalHead.load()
    vertices, squares = head.vertices_mm.astype(np.float64), (head.vertices_mm**2).sum(1)
    parts = [points_mm[i : i + _POINTS_AT_ONCE] for i in range(0, len(points_mm), _POINTS_AT_ONCE)]
    vertex = np.concatenate([(squares - 2 * part @ head.vertices_mm.T).argmin(1) for part in parts])
    offset = points_mm - vertices[vertex]
    normals = _normals(vertices)[vertex]
    lengths = np.linalg.norm(normals, axis=1)
    on_surface = np.abs((offset * normals).sum(1)) <= ON_SURFACE_MM * lengths
    rim = on_surface & np.isin(vertex, head.triangles[head.triangles_of(*RIMS)]) & (normals[:, 2] > _INNER * lengths)
    skin = on_surface & ~rim & np.isin(vertex, head.triangles[head.triangles_of(*SKIN)])
    return _Anchor(vertex, offset, on_surface, rim, skin)


def _normals(vertices: Array) -> Array:
    """(V, 3) normals of the head's vertices (V, 3), outwards; the larger their triangles, the longer."""
    a, b, c = np.moveaxis(vertices.T.take(_corners(), 1), 1, 0)
    (x, y, z), (u, v, w) = b - a, c - a
    order, first = _triangles_of_vertices()
    return np.add.reduceat(np.stack([y * w - z * v, z * u - x * w, x * v - y * u]).take(order, 1), first, axis=1).T


@cache
def _corners() -> Ids:
    """(3, T) vertex ids of the head's triangles."""
    return np.ascontiguousarray(CanonicalHead.load().triangles.T, np.intp)


@cache
def _triangles_of_vertices() -> tuple[Ids, Ids]:
    """The triangles of all vertices, one vertex's after another's, and where each one's begin."""
    corners = CanonicalHead.load().triangles.ravel()
    order = np.argsort(corners, kind="stable")
    return order // 3, np.searchsorted(corners[order], np.arange(corners.max() + 1))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
