"""Head tracking by dense maps: a known performance of a small rig comes back."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.apps.capture import CaptureSettings
from anymark.apps.headtrack import seen_in, track_head
from anymark.apps.rigs import RigOnHead
from anymark.canonical import CanonicalHead, load_layout
from anymark.detect.camera import Camera
from anymark.detect.dense import DenseMap
from anymark.evaluate.pose import turned_by_deg
from anymark.fit import Rig
from tests.dense_maps import exact_map, turned_camera

SIZE, FRAMES = (256, 256), 4


@pytest.fixture(scope="module")
def rig() -> RigOnHead:
    """The canonical head, wider or narrower, with a chin that goes down."""
    head = CanonicalHead.load()
    vertices = head.vertices_mm.astype(np.float64)
    wider = vertices * [0.06, 0, 0]
    chin = np.exp(-((vertices - [0, -75, 95]) ** 2).sum(1) / (2 * 35**2))[:, None] * [0, -14, -4]
    return RigOnHead(Rig(vertices, wider[None], chin[None], ("open",), head.triangles), vertices)


def performance(rig: RigOnHead) -> tuple[list[Camera], np.ndarray, list[DenseMap | None]]:
    weights = np.linspace(0.1, 0.9, FRAMES)
    cameras = [turned_camera(yaw) for yaw in np.linspace(-20, 20, FRAMES)]
    maps: list[DenseMap | None] = [
        exact_map(camera, SIZE, vertices_mm=rig.rig.vertices_mm(np.array([0.8]), np.array([w])))
        for camera, w in zip(cameras, weights, strict=True)
    ]
    return cameras, weights, maps


def test_a_performance_comes_back(rig: RigOnHead) -> None:
    cameras, weights, maps = performance(rig)
    found = track_head(maps, rig, 700.0, np.full(2, 128.0), CaptureSettings(noise_mm=0.3))
    turned = turned_by_deg(found.R_world_head, np.stack([c.R_camera_head for c in cameras]))
    assert np.max(turned) < 1.0
    assert found.identity[0] == pytest.approx(0.8, abs=0.25)
    np.testing.assert_allclose(found.expression[:, 0], weights, atol=0.15)
    assert found.residual_px.max() < 1.0


def test_hidden_points_are_left_out(rig: RigOnHead) -> None:
    layout = load_layout("ears")
    xy, sigma = seen_in(exact_map(turned_camera(60.0), SIZE), layout)
    right = layout.points_mm[:, 0] < 0
    assert np.isfinite(xy).all()
    # turned to its own left, a head shows its right ear
    assert np.isfinite(sigma[right]).mean() > 0.5
    assert np.isfinite(sigma[~right]).mean() < 0.3


def test_frames_without_a_head_are_bridged(rig: RigOnHead) -> None:
    _, _, maps = performance(rig)
    found = track_head([maps[0], None, maps[2], maps[3]], rig, 700.0, np.full(2, 128.0))
    assert np.isnan(found.residual_px).tolist() == [False, True, False, False]
