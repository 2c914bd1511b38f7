"""Performance capture: a rig fitted to dense landmarks of one or several calibrated views of a clip (Continuous
Landmark Detection, section 4.6).

The person has one identity in all frames; each frame has a pose and expression weights within 0 and 1, near those of
the frames beside it. Everything is in millimetres at the head's distance. With 50,000 landmarks the gradient is that of
all of them; Gauss-Newton's matrix is that of some thousand, spread evenly: it only says how far to go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anymark.apps.posed_rig import Looked, Model, Shot, State
from anymark.errors import AnymarkError
from anymark.fit import Points, Rig
from anymark.fit.problem import POSE, orthographic
from anymark.fit.sequence import Smoothness, smoothed
from anymark.fit.solve import bounded_step
from anymark.spread import spread

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float32]

LEAST_POINTS = 12
"""Landmarks that a rig is fitted to."""


@dataclass(frozen=True)
class CaptureSettings:
    """What landmarks weigh against priors."""

    noise_mm: float = 2.0
    """Standard deviation of a landmark of median sigma."""
    alike: float = 300.0
    """Landmarks err together: however many there are, they count as about so many."""
    identity: float = 1.0
    """Standard deviation of an identity coefficient."""
    expression: float = 0.35
    """Standard deviation of an expression weight."""
    smooth: Smoothness = field(default_factory=Smoothness)
    """Of what changes from one frame to the next."""
    key_frames: int = 24
    """Frames, spread evenly, that the identity is told from."""


@dataclass(frozen=True, eq=False)
class View:
    """What one camera saw of L landmarks in T frames. The world is any frame that the cameras share."""

    xy_px: npt.NDArray[np.floating]
    """(T, L, 2) pixels; NaN in frames without the head."""
    sigma_px: npt.NDArray[np.floating]
    """(T, L) infinite for what a frame does not show."""
    focal_px: Array
    """(T,)"""
    principal_px: Array
    """(T, 2)"""
    R_view_world: Array
    """(3, 3)"""
    t_view_world_mm: Array
    """(3,)"""

    @classmethod
    def alone(
        cls,
        xy_px: npt.NDArray[np.floating],
        sigma_px: npt.NDArray[np.floating],
        focal_px: float,
        principal_px: npt.ArrayLike,
    ) -> View:
        """The only camera, whose frame is the world's, with one lens for all of the clip."""
        count = len(xy_px)
        principal = np.broadcast_to(np.asarray(principal_px, np.float64), (count, 2))
        return cls(xy_px, sigma_px, np.full(count, float(focal_px)), principal, np.eye(3), np.zeros(3))


@dataclass(frozen=True, eq=False)
class Capture:
    """A rig through T frames."""

    identity: Array
    """(I,)"""
    expression: Array
    """(T, E) in 0..1."""
    R_world_head: Array
    """(T, 3, 3)"""
    t_world_head_mm: Array
    """(T, 3)"""
    residual_px: Array
    """(T,) mean distance of the landmarks to where the rig has them, over the views; NaN in frames without the head."""

    def vertices_mm(self, rig: Rig, frame: int) -> Floats:
        """(V, 3) the rig's vertices in one frame, head frame."""
        return rig.vertices_mm(self.identity, self.expression[frame])


_OF_IDENTITY = 4000  # points that the identity is
_ROUNDS, _FEW_ROUNDS = 25, 1  # of a frame alone, and of one that begins where the frame before ended
_TOLERANCE = 1e-3  # of the cost
_FIRST_DAMPING, _LEAST_DAMPING, _HOPELESS = 1e-3, 1e-6, 1e3
_LEAST_SIGMA = 0.3  # of the median: no landmark is believed more


