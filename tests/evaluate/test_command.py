"""`anymark eval` and `anymark bench` as users call them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.canonical import load_layout
from anymark.cli import main
from anymark.detect.window import Window
from anymark.evaluate import bench
from anymark.evaluate.bench import host
from anymark.evaluate.timing import Request, answer, measure
from tests.evaluate.synthetic import FACE_BOX, Tree, project

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(linear: Path, locator: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object, models: bool = True) -> tuple[int, str, str]:
        options = ["--model", str(linear), "--locator", str(locator)] if models else []
        code = main([*map(str, arguments), *options])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def moved_face(shift_mm: tuple[float, float, float], colour: tuple[int, int, int]) -> np.ndarray:
    """Where the locator's face has the 68 points if all lie `shift_mm` from where the layout says."""
    points = load_layout("ibug68").points_mm + np.array(shift_mm)
    return Window.from_box(FACE_BOX, 1.5).to_image(project(points, colour))


def test_300w_from_photo_to_last_line(tree: Tree, run: Run, tmp_path: Path):
    points = moved_face((0, 0, 0), (128, 128, 128))
    eyes = float(np.linalg.norm(points[36] - points[45]))
    tree.add("helen/testset/a", points + np.array([0.03 * eyes, 0]))
    tree.add("ibug/b", points + np.array([0, 0.05 * eyes]), suffix=".jpg")
    out = tmp_path / "numbers.json"
    code, text, err = run("eval", "300w", "--root", tree.root, "--boxes", "locate", "--json", out)
    assert code == 0
    assert text.splitlines()[-1] == "NME 4.00 % (n=2, missed=0)"
    assert "300-W common has 554 faces in the protocol, 1 here" in err
    numbers = json.loads(out.read_text())
    assert numbers["rows"]["common"]["nme"]["inter-ocular"] == pytest.approx(0.03, abs=1e-4)
    assert numbers["threshold"] == 0.08
    _, text, _ = run("eval", "300w", "--root", tree.root, "--boxes", "locate", "--subset", "challenging")
    assert text.splitlines()[-1] == "NME 5.00 % (n=1, missed=0)"


