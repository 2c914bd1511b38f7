"""Calibration recovers points, slides and codes from the detector's own answers, and says what others may expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.apps.calibrate import calibrate, fit_code, fit_points, nearest_points
from anymark.apps.queries import View
from anymark.canonical import Layout, load_layout
from anymark.canonical.frame import mm_to_uvw
from anymark.detect.detector import Detector, Head
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from tests.apps.synthetic import colour_of
from tests.evaluate.synthetic import CAMERA_MM, project

COLOURS = [(0, 128, 0), (255, 128, 0), (128, 0, 0), (128, 255, 0), (200, 60, 0)]
GREY = [(128, 128, 0)] * 3
TURNS = [(0, 0), (-40, 5), (35, -10), (15, 20), (-20, -15), (50, 0), (-5, 10)]
LENGTH_PX = 90.0
NO_PRIOR = 1e6


def heads(model: Path, colours: Sequence[tuple[int, int, int]]) -> list[Head]:
    """Heads of these colours in windows of one size."""
    detector = Detector(model)
    windows = [Window(np.array([150.0 + i, 170.0]), 300.0) for i in range(len(colours))]
    pixels = [np.full((400, 400, 3), colour, np.uint8) for colour in colours]
    return [detector.encode(image, [window])[0] for image, window in zip(pixels, windows, strict=True)]


def views(model: Path, points_mm: np.ndarray, colours: list[tuple[int, int, int]], camera_mm: float) -> list[View]:
    """Those heads, labelled with where `points_mm` truly are."""
    return [
        View(head, head.window.to_image(project(points_mm, colour, camera_mm)), LENGTH_PX)
        for head, colour in zip(heads(model, colours), colours, strict=True)
    ]


def turned_views(model: Path, layout: Layout, noise_px: float = 0.0) -> list[View]:
    """Heads turned in many ways, labelled with the model's answers for a layout."""
    rng = np.random.default_rng(4)
    labels = [(head, head.query(layout).xy_px) for head in heads(model, [colour_of(*turn) for turn in TURNS])]
    return [View(head, xy + rng.normal(0, noise_px, xy.shape), LENGTH_PX) for head, xy in labels]


@pytest.fixture
def start() -> Layout:
    return Layout("start", load_layout("ibug68").points_mm)


@pytest.fixture
def truth(start: Layout) -> np.ndarray:
    return start.points_mm + np.random.default_rng(3).normal(0, 5, (68, 3))


@pytest.mark.parametrize(("model", "camera_mm"), [("linear", np.inf), ("perspective", CAMERA_MM)])
def test_recovers_displaced_points(
    model: str, camera_mm: float, start: Layout, truth: np.ndarray, request: pytest.FixtureRequest
):
    seen = views(request.getfixturevalue(model), truth, COLOURS, camera_mm)
    fit = fit_points(seen, start, prior_mm=NO_PRIOR)
    assert np.abs(fit.layout.points_mm - truth).max() < 0.05
    assert fit.error_left_out < 1e-4


def test_says_how_far_points_moved_and_what_errors_became(linear: Path, start: Layout, truth: np.ndarray):
    seen = views(linear, truth, COLOURS, np.inf)
    result = calibrate(seen, start, "mine")
    before, after, left_out = result.errors
    assert before > 0.03
    assert after < left_out < 0.05 * before
    assert result.before.shape == result.after.shape == result.left_out.shape == (5, 68)
    assert result.moved_mm == pytest.approx(np.linalg.norm(truth - start.points_mm, axis=1), abs=0.5)


def test_prior_hardly_bends_what_the_photos_say(linear: Path, start: Layout, truth: np.ndarray):
    fit = fit_points(views(linear, truth, COLOURS, np.inf), start)
    assert np.abs(fit.layout.points_mm - truth).max() < 0.5


def test_few_photos_move_little_what_nearly_fits(linear: Path, start: Layout):
    rng = np.random.default_rng(6)
    truth = start.points_mm + rng.normal(0, 0.5, (68, 3))
    seen = views(linear, truth, COLOURS[:3], np.inf)
    seen = [replace(view, labels_px=view.labels_px + rng.normal(0, 4, (68, 2))) for view in seen]
    loose = fit_points(seen, start).layout
    layout = calibrate(seen, start, "mine").layout
    assert np.abs(layout.points_mm - truth).mean() < 0.6 * np.abs(loose.points_mm - truth).mean()


def test_depth_that_no_photo_shows_stays_where_it_was(linear: Path, start: Layout, truth: np.ndarray):
    fit = fit_points(views(linear, truth, GREY, np.inf), start)
    moved = fit.layout.points_mm - start.points_mm
    assert np.abs(moved[:, 2]).max() < 0.1
    assert np.abs(moved[:, :2] - (truth - start.points_mm)[:, :2]).max() < 0.2


