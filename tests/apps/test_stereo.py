"""Stereo: heads come back from exact maps and known cameras; what does not fit is thrown out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.apps.stereo import agreed, reconstruct, triangulate
from anymark.detect.camera import Camera
from anymark.errors import AnymarkError
from tests.dense_maps import exact_map, turned_camera

SIZE = (256, 256)
CAMERAS = [turned_camera(yaw) for yaw in (-15.0, 0.0, 18.0)]  # the head is the world
PHOTO = np.full((256, 256, 3), 90, np.uint8)


def points(count: int = 40) -> np.ndarray:
    return np.random.default_rng(1).uniform((-60, -60, 40), (60, 80, 110), (count, 3))


def seen(world: np.ndarray) -> np.ndarray:
    return np.stack([camera.project(world) for camera in CAMERAS])


def test_exact_pixels_give_exact_points() -> None:
    world = points()
    found, inside = agreed(seen(world), CAMERAS)
    np.testing.assert_allclose(found, world, atol=1e-4)
    assert inside.all()


def test_a_view_that_disagrees_is_not_believed() -> None:
    world = points()
    xy = seen(world)
    xy[1, ::2] += 25
    found, inside = agreed(xy, CAMERAS)
    np.testing.assert_allclose(found, world, atol=1e-3)
    assert not inside[1, ::2].any()
    assert inside[1, 1::2].all()


def test_a_view_that_lacks_a_point_is_done_without() -> None:
    world = points()
    xy = seen(world)
    xy[2, :20] = np.nan
    found, inside = agreed(xy, CAMERAS)
    np.testing.assert_allclose(found, world, atol=1e-3)
    assert inside[:2].all()
    assert not inside[2, :20].any()


def test_one_view_or_parallel_rays_tell_nothing() -> None:
    world, xy = points(5), seen(points(5))
    which = np.zeros((3, 5), bool)
    which[0] = True
    assert not triangulate(xy, CAMERAS, which)[1].any()
    both = [CAMERAS[0], CAMERAS[0]]
    assert not triangulate(np.stack([xy[0], xy[0]]), both, np.ones((2, 5), bool))[1].any()
    assert world.shape == (5, 3)


def test_noise_averages_out_over_views() -> None:
    world = points(400)
    noisy = seen(world) + np.random.default_rng(2).normal(0, 0.4, (3, 400, 2))
    three, _ = agreed(noisy, CAMERAS)
    two, _ = agreed(noisy[:2], CAMERAS[:2])
    assert np.linalg.norm(three - world, axis=1).mean() < np.linalg.norm(two - world, axis=1).mean()


def test_a_head_comes_back(tmp_path: Path) -> None:
    maps = [exact_map(camera, SIZE) for camera in CAMERAS]
    cloud = reconstruct(maps, CAMERAS, [PHOTO] * 3, step=4)
    assert len(cloud) > 400
    away = np.linalg.norm(cloud.points_mm - cloud.canonical_mm, axis=1)  # the canonical head is the world
    assert np.median(away) < 1.0
    assert (cloud.colours == 90).all()
    assert cloud.residual_px.max() < 3.0
    cloud.save(tmp_path / "head.ply")
    trimesh = pytest.importorskip("trimesh")
    read = trimesh.load(tmp_path / "head.ply")
    np.testing.assert_allclose(read.vertices, cloud.points_mm, atol=1e-3)
    assert read.colors[0, :3].tolist() == [90, 90, 90]
    with pytest.raises(AnymarkError, match=r"must end in \.ply"):
        cloud.save(tmp_path / "head.obj")


def test_what_cannot_be_reconstructed_is_said() -> None:
    maps = [exact_map(camera, SIZE, side=64) for camera in CAMERAS[:2]]
    photos = [PHOTO] * 2
    with pytest.raises(AnymarkError, match="at least 2"):
        reconstruct(maps[:1], CAMERAS[:1], photos[:1])
    with pytest.raises(AnymarkError, match="2 maps, 3 cameras"):
        reconstruct(maps, CAMERAS, photos)
    with pytest.raises(AnymarkError, match="in one place"):
        reconstruct(maps, [CAMERAS[0]] * 2, photos)
    far = Camera(700.0, np.full(2, 128.0), CAMERAS[1].R_camera_head, np.array([4000.0, 900.0, 900.0]))
    with pytest.raises(AnymarkError, match="at least 3 are needed"):
        reconstruct(maps, [CAMERAS[0], far], photos)
    empty = replace(maps[1], head=np.zeros_like(maps[1].head))
    with pytest.raises(AnymarkError, match="no head"):
        reconstruct([maps[0], empty], CAMERAS[:2], photos)
