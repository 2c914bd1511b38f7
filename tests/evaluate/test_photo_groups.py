from __future__ import annotations

import numpy as np
import pytest

from anymark.canonical import load_layout
from anymark.canonical.frame import FACING
from anymark.canonical.posed import yaw_deg
from anymark.evaluate.photo_groups import CHEEKS, GREY, lab, skin_lab, tone

FACE_MM = load_layout("mediapipe478").points_mm[:468].astype(np.float64)


def turned(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """The canonical face in pixels and depth, turned to its own left, up and clockwise on screen."""
    y, p, r = np.radians([yaw, -pitch, -roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return 1.7 * FACE_MM @ (FACING @ about_z @ about_x @ about_y).T + (200, 150, 30)


@pytest.mark.parametrize("yaw", [-80.0, -20.0, 0.0, 45.0])
def test_yaw_is_that_of_the_face_whatever_its_pitch_and_roll(yaw: float) -> None:
    assert yaw_deg(turned(yaw)) == pytest.approx(yaw, abs=1e-6)
    assert yaw_deg(turned(yaw, pitch=15, roll=-25)) == pytest.approx(yaw, abs=1e-6)


def test_a_face_that_looks_to_its_left_shows_its_right_cheek() -> None:
    """The nose goes to the right of the picture, where the subject's left is."""
    face = turned(40)
    assert face[1, 0] > face[[234, 454], 0].mean() + 20


def test_colours_are_those_of_the_tables() -> None:
    np.testing.assert_allclose(lab([255, 255, 255]), [100, 0, 0], atol=0.02)
    np.testing.assert_allclose(lab([0, 0, 0]), [0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(lab([255, 0, 0]), [53.24, 80.09, 67.20], atol=0.05)
    np.testing.assert_allclose(lab([0, 0, 255]), [32.30, 79.19, -107.86], atol=0.05)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ([80, 8, 15], "very light"),
        ([67, 10, 16], "light"),
        ([60, 12, 17], "intermediate"),
        ([56, 12, 18], "tan"),
        ([45, 12, 18], "brown"),
        ([30, 8, 10], "dark"),
        ([5, 8, 0.0], "dark"),
        ([60, 0.5, 1], GREY),
        ([np.nan] * 3, GREY),
    ],
)
def test_classes_of_skin_are_those_of_its_typology_angle(colour: list[float], name: str) -> None:
    assert tone(np.array(colour, np.float64)) == name


def test_skin_is_taken_from_the_cheeks_alone() -> None:
    face = turned(0)[:, :2]
    pixels = np.zeros((320, 420, 3), np.uint8)
    columns, rows = np.meshgrid(np.arange(420) + 0.5, np.arange(320) + 0.5)
    for x, y in face[list(CHEEKS)]:
        pixels[np.hypot(columns - x, rows - y) < 12] = (200, 150, 120)
    np.testing.assert_allclose(skin_lab(pixels, face), lab([200, 150, 120]), atol=1e-9)
    assert np.isnan(skin_lab(pixels, face - 5000)).all()
