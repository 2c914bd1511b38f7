"""The round trip: where it closes, points are refined and seen; where it does not, they are left alone and hidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anymark.canonical import Layout, load_layout
from anymark.detect.dense import DenseMap, RoundTrip
from anymark.detect.landmarks import Landmarks
from anymark.detect.round_trip import Refiner, gaps, refined, uncovered
from tests.apps.heads import landmarks as landmarks_of
from tests.dense_maps import exact_map, turned_camera

CAMERA = turned_camera(0.0)
WEIGHTS = RoundTrip()


@pytest.fixture(scope="module")
def dense() -> DenseMap:
    return exact_map(CAMERA, (256, 256))


def landmarks(shift_px: float = 0.0) -> tuple[Landmarks, np.ndarray, np.ndarray]:
    """Points of the face that the camera sees well, off by so much; where they are; and which they are."""
    points = load_layout("dense-500").points_mm
    points = points[(points[:, 2] > 75) & (np.abs(points[:, 0]) < 40) & (points[:, 1] > -60)]
    found = landmarks_of(CAMERA, Layout("some", points), sigma_px=2.0, uncovered=0.9)
    way = np.random.default_rng(0).normal(0, 1, found.xy_px.shape)
    way *= shift_px / np.linalg.norm(way, axis=1, keepdims=True)
    return replace(found, xy_px=(found.xy_px + way).astype(np.float32)), found.xy_px, points


def test_exact_landmarks_close_and_stay(dense: DenseMap) -> None:
    found, true, points = landmarks()
    over, gap_mm, head = gaps(found, points, dense)
    assert np.median(gap_mm) < 0.3
    assert np.median(over) < 0.3
    assert head.min() > 0.9
    moved = refined(found, points, dense, WEIGHTS)
    assert np.linalg.norm(moved.xy_px - true, axis=1).mean() < 0.3


def test_landmarks_that_are_off_come_back(dense: DenseMap) -> None:
    found, true, points = landmarks(shift_px=2.0)
    moved = refined(found, points, dense, WEIGHTS)
    away = np.linalg.norm(moved.xy_px - true, axis=1)
    assert away.mean() < 0.7
    assert (moved.sigma_px < found.sigma_px).all()
    np.testing.assert_array_equal(moved.xyz_mm, found.xyz_mm)


def test_the_surer_of_the_two_has_the_say(dense: DenseMap) -> None:
    found, true, points = landmarks(shift_px=2.0)
    doubtful = replace(dense, sigma_mm=np.full_like(dense.sigma_mm, 50.0))
    stays = refined(found, points, doubtful, WEIGHTS)
    assert np.quantile(np.linalg.norm(stays.xy_px - found.xy_px, axis=1), 0.9) < 0.1
    distrusted = refined(found, points, dense, RoundTrip(trust=50.0))
    assert np.quantile(np.linalg.norm(distrusted.xy_px - found.xy_px, axis=1), 0.9) < 0.1
    assert np.linalg.norm(refined(found, points, dense, WEIGHTS).xy_px - true, axis=1).mean() < 0.7


def test_what_is_covered_is_hidden_and_not_moved(dense: DenseMap) -> None:
    found, _, points = landmarks(shift_px=1.0)
    under = found.xy_px[:, 0] < 128
    head = dense.head.copy()
    head[:, : dense.side // 2] = 0  # something lies over that half
    covered = replace(dense, head=head)
    seen = uncovered(found, points, covered, WEIGHTS)
    inner = np.abs(found.xy_px[:, 0] - 128) > 4
    assert seen[under & inner].max() < seen[~under & inner].min()
    moved = refined(found, points, covered, WEIGHTS)
    np.testing.assert_allclose(moved.xy_px[under & inner], found.xy_px[under & inner], atol=0.05)


def test_where_the_map_shows_another_part_nothing_moves(dense: DenseMap) -> None:
    found, _, points = landmarks()
    strange = replace(dense, points_mm=dense.points_mm + np.float32(60))
    moved = refined(found, points, strange, WEIGHTS)
    assert np.linalg.norm(moved.xy_px - found.xy_px, axis=1).max() < 0.2
    assert moved.uncovered.max() < found.uncovered.min()


def test_a_head_is_asked_with_its_refiner(dense: DenseMap) -> None:
    found, _, points = landmarks(shift_px=1.5)
    asked = Refiner(dense, WEIGHTS)(found, points)
    np.testing.assert_array_equal(asked.xy_px, refined(found, points, dense, WEIGHTS).xy_px)
