"""Measurements of dense maps: who carries pixels, and the numbers that are made of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anymark.canonical.files import HEAD, load_layout
from anymark.detect.camera import Camera
from anymark.detect.detector import Head, Points
from anymark.detect.landmarks import Landmarks
from anymark.evaluate.carriers import ByDense, ByDescriptors, ByQuery, Looked, carriers, nearest_triangles
from anymark.evaluate.correspondence import Carried, distances, pair_details
from tests.apps.heads import landmarks
from tests.dense_maps import exact_map, turned_camera

FRONT, ASIDE = turned_camera(0.0), turned_camera(20.0)


class Asked(Head):
    """A head whose vertices lie where the camera sees them."""

    def __init__(self, camera: Camera) -> None:
        object.__setattr__(self, "seen_by", camera)

    def query(self, points: Points) -> Landmarks:
        return landmarks(self.seen_by, load_layout(HEAD))  # type: ignore[attr-defined]


def looked(camera: Camera) -> Looked:
    dense = exact_map(camera, (256, 256))
    colours = np.clip((dense.on_photo().points_mm + 130) / 260 * 255, 0, 255).astype(np.uint8)
    return Looked(colours, Asked(camera), dense)


@pytest.fixture(scope="module")
def pair() -> tuple[Looked, Looked, np.ndarray, np.ndarray]:
    points = load_layout("dense-500").points_mm
    points = points[(points[:, 2] > 80) & (np.abs(points[:, 0]) < 35) & (np.abs(points[:, 1]) < 60)]
    return looked(FRONT), looked(ASIDE), FRONT.project(points), ASIDE.project(points)


@pytest.mark.parametrize(("who", "most_px"), [(ByDense(), 0.5), (ByQuery(), 4.0)])
def test_pixels_are_carried_to_the_same_points(who, most_px: float, pair) -> None:
    first, second, start, want = pair
    assert np.median(distances(who.carry(first, second, start), want)) < most_px


def test_a_map_that_shows_no_head_misses_all_points(pair) -> None:
    first, second, start, _ = pair
    blank = replace(second, dense=replace(second.dense, head=np.zeros_like(second.dense.head)))
    assert np.isinf(distances(ByDense().carry(first, blank, start), start)).all()


def test_descriptors_find_what_looks_alike(pair) -> None:
    first, second, start, want = pair
    found, missing = carriers(mediapipe=False)
    names = [each.name for each in found]
    assert names[0] == "dense"
    assert not missing
    same = {each.name: np.median(distances(each.carry(first, first, start), start)) for each in found}
    assert same["colour and place"] < 4
    assert same["dense SIFT"] < 4
    (colours,) = [each for each in found if isinstance(each, ByDescriptors) and each.name == "colour and place"]
    # a head that turns leaves the place where it was: descriptors follow it badly, the map does not
    by_colour = np.median(distances(colours.carry(first, second, start), want))
    assert np.median(distances(found[0].carry(first, second, start), want)) < by_colour / 10


def test_a_point_lies_in_its_triangle_or_next_to_the_nearest() -> None:
    xy = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10], [5, 5], [5, 5]])
    triangles = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 4]])  # the last is flat
    points = np.array([[2.0, 3], [8, 9], [-4, 3]])
    triangle, weights = nearest_triangles(xy, triangles, points)
    assert triangle.tolist() == [0, 1, 0]
    np.testing.assert_allclose(np.einsum("nk,nkd->nd", weights, xy[triangles[triangle]]), points, atol=1e-9)
    assert weights[2].min() < 0


def test_numbers_of_pairs_are_of_all_points_together() -> None:
    found = [
        Carried(10.0, 256.0, {"dense": np.array([0.0, 10.0]), "other": np.array([np.inf, 30.0])}),
        Carried(50.0, 256.0, {"dense": np.array([20.0]), "other": np.array([1.0])}),
    ]
    table, by_turn = pair_details(found)
    assert table.rows["dense"]["MAE px"] == pytest.approx(10)
    assert table.rows["dense"]["RMSE px"] == pytest.approx(np.sqrt(500 / 3))
    assert table.rows["dense"]["PCK@0.05 %"] == pytest.approx(200 / 3)
    assert table.rows["other"]["PCK@0.05 %"] == pytest.approx(100 / 3)  # what was not found is wrong
    assert table.rows["other"]["MAE px"] == pytest.approx(15.5)
    assert list(by_turn.rows) == ["turned by 0-15 degrees", "turned by 30-60 degrees"]
    assert by_turn.rows["turned by 30-60 degrees"] == {"pairs": 1, "dense": 20.0, "other": 1.0}
