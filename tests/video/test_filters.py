"""Filters over time: laws."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.video import filters
from anymark.video.filters import OneEuro, smooth_both_ways

RNG = np.random.default_rng(0)


def both_ways(time_s: np.ndarray, values: np.ndarray, noise: np.ndarray, block: int = 256) -> np.ndarray:
    out = np.full_like(values, np.nan)

    def write(first: int, smooth: np.ndarray) -> None:
        out[first : first + len(smooth)] = smooth

    smooth_both_ways(time_s, lambda first, end: (values[first:end], noise[first:end]), write, block)
    return out


def one_euro(time_s: np.ndarray, xy: np.ndarray, sigma: np.ndarray, px_per_mm: float = 1.0) -> np.ndarray:
    one, filtered = OneEuro(), []
    for time, place, unsure in zip(time_s, xy, sigma, strict=True):
        gain = one.gain(float(time), place, unsure, px_per_mm)[:, None]
        filtered.append(place if not filtered else filtered[-1] + gain * (place - filtered[-1]))
    return np.array(filtered)


def uneven(frames: int) -> np.ndarray:
    return np.cumsum(RNG.uniform(0.01, 0.1, frames))


def samples(frames: int, points: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return uneven(frames), RNG.normal(0, 3, (frames, points, 2)), RNG.uniform(0.05, 1, (frames, points))


def least_squares(time_s: np.ndarray, values: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The same estimate written down at once: places and velocities (T, 2) of one point with one value."""
    frames = len(time_s)
    rows, right = [], []
    for k in range(frames):
        row = np.zeros(2 * frames)
        row[2 * k] = 1 / noise[k]
        rows.append(row)
        right.append(values[k] / noise[k])
    for k, dt in enumerate(np.diff(time_s)):
        spread = filters.MOTION * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        white = np.linalg.inv(np.linalg.cholesky(spread))
        pair = np.zeros((2, 2 * frames))
        pair[:, 2 * k : 2 * k + 2] = -white @ [[1, dt], [0, 1]]
        pair[:, 2 * k + 2 : 2 * k + 4] = white
        rows.extend(pair)
        right.extend([0, 0])
    return np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0][::2]


@pytest.mark.parametrize("block", [2, 3, 7, 16, 17, 256])
def test_both_ways_is_the_least_squares_estimate_in_blocks_of_any_size(block: int) -> None:
    time_s, values, noise = samples(17)
    smooth = both_ways(time_s, values, noise, block)
    for point in range(3):
        for axis in range(2):
            expected = least_squares(time_s, values[:, point, axis], noise[:, point])
            np.testing.assert_allclose(smooth[:, point, axis], expected, atol=1e-9)


def test_both_ways_knows_no_direction_of_time() -> None:
    time_s, values, noise = samples(40)
    backwards = both_ways(-time_s[::-1], values[::-1], noise[::-1])[::-1]
    np.testing.assert_allclose(both_ways(time_s, values, noise), backwards, atol=1e-10)


@pytest.mark.parametrize("frames", [1, 2, 3, 50])
def test_both_ways_keeps_what_stands_still_or_moves_straight(frames: int) -> None:
    time_s, _, noise = samples(frames)
    start, speed = RNG.normal(0, 100, (3, 2)), RNG.normal(0, 100, (3, 2))
    straight = start + time_s[:, None, None] * speed
    np.testing.assert_allclose(both_ways(time_s, straight, noise), straight, atol=1e-7)


def test_both_ways_moves_and_scales_with_its_values() -> None:
    time_s, values, noise = samples(30)
    moved = both_ways(time_s, 7 * values + 1000, noise)
    np.testing.assert_allclose(moved, 7 * both_ways(time_s, values, noise) + 1000, atol=1e-8)


def test_both_ways_lessens_noise_and_more_so_of_unsure_points() -> None:
    time_s = np.arange(600) / 24
    sigma = np.array([0.1, 0.4, 1.6])
    jitter = RNG.normal(size=(600, 3, 2)) * sigma[:, None]
    left = both_ways(time_s, jitter, np.tile(sigma, (600, 1))).std((0, 2)) / sigma
    assert left[0] > left[1] > left[2]
    assert left[1] < 0.7
    assert left[2] < 0.55


