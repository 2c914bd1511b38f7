"""Painted marks: dots and lines on a head's skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from anymark.canonical import CanonicalHead, load_layout
from anymark.engine.pixels import Floats
from anymark.engine.texture import Atlas

Array = npt.NDArray[np.floating]

PAINTS = {
    "black": (0.01, 0.01, 0.01),
    "blue": (0.03, 0.09, 0.6),
    "green": (0.02, 0.25, 0.05),
    "light": (0.7, 0.7, 0.7),
}
"""Linear."""

LINES = "ibug68"
PAINTED = np.r_[0:36, 48:60]
"""Of its points: nobody paints the rims of eyes or the inner lips."""
_SOFT_MM = 0.6  # over which a mark's edge fades


@dataclass(frozen=True, eq=False)
class Marks:
    """Marks of one colour."""

    points_mm: npt.NDArray[np.float32]
    """(N, 3) canonical places of the dots."""
    lines: npt.NDArray[np.integer]
    """(L, 2) dots that are joined."""
    radius_mm: float
    colour: npt.NDArray[np.float32]
    """(3,) linear."""


def draw_marks(head: CanonicalHead, rng: np.random.Generator, lines: bool, colour_name: str = "any") -> Marks:
    """Dots spread over the face, or the edges of a layout of the face with dots at their ends.

    Args:
        colour_name: one of `PAINTS`, or "any".
    """
    colour = np.array(rng.choice(np.array(list(PAINTS.values()))))
    if colour_name != "any":
        colour = np.array(PAINTS[colour_name])
    if lines:
        points, edges = painted_lines()
        surface = head.closest_point(points)
        return Marks(
            surface.points_mm.astype(np.float32), edges, float(rng.uniform(2.0, 2.6)), colour.astype(np.float32)
        )
    points = head.sample(int(rng.integers(40, 140)), ("face",)).points_mm
    points = points[(points[:, 2] > 20) & (np.abs(points[:, 0]) < 68)] + rng.normal(0, 2.0, (1, 3))
    surface = head.closest_point(points)
    return Marks(
        surface.points_mm.astype(np.float32),
        np.zeros((0, 2), np.int32),
        float(rng.uniform(1.2, 2.4)),
        colour.astype(np.float32),
    )


def painted_lines() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """(N, 3) `PAINTED` points of `LINES`, canonical, and (L, 2) which of them are joined."""
    layout = load_layout(LINES)
    assert layout.edges is not None
    number = np.full(len(layout), -1, np.int32)
    number[PAINTED] = np.arange(len(PAINTED))
    edges = number[layout.edges]
    return layout.points_mm[PAINTED], edges[(edges >= 0).all(1)]


def paint(atlas: Atlas, picture: Floats, marks: Marks) -> Floats:
    """A skin's picture (size, 2 size, 3) with marks on it."""
    texels = atlas.at(atlas.head.vertices_mm)
    tree = KDTree(texels)
    steps: list[Array] = [marks.points_mm]
    for a, b in marks.lines:
        start, end = marks.points_mm[a], marks.points_mm[b]
        count = max(2, int(np.linalg.norm(end - start) / (0.5 * marks.radius_mm)))
        steps.append(start + np.linspace(0, 1, count)[:, None] * (end - start))
    opacity = np.zeros(len(texels), np.float32)
    for point in np.vstack(steps):
        near = np.array(tree.query_ball_point(point, marks.radius_mm + _SOFT_MM), np.int64)
        if len(near):
            distance = np.linalg.norm(texels[near] - point, axis=1)
            opacity[near] = np.maximum(opacity[near], np.clip((marks.radius_mm + _SOFT_MM - distance) / _SOFT_MM, 0, 1))
    out = picture.copy()
    old = out[atlas.rows, atlas.columns]
    # paint takes the skin's shading, about
    shade = old.mean(1, keepdims=True) / max(float(np.median(old)), 0.02)
    new = marks.colour * np.clip(shade, 0.3, 1.5)
    out[atlas.rows, atlas.columns] = old * (1 - opacity[:, None]) + new * opacity[:, None]
    return out
