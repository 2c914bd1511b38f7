"""Layouts on heads that are posed: any canonical point follows the vertices of the triangle that it lies on."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.files import load_layout
from anymark.canonical.frame import FACING
from anymark.canonical.head import CanonicalHead, closest_on_surface
from anymark.canonical.skull import Skull


def points_on(vertices: npt.NDArray[np.floating], layout: str) -> npt.NDArray[np.floating]:
    """Where the layout's points are on the canonical head's vertices (..., V, D), in whatever these say: (..., N, D).

    Points off the surface are taken to its nearest point.

    Raises:
        AnymarkError: no such layout.
    """
    return _carried(vertices, *_on_head(layout))


def points_on_bones(bones_mm: npt.NDArray[np.floating], layout: str) -> npt.NDArray[np.floating]:
    """The same on the vertices (..., B, D) of `anymark.canonical.skull.Skull`.

    Raises:
        AnymarkError: no such layout.
    """
    return _carried(bones_mm, *_on_bones(layout))


def _carried(
    vertices: npt.NDArray[np.floating], corners: npt.NDArray[np.integer], weights: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    return np.einsum("nk,...nkd->...nd", weights.astype(vertices.dtype), vertices[..., corners, :])


@cache
def _on_bones(layout: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """(N, 3) vertex ids and (N, 3) weights."""
    skull = Skull.load()
    ids, weights = closest_on_surface(skull.vertices_mm, skull.triangles, load_layout(layout).points_mm)
    return skull.triangles[ids], weights


@cache
def _on_head(layout: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """(N, 3) vertex ids and (N, 3) weights."""
    head = CanonicalHead.load()
    found = head.closest_point(load_layout(layout).points_mm)
    return head.triangles[found.triangles], found.barycentric


def yaw_deg(xyz_px: npt.NDArray[np.float64]) -> float:
    """How far a face is turned to its own left, from its points (468, 3) in pixels with depth, smaller is nearer: the
    rotation that lays the canonical face on them best (Kabsch 1976)."""
    canonical = load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS].astype(np.float64)
    u, _, vt = np.linalg.svd((canonical - canonical.mean(0)).T @ (xyz_px - xyz_px.mean(0)))
    turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    head = FACING @ turn
    return float(np.degrees(np.arctan2(-head[2, 0], head[2, 2])))
