"""Pixels, rotations and lenses of other programs."""

from __future__ import annotations

import numpy as np

from anymark.exports.conventions import centred, from_bottom, lens, normalised, plain, quaternions, rotation_vectors
from tests.exports.readers import rotation
from tests.exports.tracks import turn

CORNERS = np.array([[0.0, 0.0], [640.0, 360.0], [0.5, 0.5]])


def test_pixels_of_other_programs() -> None:
    np.testing.assert_array_equal(from_bottom(CORNERS, 360), [[0, 360], [640, 0], [0.5, 359.5]])
    np.testing.assert_array_equal(normalised(CORNERS, (640, 360))[:2], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(centred(CORNERS, 0)[2], [0, 0])
    np.testing.assert_array_equal(centred(CORNERS, 1)[2], [1, 1])


def test_a_lens_in_the_middle_has_no_shift_and_one_off_it_has() -> None:
    film = lens(np.array([640.0, 640.0]), np.array([[320.0, 180.0], [310.0, 190.0]]), (640, 360))
    np.testing.assert_allclose(film.focal_mm, [36, 36])
    # the optical axis meets the picture left of and below its middle, which so lies right of it and above
    np.testing.assert_allclose(film.right_mm, [0, 10 * 36 / 640])
    np.testing.assert_allclose(film.up_mm, [0, 10 * 36 / 640])


def test_quaternions_and_rotation_vectors_turn_as_matrices_do() -> None:
    rng = np.random.default_rng(1)
    turns = [np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1]), np.eye(3)]
    turns += [turn(*angles) for angles in rng.uniform(-3, 3, (50, 3))]
    for matrix, q, vector in zip(turns, quaternions(np.array(turns)), rotation_vectors(np.array(turns)), strict=True):
        np.testing.assert_allclose(rotation(*q), matrix, atol=1e-12)
        angle = np.linalg.norm(vector)
        assert angle <= np.pi + 1e-9
        half = np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * vector / max(angle, 1e-12)])
        np.testing.assert_allclose(rotation(*half), matrix, atol=1e-12)


def test_quaternions_do_not_jump_to_their_negatives() -> None:
    turns = np.array([np.diag([1, -1, -1]) @ turn(angle, 0.1, 0) for angle in np.linspace(-3, 9, 200)])
    assert (np.abs(np.diff(quaternions(turns), axis=0)) < 0.1).all()


def test_no_rotations() -> None:
    assert quaternions(np.zeros((0, 3, 3))).shape == (0, 4)


def test_numbers_are_plain() -> None:
    assert [plain(value) for value in (1e-7, -1e-7, 1200.0, 0.12345, -3.5)] == ["0", "0", "1200", "0.1235", "-3.5"]
