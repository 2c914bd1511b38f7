"""Lenses bend pictures, and what bends can be unbent."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.engine.lens import Lens


@pytest.mark.parametrize("k", [-0.12, -0.05, 0.1])
def test_undistort_is_the_inverse_of_distort(k: float) -> None:
    lens = Lens(k, 200)
    xy = np.random.default_rng(0).uniform(0, 200, (500, 2))
    assert np.abs(lens.distort(lens.undistort(xy)) - xy).max() < 0.02


def test_the_middle_and_the_corners_stay() -> None:
    lens = Lens(-0.1, 200)
    fixed = np.array([[100.0, 100.0], [0.0, 0.0], [200.0, 0.0], [200.0, 200.0]])
    assert np.abs(lens.distort(fixed) - fixed).max() < 1e-9


def test_a_barrel_bows_straight_lines_outwards() -> None:
    edge = np.array([[20.0, 20.0], [100.0, 20.0], [180.0, 20.0]])
    bent = Lens(-0.1, 200).distort(edge)
    assert bent[1, 1] < bent[0, 1] == pytest.approx(bent[2, 1])


def test_nothing_folds_back_far_outside() -> None:
    lens = Lens(-0.12, 200)
    along = np.stack([np.linspace(100, 2000, 400), np.full(400, 100.0)], 1)
    assert (np.diff(lens.distort(along)[:, 0]) > 0).all()
