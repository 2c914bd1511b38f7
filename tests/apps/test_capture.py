"""Capture: known performances of a small rig come back, better from more cameras and landmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anymark.apps.capture import CaptureSettings, View, capture
from anymark.canonical import CanonicalHead
from anymark.canonical.frame import FACING
from anymark.errors import AnymarkError
from anymark.fit import Points, Rig
from anymark.fit.problem import exponential

FOCAL, MIDDLE, AWAY = 1500.0, (300.0, 250.0), 800.0
SURE = CaptureSettings(noise_mm=0.05)
FRAMES = 7


@pytest.fixture(scope="module")
def rig() -> Rig:
    """The canonical head with 4 identity and 5 expression shapes, each a smooth bump."""
    head = CanonicalHead.load()
    vertices = head.vertices_mm.astype(np.float64)
    rng = np.random.default_rng(0)
    face = vertices[head.vertices_of("face")]

    def bump(wide: float) -> np.ndarray:
        near = np.exp(-((vertices - face[rng.integers(len(face))]) ** 2).sum(1) / (2 * wide**2))
        return near[:, None] * rng.normal(0, 1, 3) * 8

    return Rig(
        vertices,
        np.stack([bump(60) for _ in range(4)]),
        np.stack([bump(25) for _ in range(5)]),
        tuple("abcde"),
        head.triangles,
    )


@pytest.fixture(scope="module")
def points(rig: Rig) -> Points:
    found = CanonicalHead.load().sample(600, ("face",))
    return Points(rig.triangles[found.triangles], found.barycentric)


class Truth:
    """A performance, and what cameras see of it."""

    def __init__(self, rig: Rig, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.identity = rng.normal(0, 0.8, 4)
        self.expression = np.clip(0.4 + np.cumsum(rng.normal(0, 0.08, (FRAMES, 5)), 0), 0, 1)
        turns = 0.1 * np.linspace(-1, 1, FRAMES)[:, None] * rng.normal(0, 1, 3)
        self.rotation = FACING @ exponential(turns)
        self.place = np.array([10.0, 20, AWAY]) + np.linspace(0, 20, FRAMES)[:, None] * rng.normal(0, 1, 3)
        self.vertices = np.stack([rig.vertices_mm(self.identity, each) for each in self.expression])

    def view(self, points: Points, yaw: float = 0.0, noise: float = 0.0, sigma: float = 1.0) -> View:
        turn = exponential(np.array([[0, yaw, 0]]))[0]
        shift = np.array([0, 0, AWAY]) - turn @ [0, 0, AWAY]
        world = points.on(self.vertices).astype(float) @ self.rotation.swapaxes(1, 2) + self.place[:, None]
        seen = world @ turn.T + shift
        xy = np.array(MIDDLE) + FOCAL * seen[..., :2] / seen[..., 2:]
        xy += np.random.default_rng(5).normal(0, 1, xy.shape) * noise
        lens = np.full(FRAMES, FOCAL), np.tile(MIDDLE, (FRAMES, 1))
        return View(xy, np.full(xy.shape[:2], sigma), *lens, turn, shift)

    def error_mm(self, found: object, rig: Rig) -> float:
        own = np.stack([found.vertices_mm(rig, i) for i in range(FRAMES)])  # type: ignore[attr-defined]
        world = own @ found.R_world_head.swapaxes(1, 2) + found.t_world_head_mm[:, None]  # type: ignore[attr-defined]
        true = self.vertices @ self.rotation.swapaxes(1, 2) + self.place[:, None]
        return float(np.linalg.norm(world - true, axis=2).mean())


def test_a_performance_comes_back_from_one_view(rig: Rig, points: Points) -> None:
    truth = Truth(rig)
    found = capture(rig, points, [View.alone(*_plain(truth.view(points)), FOCAL, np.array(MIDDLE))], SURE)
    assert np.nanmax(found.residual_px) < 0.15
    np.testing.assert_allclose(found.expression, truth.expression, atol=0.08)
    np.testing.assert_allclose(found.identity, truth.identity, atol=0.15)
    np.testing.assert_allclose(found.R_world_head, truth.rotation, atol=0.01)
    assert truth.error_mm(found, rig) < 3


def test_more_cameras_and_more_landmarks_help(rig: Rig, points: Points) -> None:
    truth, few = Truth(rig, 2), Points(points.vertices[::12], points.barycentric[::12])
    settings = CaptureSettings(noise_mm=1.0)
    errors = {}
    for name, some in (("few", few), ("many", points)):
        views = [truth.view(some, yaw, noise=1.5) for yaw in (0.0, -0.6, 0.6)]
        errors[name, 1] = truth.error_mm(capture(rig, some, views[:1], settings), rig)
        errors[name, 3] = truth.error_mm(capture(rig, some, views, settings), rig)
    assert errors["many", 3] < errors["few", 3]
    assert errors["few", 3] < errors["few", 1]
    assert errors["many", 3] < errors["many", 1]


def test_weights_stay_within_their_bounds(rig: Rig, points: Points) -> None:
    truth = Truth(rig)
    truth.expression[:] = 1.4
    truth.vertices = np.stack([rig.vertices_mm(truth.identity, each) for each in truth.expression])
    found = capture(rig, points, [truth.view(points)], SURE)
    assert found.expression.min() >= 0
    assert found.expression.max() <= 1
    assert (found.expression.max(1) > 0.99).all()


def test_unsure_landmarks_count_less(rig: Rig, points: Points) -> None:
    truth = Truth(rig)
    view = truth.view(points)
    wrong = np.arange(len(points)) % 3 == 0
    xy, sigma = view.xy_px.copy(), view.sigma_px.copy()
    xy[:, wrong] += 15
    trusted = capture(rig, points, [replace(view, xy_px=xy)], SURE)
    sigma[:, wrong] = 40
    doubted = capture(rig, points, [replace(view, xy_px=xy, sigma_px=sigma)], SURE)
    off = [np.abs(each.expression - truth.expression).mean() for each in (doubted, trusted)]
    assert off[0] < 0.5 * off[1]


def test_smoothing_steadies_noisy_frames(rig: Rig, points: Points) -> None:
    truth, few = Truth(rig, 3), Points(points.vertices[::20], points.barycentric[::20])
    view = truth.view(few, noise=3.0)
    found = capture(rig, few, [view], CaptureSettings(noise_mm=1.0))
    loose = replace(CaptureSettings().smooth, rotation_rad=9.0, translation_mm=1e4, expression=1e2)
    rough = capture(rig, few, [view], CaptureSettings(noise_mm=1.0, smooth=loose))
    steps = [np.abs(np.diff(each.expression, axis=0)).mean() for each in (found, rough)]
    assert steps[0] < 0.8 * steps[1]


def test_frames_without_the_head_are_bridged(rig: Rig, points: Points) -> None:
    truth = Truth(rig)
    view = truth.view(points)
    xy = view.xy_px.copy()
    xy[[0, 3]] = np.nan
    found = capture(rig, points, [replace(view, xy_px=xy)], SURE)
    assert np.isnan(found.residual_px).tolist() == [True, False, False, True, False, False, False]
    np.testing.assert_allclose(found.expression[3], truth.expression[2:5].mean(0), atol=0.15)
    np.testing.assert_allclose(found.t_world_head_mm[3], truth.place[3], atol=12)


def test_a_rig_without_identities(rig: Rig, points: Points) -> None:
    truth = Truth(rig)
    neutral = rig.vertices_mm(truth.identity, np.zeros(5))
    own = Rig(neutral, rig.identity_mm[:0], rig.expression_mm, rig.expression_names, rig.triangles)
    found = capture(own, points, [truth.view(points)], SURE)
    assert found.identity.shape == (0,)
    np.testing.assert_allclose(found.expression, truth.expression, atol=0.05)


def test_bad_input(rig: Rig, points: Points) -> None:
    view = Truth(rig).view(points)
    for views, said in (
        ([], "at least one view"),
        ([replace(view, sigma_px=view.sigma_px[:, :5])], "view 0: sigma_px must be"),
        ([view, replace(view, focal_px=view.focal_px[:2])], "view 1: focal_px must be"),
        ([replace(view, xy_px=np.nan * view.xy_px)], "no frame shows the head"),
    ):
        with pytest.raises(AnymarkError, match=said):
            capture(rig, points, views)
    with pytest.raises(AnymarkError, match="3 landmarks; at least 12 are needed"):
        capture(rig, Points(points.vertices[:3], points.barycentric[:3]), [view])


def _plain(view: View) -> tuple[np.ndarray, np.ndarray]:
    return view.xy_px, view.sigma_px


def test_a_head_that_comes_back_turned_is_found_again(rig: Rig, points: Points) -> None:
    truth = Truth(rig)
    turn = exponential(np.array([[0, 1.2, 0]]))[0]
    truth.rotation[4:] = turn @ truth.rotation[4:]
    view = truth.view(points)
    xy = view.xy_px.copy()
    xy[3] = np.nan
    loose = replace(SURE.smooth, rotation_rad=9.0)
    found = capture(rig, points, [replace(view, xy_px=xy)], replace(SURE, smooth=loose))
    assert np.nanmax(found.residual_px) < 0.3
    np.testing.assert_allclose(found.R_world_head[4:], truth.rotation[4:], atol=0.02)


def test_residuals_are_those_of_what_is_returned(rig: Rig, points: Points) -> None:
    truth = Truth(rig)
    view = truth.view(points, noise=2.0)
    found = capture(rig, points, [view], CaptureSettings(noise_mm=1.0))
    for i in (0, 3):
        own = points.on(found.vertices_mm(rig, i).astype(float)) @ found.R_world_head[i].T + found.t_world_head_mm[i]
        xy = np.array(MIDDLE) + FOCAL * own[:, :2] / own[:, 2:]
        off = np.linalg.norm(xy - view.xy_px[i], axis=1).mean()
        assert found.residual_px[i] == pytest.approx(off, rel=1e-3)