def test_calibration_takes_a_constant_error_away(tree: Tree, run: Run, tmp_path: Path):
    shift, colours = (4.0, -3.0, 6.0), [(0, 128, 0), (255, 128, 0), (128, 0, 0), (128, 255, 0)]
    for i, colour in enumerate(colours):
        tree.add(f"afw/{i}_1", moved_face(shift, colour), colour)
    tree.add("ibug/b", moved_face(shift, (90, 200, 0)), (90, 200, 0))
    common = ("eval", "300w", "--root", tree.root, "--boxes", "locate")
    before = run(*common)[1].splitlines()[-1]
    saved = tmp_path / "mine.json"
    code, text, _ = run(*common, "--calibrate", 4, "--save-layout", saved)
    after = text.splitlines()[-1]
    assert code == 0
    assert "calibrated on 4 photos" in text
    assert float(before.split()[1]) > 4
    assert float(after.split()[1]) < 0.3
    assert run(*common, "--layout", saved)[1].splitlines()[-1] == after


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("300w", "--root", "{root}/nothing"), "nothing: no such folder"),
        (("300w", "--root", "{root}", "--subset", "common"), "no faces of 300-W common"),
        (("300w", "--root", "{root}", "--calibrate", "2"), "--calibrate 2, but only 0"),
        (("300w", "--root", "{root}", "--calibrate", "-1"), "--calibrate -1: must not be negative"),
        (("300w", "--root", "{root}", "--layout", "mediapipe478"), "478 points, 300-W full labels 68"),
        (("300w", "--root", "{root}", "--layout", "ibug86"), "ibug86"),
        (("300w", "--root", "{root}", "--threshold", "8"), "--threshold 8.0: a fraction"),
        (
            ("300w", "--root", "{root}", "--json", "{root}/no/such.json"),
            "such.json: cannot write (its folder does not exist)",
        ),
        (("300w", "--root", "{root}", "--save-layout", "{root}/a.json"), "give --calibrate K too"),
        (("300w", "--root", "{root}", "--json", "{root}/a", "--sheet", "{root}/a"), "a: is to be written twice"),
        (("300w", "--root", "{root}", "--ced", "{root}/a", "--sheet", "{root}/ibug/../a"), "a: is to be written twice"),
        (("photos", "--root", "{root}"), "none of the photo sets"),
        (("facelab189", "--root", "{root}"), "points.npz: no such file"),
        (("facelab189", "--root", "{root}/nothing"), "nothing: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str, tree: Tree, run: Run):
    tree.add("ibug/a")
    code, _, err = run("eval", *(a.format(root=tree.root) for a in arguments))
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_a_bad_pts_is_left_out_and_named(tree: Tree, run: Run):
    tree.add("ibug/a")
    tree.add("ibug/b", text="1 2\n3 4\n")
    code, text, err = run("eval", "300w", "--root", tree.root, "--subset", "challenging")
    assert code == 0
    assert text.splitlines()[-1].endswith("(n=1, missed=0)")
    assert "b.pts: 2 points, expected 68: left out" in err
    assert "300-W challenging has 135 faces in the protocol, 1 here" in err
    (tree.root / "ibug" / "a.pts").write_text("")
    code, _, err = run("eval", "300w", "--root", tree.root, "--subset", "challenging")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "no faces of 300-W challenging" in err
    assert "b.pts: 2 points, expected 68" in err


def test_unknown_model_is_named(tree: Tree, run: Run):
    tree.add("ibug/a")
    code, _, err = run("eval", "300w", "--root", tree.root, "--model", "smalll", models=False)
    assert code == 2
    assert "smalll: no such model" in err


def test_measure_counts_its_runs():
    calls: list[int] = []
    timing = measure(lambda: calls.append(1), seconds=0)
    assert len(calls) == timing.runs + 1
    assert 0 <= timing.min_ms <= timing.median_ms


def test_host_says_nothing_of_its_name():
    import platform

    numbers = host()
    assert numbers["cores"] >= 1
    assert platform.node() not in json.dumps(numbers) or len(platform.node()) < 3


def test_bench_times_everything(run: Run, linear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "QUERY_COUNTS", (68, 500))
    monkeypatch.setattr(bench, "COLD_STARTS", 1)
    photo, out = tmp_path / "photo.png", tmp_path / "bench.json"
    Image.new("RGB", (320, 320), (90, 90, 90)).save(photo)
    code, text, _ = run("bench", "--image", photo, "--json", out, "--seconds", 0)
    assert code == 0
    assert "frames a second" in text
    numbers = json.loads(out.read_text())
    assert numbers["models"] == [str(linear)]
    assert numbers["image"] == "photo.png"
    for threads in ("1", "all"):
        timed = numbers["threads"][threads]
        assert {"load image", "locate", "crop", "encode", "decode"} <= timed["stages"].keys()
        assert set(timed["queries"][str(linear)]) == {"68", "500"}
    assert set(numbers["cold_start"]) == {"python alone", "import anymark", "first detection", "anymark detect"}


def test_queries_of_any_predictor_are_timed(linear: Path, perspective: Path):
    for model in (linear, perspective):
        timed = answer(Request(str(model), 1, 0.0, (10, 100)))
        assert set(timed) == {"queries"}
        assert timed["queries"]["100"]["min_ms"] > 0


def test_bench_names_bad_input(run: Run, tmp_path: Path):
    code, _, err = run("bench", "--image", tmp_path / "none.jpg")
    assert code == 2
    assert "none.jpg" in err
    assert run("bench", "--json", tmp_path / "no" / "such.json")[0] == 2
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 9)).save(photo)
    before = photo.read_bytes()
    code, _, err = run("bench", "--image", photo, "--json", photo)
    assert (code, photo.read_bytes()) == (2, before)
    assert "photo.png: would overwrite what is read" in err


def test_evaluation_never_loads_torch():
    program = (
        "import sys, anymark.commands.eval, anymark.commands.bench; assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
