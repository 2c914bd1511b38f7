"""Drawings: points sit where they are, to a fraction of a pixel, and the photo is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anymark import Camera, Crop, Landmarks, Layout, Window, draw
from anymark.canonical.frame import FACING
from anymark.detect.draw import point_colours

PHOTO = np.full((200, 300, 3), 90, np.uint8)


def face(xy: np.ndarray, visible: float = 1.0, **layout: object) -> Landmarks:
    n = len(xy)
    window = Window(np.array([50.0, 50.0]), 100.0)
    return Landmarks(
        layout=Layout("test", np.arange(3 * n, dtype=np.float32).reshape(n, 3) / (3 * n), **layout),
        xy_px=xy.astype(np.float32),
        sigma_px=np.ones(n, np.float32),
        xyz_mm=np.zeros((n, 3), np.float32),
        uncovered=np.full(n, visible, np.float32),
        box_px=np.array([0.0, 0.0, 100.0, 100.0]),
        window=window,
        crop=Crop(window.affine()),
        camera=Camera(500.0, window.centre_px, FACING, np.array([0.0, 0.0, 700.0])),
        score=1.0,
    )


@pytest.mark.parametrize("xy", [(100.0, 50.0), (100.5, 50.5), (120.25, 77.8), (33.9, 180.1)])
def test_a_point_is_drawn_where_it_is(xy: tuple[float, float]) -> None:
    out = np.asarray(draw(PHOTO, [face(np.array([xy]))], point_px=3.0)).astype(float)
    change = np.abs(out - PHOTO).sum(-1)
    rows, columns = np.mgrid[:200, :300] + 0.5
    centroid = (change * columns).sum() / change.sum(), (change * rows).sum() / change.sum()
    np.testing.assert_allclose(centroid, xy, atol=0.15)
    assert change[np.hypot(columns - xy[0], rows - xy[1]) > 6].max() == 0


def test_hidden_points_are_hollow_and_sit_where_they_are() -> None:
    xy = np.array([[120.5, 77.5]])
    full, hollow = (np.asarray(draw(PHOTO, [face(xy, visible)], point_px=6.0)).astype(int) for visible in (0.9, 0.1))
    assert full[77, 120].max() > 200
    assert hollow[77, 120].max() < 60
    np.testing.assert_array_equal(hollow[77, 115], full[77, 115])  # the ring
    change = np.abs(hollow - PHOTO).sum(-1)
    rows, columns = np.mgrid[:200, :300] + 0.5
    centroid = (change * columns).sum() / change.sum(), (change * rows).sum() / change.sum()
    np.testing.assert_allclose(centroid, xy[0], atol=0.15)


def test_hidden_points_of_dense_layouts_and_hidden_edges_are_faint() -> None:
    xy = np.random.default_rng(0).uniform((50, 40), (250, 160), (5000, 2))
    edge = np.array([[0, 1]], np.int32)
    two = np.array([[50.5, 100.5], [250.5, 100.5]])
    for points, options in ((xy, {}), (two, {"edges": edge})):
        shown, hidden = (np.asarray(draw(PHOTO, [face(points, p, **options)])).astype(int) for p in (1.0, 0.0))
        change = [np.abs(picture - PHOTO)[40:160, 60:240].sum() for picture in (shown, hidden)]
        assert 0 < change[1] < 0.6 * change[0]


def test_the_photo_is_not_changed_and_nothing_found_draws_nothing() -> None:
    before = PHOTO.copy()
    draw(PHOTO, [face(np.array([[50.0, 50.0]]))])
    np.testing.assert_array_equal(PHOTO, before)
    np.testing.assert_array_equal(np.asarray(draw(PHOTO, [])), PHOTO)


def test_points_beside_the_photo_are_no_trouble() -> None:
    far = np.array([[-1e6, 5.0], [1e6, 50.0], [-50.0, -50.0]])
    for xy in (far, far[:1], np.array([[-5.0, 10.0], [320.0, 190.0]])):
        out = draw(PHOTO, [face(xy, edges=np.array([[0, len(xy) - 1]], np.int32))])
        assert out.size == (300, 200)


@pytest.mark.parametrize("n", [2, 68, 5000])
def test_sparse_and_dense_layouts_leave_the_face_to_be_seen(n: int) -> None:
    xy = np.random.default_rng(0).uniform((50, 40), (250, 160), (n, 2))
    edges = np.stack([np.arange(n - 1), np.arange(1, n)], 1).astype(np.int32) if n < 100 else None
    out = draw(Image.fromarray(PHOTO), [face(xy, edges=edges)])
    changed = (np.abs(np.asarray(out).astype(int) - PHOTO).sum(-1) > 60).mean()
    assert 0 < changed < 0.6


def test_a_few_points_close_together_are_seen_on_a_small_face() -> None:
    ring = 2.5 * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])  # an iris, on a face of 100 px
    out = draw(PHOTO, [face(np.concatenate([ring + np.array([x, 40]) for x in (30, 70)]))])
    changed = np.abs(np.asarray(out).astype(int) - PHOTO).sum(-1) > 60
    assert changed[:, :50].sum() >= 20
    assert changed[:, 50:].sum() >= 20


def test_the_smaller_region_gives_the_colour() -> None:
    regions = {"all": np.arange(4, dtype=np.int32), "lip": np.array([1, 2], np.int32)}
    colours = point_colours(face(np.zeros((5, 2)) + np.arange(5)[:, None], regions=regions).layout).tolist()
    assert colours[0] == colours[3] != colours[1] == colours[2]
    assert len(colours) == 5