def test_one_photo_is_enough_to_end_well(linear: Path, start: Layout, truth: np.ndarray):
    result = calibrate(views(linear, truth, [(250, 100, 0)], np.inf), start, "mine")
    before, after, left_out = result.errors
    assert after < 0.05 * before
    assert left_out == pytest.approx(before, rel=0.01)  # without it there is only the start


def test_points_are_independent(perspective: Path, start: Layout, truth: np.ndarray):
    seen = views(perspective, truth, COLOURS, CAMERA_MM)
    some = [View(view.head, view.labels_px[10:20], view.length_px) for view in seen]
    few = Layout("few", start.points_mm[10:20])
    assert fit_points(some, few).layout.points_mm == pytest.approx(
        fit_points(seen, start).layout.points_mm[10:20], abs=0.02
    )


@pytest.mark.parametrize("slide", [False, True])
def test_left_out_is_what_a_fit_to_the_others_gives(linear: Path, start: Layout, truth: np.ndarray, slide: bool):
    rng = np.random.default_rng(5)
    seen = views(linear, truth, COLOURS, np.inf)
    seen = [replace(view, labels_px=view.labels_px + rng.normal(0, 3, (68, 2))) for view in seen]
    left_out = fit_points(seen, start, slide=slide).left_out
    for i, view in enumerate(seen):
        others = fit_points([*seen[:i], *seen[i + 1 :]], start, slide=slide).layout
        assert left_out[i] == pytest.approx(view.answers(others) - view.labels, abs=2e-4)


def test_a_point_without_a_label_is_fitted_to_the_other_heads(linear: Path, start: Layout, truth: np.ndarray):
    seen = views(linear, truth, COLOURS, np.inf)
    seen[0].labels_px[3] = np.nan
    for view in seen:
        view.labels_px[9] = np.nan
    points = fit_points(seen, start).layout.points_mm
    assert points[3] == pytest.approx(fit_points(seen[1:], start).layout.points_mm[3], abs=0.02)
    assert (points[9] == start.points_mm[9]).all()
    result = calibrate(seen, start, "mine")
    assert np.isnan(result.after[:, 9]).all()
    assert np.isnan(result.left_out[0, 3])
    assert np.isfinite(result.errors).all()


def test_nearest_points_finds_the_candidate(linear: Path):
    candidates = load_layout("mediapipe478").points_mm.astype(float)
    chosen = [5, 100, 400]
    seen = views(linear, candidates[chosen], COLOURS, np.inf)
    seen[2].labels_px[1] = np.nan
    assert (nearest_points(seen, candidates) == candidates[chosen]).all()


def test_a_layout_from_nothing(linear: Path):
    truth = load_layout("mediapipe478").points_mm[::40].astype(float) + np.array([2.0, -1.0, 0.5])
    result = calibrate(views(linear, truth, COLOURS, np.inf), None, "mine")
    assert result.layout.name == "mine-calibrated"
    assert np.abs(result.layout.points_mm - truth).max() < 0.5
    assert result.errors[1] < 1e-3


def test_a_layout_keeps_all_but_its_points(linear: Path, truth: np.ndarray, tmp_path: Path):
    base = load_layout("ibug68")
    layout = calibrate(views(linear, truth, COLOURS, np.inf), base, "300-W").layout
    layout.save(tmp_path / "saved.json")
    saved = load_layout(tmp_path / "saved.json")
    assert saved.name == "ibug68-calibrated"
    assert saved.code == "ibug68"
    assert saved.points_mm == pytest.approx(layout.points_mm)
    assert saved.regions.keys() == base.regions.keys()
    for key in ("edges", "flip", "triangles"):
        assert np.array_equal(getattr(saved, key), getattr(base, key))


def test_points_slide_where_annotators_follow_the_outline(turning: Path, start: Layout, tmp_path: Path):
    slides = np.zeros((68, 2, 3))
    slides[:17, 0] = 9, 0, -12
    slides[:17, 1] = 0, -6, 3
    outline = replace(start, slides_mm=slides)
    seen = turned_views(turning, outline, noise_px=0.2)
    stiff = fit_points(seen, start)
    result = calibrate(seen, start, "mine")
    assert result.errors[2] < 0.6 * stiff.error_left_out
    assert result.layout.slides_mm is not None
    result.layout.save(tmp_path / "a.json")
    unseen = heads(turning, [colour_of(-30, 12)])[0]
    wanted, found = unseen.query(outline).xy_px[:17], unseen.query(tmp_path / "a.json").xy_px[:17]
    missed = unseen.query(stiff.layout).xy_px[:17]
    assert np.linalg.norm(found - wanted, axis=1).mean() < 0.3 * np.linalg.norm(missed - wanted, axis=1).mean()


