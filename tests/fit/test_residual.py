"""Beyond the labels: residuals spread, and how far off a fit is there."""

from __future__ import annotations

import numpy as np

from anymark.canonical.frame import FACING
from anymark.fit import Camera, Rig, Settings, fit
from anymark.fit.residual import residual_weights, spread_mm, unexplained


def test_residuals_are_followed_near_labels_and_forgotten_far_away() -> None:
    rng = np.random.default_rng(0)
    labelled = rng.uniform(-50, 50, (200, 3)) * (1, 1, 0.1)
    weights = residual_weights(labelled, np.vstack([labelled[:5], [[0, 0, 500.0]]]))
    smooth = np.sin(labelled[:, 0] / 40)
    assert np.abs(weights[:5] @ smooth - smooth[:5]).max() < 0.1
    assert abs(float(weights[5] @ smooth)) < 1e-3
    left = unexplained(weights, labelled, np.vstack([labelled[:5], [[0, 0, 500.0]]]))
    assert left[:5].max() < 0.15
    assert left[5] > 0.999


def test_a_fit_is_off_as_far_as_it_says(rig: Rig) -> None:
    """Random people and noise, as the priors have them: where there are no labels the errors are as predicted."""
    settings = Settings(expression=1e-3, rounds=20)
    rng, count = np.random.default_rng(1), 200
    points = rig.landmarks["face"]
    identity = rng.normal(0, settings.identity, (count, len(rig.identity_mm)))
    vertices = rig.vertices_mm(identity, np.zeros((count, 4)))
    camera = Camera(np.full(count, 2000.0), np.zeros((count, 2)))

    def image(mm: np.ndarray) -> np.ndarray:
        return camera.project(mm @ FACING.T + (0, 0, settings.distance_mm))

    labels = image(points.on(vertices)) + rng.normal(0, 2 * settings.noise_mm, (count, len(points), 2))
    found = fit(rig, points, labels, camera=camera, settings=settings)
    error = (found.project(rig.vertices_mm(found.identity, found.expression)) - image(vertices)) / 2  # to millimetres
    measured = np.sqrt((error**2).mean((0, 2)))
    said = spread_mm(rig, points, np.ones(len(points)), rig, settings)
    assert said.max() > 1.5 * said.min()
    assert np.all(np.abs(measured / said - 1) < 0.3)
    fewer = spread_mm(rig, points, np.linspace(0, 1, len(points)) < 0.3, rig, settings)
    assert np.all(fewer >= said - 1e-6)
