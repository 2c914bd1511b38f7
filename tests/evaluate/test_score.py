"""Which head is scored, what is missed, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import load_layout
from anymark.detect.detector import Detector, Head
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.evaluate import report
from anymark.evaluate.pictures import sheet, write_ced
from anymark.evaluate.score import Scores, find_head, rough_window, score
from anymark.evaluate.three_hundred_w import read_300w
from tests.evaluate.synthetic import FACE_BOX, Tree, project

GREY = (128, 128, 128)


def answers(window: Window, colour: tuple[int, int, int] = GREY) -> np.ndarray:
    return window.to_image(project(load_layout("ibug68").points_mm, colour))


@pytest.fixture
def scored(tree: Tree, linear: Path, locator: Path) -> Callable[..., Scores]:
    def run(boxes: str = "locate", subset: str = "full") -> Scores:
        benchmark = read_300w(tree.root, subset)
        assert benchmark.layout is not None
        return score(Detector(linear, locator), benchmark, benchmark.layout, boxes)

    return run


@pytest.mark.parametrize("boxes", ["gt", "locate"])
def test_error_is_the_mean_distance_over_the_eyes(boxes: str, tree: Tree, scored: Callable[..., Scores]):
    located = answers(Window.from_box(FACE_BOX, 1.5))
    tree.add("ibug/a", located + np.array([3, 4]))
    scores = scored(boxes, "challenging")
    face = scores.benchmark.faces[0]
    window = Window.from_box(FACE_BOX if boxes == "locate" else face.box_px, 1.5)
    found = answers(window)
    assert scores.found_px[0] == pytest.approx(found, abs=1e-3)
    for name, length in face.lengths_px.items():
        want = np.linalg.norm(found - face.points_px, axis=1).mean() / length
        assert scores.errors[name][0] == pytest.approx(want, rel=1e-5)
    if boxes == "locate":
        assert scores.nme[0] * face.lengths_px["inter-ocular"] == pytest.approx(5, rel=1e-4)


def test_rough_windows_are_as_rough_as_they_say_and_stay_so(tree: Tree):
    exact = Window(np.array([100.0, 90.0]), 150.0)
    tree.add("ibug/a", answers(exact))
    face = read_300w(tree.root, "full").faces[0]
    faces = [replace(face, name=f"{i}") for i in range(2000)]
    windows = [rough_window(exact, each) for each in faces]
    ratios, rolls = np.array([w.side_px / 150 for w in windows]), np.degrees([w.roll_rad for w in windows])
    away = np.abs([w.centre_px - exact.centre_px for w in windows]) / (face.box_px[2:] - face.box_px[:2]).max()
    assert (ratios.min(), ratios.max()) == pytest.approx((0.6, 3.0), rel=0.02)
    assert np.median(ratios) == pytest.approx(np.sqrt(0.6 * 3.0), rel=0.05)
    assert (rolls.min(), rolls.max()) == pytest.approx((-45, 45), abs=1)
    assert away.max(0) == pytest.approx([0.5, 0.5], abs=0.01)
    again = rough_window(exact, faces[7])
    assert (again.corners_px() == windows[7].corners_px()).all()


def test_a_face_elsewhere_is_missed(tree: Tree, scored: Callable[..., Scores]):
    hit = answers(Window.from_box(FACE_BOX, 1.5))
    tree.add("ibug/hit", hit)
    tree.add("ibug/miss", hit / 3)
    scores = scored()
    assert np.isfinite(scores.nme).tolist() == [True, False]
    assert np.isnan(scores.found_px[1]).all()
    numbers = report.row_numbers(scores, "full", 0.08)
    assert (numbers["n"], numbers["missed"], numbers["failure_rate"], numbers["auc"]) == (2, 1, 0.5, pytest.approx(0.5))
    assert report.last_line(scores) == "NME 0.00 % (n=2, missed=1)"


class Finds(Detector):
    """A detector that finds these heads in every photo."""

    def __init__(self, heads: list[Head]) -> None:
        self.heads = heads

    def encode(self, image: object, windows: object = None) -> list[Head]:
        return self.heads


def test_of_several_heads_the_one_that_overlaps_best_is_scored(tree: Tree, linear: Path):
    tree.add("ibug/a")
    face = read_300w(tree.root, "challenging").faces[0]
    image = face.load()
    any_head = Detector(linear).encode(image, [Window.from_box(face.box_px, 1.5)])[0]
    heads = [replace(any_head, box_px=face.box_px + shift) for shift in (200.0, 30.0, -5.0, 60.0)]
    assert find_head(Finds(heads), image, face, "locate") is heads[2]
    assert find_head(Finds(heads[:1]), image, face, "locate") is None
    assert find_head(Finds([]), image, face, "locate") is None


def test_damaged_photos_are_missed_and_named(tree: Tree, scored: Callable[..., Scores]):
    tree.add("ibug/good")
    tree.add("ibug/cut")
    image = tree.root / "ibug" / "cut.png"
    image.write_bytes(image.read_bytes()[:60])
    scores = scored("gt")
    assert np.isinf(scores.nme).tolist() == [True, False]
    assert len(scores.notes) == 1
    assert "cut.png" in scores.notes[0]
    (tree.root / "ibug" / "good.png").write_bytes(b"no image")
    with pytest.raises(AnymarkError, match=r"none of 2 photos can be read.*cut\.png"):
        scored("gt")


def test_a_layout_of_another_size_is_refused(tree: Tree, linear: Path):
    tree.add("ibug/a")
    with pytest.raises(AnymarkError, match="478 points, 300-W full labels 68"):
        score(Detector(linear), read_300w(tree.root), load_layout("mediapipe478"), "gt")


def test_table_and_json_agree(tree: Tree, scored: Callable[..., Scores]):
    hit = answers(Window.from_box(FACE_BOX, 1.5))
    tree.add("helen/testset/a", hit + np.array([1, 0]))
    tree.add("ibug/b", hit + np.array([0, 3]))
    tree.add("ibug/c", hit / 3)
    scores = scored()
    content = report.to_dict(scores, 0.08, {"model": "x", "boxes": "locate"})
    json.dumps(content, allow_nan=False)
    rows = content["rows"]
    assert [rows[row]["n"] for row in ("common", "challenging", "full")] == [1, 2, 3]
    full = rows["full"]["nme"]["inter-ocular"]
    assert full == pytest.approx(
        (rows["common"]["nme"]["inter-ocular"] + rows["challenging"]["nme"]["inter-ocular"]) / 2, abs=1e-5
    )
    assert content["faces"][2] == {"name": "ibug/c", "nme": None}
    assert len(content["points"]) == 68
    assert set(content["regions"]) == {"jaw", "brows", "nose", "eyes", "mouth"}
    lines = report.table(scores, 0.08).splitlines()
    assert "FR and AUC at 8 %" in lines[1]
    assert lines[5].split()[:4] == ["full", "3", "1", f"{100 * full:.2f}"]


def test_all_missed_still_reports(tree: Tree, scored: Callable[..., Scores]):
    tree.add("ibug/a", tree.face / 3)
    scores = scored()
    assert report.last_line(scores) == "NME nan % (n=1, missed=1)"
    assert report.to_dict(scores, 0.08, {})["rows"]["full"]["nme"]["inter-ocular"] is None
    assert "full" in report.table(scores, 0.08)


def test_pictures_show_best_and_worst(tree: Tree, scored: Callable[..., Scores], tmp_path: Path):
    for i in range(25):
        tree.add(f"ibug/{i:02}", answers(Window.from_box(FACE_BOX, 1.5)) + i, GREY)
    (tree.root / "ibug" / "07.png").write_bytes(b"")
    scores = scored()
    picture = sheet(scores)
    assert picture.size == (6 * 256, 4 * 272)
    pixels = np.asarray(picture).astype(int)
    assert ((pixels[..., 1] > 200) & (pixels[..., 0] < 120)).any()  # found, green
    small = replace(scores.benchmark, faces=scores.benchmark.faces[:1])
    errors = {name: values[:1] for name, values in scores.errors.items()}
    one = Scores(small, scores.layout, scores.found_px[:1], scores.sigma_px[:1], errors, ())
    assert sheet(one).size == (6 * 256, 272)
    pytest.importorskip("matplotlib")
    write_ced(tmp_path / "ced.png", scores, 0.08)
    assert (tmp_path / "ced.png").read_bytes().startswith(b"\x89PNG")
