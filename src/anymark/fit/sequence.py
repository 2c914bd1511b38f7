"""The fit of one person in many images: one identity, and over a video a smooth pose and expression.

All frames are solved together and exactly: frames couple to their neighbours alone, so the system is block tridiagonal
with a border, the identity, which a Schur complement takes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.fit.problem import POSE, Array, Camera, Problem, Settings, State, logarithm
from anymark.fit.rig import Points, Rig
from anymark.fit.solve import Fit, checked_weights, fit, pose_problem

_HARDLY = 1e-9  # the weight of labels that are not a frame's own


@dataclass(frozen=True)
class Smoothness:
    """Standard deviations of what changes from one frame of a video to the next."""

    rotation_rad: float = 0.04
    translation_mm: float = 8.0
    expression: float = 0.08


def fit_person(
    rig: Rig,
    points: Points,
    labels_px: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    depth_px: npt.ArrayLike | None = None,
    pairs: npt.ArrayLike | None = None,
    camera: Camera | None = None,
    settings: Settings | None = None,
    smooth: Smoothness | None = None,
) -> Fit:
    """Fit a rig to T images of one person, who has one identity in all of them.

    Args:
        labels_px, weights, depth_px, pairs, camera, settings: as in `anymark.fit.fit`, with T for B. In a video a
            frame's weights may all be 0: its neighbours tell where the head is.
        smooth: the images are the frames of a video, in order; None: they are single photos.

    Raises:
        AnymarkError: as `anymark.fit.fit`; or no image has labels, or one has none and is no frame of a video.
    """
    settings = settings or Settings()
    labels = np.asarray(labels_px, np.float64)
    if labels.ndim != 3 or labels.shape[1:] != (len(points), 2) or len(labels) == 0:
        raise AnymarkError(f"fit: labels must be (T, {len(points)}, 2), not {labels.shape}")
    w = given = checked_weights(weights, labels.shape[:2])
    seen = (w > 0).any(1)
    if not seen.any() or not (seen.all() or smooth):
        raise AnymarkError("fit: an image without any label")
    # a frame without labels borrows those of the nearest one that has some, and hardly believes them
    near = np.flatnonzero(seen)[np.abs(np.flatnonzero(seen)[None] - np.arange(len(labels))[:, None]).argmin(1)]
    labels, w = labels[near], w[near] * np.where(seen, 1.0, _HARDLY)[:, None]
    depth = None if depth_px is None else np.asarray(depth_px, np.float64)[near]
    first = fit(rig, points, labels, weights=w, depth_px=depth, pairs=pairs, camera=camera, settings=settings)
    lost = seen & ~np.isfinite(first.residual_px)
    if smooth:
        lost |= seen & ~first.converged
    if lost.any():  # labels of no head, as a tracker that fails may write: they must not draw the others away
        if lost[seen].all() or not smooth:
            raise AnymarkError(f"fit: image {int(np.flatnonzero(lost)[0])} cannot be fitted")
        return fit_person(
            rig, points, labels_px, weights=np.where(lost[:, None], 0.0, given), depth_px=depth_px, pairs=pairs,
            camera=camera, settings=settings, smooth=smooth,
        )  # fmt: skip
    if camera is None and smooth:  # one camera took the whole video
        focal, principal = np.median(first.camera.focal_px[seen]), np.median(first.camera.principal_px[seen], axis=0)
        camera = Camera(np.full(len(labels), focal), np.tile(principal, (len(labels), 1)))
    problem = pose_problem(rig, points, labels, w, depth, pairs, camera or first.camera, settings)
    mean = np.broadcast_to(first.identity[seen].mean(0), first.identity.shape)
    state = State(first.R_camera_head, problem.start().t_camera_head_mm, np.hstack([mean, first.expression]))
    state, residual, converged = _solve(problem, state, smooth)
    identity, expression = np.split(state.c, [problem.identities], 1)
    return Fit(
        state.R_camera_head,
        state.t_camera_head_mm,
        identity,
        expression,
        problem.camera,
        np.where(seen, residual, np.nan),
        np.full(len(labels), converged),
    )


def _solve(problem: Problem, state: State, smooth: Smoothness | None) -> tuple[State, Array, bool]:
    s, (low, high) = problem.settings, problem.bounds
    n, frames = problem.identities, len(problem)
    own = np.r_[0:POSE, POSE + n : POSE + len(problem.shapes)]  # a frame's unknowns; the others are the identity's
    stiffness = np.zeros(len(own)) if smooth is None else _stiffness(smooth, len(own) - POSE)
    total, residual = _total(problem, state, stiffness)
    damping, converged = 1e-3, False
    for _ in range(3 * s.rounds):
        hessian, gradient = problem.normal(state)
        hessian[:, POSE : POSE + n, POSE : POSE + n] -= np.diag(problem.prior[:n]) * (1 - 1 / frames)  # counted once
        gradient[:, POSE : POSE + n] -= problem.prior[:n] * state.c[:, :n] * (1 - 1 / frames)
        gap = _gaps(state, n)
        gradient[:-1, own] -= stiffness * gap
        gradient[1:, own] += stiffness * gap
        step = _bounded_arrow_step(hessian, gradient, own, stiffness, damping, low - state.c, high - state.c, n)
        trial = state.moved(step, low, high)
        new_total, new_residual = _total(problem, trial, stiffness)
        if new_total <= total:
            shift = float(problem.shift_mm(step).max())
            state, total, residual, damping = trial, new_total, new_residual, max(damping / 10, 1e-6)
            if shift < s.tolerance_mm:
                converged = True
                break
        else:
            damping *= 10
            if damping > 1e4:
                converged = bool(np.isfinite(total))  # no step helps any more
                break
    return state, residual, converged


def smoothed(
    matrices: Array, gradients: Array, rotations: Array, places: Array, expressions: Array, smooth: Smoothness
) -> tuple[Array, Array, Array]:
    """States of the T frames of a video that are best each by itself, made near one another: one step of
    Gauss-Newton's.

    Args:
        matrices: (T, 6 + E, 6 + E) of each frame's cost; zero where nothing is known of it.
        gradients: (T, 6 + E) half of each one's.
        rotations: (T, 3, 3), turned by steps from the left.
        places: (T, 3) millimetres.
        expressions: (T, E) in 0..1.

    Returns:
        Rotations, places and expressions.
    """
    state = State(rotations, places, expressions)
    stiffness = _stiffness(smooth, expressions.shape[1])
    gap = _gaps(state, 0)
    pulled = gradients.copy()
    pulled[:-1] -= stiffness * gap
    pulled[1:] += stiffness * gap
    own, none = np.arange(len(stiffness)), 0
    step = _bounded_arrow_step(matrices, pulled, own, stiffness, 0.0, -expressions, 1 - expressions, none)
    state = state.moved(step, np.zeros(expressions.shape[1]), np.ones(expressions.shape[1]))
    return state.R_camera_head, state.t_camera_head_mm, state.c


def _stiffness(smooth: Smoothness, expressions: int) -> Array:
    """(6 + E,) inverse variances of what changes from one frame to the next."""
    spread = np.r_[np.full(3, smooth.rotation_rad), np.full(3, smooth.translation_mm)]
    return np.r_[spread, np.full(expressions, smooth.expression)] ** -2.0


def _gaps(state: State, identities: int) -> Array:
    """(T - 1, F) what changes from each frame to the next: rotation vector, translation, expression."""
    turn = logarithm(state.R_camera_head[1:] @ state.R_camera_head[:-1].swapaxes(1, 2))
    return np.hstack([turn, np.diff(state.t_camera_head_mm, axis=0), np.diff(state.c[:, identities:], axis=0)])


def _total(problem: Problem, state: State, stiffness: Array) -> tuple[float, Array]:
    cost, residual = problem.cost(state)
    n = problem.identities
    extra = (1 - 1 / len(problem)) * (problem.prior[:n] * state.c[:, :n] ** 2).sum()
    return float(cost.sum() - extra + (stiffness * _gaps(state, n) ** 2).sum()), residual


def _bounded_arrow_step(
    hessian: Array,
    gradient: Array,
    own: npt.NDArray[np.integer],
    stiffness: Array,
    damping: float,
    low: Array,
    high: Array,
    n: int,
) -> Array:
    """Steps (T, 6 + K) of all frames together; expressions that leave their bounds are held there."""
    frames = len(hessian)
    lower = np.hstack([np.full((frames, POSE), -np.inf), low[:, n:]])
    upper = np.hstack([np.full((frames, POSE), np.inf), high[:, n:]])
    shared = np.arange(POSE, POSE + n)
    diagonal = hessian[:, own[:, None], own].copy()
    neighbours = np.full(frames, 2.0)
    neighbours[[0, -1]] = 1.0 if frames > 1 else 0.0
    index = np.arange(len(own))
    diagonal[:, index, index] *= 1 + damping
    diagonal[:, index, index] += neighbours[:, None] * stiffness
    border = hessian[:, own[:, None], shared]
    corner = hessian[:, shared[:, None], shared].sum(0) * (1 + damping * np.eye(n))
    right, right_shared = -gradient[:, own], -gradient[:, shared].sum(0)
    held, at = np.zeros(right.shape, bool), np.zeros(right.shape)
    step, identity = at, np.zeros(n)
    for _ in range(4):
        fixed = np.where(held, at, 0.0)
        wanted = right - np.einsum("tij,tj->ti", diagonal, fixed)
        wanted[:-1] += stiffness * fixed[1:]
        wanted[1:] += stiffness * fixed[:-1]
        wanted = np.where(held, 0.0, wanted)
        wanted_shared = right_shared - np.einsum("tij,ti->j", border, fixed)
        block = np.where(held[:, :, None] | held[:, None, :], 0.0, diagonal)
        block[:, index, index] = np.where(held, 1.0, block[:, index, index])
        arm = np.where(held[..., None], 0.0, border)
        coupling = np.where(held[1:] | held[:-1], 0.0, stiffness)
        solved = _tridiagonal(block, coupling, np.concatenate([wanted[..., None], arm], 2))
        schur = corner - np.einsum("tij,tik->jk", arm, solved[..., 1:])
        identity = np.linalg.solve(schur, wanted_shared - np.einsum("tij,ti->j", arm, solved[..., 0]))
        step = solved[..., 0] - solved[..., 1:] @ identity + fixed
        outside = (step < lower) | (step > upper)
        step = np.clip(step, lower, upper)
        if not outside.any():
            break
        held |= outside
        at = step
    out = np.zeros((frames, hessian.shape[1]))
    out[:, own], out[:, shared] = step, identity
    return out


def _tridiagonal(blocks: Array, coupling: Array, right: Array) -> Array:
    """Solve a symmetric block tridiagonal system whose off-diagonal blocks are -diag(coupling).

    Args:
        blocks: (T, F, F). coupling: (T - 1, F). right: (T, F, R).
    """
    out, blocks = right.copy(), blocks.copy()
    for t in range(1, len(blocks)):
        if not coupling[t - 1].any():
            continue
        carried = np.linalg.solve(blocks[t - 1], np.diag(coupling[t - 1])).T
        blocks[t] -= carried * coupling[t - 1]
        out[t] += carried @ out[t - 1]
    out[-1] = np.linalg.solve(blocks[-1], out[-1])
    for t in range(len(blocks) - 2, -1, -1):
        out[t] = np.linalg.solve(blocks[t], out[t] + coupling[t][:, None] * out[t + 1])
    return out
