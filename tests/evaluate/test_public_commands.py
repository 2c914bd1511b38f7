"""`anymark eval` on public benchmarks as users call it, from their files to the last line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("h5py")
pytest.importorskip("scipy.io")

from anymark.cli import main
from anymark.detect.detector import Detector
from anymark.detect.window import Window
from anymark.evaluate.aflw2000_3d import read_aflw2000_3d
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.cofw68 import read_cofw68
from anymark.evaluate.face_synthetics import read_face_synthetics
from anymark.evaluate.three_hundred_vw import read_300vw
from anymark.evaluate.wflw import read_wflw
from tests.evaluate.public import (
    WflwTree,
    face,
    write_aflw2000_3d,
    write_cofw68,
    write_face_synthetics,
    write_video,
)

Run = Callable[..., tuple[int, str, str]]


def wflw(root: Path) -> None:
    tree = WflwTree(root)
    for i, subsets in enumerate((["blur"], [], ["blur", "makeup"], [])):
        tree.add(subsets=subsets, pixels=face("wflw98", (i, -i)))
        tree.add("train", pixels=face("wflw98", (-i, i)))
    tree.write()


def aflw2000_3d(root: Path) -> None:
    for i, yaw in enumerate((0, 20, -40, 80)):
        write_aflw2000_3d(root, i, (5, yaw, 0))


def three_hundred_vw(root: Path) -> None:
    write_video(root, "114", range(2))
    write_video(root, "203", range(2))


TREES: dict[str, tuple[Callable[[Path], object], Callable[[Path], Benchmark]]] = {
    "wflw": (wflw, read_wflw),
    "cofw68": (lambda root: write_cofw68(root, 4), read_cofw68),
    "aflw2000-3d": (aflw2000_3d, read_aflw2000_3d),
    "facesynthetics": (lambda root: write_face_synthetics(root, 4), read_face_synthetics),
    "300vw": (three_hundred_vw, read_300vw),
}

DETAILS = {
    "wflw": set(),
    "cofw68": {"points that are not occluded", "occlusion"},
    "aflw2000-3d": {"NME, mean of the rows by yaw", "pose, degrees (n=4)"},
    "facesynthetics": set(),
    "300vw": {"flicker, in 1/100 px of a face of 256 px"},
}


@pytest.fixture
def run(linear: Path, locator: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["eval", *map(str, arguments), "--model", str(linear), "--locator", str(locator)])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("name", TREES)
def test_numbers_are_those_of_the_detector(name: str, run: Run, linear: Path, tmp_path: Path):
    write, read = TREES[name]
    write(tmp_path / "data")
    out = tmp_path / "numbers.json"
    code, text, _ = run(name, "--root", tmp_path / "data", "--json", out)
    assert code == 0
    benchmark, detector = read(tmp_path / "data"), Detector(linear)
    errors = []
    for labelled in benchmark.faces:
        window = Window.from_box(labelled.box_px, detector.landmarker.window_scale)
        found = detector.encode(labelled.load(), [window])[0].query(benchmark.layout)
        length = labelled.lengths_px[benchmark.normalisers[0]]
        errors.append(np.linalg.norm(found.xy_px - labelled.points_px, axis=1).mean() / length)
    numbers = json.loads(out.read_text())
    assert [f["nme"] for f in numbers["faces"]] == pytest.approx(errors, abs=2e-6)
    assert text.splitlines()[-1] == f"NME {100 * np.mean(errors):.2f} % (n=4, missed=0)"
    assert {row: values["n"] for row, values in numbers["rows"].items()} == {
        row: len(benchmark.row(row)) for row in benchmark.rows
    }
    assert set(numbers["details"]) == DETAILS[name]
    for title in DETAILS[name]:
        assert title in text


@pytest.mark.parametrize("name", TREES)
def test_a_limit_is_said(name: str, run: Run, tmp_path: Path):
    TREES[name][0](tmp_path)
    code, text, err = run(name, "--root", tmp_path, "--limit", "1")
    assert code == 0
    count = 2 if name == "300vw" else 1
    assert text.splitlines()[-1].endswith(f"(n={count}, missed=0)")
    assert f"{count} of 4 faces scored (--limit 1)" in err


@pytest.mark.parametrize("name", ["wflw", "cofw68", "aflw2000-3d", "facesynthetics"])
def test_calibration_leaves_less_error(name: str, run: Run, tmp_path: Path):
    TREES[name][0](tmp_path)
    code, text, _ = run(name, "--root", tmp_path, "--calibrate", "2")
    assert code == 0
    assert "calibrated on 2 photos" in text
    assert text.splitlines()[-1].endswith("(n=4, missed=0)" if name == "wflw" else "(n=2, missed=0)")
    before = run(name, "--root", tmp_path)[1].splitlines()[-1]
    assert float(text.splitlines()[-1].split()[1]) < float(before.split()[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("wflw", "--root", "{root}"), "WFLW_images: no such folder"),
        (("wflw", "--root", "{root}", "--first-centre", "-1"), "--first-centre -1: must be 0 to 1"),
        (("cofw68", "--root", "{root}"), "no COFW_test_color.mat or COFW_test.mat"),
        (("aflw2000-3d", "--root", "{root}"), "no .mat files of AFLW2000-3D"),
        (("facesynthetics", "--root", "{root}"), "no faces of Face Synthetics"),
        (("facesynthetics", "--root", "{root}/nothing"), "nothing: no such folder"),
        (("300vw", "--root", "{root}"), "no frames of 300-VW"),
        (("300vw", "--root", "{root}", "--category", "4"), "--category"),
        (("300vw", "--root", "{root}", "--limit", "0"), "--limit 0: must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str, run: Run, tmp_path: Path):
    code, _, err = run(*(a.format(root=tmp_path) for a in arguments))
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
