"""What a capture minimises in one frame, and its derivatives: landmarks of some views against a rig that is posed.

A frame has a pose, 6 unknowns as in `anymark.fit.problem`, and coefficients, identity first where that is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anymark.fit.problem import POSE, exponential

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float32]

_SOME = 2000  # points that the matrix is told from


@dataclass(frozen=True, eq=False)
class State:
    """One frame: pose and coefficients (K,)."""

    rotation: Array
    place: Array
    c: Array

    def moved(self, step: Array, low: Array, high: Array) -> State:
        return State(
            exponential(step[None, :3])[0] @ self.rotation,
            self.place + step[3:POSE],
            np.clip(self.c + step[POSE:], low, high),
        )


class Looked(NamedTuple):
    """What a state of one frame comes to."""

    cost: float
    gradient: Array
    """(6 + K,) half of it."""
    matrix: Array
    """(6 + K, 6 + K) of Gauss and Newton."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One view of one frame: L landmarks as rays, with weights whose sum does not depend on how many there are."""

    rays: Floats
    """(L, 2) X / Z and Y / Z."""
    weight: Floats
    """(L,)"""
    turn: Floats
    """(3, 3) R_view_world"""
    shift: Floats
    """(3,)"""
    focal_px: float

    def some(self, index: npt.NDArray[np.intp]) -> Shot:
        """The same of some landmarks, which weigh as much as all."""
        weight = self.weight[index]
        weight = weight * np.float32(self.weight.sum() / max(float(weight.sum()), 1e-12))
        return replace(self, rays=self.rays[index], weight=weight)


class Model:
    """L points that move linearly with K coefficients, of which every n-th says what Gauss-Newton's matrix is."""

    def __init__(self, neutral: Array, shapes: Floats, prior: Array, low: Array, high: Array) -> None:
        self.neutral = np.ascontiguousarray(neutral, np.float32)
        self.flat = np.ascontiguousarray(shapes.reshape(len(shapes), -1), np.float32)  # (K, 3 L)
        self.prior, self.low, self.high = prior, low, high
        self.some = np.arange(0, len(neutral), max(1, len(neutral) // _SOME))
        self.few = np.ascontiguousarray(shapes[:, self.some].transpose(1, 2, 0), np.float32)  # (S, 3, K)

    def points(self, c: Array) -> Floats:
        """(L, 3) head frame."""
        moved: Floats = c.astype(np.float32) @ self.flat
        return self.neutral + moved.reshape(-1, 3)

    def look(self, shots: Sequence[Shot], state: State) -> Looked:
        """What a state of one frame comes to."""
        turned = self.points(state.c) @ state.rotation.T.astype(np.float32)
        force = np.zeros_like(turned)
        size = POSE + len(self.flat)
        matrix, cost = np.zeros((size, size)), 0.0
        for shot in shots:
            seen = (turned + state.place.astype(np.float32)) @ shot.turn.T + shot.shift
            away = float(shot.turn[2] @ state.place + shot.shift[2])
            if away <= 0:  # behind the camera
                cost = np.inf
            depth: Floats = np.maximum(seen[:, 2:], np.float32(1.0))
            ratio: Floats = (seen[:, :2] / depth).astype(np.float32, copy=False)
            off = (ratio - shot.rays) * np.float32(away)
            pulled = off * shot.weight[:, None]
            cost += float((pulled * off).sum())
            pulled *= np.float32(away) / depth
            force += np.column_stack([pulled, -(pulled * ratio).sum(1)]) @ shot.turn
            matrix += self._matrix(shot, state, turned[self.some], depth[self.some], ratio[self.some], away)
        gradient = np.empty(size)
        moments = turned.T @ force  # their antisymmetric part is the sum of cross products
        gradient[:3] = moments[1, 2] - moments[2, 1], moments[2, 0] - moments[0, 2], moments[0, 1] - moments[1, 0]
        gradient[3:POSE] = force.sum(0)
        gradient[POSE:] = self.flat @ (force @ state.rotation.astype(np.float32)).ravel()
        gradient[POSE:] += self.prior * state.c
        tail = np.arange(POSE, size)
        matrix[tail, tail] += self.prior
        cost += float((self.prior * state.c**2).sum())
        return Looked(cost, gradient, matrix)

    def residual_px(self, shots: Sequence[Shot], state: State) -> float:
        """Mean distance of the landmarks that are seen, as many as the matrix is told from, to where a state has
        them, over the views."""
        world = (self.neutral[self.some] + self.few @ state.c) @ state.rotation.T + state.place
        seen = [world @ shot.turn.T + shot.shift for shot in shots]
        rays = [shot.rays[self.some] for shot in shots]
        off = [each[:, :2] / np.maximum(each[:, 2:], 1.0) - at for each, at in zip(seen, rays, strict=True)]
        counts = [shot.weight[self.some] > 0 for shot in shots]
        means = [
            np.hypot(*each[seen].T).mean() * shot.focal_px
            for each, seen, shot in zip(off, counts, shots, strict=True)
            if seen.any()
        ]
        return float(np.mean(means)) if means else np.nan

    def _matrix(self, shot: Shot, state: State, turned: Floats, depth: Floats, ratio: Floats, away: float) -> Array:
        """Gauss-Newton's matrix of one view, of some points for all."""
        count = len(turned)
        move = np.zeros((count, 3, POSE + len(self.flat)), np.float32)
        x, y, z = turned.T
        move[:, 0, 1], move[:, 0, 2] = z, -y
        move[:, 1, 0], move[:, 1, 2] = -z, x
        move[:, 2, 0], move[:, 2, 1] = y, -x
        move[:, [0, 1, 2], [3, 4, 5]] = 1.0
        move[..., POSE:] = np.matmul(state.rotation.astype(np.float32), self.few)
        move = np.matmul(shot.turn, move)
        root = np.sqrt(shot.some(self.some).weight)[:, None] * (away / depth)
        rows = [(move[:, a] - ratio[:, a, None] * move[:, 2]) * root for a in (0, 1)]
        flat = np.concatenate(rows)
        return (flat.T @ flat).astype(np.float64)
