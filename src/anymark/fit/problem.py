"""What a fit minimises: weighted distances to the labels against priors, for many heads at once, and its derivatives.

Everything is in millimetres at the head's distance. A head has a pose (a rotation vector and a translation, 6 unknowns)
and coefficients (identity, then expression); depths have a free zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]

POSE = 6
"""Unknowns before the coefficients."""


@dataclass(frozen=True, eq=False)
class Camera:
    """B pinhole cameras, one a head: pixel = principal + focal * (X, Y) / Z."""

    focal_px: Array
    """(B,)"""
    principal_px: Array
    """(B, 2)"""

    def project(self, points_camera_mm: Array) -> Array:
        """(B, N, 3) in the camera's frame -> (B, N, 2) pixels."""
        ratio = points_camera_mm[..., :2] / points_camera_mm[..., 2:]
        return self.principal_px[:, None] + self.focal_px[:, None, None] * ratio

    def __getitem__(self, index: slice | npt.NDArray[np.integer]) -> Camera:
        return Camera(self.focal_px[index], self.principal_px[index])


@dataclass(frozen=True)
class Settings:
    """What labels weigh against priors, and when a fit ends."""

    noise_mm: float = 4.0
    """Standard deviation of a label of weight 1. Larger than a label's own: neighbours err together."""
    identity: float = 1.0
    """Standard deviation of an identity coefficient."""
    expression: float = 0.35
    """Standard deviation of an expression coefficient."""
    depth: float = 0.1
    """Weight of a label's depth against its place in the image."""
    pair: float = 10.0
    """Weight of the difference of two paired labels against the place of one."""
    distance_mm: float = 1000.0
    """Of the head where the camera is not known: a portrait's."""
    rounds: int = 20
    """At most so many steps."""
    tolerance_mm: float = 0.05
    """It ends when the points move by less, root mean square."""


@dataclass(frozen=True, eq=False)
class State:
    """Where B heads are."""

    R_camera_head: Array
    """(B, 3, 3)"""
    t_camera_head_mm: Array
    """(B, 3)"""
    c: Array
    """(B, K) coefficients, identity first."""

    def moved(self, step: Array, low: Array, high: Array) -> State:
        """After steps (B, 6 + K), with coefficients (K,) kept within bounds."""
        return State(
            exponential(step[:, :3]) @ self.R_camera_head,
            self.t_camera_head_mm + step[:, 3:POSE],
            np.clip(self.c + step[:, POSE:], low, high),
        )

    def where(self, better: Bools, other: State) -> State:
        """`other` for the heads (B,) that got better, this one for the rest."""
        return State(
            np.where(better[:, None, None], other.R_camera_head, self.R_camera_head),
            np.where(better[:, None], other.t_camera_head_mm, self.t_camera_head_mm),
            np.where(better[:, None], other.c, self.c),
        )

    def __getitem__(self, index: slice) -> State:
        return State(self.R_camera_head[index], self.t_camera_head_mm[index], self.c[index])


