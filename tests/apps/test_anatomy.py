"""Rigid bodies through their landmarks: known motions come back."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.apps.anatomy import BODIES, anatomy_layout, draw_anatomy, fit_anatomy, rigid
from anymark.canonical import load_layout
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError
from anymark.fit.problem import exponential
from tests.apps.heads import SIZE, camera, landmarks


def parts() -> dict[str, slice]:
    """Where each body's points are in the layout."""
    counts = [500 + 32, 300 + 32, 152, 152]
    ends = np.cumsum([0, *counts])
    assert ends[-1] == len(anatomy_layout())
    return {name: slice(a, b) for name, a, b in zip(BODIES, ends[:-1].tolist(), ends[1:].tolist(), strict=True)}


def moved(**motions: tuple[np.ndarray, np.ndarray]) -> Landmarks:
    """The anatomy with some bodies turned (rotation vector) about the middle of their points, and shifted."""
    xyz = anatomy_layout().points_mm.astype(np.float64)
    for name, (turn, shift) in motions.items():
        at = parts()[name.replace("_", " ")]
        middle = xyz[at].mean(0)
        xyz[at] = (xyz[at] - middle) @ exponential(turn[None])[0].T + middle + shift
    return landmarks(camera(), anatomy_layout(), xyz)


ZERO = np.zeros(3)


def test_at_rest_nothing_is_moved() -> None:
    found = fit_anatomy([moved()])
    np.testing.assert_allclose(found.R_head_body[0], np.tile(np.eye(3), (4, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(found.t_head_body_mm[0], 0, atol=1e-3)
    assert found.error_mm.max() < 1e-3
    assert [body.scale for body in found.bodies] == pytest.approx([1] * 4, abs=1e-5)
    np.testing.assert_allclose(found.gaze_head[0], [[0, 0, 1]] * 2, atol=1e-6)


def test_the_jaw_opens_by_as_much_as_it_is_moved() -> None:
    rest = fit_anatomy([moved()]).jaw_opening_mm[0]
    teeth = load_layout("teeth")
    assert teeth.names is not None
    edges = {
        row: teeth.points_mm[teeth.names.index(f"{row} right central incisor, edge"), 1] for row in ("upper", "lower")
    }
    assert rest == pytest.approx(edges["upper"] - edges["lower"], abs=0.1)
    down = fit_anatomy([moved(), moved(mandible=(ZERO, np.array([0, -14.0, 2.0])))])
    assert down.jaw_opening_mm[1] - down.jaw_opening_mm[0] == pytest.approx(14, abs=1e-3)
    turn = exponential(np.array([[0.25, 0, 0]]))[0]
    hinged = fit_anatomy([moved(mandible=(np.array([0.25, 0, 0]), ZERO))])
    np.testing.assert_allclose(hinged.R_head_body[0, 1], turn, atol=1e-6)


def test_eyes_say_where_they_look() -> None:
    right, left = np.array([0, np.radians(20), 0]), np.array([np.radians(-10), 0, 0])
    found = fit_anatomy([moved(right_eye=(right, ZERO), left_eye=(left, ZERO))])
    angles = found.gaze_yaw_pitch_deg()[0]
    np.testing.assert_allclose(angles, [[20, 0], [0, 10]], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found.gaze_camera(), axis=2), 1)
    # a head that faces the camera looks back along its axis, and its left is the picture's right
    assert found.gaze_camera()[0, 0] @ [np.sin(np.radians(20)), 0, -np.cos(np.radians(20))] == pytest.approx(
        1, abs=1e-5
    )


def test_a_person_has_one_size_in_all_frames() -> None:
    rng = np.random.default_rng(0)
    layout = anatomy_layout()
    frames = []
    for _ in range(6):
        xyz = 1.08 * layout.points_mm + rng.normal(0, 1.0, layout.points_mm.shape)
        frames.append(landmarks(camera(), layout, xyz))
    found = fit_anatomy(frames)
    for body in found.bodies:
        assert body.scale == pytest.approx(1.08, abs=0.01 if "eye" not in body.name else 0.06)
    assert found.R_head_body.shape == (6, 4, 3, 3)


def test_rigid_motions_come_back_and_sure_points_count_more() -> None:
    rng = np.random.default_rng(1)
    rest = rng.normal(0, 40, (30, 3))
    turn = exponential(rng.normal(0, 1, (2, 3)))
    places = np.einsum("fij,nj->fni", turn, rest) + rng.normal(0, 50, (2, 1, 3))
    found, shift = rigid(rest, places, np.ones((2, 30)))
    np.testing.assert_allclose(found, turn, atol=1e-9)
    np.testing.assert_allclose(np.einsum("fij,nj->fni", found, rest) + shift[:, None], places, atol=1e-8)
    weight = np.ones((2, 30))
    places[:, :5] += 30
    weight[:, :5] = 1e-9
    np.testing.assert_allclose(rigid(rest, places, weight)[0], turn, atol=1e-6)


def test_the_drawing_shows_bones_over_the_head_only() -> None:
    photo = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    drawn = draw_anatomy(photo, fit_anatomy([moved()]), 0, camera())
    rows, columns = np.nonzero(drawn.any(2))
    outline = camera().project(anatomy_layout().points_mm[:800])
    assert columns.min() >= outline[:, 0].min() - 3
    assert columns.max() <= outline[:, 0].max() + 3
    assert len(rows) > 3000


def test_other_layouts_are_refused() -> None:
    with pytest.raises(AnymarkError, match="anatomy_layout"):
        fit_anatomy([landmarks(camera(), load_layout("skull"))])
    with pytest.raises(ValueError, match="at least one frame"):
        fit_anatomy([])
