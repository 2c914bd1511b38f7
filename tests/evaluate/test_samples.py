"""`anymark eval samples`: whole heads by yaw and by part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import CanonicalHead, load_layout
from anymark.cli import main
from anymark.detect.window import Window
from anymark.engine.samples import Sample, write_shard
from anymark.engine.shots import turned
from anymark.evaluate.samples import read_samples
from tests.evaluate.synthetic import project
from tests.samples import finish, grey_sample

SIDE, FOCAL, AWAY = 96, 200.0, 900.0


def sample(key: str, yaw_deg: float) -> Sample:
    return grey_sample(key, turned(np.radians(yaw_deg), 0.1, -0.05), np.array([4.0, -5.0, AWAY]), SIDE, FOCAL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "views"
    path.mkdir()
    write_shard(path / "shard-00000.tar", [sample("a", 10), sample("b", -45), sample("c", 45)])
    write_shard(path / "shard-00001.tar", [sample("d", -88)])
    finish(path)
    return path


def test_faces_are_told_apart_by_yaw(folder: Path) -> None:
    benchmark = read_samples(folder)
    assert benchmark.notes == ()
    assert [face.group for face in benchmark.faces] == ["yaw 0-30", "yaw 30-60", "yaw 30-60", "yaw 60-90"]
    eyes = load_layout("mediapipe478").points_mm[[33, 263]]
    across = np.linalg.norm(eyes[0] - eyes[1]) * FOCAL / AWAY
    for face in benchmark.faces:  # the eyes' distance is that of the head, however it is turned
        assert face.lengths_px["eyes 3D"] == pytest.approx(across, rel=0.12)
    assert benchmark.faces[3].lengths_px["box"] < benchmark.faces[0].lengths_px["box"]


def test_photos_that_are_trained_on_are_named(folder: Path) -> None:
    finish(folder, "train")
    assert "trained on" in read_samples(folder).notes[0]


def test_numbers_are_those_of_all_vertices(
    folder: Path, linear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "numbers.json"
    assert main(["eval", "samples", str(folder), "--model", str(linear), "--json", str(out)]) == 0
    assert "(n=4, missed=0)" in capsys.readouterr().out.splitlines()[-1]
    numbers = json.loads(out.read_text())
    head, errors = CanonicalHead.load(), []
    for face in read_samples(folder).faces:
        found = Window.from_box(face.box_px, 1.5).to_image(project(head.vertices_mm, (128, 128, 128)))
        errors.append(np.linalg.norm(found - face.points_px, axis=1) / face.lengths_px["eyes 3D"])
    assert [face["nme"] for face in numbers["faces"]] == pytest.approx([e.mean() for e in errors], abs=1e-3)
    assert numbers["rows"]["yaw 30-60"]["n"] == 2
    assert numbers["rows"]["yaw 30-60"]["nme"]["eyes 3D"] == pytest.approx(np.mean(errors[1:3]), abs=1e-3)
    ear = head.vertices_of("right ear")
    assert numbers["regions"]["right ear"] == pytest.approx(np.stack(errors)[:, ear].mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{0}",), "no data set of anymark data build"),
        (("{0}/views", "--calibrate", "2"), "--calibrate does not apply"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, folder: Path, linear: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [a.format(folder.parent) for a in arguments]
    assert main(["eval", "samples", *given, "--model", str(linear)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