def test_points_do_not_slide_where_annotators_do_not(turning: Path, start: Layout, truth: np.ndarray):
    seen = turned_views(turning, Layout("truth", truth), noise_px=2.0)
    assert calibrate(seen, start, "mine").layout.slides_mm is None


def test_slides_of_the_layout_are_kept_to(turning: Path, start: Layout):
    slides = np.tile(np.array([[4.0, 0, -3], [0, 2, 0]]), (68, 1, 1))
    sliding = replace(start, slides_mm=slides)
    found = calibrate(turned_views(turning, sliding), sliding, "mine").layout
    assert found.points_mm == pytest.approx(start.points_mm, abs=0.02)
    assert found.slides_mm == pytest.approx(slides, abs=1e-3)


def test_the_code_of_the_layout_is_kept_to(turning: Path, start: Layout):
    coded = replace(start, code="ibug68")
    fit = fit_points(turned_views(turning, coded), coded)
    assert fit.layout.code == "ibug68"
    assert fit.layout.points_mm == pytest.approx(start.points_mm, abs=0.02)


@pytest.mark.parametrize("move", ["code", "both"])
def test_recovers_a_data_set_code(turning: Path, start: Layout, tmp_path: Path, move: str):
    truth = (0.7, -0.4)
    seen = turned_views(turning, replace(start, code=truth), noise_px=0.5)
    result = calibrate(seen, replace(start, code="ibug68"), "mine", move)  # pyright: ignore[reportArgumentType]
    assert result.layout.code == pytest.approx(truth, abs=0.03)
    assert (result.layout.points_mm == start.points_mm).all() == (move == "code")
    before, after, left_out = result.errors
    assert after <= left_out < 0.3 * before
    assert result.moved_mm == pytest.approx(np.hypot(3, 4), abs=0.5)
    result.layout.save(tmp_path / "a.json")
    again = seen[1].answers(load_layout(tmp_path / "a.json"))
    assert again == pytest.approx(seen[1].answers(result.layout), abs=1e-5)


def test_left_out_of_a_code_is_what_the_others_give(turning: Path, start: Layout):
    seen = turned_views(turning, replace(start, code=(0.7, -0.4)), noise_px=6.0)
    left_out = fit_code(seen, start).left_out
    for i, view in enumerate(seen):
        others = fit_code([*seen[:i], *seen[i + 1 :]], start).layout
        assert left_out[i] == pytest.approx(view.answers(others) - view.labels, abs=2e-4)


def test_numbers_of_a_code_are_for_their_model_alone(turning: Path, linear: Path, start: Layout):
    fitted = fit_code(turned_views(turning, start), start).layout
    assert fitted.model is not None
    assert fitted.model.startswith("turning ")
    other = heads(linear, GREY)[0]
    with pytest.raises(
        AnymarkError, match=r"layout 'start': its code belongs to the model turning .*calibrate it anew"
    ):
        other.query(fitted)


def test_wrong_numbers_of_points_are_named(linear: Path, truth: np.ndarray):
    seen = views(linear, truth, COLOURS, np.inf)
    three = Layout("three", np.zeros((3, 3), np.float32))
    with pytest.raises(AnymarkError, match="'three' has 3 points, 300-W labels 68"):
        calibrate(seen, three, "300-W")
    with pytest.raises(ValueError, match="at least one"):
        calibrate([], three, "300-W")


def test_a_label_far_away_pulls_its_point_no_further_than_the_cube(linear: Path, start: Layout, truth: np.ndarray):
    seen = views(linear, truth, COLOURS, np.inf)
    for view in seen:
        view.labels_px[7] += 5000
    points = fit_points(seen, start, prior_mm=NO_PRIOR).layout.points_mm
    uvw = mm_to_uvw(points)
    assert ((uvw >= 0) & (uvw <= 1)).all()
    assert ((uvw[7] == 0) | (uvw[7] == 1)).any()
    others = np.arange(len(start)) != 7
    assert np.abs(points - truth)[others].max() < 0.05


def test_labels_that_cannot_be_are_named_by_their_own_index(linear: Path, start: Layout, truth: np.ndarray):
    seen = views(linear, truth, COLOURS, np.inf)
    seen[1].labels_px[9] = np.inf
    with pytest.raises(AnymarkError, match="head 1: the label of point 9 is not finite"):
        fit_points(seen, start)
    for view in seen:
        view.labels_px[9] = np.nan
    with pytest.raises(AnymarkError, match="point 9 is labelled on no head"):
        calibrate(seen, None, "mine")
