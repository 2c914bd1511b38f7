"""The rasteriser: which middle of a pixel lies in which triangle, what is nearest, and what is between the corners."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.detect import raster
from anymark.detect.raster import rasterise

# counter-clockwise seen from outside: y is down, so it runs the other way round in the picture
FACING = np.array([[0, 1, 2]])


def test_pixels_whose_middle_lies_inside_are_covered() -> None:
    corners = np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    drawn = rasterise(corners, np.ones(3), FACING, (5, 5))
    middles = np.arange(5) + 0.5
    inside = middles[:, None] + middles[None] <= 4
    np.testing.assert_array_equal(drawn.triangle == 0, inside)
    np.testing.assert_allclose(drawn.weights[0, 0], [0.75, 0.125, 0.125], atol=1e-6)
    assert drawn.nearness[4, 4] == 0


def test_what_faces_away_is_not_drawn() -> None:
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    assert (rasterise(corners, np.ones(3), FACING, (5, 5)).triangle == -1).all()


def test_the_nearer_one_is_on_top_in_any_order() -> None:
    corners = np.tile([[0.0, 0.0], [0.0, 8.0], [8.0, 0.0]], (2, 1))
    for depths, top in (([2, 2, 2, 1, 1, 1], 1), ([1, 1, 1, 2, 2, 2], 0)):
        drawn = rasterise(corners, np.array(depths, float), np.array([[0, 1, 2], [3, 4, 5]]), (4, 4))
        assert (drawn.triangle == top).all()
    # one that is tilted through the other
    depth = np.array([1.0, 1.0, 3.0, 2.0, 2.0, 2.0])
    drawn = rasterise(corners, depth, np.array([[0, 1, 2], [3, 4, 5]]), (8, 1))
    assert drawn.triangle[0, 0] == 0
    assert drawn.triangle[0, 6] == 1


def test_between_the_corners_space_is_straight() -> None:
    """A corner's weight is that in space: the point between the corners projects to the pixel's middle."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-300, 300, (3, 2)), rng.uniform(400, 2000, 3)])
    xy = 50 + 60 * points[:, :2] / points[:, 2:]
    order = FACING if _area(xy) < 0 else FACING[:, ::-1]
    drawn = rasterise(xy, points[:, 2], order, (100, 100))
    rows, columns = np.nonzero(drawn.triangle == 0)
    assert len(rows) > 20
    between = drawn.of_vertices(points, order)[rows, columns]
    np.testing.assert_allclose(
        50 + 60 * between[:, :2] / between[:, 2:], np.column_stack([columns, rows]) + 0.5, atol=2e-3
    )
    np.testing.assert_allclose(drawn.nearness[rows, columns], 1 / between[:, 2], rtol=1e-5)


def test_what_lies_beside_the_picture_is_cut_off() -> None:
    corners = np.array([[-100.0, -100.0], [-100.0, 300.0], [300.0, -100.0]])
    drawn = rasterise(corners, np.ones(3), FACING, (10, 20))
    assert drawn.triangle.shape == (20, 10)
    assert (drawn.triangle == 0).all()


def test_many_pixels_are_drawn_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 60, (90, 2))
    triangles = np.arange(90).reshape(-1, 3)
    turned = np.array([[_area(xy[t]) > 0] for t in triangles])
    triangles = np.where(turned, triangles[:, ::-1], triangles)
    depth = rng.uniform(1, 2, 90)
    whole = rasterise(xy, depth, triangles, (60, 60))
    monkeypatch.setattr(raster, "_AT_ONCE", 500)
    parts = rasterise(xy, depth, triangles, (60, 60))
    np.testing.assert_array_equal(parts.triangle, whole.triangle)
    np.testing.assert_array_equal(parts.weights, whole.weights)
    assert len(np.unique(whole.triangle)) > 10


def test_no_pixel_between_two_triangles_is_left_out() -> None:
    """Neighbours leave no cracks, at any size: a square in two halves is filled."""
    for scale in (3.3, 17.7, 260.1):
        corners = scale * np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]) + 0.123
        side = int(scale)
        drawn = rasterise(corners, np.ones(4), np.array([[0, 1, 2], [0, 2, 3]]), (side, side))
        assert (drawn.triangle[1:-1, 1:-1] >= 0).all()


def _area(xy: np.ndarray) -> float:
    a, b, c = xy
    return float((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0])
