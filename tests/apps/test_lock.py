"""Clicked points stick to what was clicked where it is seen, and follow the model where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from anymark.apps.lock import LockedTracker
from anymark.apps.points import Click
from anymark.canonical import CanonicalHead, Layout, load_layout
from anymark.canonical.files import HEAD
from anymark.detect.camera import Camera
from anymark.detect.detector import Head
from anymark.detect.landmarks import Landmarks
from anymark.video import Frame, TrackedHead, Tracker
from tests.apps.heads import AWAY_MM, FOCAL_PX, camera, landmarks


def front() -> np.ndarray:
    """(N, 3) points of skin that looks forward."""
    head = CanonicalHead.load()
    found = head.sample(800, ("forehead", "left cheek", "right cheek", "chin"))
    a, b, c = np.moveaxis(head.vertices_mm[head.triangles[found.triangles]].astype(float), 1, 0)
    out = np.cross(b - a, c - a)
    return found.points_mm[out[:, 2] > 0.8 * np.linalg.norm(out, axis=1)][::20]


POINTS = Layout("clicked", front())
ERROR_PX = np.array([1.4, -1.1])
"""Of the model, in all frames but the one of the click."""


def skin(rng: np.random.Generator) -> np.ndarray:
    """(H, W) something to hold on to."""
    return 120 + 60 * gaussian_filter(rng.normal(0, 1, (200, 240)), 1.5) / 0.19


def moved(picture: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The picture shifted by (2,) pixels, as RGB."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(float)
    out = map_coordinates(picture, [rows - by[1], columns - by[0]], order=3, mode="nearest")
    return np.repeat(np.clip(out, 0, 255).astype(np.uint8)[..., None], 3, 2)


class FakeHead(Head):
    """What a click needs of one."""

    def __init__(self, seen_by: Camera) -> None:
        face = landmarks(seen_by, load_layout("mediapipe478"))
        self.__dict__.update(camera=seen_by, face=face, image_size_px=(240, 200), box_px=face.box_px)

    def query(self, points: Any) -> Landmarks:
        layout = points if isinstance(points, Layout) else load_layout(HEAD)
        return landmarks(self.camera, layout)


class FakeTracker(Tracker):
    """Answers for a layout, off by as much as it is told; `seen` is how likely points are seen."""

    def __init__(self, layout: Layout, cameras: Sequence[Camera], off: Sequence[np.ndarray], seen: float) -> None:
        self._layout, self._cameras, self._off, self._seen = layout, cameras, off, seen
        self._at = 0

    def step(self, frame: Frame) -> list[TrackedHead]:
        if frame.pixels is None:
            return []
        found = landmarks(self._cameras[frame.index], self._layout, uncovered=self._seen, sigma_px=1.5)
        off = self._off[frame.index].astype(np.float32)
        self._at = frame.index
        across = off * AWAY_MM / FOCAL_PX @ found.camera.R_camera_head[:2]  # where the error lies in space, about
        depth = found.camera.in_camera_mm(found.xyz_mm)[:, 2:]
        xyz = found.xyz_mm + (across * depth / AWAY_MM).astype(np.float32)
        return [TrackedHead(1, replace(found, xy_px=found.xy_px + off, xyz_mm=xyz), 0.01)]

    def state(self) -> dict[str, Any]:
        return {"at": self._at}

    def resume(self, state: dict[str, Any]) -> None:
        self._at = state["at"]


def shifted(by: np.ndarray) -> Camera:
    """A camera whose picture is shifted by (2,) pixels."""
    still = camera()
    return Camera(still.focal_px, still.principal_px + by, still.R_camera_head, still.t_camera_head_mm)


STEPS = [np.array(step) for step in ([0.0, 0.0], [0.6, 0.3], [1.7, -0.8], [2.5, -1.1])]


def tracked(pictures: Sequence[np.ndarray], seen: float = 1.0, layout: Layout = POINTS) -> list[Landmarks]:
    """The locked points of frames that move by `STEPS`."""
    click = Click(FakeHead(shifted(STEPS[0])), landmarks(shifted(STEPS[0]), POINTS).xy_px)
    cameras = [shifted(step) for step in STEPS]
    off = [0 * ERROR_PX, ERROR_PX, ERROR_PX, ERROR_PX]
    tracker = LockedTracker(lambda asked: FakeTracker(asked, cameras, off, seen), layout, [(click, pictures[0])])
    frames = [Frame(i, i, i / 25, picture) for i, picture in enumerate(pictures)]
    return [tracker.step(frame)[0].landmarks for frame in frames]


def truth(i: int) -> np.ndarray:
    return landmarks(shifted(STEPS[i]), POINTS).xy_px


def test_the_model_s_error_is_taken_out_where_the_skin_is_seen() -> None:
    picture = skin(np.random.default_rng(0))
    found = tracked([moved(picture, step) for step in STEPS])
    for i, each in enumerate(found):
        assert len(each) == len(POINTS)
        off = np.linalg.norm(each.xy_px - truth(i), axis=1)
        assert np.median(off) < 0.1
        assert off.max() < 0.5
        assert np.median(each.sigma_px) < 0.5
        np.testing.assert_allclose(each.camera.project(each.xyz_mm), each.xy_px, atol=0.01)


def test_light_and_contrast_may_change() -> None:
    picture = skin(np.random.default_rng(1))
    dim = [moved(picture, STEPS[0]), *(moved(0.5 * picture + 20, step) for step in STEPS[1:])]
    off = np.linalg.norm(tracked(dim)[3].xy_px - truth(3), axis=1)
    assert np.median(off) < 0.15


def test_what_covers_a_point_does_not_draw_it_away() -> None:
    rng = np.random.default_rng(2)
    covered = [moved(skin(rng), STEPS[0]), *(moved(skin(rng), step) for step in STEPS[1:])]
    for i, each in enumerate(tracked(covered)[1:], 1):
        np.testing.assert_allclose(each.xy_px, truth(i) + ERROR_PX, atol=0.5)
        assert np.median(each.sigma_px) == pytest.approx(1.5)


def test_what_the_model_says_is_hidden_is_not_looked_for() -> None:
    picture = skin(np.random.default_rng(3))
    found = tracked([moved(picture, step) for step in STEPS], seen=0.05)
    np.testing.assert_allclose(found[2].xy_px, truth(2) + ERROR_PX, atol=1e-3)


def test_smooth_skin_leaves_points_where_the_model_has_them() -> None:
    flat = np.full((200, 240), 150.0)
    found = tracked([moved(flat, step) for step in STEPS])
    np.testing.assert_allclose(found[2].xy_px, truth(2) + ERROR_PX, atol=0.05)


def test_only_the_last_points_are_locked() -> None:
    both = Layout("both", np.concatenate([load_layout("ibug68").points_mm, POINTS.points_mm]))
    picture = skin(np.random.default_rng(4))
    found = tracked([moved(picture, step) for step in STEPS], layout=both)[2]
    ibug = landmarks(shifted(STEPS[2]), load_layout("ibug68")).xy_px
    np.testing.assert_allclose(found.xy_px[:68], ibug + ERROR_PX, atol=1e-3)
    assert np.median(np.linalg.norm(found.xy_px[68:] - truth(2), axis=1)) < 0.1
    assert len(found.layout) == 68 + len(POINTS)


def test_a_resumed_one_goes_on_as_it_would_have() -> None:
    picture = skin(np.random.default_rng(5))
    pictures = [moved(picture, step) for step in STEPS]
    click = Click(FakeHead(shifted(STEPS[0])), landmarks(shifted(STEPS[0]), POINTS).xy_px)
    cameras, off = [shifted(step) for step in STEPS], [0 * ERROR_PX, *[ERROR_PX] * 3]

    def make() -> LockedTracker:
        return LockedTracker(lambda asked: FakeTracker(asked, cameras, off, 1.0), POINTS, [(click, pictures[0])])

    frames = [Frame(i, i, i / 25, each) for i, each in enumerate(pictures)]
    whole, first, second = make(), make(), make()
    expected = [whole.step(frame)[0].landmarks.xy_px for frame in frames]
    for frame in frames[:2]:
        first.step(frame)
    second.resume(first.state())
    for frame, xy in zip(frames[2:], expected[2:], strict=True):
        np.testing.assert_array_equal(second.step(frame)[0].landmarks.xy_px, xy)
    assert whole.step(Frame(4, 4, 0.2, None, "damaged")) == []
