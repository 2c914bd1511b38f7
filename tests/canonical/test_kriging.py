from __future__ import annotations

import numpy as np
import pytest

from anymark.canonical import Layout, load_layout
from anymark.canonical.kriging import extension_weights


@pytest.fixture(scope="module")
def layout() -> Layout:
    return load_layout("mediapipe478")


@pytest.fixture(scope="module")
def ears() -> Layout:
    return load_layout("ears")


def test_any_affine_image_of_the_head_extends_exactly(layout: Layout, ears: Layout) -> None:
    affine, offset = np.array([[0.5, -0.1], [0.2, -0.7], [0.3, 0.05]]), np.array([100.0, 80.0])
    weights = extension_weights(layout.points_mm, ears.points_mm)
    assert weights.sum(1) == pytest.approx(np.ones(len(ears)), abs=1e-4)
    got = weights @ (layout.points_mm @ affine + offset)
    assert got == pytest.approx(ears.points_mm @ affine + offset, abs=0.05)


def test_known_points_keep_their_own_landmarks(layout: Layout) -> None:
    rng = np.random.default_rng(0)
    bump = np.exp(-np.sum((layout.points_mm - layout.points_mm[61]) ** 2, 1) / 20**2)  # a grin on one side
    landmarks = layout.points_mm[:, :2] + bump[:, None] * rng.normal(0, 10, 2)
    got = extension_weights(layout.points_mm, layout.points_mm) @ landmarks
    assert np.abs(got - landmarks).max() < 1.0


def test_what_moves_one_corner_of_the_mouth_leaves_the_ears_alone(layout: Layout, ears: Layout) -> None:
    bump = np.exp(-np.sum((layout.points_mm - layout.points_mm[61]) ** 2, 1) / 20**2) * 10
    moved = extension_weights(layout.points_mm, ears.points_mm) @ bump
    assert np.abs(moved).max() < 2.0
