"""Points spread evenly by area over the head's skin."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from anymark.canonical import CanonicalHead, Layout

CANDIDATES = 12
"""Surface samples a point of the layout is chosen from."""

NORMAL_MM = 12.0
"""How far apart opposite sides of a thin sheet count, such as the front and back of an ear."""


def dense(head: CanonicalHead, name: str, size: int, relax: int) -> Layout:
    """Half of the points on the subject's left, found by cutting its area into equal cells, and their mirror images.

    Args:
        head: the head.
        name: the layout's name.
        size: number of points, even.
        relax: rounds of moving each point to the middle of what lies nearest to it, which evens out the gaps.
    """
    samples = head.sample(size * CANDIDATES)  # of both halves: the mirror image of a cell has the same area
    left = samples.points_mm[:, 0] > 0
    points, triangles = samples.points_mm[left], samples.triangles[left]
    a, b, c = np.moveaxis(head.vertices_mm[head.triangles].astype(float), 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    feature = np.c_[points, NORMAL_MM * normals[triangles]]
    chosen = np.array([middle(feature, cell) for cell in equal_cells(feature, size // 2)])
    for _ in range(relax):
        _, owner = cKDTree(feature[chosen]).query(feature)
        order = np.argsort(owner, kind="stable")
        cells = np.split(order, np.searchsorted(owner[order], np.arange(1, len(chosen))))
        chosen = np.array([middle(feature, cell) for cell in cells])
    n = len(chosen)
    half = points[chosen]
    regions = {}
    mirrored = _mirror_triangles(head)
    both = np.r_[mirrored[triangles[chosen]], triangles[chosen]]
    for region, ids in head.regions.items():
        hit = np.flatnonzero(np.isin(both, ids))
        if len(hit):
            regions[region] = hit
    return Layout(
        name,
        np.vstack([half * (-1, 1, 1), half]),
        flip=np.r_[np.arange(n) + n, np.arange(n)],
        regions=regions,
    )


def equal_cells(feature: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut samples along their longest extent, again and again, in cells of the same number of samples."""
    done, todo = [], [(np.arange(len(feature)), count)]
    while todo:
        cell, n = todo.pop()
        if n == 1:
            done.append(cell)
            continue
        axis = int(np.ptp(feature[cell], axis=0).argmax())
        order = cell[np.argsort(feature[cell, axis], kind="stable")]
        cut = round(len(cell) * (n // 2) / n)
        todo += [(order[:cut], n // 2), (order[cut:], n - n // 2)]
    return done


def middle(feature: np.ndarray, cell: np.ndarray) -> int:
    """The sample nearest to the mean of a cell."""
    return int(cell[((feature[cell] - feature[cell].mean(0)) ** 2).sum(1).argmin()])


def _mirror_triangles(head: CanonicalHead) -> np.ndarray:
    """(T,) id of each triangle's mirror image."""
    key = {frozenset(t): i for i, t in enumerate(head.triangles.tolist())}
    return np.array([key[frozenset(head.flip[t].tolist())] for t in head.triangles])
