"""A small rig: an ellipsoid with two eyeballs, smooth identity shapes and local expressions."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.fit import Eye, Points, Rig

RADII_MM = np.array([75.0, 110.0, 95.0])


def sphere(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vertices (V, 3) and triangles (T, 3) of a grid of latitudes and longitudes."""
    a, b = np.meshgrid(np.linspace(0.15, np.pi - 0.15, rows), np.linspace(0, 2 * np.pi, columns, False), indexing="ij")
    vertices = np.stack([np.sin(a) * np.sin(b), np.cos(a), np.sin(a) * np.cos(b)], -1).reshape(-1, 3)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij"))
    corner = [
        i * columns + j,
        (i + 1) * columns + j,
        (i + 1) * columns + (j + 1) % columns,
        i * columns + (j + 1) % columns,
    ]
    return vertices, np.vstack([np.stack([corner[k] for k in t], 1) for t in ((0, 1, 2), (0, 2, 3))])


@pytest.fixture(scope="session")
def rig() -> Rig:
    skin, triangles = sphere(24, 36)
    ball, _ = sphere(9, 12)
    eyes, pieces, count = [], [skin * RADII_MM], len(skin)
    for x in (-30.0, 30.0):  # right, left
        ids = np.arange(count, count + len(ball))
        eyes.append(Eye(ids, ids[ball[:, 2] > 0.8]))
        pieces.append(ball * 12 + [x, 30, 75])
        count += len(ball)
    neutral = np.vstack(pieces)
    rng = np.random.default_rng(0)
    unit = neutral / 100

    def shape(size: float, centre: np.ndarray | None = None) -> np.ndarray:
        field = unit @ rng.normal(0, 1, (3, 3)) + np.sin(2 * unit @ rng.normal(0, 1, (3, 3)))
        if centre is not None:
            field = field * np.exp(-((neutral - centre) ** 2).sum(1) / (2 * 30.0**2))[:, None]
        return size * field / np.abs(field).max()

    identity = np.stack([shape(8.0) for _ in range(5)])
    spots = [(0, -50, 80), (-30, 40, 80), (30, 40, 80), (40, -20, 70)]
    expression = np.stack([shape(10.0, np.array(c)) for c in spots])
    front = np.flatnonzero(skin[:, 2] > 0.15)
    return Rig(
        neutral,
        identity,
        expression,
        ("a", "b", "c", "d"),
        triangles,
        {"skin": np.arange(len(skin))},
        {"face": Points.of_vertices(front)},
        (eyes[0], eyes[1]),
    )