def test_both_ways_does_not_lag_where_the_one_euro_filter_does() -> None:
    time_s = np.arange(120) / 24
    swing = (6 * np.sin(2 * np.pi * 0.5 * time_s))[:, None, None] * np.ones((1, 1, 2))
    sigma = np.full((120, 1), 1.5)
    middle = slice(24, 96)

    def lag(smooth: np.ndarray) -> float:
        """In frames, from how much the result looks like the swing's slope."""
        slope = np.gradient(swing[:, 0, 0])[middle]
        return float(-(smooth - swing)[middle, 0, 0] @ slope / (slope @ slope))

    assert abs(lag(both_ways(time_s, swing, 0.25 * sigma))) < 0.01
    assert 0.1 < lag(one_euro(time_s, swing, sigma)) < 2


def test_both_ways_bridges_gaps_with_straight_motion() -> None:
    time_s = np.concatenate([np.arange(10), np.arange(20, 30)]) / 24
    straight = (40 * time_s)[:, None, None]
    np.testing.assert_allclose(both_ways(time_s, straight, np.ones((20, 1))), straight, atol=1e-8)


def test_many_frames_stay_finite() -> None:
    time_s = np.cumsum(RNG.uniform(0.001, 0.5, 5_000))
    smooth = both_ways(time_s, RNG.normal(size=(5_000, 1, 1)), np.full((5_000, 1), 1e-6))
    assert np.isfinite(smooth).all()
    assert np.abs(smooth).max() < 6


def test_one_euro_keeps_what_stands_still() -> None:
    still = np.tile(RNG.normal(0, 100, (1, 3, 2)), (20, 1, 1))
    np.testing.assert_array_equal(one_euro(uneven(20), still, np.ones((20, 3))), still)


def test_one_euro_takes_the_first_frame_as_it_is() -> None:
    time_s, xy, sigma = samples(5)
    np.testing.assert_array_equal(one_euro(time_s, xy, sigma)[0], xy[0])


def test_one_euro_does_not_look_ahead() -> None:
    time_s, xy, sigma = samples(20)
    changed = xy.copy()
    changed[12:] += 100
    np.testing.assert_array_equal(one_euro(time_s, xy, sigma)[:12], one_euro(time_s, changed, sigma)[:12])


def test_one_euro_moves_turns_and_scales_with_its_points() -> None:
    time_s, xy, sigma = samples(30)
    plain = one_euro(time_s, xy, sigma)
    turn = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    np.testing.assert_allclose(one_euro(time_s, xy @ turn + 50, sigma), plain @ turn + 50, atol=1e-9)
    np.testing.assert_allclose(one_euro(time_s, 5 * xy, 5 * sigma, 5.0), 5 * plain, atol=1e-9)


def test_one_euro_lessens_noise_and_more_so_of_unsure_points() -> None:
    time_s = np.arange(600) / 24
    jitter = RNG.normal(size=(600, 1, 2)) * 0.3 * np.ones((1, 3, 1))
    sigma = np.tile([0.5, 1.5, 4.5], (600, 1))
    left = one_euro(time_s, jitter, sigma).std((0, 2)) / 0.3
    assert left[0] > left[1] > left[2]
    assert left[1] < 0.7


def test_one_euro_lags_less_in_fast_motion() -> None:
    time_s = np.arange(200) / 24
    speeds = np.array([3.0, 30.0, 300.0])
    line = time_s[:, None, None] * speeds[:, None] * np.array([1.0, 0.0])
    behind = (line - one_euro(time_s, line, np.full((200, 3), 1.5)))[-1, :, 0] / speeds
    assert behind[0] > behind[1] > behind[2] > 0


@pytest.mark.parametrize("speed", [0.0, 30.0])
def test_one_euro_cares_for_time_and_not_for_frames(speed: float) -> None:
    """A step is followed as far after half a second, however many frames that took."""
    ends = []
    for frames in (20, 80, 320):
        time_s = np.concatenate([[0.0], 1.0 + np.linspace(0, 0.5, frames + 1)[1:]])
        xy = np.tile(np.array([[[1.0, 0.0]]]), (frames + 1, 1, 1)) + speed * time_s[:, None, None]
        xy[0] -= [1, 0]
        ends.append(one_euro(time_s, xy, np.full((frames + 1, 1), 1.5))[-1, 0, 0])
    half_a_step = speed * 0.5 / 20 / 2
    np.testing.assert_allclose(ends, ends[-1], atol=0.02 + half_a_step)


def test_sigma_counts_within_bounds() -> None:
    time_s, xy, _ = samples(20)
    for nothing, little in ((0.0, 1e-3), (1e6, 100.0)):
        alike = [one_euro(time_s, xy, np.full((20, 3), sigma)) for sigma in (nothing, little)]
        np.testing.assert_array_equal(*alike)
