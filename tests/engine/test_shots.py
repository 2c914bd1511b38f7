"""Shots: poses that are what they say, faces framed as asked, motion without jumps."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.engine.shots import Draw, angles, frame, moved, turned


def draws(count: int) -> list[Draw]:
    rng = np.random.default_rng(0)
    return [
        Draw(
            turned(*rng.normal(0, 0.3, 3)),
            rng.normal(0, 10, 3) + np.array([0, 0, 500]),
            300.0,
            np.array([64.0, 64.0]),
            rng.uniform(0, 1, 5),
            rng.normal(0, 0.1, 2),
        )
        for _ in range(count)
    ]


def test_the_nose_points_where_the_angles_say() -> None:
    x, y = (turned(0.5, 0, 0) @ [0, 0, 1])[0], (turned(0, 0.5, 0) @ [0, 0, 1])[1]
    assert x > 0.4  # yaw to the subject's left is the picture's right
    assert y < -0.4  # pitch up is up in the picture
    assert (turned(0, 0, 0.5) @ [0, 1, 0])[0] > 0.4  # roll is clockwise


def test_angles_come_back() -> None:
    rng = np.random.default_rng(1)
    for yaw, pitch, roll in rng.uniform(-1.4, 1.4, (50, 3)):
        assert angles(turned(yaw, pitch, roll)) == pytest.approx((yaw, pitch, roll))


@pytest.mark.parametrize("distance", [300.0, 3000.0])
def test_the_face_has_its_share_of_the_picture_and_its_place(distance: float) -> None:
    face = np.random.default_rng(2).normal(0, 40, (80, 3)) + np.array([0, 0, 60])
    rotation = turned(0.6, -0.2, 0.4)
    translation, focal, principal = frame(face, rotation, distance, 0.5, np.array([0.1, -0.05]), 256)
    seen = face @ rotation.T + translation
    xy = focal * seen[:, :2] / seen[:, 2:] + principal
    assert (xy.max(0) - xy.min(0)).max() == pytest.approx(128, rel=0.04)
    assert (xy.max(0) + xy.min(0)) / 2 == pytest.approx([128 + 25.6, 128 - 12.8], abs=3)
    assert seen[:, 2].mean() == pytest.approx(distance)


def test_motion_passes_through_its_keys_without_jumps() -> None:
    keys = draws(4)
    frames = list(moved(keys, 61))
    for key, at in zip(keys, (0, 20, 40, 60), strict=True):
        assert np.allclose(frames[at].R_camera_head, key.R_camera_head)
        assert np.allclose(frames[at].t_camera_head_mm, key.t_camera_head_mm)
        assert np.allclose(frames[at].expression, key.expression)
    for value in ("t_camera_head_mm", "expression", "R_camera_head"):
        steps = np.diff([getattr(f, value) for f in frames], axis=0).reshape(60, -1)
        whole = np.abs(np.diff([getattr(k, value) for k in keys], axis=0)).max()
        assert np.abs(steps).max() < 0.12 * whole
    assert all(f.focal_px == keys[0].focal_px for f in frames)
