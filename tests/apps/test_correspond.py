"""Correspondence through the canonical head, on maps that are exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anymark.apps.correspond import Finder, in_ball, in_volume, match, reference_point, warp
from anymark.canonical import CanonicalHead
from anymark.canonical.frame import mm_to_uvw
from anymark.detect.dense import DenseMap
from anymark.detect.visibility import Surface
from anymark.errors import AnymarkError
from tests.dense_maps import exact_map, turned_camera

FRONT, ASIDE = turned_camera(0.0), turned_camera(25.0)
SIZE = (256, 256)


@pytest.fixture(scope="module")
def front() -> DenseMap:
    return exact_map(FRONT, SIZE)


@pytest.fixture(scope="module")
def aside() -> DenseMap:
    return exact_map(ASIDE, SIZE)


@pytest.fixture(scope="module")
def seen() -> np.ndarray:
    """(N, 3) points of the face that both cameras see well."""
    head = CanonicalHead.load()
    points = head.sample(600, ("face",)).points_mm.astype(np.float32)
    clear = np.ones(len(points), bool)
    for camera in (FRONT, ASIDE):
        clear &= Surface(lambda: head.vertices_mm, camera, 1.0).visible(points, points) > 0.5
    return points[clear & (points[:, 2] > 70) & (np.abs(points[:, 0]) < 50)]


def test_points_are_found_between_the_pixels(front: DenseMap, seen: np.ndarray) -> None:
    found = Finder(front)(seen)
    away = np.linalg.norm(found.xy_px - FRONT.project(seen), axis=1)
    rough = np.linalg.norm(Finder(front)(seen, refine=False).xy_px - FRONT.project(seen), axis=1)
    assert np.median(away) < 0.15
    assert np.median(away) < np.median(rough) / 2
    assert found.near().all()


def test_points_that_are_not_there_are_said_to_be_far(front: DenseMap) -> None:
    back_of_the_head = np.array([[0.0, 20.0, -90.0]])
    found = Finder(front)(back_of_the_head)
    assert not found.near()[0]
    assert found.gap_mm[0] > 50


def test_finding_is_the_inverse_of_the_map(front: DenseMap, seen: np.ndarray) -> None:
    xy = FRONT.project(seen)
    back = Finder(front)(front.at(xy).points_mm)
    assert np.median(np.linalg.norm(back.xy_px - xy, axis=1)) < 0.1


def test_matches_are_the_same_points_of_the_head(front: DenseMap, aside: DenseMap) -> None:
    found = match(front, aside, step=3)
    assert len(found) > 300
    away = np.linalg.norm(ASIDE.project(found.points_mm) - found.second_px, axis=1)
    assert np.median(away) < 0.3
    assert np.quantile(away, 0.95) < 2.0
    swapped = match(aside, front, step=3)
    assert np.median(np.linalg.norm(FRONT.project(swapped.points_mm) - swapped.second_px, axis=1)) < 0.3


def test_mutual_matches_are_some_of_all(front: DenseMap, aside: DenseMap) -> None:
    one_way, mutual = match(front, aside, mutual=False, most_mm=1e9, step=4), match(front, aside, step=4)
    assert len(mutual) < len(one_way)
    assert mutual.gap_mm.max() <= 15


def test_a_head_warped_to_itself_is_itself(front: DenseMap) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    same = warp(front, front).apply(photo, np.zeros_like(photo))
    inside = np.zeros((256, 256), bool)
    inside[100:160, 100:156] = True
    assert np.abs(same.astype(int) - photo)[inside].mean() < 6
    assert (same[:5, :5] == 0).all()  # where the target has no head, it stays


def test_a_warp_takes_the_colour_of_the_same_point(front: DenseMap, aside: DenseMap) -> None:
    coloured = np.clip((front.on_photo().points_mm + 130) / 260 * 255, 0, 255).astype(np.uint8)
    carried = warp(front, aside).apply(coloured, np.zeros_like(coloured))
    nose = ASIDE.project(np.array([0.0, -2.0, 121.0]))
    column, row = np.floor(nose).astype(int)
    want = (np.array([0.0, -2.0, 121.0]) + 130) / 260 * 255
    assert np.abs(carried[row, column] - want).max() < 12


def test_a_clicked_point_is_the_mean_of_its_references(front: DenseMap, aside: DenseMap) -> None:
    vertices = CanonicalHead.load().vertices_mm
    mole = vertices[np.linalg.norm(vertices - [-32, -18, 99], axis=1).argmin()].astype(float)
    clicks = [(front, FRONT.project(mole)), (aside, ASIDE.project(mole))]
    assert np.linalg.norm(reference_point(clicks) - mole) < 1.0
    with pytest.raises(AnymarkError, match=r"click 1: .* not on the head"):
        reference_point([clicks[0], (aside, np.array([2.0, 2.0]))])
    with pytest.raises(AnymarkError, match="no clicks"):
        reference_point([])


def test_regions_are_volumes_of_the_cube(front: DenseMap) -> None:
    nose = np.array([0.0, -2.0, 121.0])
    ball = in_ball(front.points_mm, nose, 15.0)
    assert ball.any()
    assert (np.linalg.norm(front.points_mm[ball] - nose, axis=-1) <= 15.01).all()
    upper = np.zeros((20, 20, 20), bool)
    upper[:, 10:] = True
    inside = in_volume(front.points_mm, upper)
    np.testing.assert_array_equal(inside, mm_to_uvw(front.points_mm)[..., 1] >= 0.5)
    with pytest.raises(AnymarkError, match="radius 0"):
        in_ball(front.points_mm, nose, 0)
    with pytest.raises(AnymarkError, match="volume"):
        in_volume(front.points_mm, upper[:3])


def test_without_a_head_there_is_nothing_to_find(front: DenseMap) -> None:
    empty = replace(front, head=np.zeros_like(front.head))
    for work in (lambda: Finder(empty), lambda: match(front, empty), lambda: warp(front, empty)):
        with pytest.raises(AnymarkError, match="no head in the picture"):
            work()