@dataclass(frozen=True, eq=False)
class Problem:
    """The labels of B heads, and the rig's points that they stand for."""

    neutral: Array
    """(L, 3)"""
    shapes: Array
    """(K, L, 3)"""
    identities: int
    """So many of the shapes are identity's, the others expression's."""
    labels: Array
    """(B, L, 2) pixels."""
    weights: Array
    """(B, L)"""
    depth: Array | None
    """(B, L) pixels, with any zero."""
    pairs: npt.NDArray[np.integer]
    """(M, 2) labels whose difference counts once more."""
    camera: Camera
    settings: Settings

    def __getitem__(self, index: slice) -> Problem:
        return Problem(
            self.neutral,
            self.shapes,
            self.identities,
            self.labels[index],
            self.weights[index],
            None if self.depth is None else self.depth[index],
            self.pairs,
            self.camera[index],
            self.settings,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def prior(self) -> Array:
        """(K,) inverse variance of each coefficient."""
        s = self.settings
        return np.where(np.arange(len(self.shapes)) < self.identities, s.identity, s.expression) ** -2.0

    @property
    def bounds(self) -> tuple[Array, Array]:
        """(K,) least and (K,) largest coefficients."""
        identity = np.arange(len(self.shapes)) < self.identities
        return np.where(identity, -np.inf, 0.0), np.where(identity, np.inf, 1.0)

    def start(self) -> State:
        """The neutral head under a scaled orthographic camera, in closed form, carried over to the pinhole."""
        rotation, scale, model, image = orthographic(self.neutral, self.labels, self.weights)
        away = self.camera.focal_px / scale
        place = np.c_[(image - self.camera.principal_px) / scale[:, None], away]
        translation = place - np.einsum("bij,bj->bi", rotation, model)
        return State(rotation, translation, np.zeros((len(self), len(self.shapes))))

    def points(self, c: Array) -> Array:
        """Coefficients (B, K) -> points (B, L, 3) in the head frame."""
        return self.moves(c) + self.neutral

    def moves(self, c: Array) -> Array:
        """How far coefficients (B, K) move the points (B, L, 3)."""
        return (c.astype(np.float32) @ self.shapes.reshape(len(self.shapes), -1)).reshape(len(c), -1, 3)

    def cost(self, state: State) -> tuple[Array, Array]:
        """(B,) what is minimised, infinite behind the camera; and the labels' weighted mean distance in pixels."""
        s, w = self.settings, self.weights
        _, image, depth = self._residuals(state)
        squared = (image**2).sum(-1)
        cost = (w * squared).sum(1)
        between = ((image[:, self.pairs[:, 0]] - image[:, self.pairs[:, 1]]) ** 2).sum(-1)
        cost = cost + s.pair * (self._pair_weights() * between).sum(1)
        if depth is not None:
            cost = cost + s.depth * (w * depth**2).sum(1)
        away = state.t_camera_head_mm[:, 2]
        distance = (w * np.sqrt(squared)).sum(1) / w.sum(1) * self.camera.focal_px / away
        cost = cost / s.noise_mm**2 + (self.prior * state.c**2).sum(1)
        return np.where(away > 0, cost, np.inf), distance

    def normal(self, state: State) -> tuple[Array, Array]:
        """Gauss-Newton's matrix (B, 6 + K, 6 + K) and half the gradient (B, 6 + K) of the cost."""
        s, (count, landmarks) = self.settings, self.weights.shape
        k = len(self.shapes)
        x, image, depth = self._residuals(state)
        turned = x - state.t_camera_head_mm[:, None]
        # how each unknown moves each point in the camera's frame
        move = np.zeros((count, 3, landmarks, POSE + k), np.float32)
        move[:, 0, :, 1], move[:, 0, :, 2] = turned[..., 2], -turned[..., 1]
        move[:, 1, :, 0], move[:, 1, :, 2] = -turned[..., 2], turned[..., 0]
        move[:, 2, :, 0], move[:, 2, :, 1] = turned[..., 1], -turned[..., 0]
        for axis in range(3):
            move[:, axis, :, 3 + axis] = 1.0
        flat = self.shapes.transpose(2, 1, 0).reshape(3, -1)
        move[..., POSE:] = (state.R_camera_head.astype(np.float32) @ flat).reshape(count, 3, landmarks, k)
        z = np.maximum(x[..., 2:], 1.0)
        nearer = (state.t_camera_head_mm[:, 2, None] / z[..., 0]).astype(np.float32)
        ratio = (x[..., :2] / z).astype(np.float32)
        rows = [(move[:, a] - ratio[..., a, None] * move[:, 2]) * nearer[..., None] for a in (0, 1)]
        right, weight = [image[..., 0], image[..., 1]], [self.weights, self.weights]
        first, second = self.pairs.T
        for a in (0, 1):
            rows.append(rows[a][:, first] - rows[a][:, second])
            right.append(image[:, first, a] - image[:, second, a])
            weight.append(s.pair * self._pair_weights())
        if depth is not None:
            share = (self.weights / self.weights.sum(1, keepdims=True)).astype(np.float32)
            rows.append(move[:, 2] - np.einsum("bl,blp->bp", share, move[:, 2])[:, None])
            right.append(depth)
            weight.append(s.depth * self.weights)
        root = np.sqrt(np.concatenate(weight, 1)) / s.noise_mm
        a = np.concatenate(rows, 1) * root[..., None].astype(np.float32)
        b = (np.concatenate(right, 1) * root).astype(np.float32)
        hessian = (a.swapaxes(1, 2) @ a).astype(np.float64)
        gradient = (a.swapaxes(1, 2) @ b[..., None])[..., 0].astype(np.float64)
        tail = np.arange(POSE, POSE + k)
        hessian[:, tail, tail] += self.prior
        gradient[:, POSE:] += self.prior * state.c
        return hessian, gradient

    def _pair_weights(self) -> Array:
        """(B, M)"""
        return np.minimum(self.weights[:, self.pairs[:, 0]], self.weights[:, self.pairs[:, 1]])

    def shift_mm(self, step: Array) -> Array:
        """(B,) how far steps (B, 6 + K) move the points, about."""
        shape = np.sqrt((self.moves(step[:, POSE:]) ** 2).sum(-1).mean(1))
        reach = float(np.sqrt((self.neutral**2).sum(1).mean()))
        return shape + reach * np.linalg.norm(step[:, :3], axis=1) + np.linalg.norm(step[:, 3:5], axis=1)

    def _residuals(self, state: State) -> tuple[Array, Array, Array | None]:
        """Camera-frame points (B, L, 3), image residuals (B, L, 2) and depth residuals (B, L), all in millimetres."""
        x = self.points(state.c) @ state.R_camera_head.swapaxes(1, 2) + state.t_camera_head_mm[:, None]
        away = state.t_camera_head_mm[:, 2, None]
        wanted = (self.labels - self.camera.principal_px[:, None]) / self.camera.focal_px[:, None, None]
        image = (x[..., :2] / np.maximum(x[..., 2:], 1.0) - wanted) * away[..., None]
        if self.depth is None:
            return x, image, None
        depth = x[..., 2] - self.depth * (away / self.camera.focal_px[:, None])
        mean = (depth * self.weights).sum(1, keepdims=True) / self.weights.sum(1, keepdims=True)
        return x, image, depth - mean


def orthographic(neutral: Array, labels: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    """The scaled orthographic camera that maps points (L, 3) best to labels (B, L, 2).

    Returns:
        R_camera_head (B, 3, 3), pixels a millimetre (B,), the weighted means of the points (B, 3) and labels (B, 2).
    """
    share = weights / weights.sum(1, keepdims=True)
    model, image = np.einsum("bl,ld->bd", share, neutral), np.einsum("bl,bld->bd", share, labels)
    x, y = neutral[None] - model[:, None], labels - image[:, None]
    normal = np.einsum("bl,bli,blj->bij", share, x, x) + 1e-6 * np.eye(3)
    affine = np.linalg.solve(normal, np.einsum("bl,bli,blj->bij", share, x, y)).swapaxes(1, 2)
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    rows = u @ vt  # the nearest two rows of a rotation
    rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    return rotation, s.mean(1), model, image


def exponential(vector: Array) -> Array:
    """Rotation vectors (B, 3) -> rotations (B, 3, 3)."""
    angle = np.linalg.norm(vector, axis=1)
    cross = skew(vector / np.maximum(angle, 1e-12)[:, None])
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sin * cross + (1 - cos) * cross @ cross


def logarithm(rotation: Array) -> Array:
    """Rotations (B, 3, 3) by less than half a turn -> rotation vectors (B, 3)."""
    cos = np.clip((np.einsum("bii->b", rotation) - 1) / 2, -1, 1)
    odd = (rotation - rotation.swapaxes(1, 2)) / 2
    axis = np.stack([odd[:, 2, 1], odd[:, 0, 2], odd[:, 1, 0]], 1)
    sin = np.linalg.norm(axis, axis=1)
    return axis * (np.arctan2(sin, cos) / np.maximum(sin, 1e-12))[:, None]


def skew(v: Array) -> Array:
    """Vectors (B, 3) -> the matrices (B, 3, 3) of their cross products."""
    out = np.zeros((len(v), 3, 3))
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    return out - out.swapaxes(1, 2)
