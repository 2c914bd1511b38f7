"""Fits of one person: one identity in all images, smooth over a video."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.canonical.frame import FACING
from anymark.errors import AnymarkError
from anymark.fit import Camera, Rig, Settings, Smoothness, fit, fit_person
from anymark.fit.problem import exponential

FRAMES = 16
SETTINGS = Settings(noise_mm=2.0)


class Clip:
    """One head that turns and moves smoothly before one camera; its labels tremble."""

    def __init__(self, rig: Rig, noise_px: float = 1.0) -> None:
        rng = np.random.default_rng(3)
        s = np.linspace(0, 1, FRAMES)[:, None]
        self.identity = np.tile(rng.normal(0, 1, len(rig.identity_mm)), (FRAMES, 1))
        self.expression = 0.5 + 0.4 * np.sin(3 * s + rng.uniform(0, 6, len(rig.expression_mm)))
        self.R = exponential(np.hstack([0.2 * s, 0.8 * s - 0.4, 0 * s])) @ FACING
        self.t = np.hstack([60 * s - 30, 10 * s, 700 + 40 * s])
        self.camera = Camera(np.full(FRAMES, 700.0), np.tile([256.0, 256.0], (FRAMES, 1)))
        self.points = rig.landmarks["face"]
        self.vertices = rig.vertices_mm(self.identity, self.expression)
        x = self.points.on(self.vertices.astype(float)) @ self.R.swapaxes(1, 2) + self.t[:, None]
        self.labels = self.camera.project(x) + rng.normal(0, noise_px, (*x.shape[:2], 2))


def jitter(values: np.ndarray) -> float:
    return float(np.abs(np.diff(values, 2, axis=0)).mean())


def test_all_images_share_one_identity_that_is_nearer_to_the_truth(rig: Rig) -> None:
    clip = Clip(rig)
    alone = fit(rig, clip.points, clip.labels, camera=clip.camera, settings=SETTINGS)
    together = fit_person(rig, clip.points, clip.labels, camera=clip.camera, settings=SETTINGS)
    assert together.converged.all()
    assert np.array_equal(together.identity, np.tile(together.identity[0], (FRAMES, 1)))
    wrong = [np.abs(f.identity - clip.identity).mean() for f in (alone, together)]
    assert wrong[1] < 0.6 * wrong[0]


def test_one_image_of_a_person_is_a_single_fit(rig: Rig) -> None:
    clip = Clip(rig)
    alone = fit(rig, clip.points, clip.labels[:1], settings=SETTINGS)
    together = fit_person(rig, clip.points, clip.labels[:1], settings=SETTINGS)
    assert np.allclose(alone.identity, together.identity, atol=0.02)
    assert np.allclose(alone.t_camera_head_mm, together.t_camera_head_mm, atol=0.3)


def test_a_video_is_smooth_and_no_less_right(rig: Rig) -> None:
    clip = Clip(rig, noise_px=4.0)
    rough = fit_person(rig, clip.points, clip.labels, camera=clip.camera, settings=SETTINGS)
    slow = Smoothness(rotation_rad=0.03, translation_mm=3.0, expression=0.05)
    smooth = fit_person(rig, clip.points, clip.labels, camera=clip.camera, settings=SETTINGS, smooth=slow)
    assert jitter(smooth.t_camera_head_mm) < 0.9 * jitter(rough.t_camera_head_mm)
    assert jitter(smooth.expression) < 0.7 * jitter(rough.expression)
    wrong = [np.abs(f.expression - clip.expression).mean() for f in (rough, smooth)]
    assert wrong[1] < wrong[0]
    assert (smooth.expression >= 0).all()
    assert (smooth.expression <= 1).all()


def test_frames_without_labels_are_bridged(rig: Rig) -> None:
    clip = Clip(rig, noise_px=0.2)
    weights = np.ones(clip.labels.shape[:2])
    weights[6:9] = 0
    labels = np.where(weights[..., None] > 0, clip.labels, np.nan)
    found = fit_person(
        rig, clip.points, labels, weights=weights, camera=clip.camera, settings=SETTINGS, smooth=Smoothness()
    )
    assert np.isnan(found.residual_px[6:9]).all()
    assert np.isfinite(np.delete(found.residual_px, [6, 7, 8])).all()
    x = clip.points.on(clip.vertices) @ clip.R.swapaxes(1, 2) + clip.t[:, None]
    truth = clip.camera.project(x)
    error = np.linalg.norm(
        found.project(clip.points.on(rig.vertices_mm(found.identity, found.expression))) - truth, axis=2
    )
    assert error[6:9].mean() < 4 * error.mean()
    assert error[6:9].max() < 6


@pytest.mark.parametrize("known", [True, False])
def test_a_frame_whose_labels_are_of_no_head_is_bridged(rig: Rig, known: bool) -> None:
    clip = Clip(rig, noise_px=0.2)
    labels, weights = clip.labels.copy(), np.ones(clip.labels.shape[:2])
    labels[5], weights[5] = 0.0, 0.0  # as a tracker writes that found nothing
    camera = clip.camera if known else None
    found = fit_person(rig, clip.points, labels, camera=camera, settings=SETTINGS, smooth=Smoothness())
    wanted = fit_person(
        rig, clip.points, clip.labels, weights=weights, camera=camera, settings=SETTINGS, smooth=Smoothness()
    )
    assert np.allclose(found.t_camera_head_mm, wanted.t_camera_head_mm)
    assert np.array_equal(np.isnan(found.residual_px), np.arange(FRAMES) == 5)
    with pytest.raises(AnymarkError, match="image 5 cannot be fitted"):
        fit_person(rig, clip.points, labels, camera=camera, settings=SETTINGS)


def test_one_camera_takes_a_video(rig: Rig) -> None:
    clip = Clip(rig)
    found = fit_person(rig, clip.points, clip.labels, settings=SETTINGS, smooth=Smoothness())
    assert len(np.unique(found.camera.focal_px)) == 1
    assert len(np.unique(found.camera.principal_px, axis=0)) == 1
    apart = fit_person(rig, clip.points, clip.labels, settings=SETTINGS)
    assert len(np.unique(apart.camera.focal_px)) == FRAMES


def test_bad_input_is_one_clear_line(rig: Rig) -> None:
    clip = Clip(rig)
    none = np.zeros(clip.labels.shape[:2])
    with pytest.raises(AnymarkError, match="without any label"):
        fit_person(rig, clip.points, clip.labels, weights=none, smooth=Smoothness())
    none[1:] = 1
    with pytest.raises(AnymarkError, match="without any label"):
        fit_person(rig, clip.points, clip.labels, weights=none)
    with pytest.raises(AnymarkError, match="labels must be"):
        fit_person(rig, clip.points, clip.labels[:, :3])
    with pytest.raises(AnymarkError, match="weights must be"):
        fit_person(rig, clip.points, clip.labels, weights=np.ones(3))
