"""`anymark eval pose`: cameras against those of renders."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.canonical.frame import FACING
from anymark.cli import main
from anymark.detect.camera import Camera
from anymark.engine.samples import Sample, write_shard
from anymark.engine.shots import turned
from anymark.evaluate.cameras import camera_errors
from anymark.evaluate.pose import turned_by_deg
from tests.samples import finish, grey_sample

SIDE, FOCAL, AWAY = 96, 200.0, 900.0
MIDDLE = np.array([SIDE / 2, SIDE / 2])


def camera(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, focal: float = FOCAL, away: float = AWAY) -> Camera:
    """Angles in degrees."""
    return Camera(focal, MIDDLE, turned(*np.radians([yaw, pitch, roll])), np.array([0, 0, away]))


def test_the_true_camera_has_no_errors_and_no_other_has_others() -> None:
    true = camera(20, -5, 8)
    assert camera_errors(true, true) == pytest.approx(dict.fromkeys(camera_errors(true, true), 0.0), abs=1e-6)
    errors = camera_errors(camera(50, -9, 3, 1.3 * FOCAL, 0.8 * AWAY), true)
    assert (errors["yaw"], errors["pitch"], errors["roll"]) == pytest.approx((30, -4, -5))
    assert errors["focal"] == pytest.approx(math.log(1.3))
    assert errors["distance"] == pytest.approx(math.log(0.8))
    assert camera_errors(camera(50), camera(20))["rotation"] == pytest.approx(30)


def test_angles_are_told_apart_the_short_way_round() -> None:
    errors = camera_errors(camera(175), camera(-175))
    assert errors["yaw"] == pytest.approx(-10)
    assert errors["rotation"] == pytest.approx(10)


@pytest.mark.parametrize("beside", [(20.0, 0.0), (-15.0, 25.0)])
def test_a_camera_about_another_point_is_the_same_camera(beside: tuple[float, float]) -> None:
    """A crop's principal point is its own middle; the head is turned with it."""
    true = camera(30, 10, -5)
    elsewhere = true.about(MIDDLE + beside)
    turned_by = turned_by_deg(elsewhere.R_camera_head[None], true.R_camera_head[None])[0]
    assert turned_by > 5
    errors = camera_errors(elsewhere, true)
    assert errors["rotation"] < 0.1 * turned_by
    assert abs(errors["focal"]) < 0.05
    assert abs(errors["distance"]) < 1e-9


def sample(key: str, yaw_deg: float, **record: object) -> Sample:
    made = grey_sample(key, turned(np.radians(yaw_deg), 0, 0), np.array([0.0, 0.0, AWAY]), SIDE, FOCAL)
    return replace(made, record={**made.record, **record})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "views"
    path.mkdir()
    samples = [sample("a", 10), sample("b", -45), sample("c", 40), sample("d", 80), sample("e", 5, distortion_k=-0.1)]
    write_shard(path / "shard-00000.tar", samples)
    finish(path)
    return path


def test_numbers_are_those_of_the_models_camera(
    folder: Path, linear: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's head always looks into its crop's camera, a metre away."""
    out = tmp_path / "numbers.json"
    assert main(["eval", "pose", str(folder), "--model", str(linear), "--json", str(out)]) == 0
    said = capsys.readouterr()
    assert "1 of 5 samples left out: no pinhole camera" in said.err
    numbers = json.loads(out.read_text())
    faces = {face["name"]: face for face in numbers["faces"]}
    assert set(faces) == {"a", "b", "c", "d"}
    for name, yaw in (("a", 10), ("b", -45), ("c", 40), ("d", 80)):
        assert faces[name]["yaw"] == pytest.approx(-yaw, abs=6)  # but for where the crop lies
        assert faces[name]["distance"] == pytest.approx(math.log(1000 / AWAY), abs=1e-3)
    pose = numbers["details"]["pose: mean errors, degrees"]
    assert [pose[row]["n"] for row in ("yaw 0-30", "yaw 30-60", "yaw 60-90", "all")] == [1, 2, 1, 4]
    rotations = [face["rotation"] for face in faces.values()]
    assert pose["all"]["rotation"] == pytest.approx(np.mean(rotations), abs=1e-4)
    assert pose["all"]["median"] == pytest.approx(np.median(rotations), abs=1e-4)
    assert pose["yaw 30-60"]["yaw"] == pytest.approx((abs(faces["b"]["yaw"]) + abs(faces["c"]["yaw"])) / 2, abs=1e-4)
    bias = numbers["details"]["pose: mean of found less true, degrees"]
    assert bias["yaw 30-60"]["yaw"] == pytest.approx((faces["b"]["yaw"] + faces["c"]["yaw"]) / 2, abs=1e-4)
    focal = np.array([face["focal"] for face in faces.values()])
    lens = numbers["details"]["lens: median of |log(found / true)|, %"]["all"]
    assert lens["focal length"] == pytest.approx(np.median(np.abs(focal)), abs=1e-4)
    assert lens["within 20 %"] == (np.abs(np.exp(focal) - 1) <= 0.2).mean()
    assert said.out.splitlines()[-1].startswith(f"pose {np.mean(rotations):.2f} degrees, focal length ")


def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, folder: Path, linear: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    bent = tmp_path / "bent"
    for path, one in (
        (photos, replace(sample("a", 0), sd_mm=np.full(len(sample("a", 0).xy_px), 1.0))),
        (bent, sample("a", 0, distortion_k=-0.1)),
    ):
        path.mkdir()
        write_shard(path / "shard-00000.tar", [one])
        finish(path)
    for arguments, message in (
        ([tmp_path], "no data set of anymark data build"),
        ([photos], "sample a: a photo, whose head is fitted"),
        ([bent], "1 of 1 samples left out: no pinhole camera"),
        ([folder, "--limit", "0"], "--limit 0: must be at least 1"),
        ([folder, "--threads", "0"], "--threads 0: must be at least 1"),
        ([folder, "--json", tmp_path / "no" / "such.json"], "its folder does not exist"),
    ):
        assert main(["eval", "pose", *map(str, arguments), "--model", str(linear)]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert len(err.strip().splitlines()) == 1


def test_facing_the_camera_is_no_turn() -> None:
    assert camera().R_camera_head == pytest.approx(FACING)
