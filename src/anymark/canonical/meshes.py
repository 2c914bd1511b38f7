"""What is done with triangle meshes anywhere: normals, pieces, and several as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Piece = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]
"""Vertices (V, 3) and triangles (T, 3)."""


def summed_normals(vertices: Array, triangles: npt.NDArray[np.integer]) -> Array:
    """(V, 3): the sum of the triangles' cross products around each vertex."""
    x, y, z = np.ascontiguousarray(vertices.T, np.float64)[:, triangles.T]  # (3 corners, T) each
    (ax, ay, az), (bx, by, bz) = ((x[k] - x[0], y[k] - y[0], z[k] - z[0]) for k in (1, 2))
    cross = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    corners = triangles.T.ravel()
    sums = [np.bincount(corners, np.tile(c, 3), len(vertices)) for c in cross]
    return np.stack(sums, 1).astype(np.float64)


def vertex_normals(vertices: Array, triangles: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """(V, 3) unit normals: the triangles' around each vertex, weighted by area; 0 where there is no triangle."""
    total = summed_normals(vertices, triangles)
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def piece(vertices: npt.NDArray[np.float32], triangles: npt.NDArray[np.integer]) -> Piece:
    """Some triangles of a mesh, with their vertices alone."""
    ids, corners = np.unique(triangles, return_inverse=True)
    return vertices[ids], corners.reshape(-1, 3).astype(np.int32)


def joined(parts: Sequence[Piece]) -> Piece:
    """Many pieces as one."""
    starts = np.cumsum([0] + [len(v) for v, _ in parts[:-1]])
    triangles = np.vstack([t + s for (_, t), s in zip(parts, starts, strict=True)])
    return np.vstack([v for v, _ in parts]), triangles.astype(np.int32)
