"""Filters over time for many points at once, for frames at any times: one that runs along, one that looks both ways.

Both work in millimetres of the head, so that neither the size of a picture nor that of a head in it changes what they
do; values themselves may be in any unit, pixels among them. Neither makes up values for frames that have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CUTOFF_HZ = 0.7
"""What moves more slowly than so many times a second passes the one-euro filter, where nothing moves fast."""
CUTOFF_RISE = 0.12
"""Cutoff gained for each millimetre a second that a point moves, Hz: less smoothing, so less lag, in fast motion."""
SPEED_CUTOFF_HZ = 6.0
"""Cutoff of the estimate of that speed. All three are chosen on 40 rendered sequences of people who are trained on: the
steadiest clips at which fast motion is followed no worse than without a filter."""
USUAL_SIGMA_MM = 1.5
"""Points with this sigma get the cutoff as it is; surer ones a higher one, in proportion, others a lower one."""
MOST_FACTOR = 4.0
"""Sigma changes the cutoff by at most this factor, either way."""

MOTION = 6000.0
"""How freely points move: spectral density of their acceleration, mm^2/s^3. With `JITTER` of the usual sigma, motions
of up to 5 Hz pass the offline smoother at 24 frames a second."""
JITTER = 0.25
"""The part of a landmark's sigma that changes from frame to frame; the rest is a mistake that stays, which no filter
can tell from the head's shape."""

BLOCK = 256
"""Frames that the offline smoother works on at once."""


class OneEuro:
    """One-euro filter (Casiez et al. 2012) of N points whose cutoff falls with their sigma as it rises with speed.

    It gives the gain of each point: how far its filtered value goes towards the new one, 0..1. Whoever calls it applies
    the gain to all that belongs to the point. Speeds are those of the points as they come, not as they are filtered,
    and gains are exact for a time step of any length: frames at other times filter alike.
    """

    def __init__(self) -> None:
        self._time_s = 0.0
        self._xy: Array | None = None
        self._velocity = np.zeros(0)  # (N, 2) pixels a second, filtered

    def gain(self, time_s: float, xy_px: npt.ArrayLike, sigma_px: npt.ArrayLike, px_per_mm: float) -> Array:
        """(N,) gains for points (N, 2) with sigmas (N,) at a time later than the last one; 1 for the first."""
        xy, sigma = np.asarray(xy_px, np.float64), np.asarray(sigma_px, np.float64)
        if self._xy is None:
            gain, self._velocity = np.ones(len(xy)), np.zeros_like(xy)
        else:
            dt = time_s - self._time_s
            believed = _share(np.full(1, SPEED_CUTOFF_HZ), dt)
            self._velocity = self._velocity + believed * ((xy - self._xy) / dt - self._velocity)
            factor = np.clip(USUAL_SIGMA_MM * px_per_mm / np.maximum(sigma, 1e-12), 1 / MOST_FACTOR, MOST_FACTOR)
            speed_mm = np.linalg.norm(self._velocity, axis=1) / px_per_mm
            gain = _share(factor * (CUTOFF_HZ + CUTOFF_RISE * speed_mm), dt)
        self._time_s, self._xy = time_s, xy
        return gain


def _share(cutoff_hz: Array, dt: float) -> Array:
    """How far a first-order low-pass goes towards a value that holds for dt seconds."""
    return -np.expm1(-2 * np.pi * cutoff_hz * dt)


class _State(NamedTuple):
    """What is known of N points with D values each, given the frames so far: Gaussian, values independent."""

    x: Array
    """(N, D) places."""
    v: Array
    """(N, D) velocities, a second."""
    pxx: Array
    """(N,) variances and covariance of a place and its velocity, in millimetres; the same for all D."""
    pxv: Array
    pvv: Array


