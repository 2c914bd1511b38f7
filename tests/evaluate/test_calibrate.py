"""Query optimisation recovers points from the detector's own answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import Layout, load_layout
from anymark.canonical.frame import mm_to_uvw
from anymark.detect.detector import Detector
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.evaluate.calibrate import View, calibrate, calibrate_layout, nearest_points
from tests.evaluate.synthetic import CAMERA_MM, project

COLOURS = [(0, 128, 0), (255, 128, 0), (128, 0, 0), (128, 255, 0), (200, 60, 0)]
GREY = [(128, 128, 0)] * 3
LENGTH_PX = 90.0


def views(model: Path, points_mm: np.ndarray, colours: list[tuple[int, int, int]], camera_mm: float) -> list[View]:
    """Heads of these colours in windows of several sizes, labelled with where `points_mm` truly are."""
    detector = Detector(model)
    out = []
    for i, colour in enumerate(colours):
        window = Window(np.array([150.0 + i, 170.0]), 300.0)
        pixels = np.full((400, 400, 3), colour, np.uint8)
        labels = window.to_image(project(points_mm, colour, camera_mm))
        out.append(View(detector.encode(pixels, [window])[0], labels, LENGTH_PX))
    return out


@pytest.fixture
def start() -> np.ndarray:
    return load_layout("ibug68").points_mm.astype(float)


@pytest.fixture
def truth(start: np.ndarray) -> np.ndarray:
    return start + np.random.default_rng(3).normal(0, 5, start.shape)


@pytest.mark.parametrize(("model", "camera_mm"), [("linear", np.inf), ("perspective", CAMERA_MM)])
def test_recovers_displaced_points(
    model: str, camera_mm: float, start: np.ndarray, truth: np.ndarray, request: pytest.FixtureRequest
):
    seen = views(request.getfixturevalue(model), truth, COLOURS, camera_mm)
    result = calibrate(seen, start, prior_mm=float("inf"))
    assert np.abs(result.points_mm - truth).max() < 0.05
    assert result.error_before > 0.03
    assert result.error_after < 1e-5
    assert result.moved_mm == pytest.approx(np.linalg.norm(truth - start, axis=1), abs=0.1)


def test_prior_hardly_bends_what_the_photos_say(linear: Path, start: np.ndarray, truth: np.ndarray):
    result = calibrate(views(linear, truth, COLOURS, np.inf), start)
    assert np.abs(result.points_mm - truth).max() < 0.5


def test_depth_that_no_photo_shows_stays_where_it_was(linear: Path, start: np.ndarray, truth: np.ndarray):
    result = calibrate(views(linear, truth, GREY, np.inf), start)
    moved = result.points_mm - start
    assert np.abs(moved[:, 2]).max() < 0.1
    assert np.abs(moved[:, :2] - (truth - start)[:, :2]).max() < 0.2


@pytest.mark.parametrize("prior_mm", [15.0, float("inf")])
def test_one_photo_is_enough_to_end_well(linear: Path, start: np.ndarray, truth: np.ndarray, prior_mm: float):
    result = calibrate(views(linear, truth, [(250, 100, 0)], np.inf), start, prior_mm=prior_mm)
    assert np.isfinite(result.points_mm).all()
    assert result.error_after < 0.05 * result.error_before


def test_points_are_independent(perspective: Path, start: np.ndarray, truth: np.ndarray):
    seen = views(perspective, truth, COLOURS, CAMERA_MM)
    some = [View(view.head, view.labels_px[10:20], view.length_px) for view in seen]
    assert calibrate(some, start[10:20]).points_mm == pytest.approx(calibrate(seen, start).points_mm[10:20], abs=0.02)


def test_nearest_points_finds_the_candidate(linear: Path):
    candidates = load_layout("mediapipe478").points_mm.astype(float)
    chosen = [5, 100, 400]
    assert (nearest_points(views(linear, candidates[chosen], COLOURS, np.inf), candidates) == candidates[chosen]).all()


def test_a_layout_from_nothing(linear: Path):
    truth = load_layout("mediapipe478").points_mm[::40].astype(float) + np.array([2.0, -1.0, 0.5])
    layout, result = calibrate_layout(views(linear, truth, COLOURS, np.inf), None, "mine")
    assert layout.name == "mine-calibrated"
    assert np.abs(layout.points_mm - truth).max() < 0.5
    assert result.error_after < 1e-3


def test_a_layout_keeps_all_but_its_points(linear: Path, truth: np.ndarray, tmp_path: Path):
    base = load_layout("ibug68")
    layout, _ = calibrate_layout(views(linear, truth, COLOURS, np.inf), base, "300-W")
    layout.save(tmp_path / "saved.json")
    saved = load_layout(tmp_path / "saved.json")
    assert saved.name == "ibug68-calibrated"
    assert saved.points_mm == pytest.approx(layout.points_mm)
    assert saved.regions.keys() == base.regions.keys()
    for key in ("edges", "flip", "triangles"):
        assert np.array_equal(getattr(saved, key), getattr(base, key))


def test_wrong_numbers_of_points_are_named(linear: Path, truth: np.ndarray):
    seen = views(linear, truth, COLOURS, np.inf)
    with pytest.raises(AnymarkError, match="'three' has 3 points, 300-W labels 68"):
        calibrate_layout(seen, Layout("three", np.zeros((3, 3), np.float32)), "300-W")
    with pytest.raises(ValueError, match="at least one"):
        calibrate([], truth)


def test_a_label_far_away_pulls_its_point_no_further_than_the_cube(linear: Path, start: np.ndarray, truth: np.ndarray):
    seen = views(linear, truth, COLOURS, np.inf)
    for view in seen:
        view.labels_px[7] += 5000
    points = calibrate(seen, start, prior_mm=float("inf")).points_mm
    uvw = mm_to_uvw(points)
    assert ((uvw >= 0) & (uvw <= 1)).all()
    assert ((uvw[7] == 0) | (uvw[7] == 1)).any()
    others = np.arange(len(start)) != 7
    assert np.abs(points - truth)[others].max() < 0.05
    layout, _ = calibrate_layout(seen, load_layout("ibug68"), "mine")
    assert len(layout) == 68


def test_points_and_labels_that_cannot_be_are_named_by_their_own_index(
    linear: Path, start: np.ndarray, truth: np.ndarray
):
    seen = views(linear, truth, COLOURS, np.inf)
    start[5] = 0, 900, 0
    with pytest.raises(AnymarkError, match=r"point 5 at \(0, 900, 0\) lies outside"):
        calibrate(seen, start)
    seen[1].labels_px[9] = np.nan
    with pytest.raises(AnymarkError, match="head 1: the label of point 9 is not finite"):
        calibrate(seen, truth)