def capture(rig: Rig, points: Points, views: Sequence[View], settings: CaptureSettings | None = None) -> Capture:
    """Fit a rig to a clip.

    Args:
        rig: In millimetres.
        points: Where the L landmarks lie on it.
        views: At least one, all of the same T frames.
        settings: What landmarks weigh.

    Raises:
        AnymarkError: shapes disagree, fewer than `LEAST_POINTS` landmarks, or no frame shows the head.
    """
    settings = settings or CaptureSettings()
    shots = [_shots(views, frame, settings) for frame in range(_checked(points, views))]
    seen = [frame for frame, each in enumerate(shots) if each]
    if not seen:
        raise AnymarkError("capture: no frame shows the head")
    neutral, shapes = rig.linear(points)
    identities = len(rig.identity_mm)
    identity = np.zeros(identities)
    if identities:
        keys = [seen[i] for i in spread(len(seen), settings.key_frames)]
        some = np.arange(0, len(points), max(1, len(points) // _OF_IDENTITY))
        thin = [[each.some(some) for each in shots[i]] for i in keys]
        identity = _identity(neutral[some], shapes[:, some], identities, thin, settings)
    own = neutral + np.tensordot(identity.astype(np.float32), shapes[:identities], 1)
    return _expressions(own, shapes[identities:], identity, shots, settings)


def _expressions(
    own: Array, shapes: Floats, identity: Array, shots: Sequence[Sequence[Shot]], settings: CaptureSettings
) -> Capture:
    """The frames one after another, each from where the one before ended; then all of them together, made smooth."""
    count = len(shapes)
    model = Model(own, shapes, np.full(count, settings.expression**-2.0), np.zeros(count), np.ones(count))
    states: list[State] = []
    looked: list[Looked] = []
    nothing = Looked(0.0, np.zeros(POSE + count), np.zeros((POSE + count, POSE + count)))
    last: State | None = None
    seen_before = False
    for each in shots:
        found = nothing
        if each:
            start = _start(model, each) if last is None else last
            last, found = _solve(model, each, start, _FEW_ROUNDS if seen_before else _ROUNDS)
        states.append(last or _start(model, next(other for other in shots if other)))
        looked.append(found)
        seen_before = bool(each)
    rotation, place, c = (np.stack([getattr(s, key) for s in states]) for key in ("rotation", "place", "c"))
    if len(states) > 1:
        matrices, gradients = (np.stack([getattr(each, key) for each in looked]) for key in ("matrix", "gradient"))
        rotation, place, c = smoothed(matrices, gradients, rotation, place, c, settings.smooth)
        states = [State(*each) for each in zip(rotation, place, c, strict=True)]
    residual = [model.residual_px(each, state) if each else np.nan for each, state in zip(shots, states, strict=True)]
    return Capture(identity, c, rotation, place, np.array(residual))


def _identity(
    neutral: Array, shapes: Floats, identities: int, shots: Sequence[Sequence[Shot]], settings: CaptureSettings
) -> Array:
    """(I,) of the person, from some frames: all unknowns of each frame, and the identity of them all, in turn."""
    count = len(shapes)
    expressions = count - identities
    share = settings.identity**-2.0 / len(shots)  # the prior of what all frames have counts once
    prior = np.r_[np.full(identities, share), np.full(expressions, settings.expression**-2.0)]
    low = np.r_[np.full(identities, -np.inf), np.zeros(expressions)]
    high = np.r_[np.full(identities, np.inf), np.ones(expressions)]
    model = Model(neutral, shapes, prior, low, high)
    states = [_start(model, each) for each in shots]
    looked = [model.look(each, state) for each, state in zip(shots, states, strict=True)]
    damping = _FIRST_DAMPING
    for _ in range(_ROUNDS):
        steps = _arrow_steps(model, looked, states, identities, damping)
        trials = [state.moved(step, low, high) for state, step in zip(states, steps, strict=True)]
        tried = [model.look(each, state) for each, state in zip(shots, trials, strict=True)]
        before, after = (sum(each.cost for each in some) for some in (looked, tried))
        if after <= before:
            states, looked, damping = trials, tried, max(damping / 10, _LEAST_DAMPING)
            if before - after < _TOLERANCE * before:
                break
        else:
            damping *= 10
            if damping > _HOPELESS:
                break
    return states[0].c[:identities]


def _arrow_steps(
    model: Model, looked: Sequence[Looked], states: Sequence[State], identities: int, damping: float
) -> list[Array]:
    """A step of each frame (6 + K,), with one identity of them all; expressions that would leave their bounds are held
    there."""
    size = POSE + len(model.low)
    shared = np.arange(POSE, POSE + identities)
    own = np.r_[0:POSE, POSE + identities : size]
    schur, right = np.zeros((identities, identities)), np.zeros(identities)
    blocks, arms = [], []
    for each in looked:
        block, arm = each.matrix[np.ix_(own, own)], each.matrix[np.ix_(own, shared)]
        block = block + damping * np.diag(np.diag(block))
        corner = each.matrix[np.ix_(shared, shared)]
        solved = np.linalg.solve(block, np.column_stack([each.gradient[own], arm]))
        schur += corner + damping * np.diag(np.diag(corner)) - arm.T @ solved[:, 1:]
        right += each.gradient[shared] - arm.T @ solved[:, 0]
        blocks.append(block)
        arms.append(arm)
    identity = -np.linalg.solve(schur, right)
    steps = np.empty((len(states), size))
    steps[:, shared] = identity
    for step, each, block, arm, state in zip(steps, looked, blocks, arms, states, strict=True):
        low, high = _bounds(model, state)
        step[own] = bounded_step(
            block[None], (each.gradient[own] + arm @ identity)[None], low[None, own], high[None, own]
        )[0]
    return list(steps)


def _bounds(model: Model, state: State) -> tuple[Array, Array]:
    """(6 + K,) the least and the largest step of a state."""
    free = np.full(POSE, np.inf)
    return np.r_[-free, model.low - state.c], np.r_[free, model.high - state.c]


def _solve(model: Model, shots: Sequence[Shot], state: State, rounds: int) -> tuple[State, Looked]:
    """The best state of one frame, and what it comes to."""
    looked = model.look(shots, state)
    damping = _FIRST_DAMPING
    for _ in range(rounds):
        damped = looked.matrix + damping * np.diag(np.diag(looked.matrix))
        low, high = _bounds(model, state)
        step = bounded_step(damped[None], looked.gradient[None], low[None], high[None])[0]
        trial = state.moved(step, model.low, model.high)
        tried = model.look(shots, trial)
        if tried.cost <= looked.cost:
            fell = looked.cost - tried.cost
            state, looked = trial, tried
            damping = max(damping / 10, _LEAST_DAMPING)
            if fell < _TOLERANCE * looked.cost:
                break
        else:
            damping *= 10
            if damping > _HOPELESS:
                break
    return state, looked


def _start(model: Model, shots: Sequence[Shot]) -> State:
    """The neutral head under a scaled orthographic camera, before the first of the views."""
    shot = shots[0]
    rotation, scale, middle, image = orthographic(
        model.neutral[model.some].astype(np.float64),
        shot.rays[None, model.some].astype(np.float64),
        shot.weight[None, model.some].astype(np.float64),
    )
    away = 1 / scale[0]
    place = np.array([*(image[0] * away), away]) - rotation[0] @ middle[0]
    turn = shot.turn.astype(np.float64)
    return State(turn.T @ rotation[0], turn.T @ (place - shot.shift), np.zeros(len(model.flat)))


def _shots(views: Sequence[View], frame: int, settings: CaptureSettings) -> list[Shot]:
    """What the views saw in one frame; those without the head are left out."""
    out = []
    for view in views:
        xy, sigma = np.asarray(view.xy_px[frame], np.float64), np.asarray(view.sigma_px[frame], np.float64)
        if not np.isfinite(xy).all():
            continue
        seen = np.isfinite(sigma)
        if seen.sum() < LEAST_POINTS:
            continue
        middle = np.median(sigma[seen])
        weight = (middle / np.maximum(sigma, _LEAST_SIGMA * middle)) ** 2
        count = seen.sum() / (1 + seen.sum() / settings.alike)
        weight *= count / weight.sum() / settings.noise_mm**2
        rays = (xy - view.principal_px[frame]) / view.focal_px[frame]
        out.append(
            Shot(
                rays.astype(np.float32),
                weight.astype(np.float32),
                view.R_view_world.astype(np.float32),
                view.t_view_world_mm.astype(np.float32),
                float(view.focal_px[frame]),
            )
        )
    return out


def _checked(points: Points, views: Sequence[View]) -> int:
    """How many frames there are.

    Raises:
        AnymarkError: shapes disagree.
    """
    if not views:
        raise AnymarkError("capture: at least one view is needed")
    if len(points) < LEAST_POINTS:
        raise AnymarkError(f"capture: {len(points)} landmarks; at least {LEAST_POINTS} are needed")
    count = len(views[0].xy_px)
    for i, view in enumerate(views):
        wanted = {"xy_px": (count, len(points), 2), "sigma_px": (count, len(points))}
        wanted |= {"focal_px": (count,), "principal_px": (count, 2)}
        for key, shape in wanted.items():
            if np.shape(getattr(view, key)) != shape:
                raise AnymarkError(f"capture: view {i}: {key} must be {shape}, not {np.shape(getattr(view, key))}")
    return count