def smooth_both_ways(
    time_s: Array,
    read: Callable[[int, int], tuple[Array, Array]],
    write: Callable[[int, Array], None],
    block: int = BLOCK,
) -> None:
    """Rauch-Tung-Striebel smoother of points that keep their velocity but for white acceleration of density `MOTION`.

    Nothing is supposed of where they start and how fast, so time runs either way alike and straight motion is kept as
    it is. Each point's result is the one of all frames; memory is that of a block of frames and a state a block.

    Args:
        time_s: (T,) increasing.
        read: Called with a range of frames, first and last + 1, gives values (n, N, D) in any unit, and the noise
            (n, N) of each point in millimetres, a standard deviation. A range may be asked for twice.
        write: Called with a first frame and what became of the values from there on; blocks come last first.
        block: Frames of a block.
    """
    frames = len(time_s)
    if frames < 3:  # a place and a velocity explain two frames altogether
        write(0, read(0, frames)[0])
        return
    starts = list(range(0, frames, max(block, 2)))  # the first one holds the two frames that a state is made of
    ends = [*starts[1:], frames]
    steps = np.diff(time_s)
    before: list[_State | None] = [None]  # the state that each block starts from
    for first, end in zip(starts[:-1], ends[:-1], strict=True):
        before.append(_forward(before[-1], steps, first, *read(first, end))[-1])
    later: _State | None = None  # smoothed, of the frame after the block
    for first, end, state in zip(starts[::-1], ends[::-1], before[::-1], strict=True):
        values, noise = read(first, end)
        states = _forward(state, steps, first, values, noise)
        smooth = np.empty_like(values)
        offset = end - first - len(states)  # 1 in the first block, whose first frame has no state of its own
        for k in range(end - 1, first + offset - 1, -1):
            here = states[k - first - offset]
            later = here if later is None else _backward(here, later, steps[k])
            smooth[k - first] = later.x
        if offset and later is not None:
            back = later.x - steps[0] * later.v
            wander = MOTION * steps[0] ** 3 / 3
            smooth[0] = back + (wander / (wander + noise[0] ** 2))[:, None] * (values[0] - back)
        write(first, smooth)


def _forward(state: _State | None, steps: Array, first: int, values: Array, noise: Array) -> list[_State]:
    """The states after each frame of a block; without one to start from, after each but the first."""
    states: list[_State] = []
    for k in range(len(values)):
        if state is None:
            if k:
                state = _of_two(steps[0], values[:2], noise[:2] ** 2)
                states.append(state)
            continue
        state = _updated(_predicted(state, steps[first + k - 1]), values[k], noise[k] ** 2)
        states.append(state)
    return states


def _of_two(dt: float, values: Array, variance: Array) -> _State:
    """The state at the second of two frames, with nothing known before: exact."""
    wander = MOTION * dt**3 / 3
    pvv = (variance.sum(0) + wander) / dt**2
    return _State(values[1], (values[1] - values[0]) / dt, variance[1], variance[1] / dt, pvv)


def _predicted(state: _State, dt: float) -> _State:
    pxx = state.pxx + 2 * dt * state.pxv + dt**2 * state.pvv + MOTION * dt**3 / 3
    pxv = state.pxv + dt * state.pvv + MOTION * dt**2 / 2
    return _State(state.x + dt * state.v, state.v, pxx, pxv, state.pvv + MOTION * dt)


def _updated(state: _State, values: Array, variance: Array) -> _State:
    to_x, to_v = state.pxx / (state.pxx + variance), state.pxv / (state.pxx + variance)
    news = values - state.x
    return _State(
        state.x + to_x[:, None] * news,
        state.v + to_v[:, None] * news,
        (1 - to_x) * state.pxx,
        (1 - to_x) * state.pxv,
        state.pvv - to_v * state.pxv,
    )


def _backward(here: _State, later: _State, dt: float) -> _State:
    """A smoothed state from the one a frame later; its variances are not needed and stay those of before."""
    ahead = _predicted(here, dt)
    area = ahead.pxx * ahead.pvv - ahead.pxv**2
    a, b = here.pxx + dt * here.pxv, here.pxv + dt * here.pvv  # covariance of here's place and velocity with there's
    gain_xx = (a * ahead.pvv - here.pxv * ahead.pxv) / area
    gain_xv = (here.pxv * ahead.pxx - a * ahead.pxv) / area
    gain_vx = (b * ahead.pvv - here.pvv * ahead.pxv) / area
    gain_vv = (here.pvv * ahead.pxx - b * ahead.pxv) / area
    dx, dv = later.x - ahead.x, later.v - ahead.v
    return here._replace(
        x=here.x + gain_xx[:, None] * dx + gain_xv[:, None] * dv,
        v=here.v + gain_vx[:, None] * dx + gain_vv[:, None] * dv,
    )
