"""Faces for marker models, out of data sets: nobody is in both halves, and points lie where the head has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.canonical import CanonicalHead
from anymark.cli import main
from anymark.detect.template import load_template
from anymark.engine.marker_sets import read_truth
from anymark.engine.marks import PAINTS, draw_marks
from anymark.engine.samples import write_shard
from tests.samples import finish, grey_sample

PEOPLE = 8
AHEAD = np.diag([1.0, -1.0, -1.0])


def data_set(folder: Path, keys: str, level: int) -> Path:
    """Two views of each person, in that person's grey."""
    folder.mkdir()
    place = np.array([3.0, -5.0, 700.0])
    samples = [
        grey_sample(keys.format(person, view), AHEAD, place, 256, 600.0, level + 10 * person)
        for person in range(PEOPLE)
        for view in range(2)
    ]
    write_shard(folder / "shard-00000.tar", samples)
    finish(folder)
    return folder


def greys(folder: Path) -> set[int]:
    return {int(np.asarray(Image.open(path))[5, 5, 0]) for path in folder.glob("*.png")}


def test_faces_are_of_other_people_and_their_points_in_place(tmp_path: Path) -> None:
    renders, photos = data_set(tmp_path / "a", "sfhq-{:05}-{}", 50), data_set(tmp_path / "b", "sfhq-{:05}-0-{}", 50)
    out = tmp_path / "faces"
    command = ["data", "markers", "faces", "--marked", renders, "--unmarked", photos, "--held-out", renders]
    command += ["--sequence", photos, "--sequence-marked", renders]
    assert main([*map(str, command), "--out", str(out), "--size", "64"]) == 0
    marked, unmarked, held_out = (greys(out / name) for name in ("marked", "unmarked", "held-out"))
    assert marked
    assert unmarked
    assert not marked & unmarked
    assert marked | unmarked == held_out == greys(out / "sequence-marked")
    assert (out / "sequence" / "truth.npz").is_file()
    points, visible, take = read_truth(out / "held-out")
    assert visible.all()
    assert len(set(take)) == PEOPLE
    # seen from straight ahead, the canonical head's own marks nearly are the template: the camera is not at infinity
    template = load_template(out / "template.json")
    assert points.shape == (2 * PEOPLE, 48, 2)
    assert np.abs(points - template.points).max() < 0.12
    assert (points == points[0]).all()
    nose_tip, chin, right_eye, left_eye = 30, 8, 36, 45
    assert points[0, chin, 1] > points[0, nose_tip, 1]
    assert points[0, right_eye, 0] < points[0, left_eye, 0]  # the person's right is to the picture's left


def test_a_missing_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = str(tmp_path / "none")
    command = ["data", "markers", "faces", "--marked", where, "--unmarked", where, "--held-out", where]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "none" in capsys.readouterr().err.strip().splitlines()[-1]


def test_marks_are_of_the_paint_that_is_asked_for() -> None:
    head = CanonicalHead.load()
    any_of = {tuple(draw_marks(head, np.random.default_rng(i), True).colour.tolist()) for i in range(12)}
    assert len(any_of) > 1
    for name, colour in PAINTS.items():
        marks = draw_marks(head, np.random.default_rng(3), True, name)
        np.testing.assert_allclose(marks.colour, colour, rtol=1e-6)
    # the same heads otherwise
    np.testing.assert_array_equal(marks.points_mm, draw_marks(head, np.random.default_rng(3), True).points_mm)
