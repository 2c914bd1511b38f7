"""Reading between pixels, filling gaps, light."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.engine.light import Environment, estimate_light, harmonics, look_up, panorama_directions, relative, view
from anymark.engine.pixels import fill, look, sample, to_display, to_linear


def directions(count: int) -> np.ndarray:
    v = np.random.default_rng(0).normal(0, 1, (count, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def test_a_pixels_middle_has_its_value_and_a_ramp_is_linear_between() -> None:
    ramp = np.tile(np.arange(20, dtype=np.float32)[None, :, None], (10, 1, 2))
    assert sample(ramp, np.array([[3.5, 4.5]]))[0] == pytest.approx([3, 3])
    xy = np.random.default_rng(0).uniform(1, 9, (20_000, 2))  # more than a row of cv2's map
    assert np.abs(sample(ramp, xy)[:, 0] - (xy[:, 0] - 0.5)).max() < 0.02
    assert look(ramp, xy.reshape(100, 200, 2)).shape == (100, 200, 2)
    assert sample(ramp, np.array([[-9.0, 3.0]]), border=7.0)[0] == pytest.approx([7, 7])


def test_filling_keeps_what_is_known_and_stays_within_its_range() -> None:
    rng = np.random.default_rng(0)
    image, weight = rng.uniform(0.2, 0.8, (64, 48, 3)), (rng.random((64, 48)) < 0.05).astype(float)
    full = fill((image * weight[..., None]).astype(np.float32), weight.astype(np.float32))
    assert np.abs(full - image)[weight == 1].max() < 1e-5
    assert full.min() >= 0.199
    assert full.max() <= 0.801


def test_a_plain_picture_is_filled_plainly() -> None:
    weight = np.zeros((33, 20), np.float32)
    weight[3, 4] = weight[30, 9] = 1
    full = fill(np.full((33, 20, 1), 0.4, np.float32) * weight[..., None], weight)
    assert np.abs(full - 0.4).max() < 1e-5


def test_display_and_linear_are_inverse() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_display(to_linear(values)), values)


def test_harmonics_are_orthonormal() -> None:
    grid = panorama_directions(128, 256)
    solid = np.cos(np.pi / 2 - (np.arange(128) + 0.5) / 128 * np.pi) * (2 * np.pi**2 / (128 * 256))
    basis = harmonics(grid.reshape(-1, 3))
    product = (basis * np.repeat(solid, 256)[:, None]).T @ basis
    assert np.abs(product - np.eye(9)).max() < 1e-3


def test_light_from_everywhere_shades_nothing() -> None:
    environment = Environment.of(np.full((32, 64, 3), 5.0, np.float32))
    assert np.abs(environment.shade(directions(100)) - 1).max() < 0.01
    assert np.abs(environment.shine(directions(100).reshape(10, 10, 3)) - 1).max() < 0.02


def test_what_faces_the_light_is_bright() -> None:
    panorama = np.full((32, 64, 3), 0.05, np.float32)
    towards = np.array([0.6, 0.5, 0.62])
    near = (panorama_directions(32, 64) @ (towards / np.linalg.norm(towards))) > 0.97
    panorama[near] = 80.0
    environment = Environment.of(panorama)
    facing, away = environment.shade(np.stack([towards, -towards]))
    assert facing.min() > 4 * away.max()


def test_a_panorama_is_looked_up_where_its_directions_say() -> None:
    rng = np.random.default_rng(0)
    panorama = rng.uniform(0, 1, (16, 32, 3)).astype(np.float32)
    assert np.abs(look_up(panorama, panorama_directions(16, 32)) - panorama).max() < 1e-3


def test_a_view_shows_what_lies_ahead() -> None:
    panorama = np.zeros((64, 128, 3), np.float32)
    panorama[20:24, 62:66] = 1.0  # ahead (+z) and above the horizon
    panorama[30:34, 70:74, 1] = 1.0  # to the right of it, in the picture and so to who looks there
    seen = view(panorama, 32, 20.0, np.diag([-1.0, -1.0, 1.0]))  # a camera that looks along +z, y down -> y up
    rows, columns = np.nonzero(seen[..., 0] > 0.3)
    assert columns.mean() == pytest.approx(15.5, abs=1.0)
    assert rows.mean() < 12
    green = np.nonzero((seen[..., 1] > 0.3) & (seen[..., 0] < 0.1))
    assert green[1].min() > 18
    assert green[0].mean() == pytest.approx(15.5, abs=1.0)


def test_the_light_of_a_photo_is_found() -> None:
    normals = directions(2000)
    normals = normals[normals[:, 2] > 0]
    truth = 1.0 + 0.5 * normals[:, 0]
    colours = np.array([0.5, 0.3, 0.2]) * truth[:, None]
    light = estimate_light(normals, colours, np.ones(len(normals)))
    found = relative(light, normals)
    assert np.corrcoef(found, truth)[0, 1] > 0.99
    assert found.mean() == pytest.approx(1.0, abs=0.05)
