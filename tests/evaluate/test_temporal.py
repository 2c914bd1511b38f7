"""Steadiness on tracks worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.evaluate.temporal import acceleration, flicker, high_pass, velocity

SQUARE = np.array([[0.0, 0.0], [256.0, 0.0], [256.0, 256.0], [0.0, 256.0]])
"""Points whose box has the area of flicker's face."""


def still(frames: int) -> np.ndarray:
    return np.tile(SQUARE, (frames, 1, 1))


def test_flicker_is_in_hundredths_of_a_pixel_of_a_face_of_256():
    found = still(2)
    found[1] += (3, 4)
    assert flicker(found, still(2)) == pytest.approx(100 * 5)
    assert flicker(2 * found, 2 * still(2)) == pytest.approx(100 * 5)  # of any size


def test_flicker_is_the_root_of_mean_squares_over_points_and_frames():
    found = still(3)
    found[1, 0] += (1, 0)  # point 0 goes 1 there and 2 on the other way: 1, 2 of eight changes
    found[2, 0] += (-1, 0)
    assert flicker(found, still(3)) == pytest.approx(100 * np.sqrt((1 + 4) / 8))


def test_flicker_divides_by_the_box_of_the_later_frame():
    labels = still(2)
    labels[1] *= (4, 1)  # an area four times as large: pixels count half
    found = labels.copy()
    found[1] += (3, 4)
    assert flicker(found, labels) == pytest.approx(50 * 5)


def test_what_moves_with_its_label_does_not_flicker_nor_does_a_constant_offset():
    rng = np.random.default_rng(0)
    labels = still(6) + rng.normal(0, 20, (6, 1, 2))
    assert flicker(labels + rng.normal(0, 5, (4, 2)), labels) == pytest.approx(0, abs=1e-9)


def test_frames_that_were_missed_are_left_out():
    found = still(5)
    found[1] += (3, 4)
    found[3] = np.nan
    assert flicker(found, still(5)) == pytest.approx(100 * 5)  # 0 -> 1 -> 2, then nothing to compare
    assert velocity(found, 10.0) == pytest.approx(0.5)
    assert acceleration(found, 10.0) == pytest.approx(1.0)


@pytest.mark.parametrize("frames", [0, 1])
def test_no_two_frames_have_no_flicker(frames: int):
    assert np.isnan(flicker(still(frames), still(frames)))
    assert np.isnan(velocity(still(frames), 1.0))
    assert np.isnan(acceleration(still(frames), 1.0))
    assert np.isnan(high_pass(still(frames), 1.0))


def test_velocity_and_acceleration_by_hand():
    x = np.array([0.0, 1.0, 4.0, 9.0])
    track = np.stack([x, np.zeros(4)], 1)[:, None]
    assert velocity(track, 2.0) == pytest.approx((1 + 3 + 5) / 3 / 2)
    assert acceleration(track, 2.0) == pytest.approx(2 / 2)
    steps = np.arange(6.0)[:, None, None] * (3, 4)
    assert velocity(steps, 10.0) == pytest.approx(0.5)
    assert acceleration(steps, 10.0) == pytest.approx(0, abs=1e-12)


def test_high_pass_lets_no_smooth_motion_through():
    t = np.arange(20.0)
    smooth = np.stack([3 + 2 * t - 0.1 * t**2, -5 * t + 0.3 * t**2], 1)[:, None]
    assert high_pass(smooth, 1.0) == pytest.approx(0, abs=1e-9)


def test_high_pass_of_a_blip_by_hand():
    # The parabola through five frames takes 17/35 of a blip in its middle: 18/35 of it is left.
    track = np.zeros((5, 1, 2))
    track[2, 0] = (3, 4)
    assert high_pass(track, 10.0, frames=5) == pytest.approx(0.5 * 18 / 35)


def test_high_pass_of_white_noise_is_the_noise_less_what_parabolas_take():
    noise = np.random.default_rng(0).normal(0, 2, (4000, 3, 2))
    # seven frames: 1/3 of the variance is the parabola's; two coordinates
    assert high_pass(noise, 4.0) == pytest.approx(np.sqrt(2 * (1 - 1 / 3)) * 2 / 4, rel=0.02)


def test_high_pass_leaves_out_windows_with_a_miss():
    track = np.zeros((13, 1, 2))
    track[6] = np.nan
    assert np.isnan(high_pass(track, 1.0, frames=9))
    assert high_pass(track, 1.0, frames=5) == 0


@pytest.mark.parametrize("frames", [3, 6, 0])
def test_high_pass_needs_an_odd_number_of_frames(frames: int):
    with pytest.raises(ValueError, match=f"not to {frames}"):
        high_pass(np.zeros((20, 1, 2)), 1.0, frames=frames)
