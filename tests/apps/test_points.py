"""Clicked pixels become the canonical points that the model finds there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.apps.points import OFF_SURFACE_MM, Click, eyes_px, pick
from anymark.canonical import CanonicalHead
from anymark.detect.detector import Head
from anymark.errors import AnymarkError
from tests.apps.synthetic import colour_of
from tests.apps.test_calibrate import heads


@pytest.fixture(scope="module")
def turned(turning: Path) -> list[Head]:
    """Three heads: straight, to the left, to the right and up."""
    return heads(turning, [colour_of(0, 0), colour_of(30, 0), colour_of(-25, 15)])


@pytest.fixture(scope="module")
def on_face() -> np.ndarray:
    """(N, 3) points of the face's front."""
    points = CanonicalHead.load().sample(400, ("face",)).points_mm
    front = (np.abs(points[:, 0]) < 40) & (points[:, 2] > 60)
    return points[front][::2]


def seen(head: Head, points: np.ndarray) -> np.ndarray:
    return head.query(points).visible > 0.9


def test_one_click_gives_the_point_of_the_surface(turned: list[Head], on_face: np.ndarray) -> None:
    points = on_face[seen(turned[0], on_face)]
    assert len(points) > 50
    picked = pick([Click(turned[0], turned[0].query(points).xy_px)])
    assert picked.error_px.max() < 0.02
    assert np.quantile(np.linalg.norm(picked.points_mm - points, axis=1), 0.9) < 0.5
    assert (picked.off_head_px == 0).all()
    off = np.linalg.norm(CanonicalHead.load().closest_point(picked.points_mm).points_mm - picked.points_mm, axis=1)
    assert off.max() < 2 * OFF_SURFACE_MM


def test_any_number_of_clicks_of_a_point(turned: list[Head], on_face: np.ndarray) -> None:
    points = on_face[np.all([seen(head, on_face) for head in turned], axis=0)][:9]
    xy = [head.query(points).xy_px.astype(float) for head in turned]
    xy[0][:4] = np.nan
    xy[2][5:] = np.nan
    picked = pick([Click(head, each) for head, each in zip(turned, xy, strict=True)])
    np.testing.assert_allclose(picked.points_mm, points, atol=0.6)


def test_several_views_see_what_stands_out_of_the_surface(turned: list[Head], on_face: np.ndarray) -> None:
    points = on_face[np.all([seen(head, on_face) for head in turned], axis=0)][:6] + np.array([0, 0, 12.0])
    clicks = [Click(head, head.query(points).xy_px) for head in turned]
    np.testing.assert_allclose(pick(clicks, near_surface=False).points_mm, points, atol=0.3)
    near = pick(clicks).points_mm
    off = np.linalg.norm(CanonicalHead.load().closest_point(near).points_mm - near, axis=1)
    assert off.max() < 4


def test_a_click_beside_the_head_says_how_far(turned: list[Head]) -> None:
    head = turned[0]
    outline = head.query("head").xy_px
    right = outline[outline[:, 0].argmax()]
    picked = pick([Click(head, right[None] + [[20.0, 0]])])
    assert picked.off_head_px[0] == pytest.approx(20, abs=2)
    nearest = CanonicalHead.load().closest_point(picked.points_mm).points_mm
    assert np.linalg.norm(nearest - picked.points_mm, axis=1).max() < 3  # and not in the air
    px_per_mm = head.camera.focal_px / head.camera.t_camera_head_mm[2]
    assert picked.off_head_mm[0] == pytest.approx(picked.off_head_px[0] / px_per_mm)


def test_eyes(turned: list[Head]) -> None:
    right, left = turned[0].face.xyz_mm[[33, 263]]
    apart = np.linalg.norm(right - left) * turned[0].camera.focal_px / turned[0].camera.t_camera_head_mm[2]
    assert eyes_px(turned[0]) == pytest.approx(apart, rel=0.02)


def test_bad_clicks(turned: list[Head]) -> None:
    head = turned[0]
    with pytest.raises(ValueError, match="at least one click"):
        pick([])
    with pytest.raises(AnymarkError, match="must all be"):
        pick([Click(head, np.zeros((2, 2))), Click(head, np.zeros((3, 2)))])
    with pytest.raises(AnymarkError, match="point 1: a click must be finite"):
        pick([Click(head, np.array([[1, 2], [3, np.inf]]))])
    with pytest.raises(AnymarkError, match="point 0 was never clicked"):
        pick([Click(head, np.array([[np.nan, np.nan], [3, 4]]))])
