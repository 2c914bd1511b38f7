"""`anymark layout` as users call it: from annotated photos to a layout that `anymark detect` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.canonical import Layout, available_layouts, load_layout
from anymark.cli import main
from anymark.commands.detect import asked_layout
from anymark.detect.detector import Detector
from tests.apps.synthetic import colour_of

TURNS = [(0, 0), (-25, 5), (20, -10), (10, 15)]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(turning: Path, locator: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([*map(str, arguments), "--model", str(turning), "--locator", str(locator)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def truth() -> Layout:
    """The points that the annotator has in mind."""
    points = load_layout("ibug68").points_mm + np.random.default_rng(1).normal(0, 4, (68, 3)).astype(np.float32)
    return Layout("truth", points)


@pytest.fixture
def folder(turning: Path, locator: Path, truth: Layout, tmp_path: Path) -> Path:
    """Photos with .pts beside them."""
    out = tmp_path / "photos"
    out.mkdir()
    for i, turn in enumerate(TURNS):
        Image.new("RGB", (320, 320), colour_of(*turn)).save(out / f"{i}.png")
        found = Detector(turning, locator).encode(out / f"{i}.png")[0].query(truth).xy_px
        (out / f"{i}.pts").write_text("\n".join(f"{x:.4f} {y:.4f}" for x, y in found + 0.5))
    return out


def detected(run: Run, photo: Path, layout: object) -> np.ndarray:
    """(N, 2) what `anymark detect` finds."""
    out = photo.parent / "found.json"
    assert run("detect", photo, "--layout", layout, "--json", out)[0] == 0
    return np.array(json.loads(out.read_text())["images"][0]["faces"][0]["points"])[:, :2]


def test_from_annotated_photos_to_detect(run: Run, folder: Path, truth: Layout, tmp_path: Path):
    out, picture = tmp_path / "mine.json", tmp_path / "sheet.png"
    code, text, err = run("layout", "calibrate", folder, "--layout", "ibug68", "--out", out, "--draw", picture)
    assert (code, err) == (0, "")
    *rows, summary, last = text.splitlines()
    assert last == str(out)
    assert summary.startswith("4 heads: ")
    before, after, left_out = (
        float(word) for word in summary.split() if word.replace(".", "").isdigit() and "." in word
    )
    assert after < left_out < 0.5 * before
    assert [row.split()[0] for row in rows] == ["point", *map(str, range(68)), "all"]
    assert [row.split()[1] for row in rows[1:-1]] == ["4"] * 68
    layout = load_layout(out)
    assert (layout.name, layout.code) == ("mine", "ibug68")
    assert layout.flip is not None
    with Image.open(picture) as sheet:
        pixels = np.asarray(sheet).astype(int)
    assert ((pixels[..., 1] > 200) & (pixels[..., 0] < 120)).any()  # found, green
    Image.new("RGB", (320, 320), colour_of(-12, 8)).save(folder / "new.png")
    truth.save(tmp_path / "truth.json")
    wanted = detected(run, folder / "new.png", tmp_path / "truth.json")
    found, shipped = (detected(run, folder / "new.png", layout) for layout in (out, "ibug68"))
    assert np.linalg.norm(found - wanted, axis=1).mean() < 0.1 * np.linalg.norm(shipped - wanted, axis=1).mean()


def test_a_data_set_code_goes_with_its_model(run: Run, folder: Path, tmp_path: Path, linear: Path, locator: Path):
    out = tmp_path / "mine.json"
    assert run("layout", "calibrate", folder, "--layout", "ibug68", "--out", out, "--move", "code")[0] == 0
    layout = load_layout(out)
    assert isinstance(layout.code, tuple)
    assert (layout.points_mm == load_layout("ibug68").points_mm).all()
    code = main(
        ["detect", str(folder / "0.png"), "--layout", str(out), "--model", str(linear), "--locator", str(locator)]
    )
    assert code == 2


def test_a_table_of_ones_own_points(run: Run, folder: Path, turning: Path, locator: Path, tmp_path: Path):
    truth = Layout("spots", load_layout("mediapipe478").points_mm[[10, 120, 300]] + np.float32(1))
    rows = ["image,point,x,y"]
    for i in range(len(TURNS)):
        found = Detector(turning, locator).encode(folder / f"{i}.png")[0].query(truth).xy_px
        rows += [f"{i}.png,{k},{x},{y}" for k, (x, y) in enumerate(found.tolist()) if (i, k) != (2, 0)]
    (folder / "spots.csv").write_text("\n".join(rows))
    code, text, _ = run("layout", "calibrate", folder / "spots.csv", "--out", tmp_path / "spots.json")
    assert code == 0
    assert [row.split()[1] for row in text.splitlines()[1:4]] == ["3", "4", "4"]
    assert load_layout(tmp_path / "spots.json").points_mm == pytest.approx(truth.points_mm, abs=1.5)


def test_bad_photos_are_named_and_the_others_used(run: Run, folder: Path, tmp_path: Path):
    (folder / "1.pts").write_text("1 2\n")
    (folder / "2.png").write_bytes(b"no image")
    (folder / "3.pts").write_text("2000 2000\n" * 68)
    out = tmp_path / "mine.json"
    code, text, err = run("layout", "calibrate", folder, folder / "4.png", "--layout", "ibug68", "--out", out)
    assert code == 2
    assert "\n1 head: " in text
    assert "more photos are needed" in text
    assert out.is_file()
    lines = err.strip().splitlines()
    assert len(lines) == 4
    for line, said in zip(
        lines,
        ("4.png: no 4.pts beside it", "1.pts: 1 points, expected 68", "2.png: not an image", "3.pts: no head found"),
        strict=True,
    ):
        assert said in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{folder}", "--out", "{out}.txt"), "must end in .json"),
        (("{folder}", "--out", "{out}/no/mine.json"), "its folder does not exist"),
        (("{folder}", "--out", "{out}.json", "--draw", "{out}.gif"), "must end in .png or .jpg"),
        (("{folder}", "--out", "{out}.json", "--layout", "ibug86"), "did you mean ibug68"),
        (("{folder}", "--out", "{out}.json", "--move", "code"), "give --layout too"),
        (("{folder}", "--out", "{out}.json", "--first-centre", "7"), "--first-centre 7: must be 0 to 1"),
        (("{folder}/0.png", "--out", "{out}.json", "--draw", "{folder}/0.png"), "0.png: would overwrite what is read"),
        (("{folder}", "{folder}/two.csv", "--out", "{out}.json"), "2 points, "),
        (
            ("{folder}/two.csv", "--out", "{out}.json", "--layout", "ibug68", "--model", "smalll"),
            "smalll: no such model",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    folder: Path,
    tmp_path: Path,
    locator: Path,
    capsys: pytest.CaptureFixture[str],
):
    (folder / "two.csv").write_text("image,point,x,y\n0.png,0,1,2\n0.png,1,3,4\n")
    before = (folder / "0.png").read_bytes()
    filled = [argument.format(folder=folder, out=tmp_path / "mine") for argument in arguments]
    code = main(["layout", "calibrate", *filled, "--locator", str(locator)])
    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert (folder / "0.png").read_bytes() == before
    assert not (tmp_path / "mine.json").exists()


def test_nothing_to_calibrate_on(run: Run, folder: Path, tmp_path: Path):
    for i in range(len(TURNS)):
        (folder / f"{i}.png").write_bytes(b"no image")
    code, _, err = run("layout", "calibrate", folder, "--layout", "ibug68", "--out", tmp_path / "mine.json")
    assert code == 2
    assert err.strip().splitlines()[-1] == "anymark: no annotated head is left to calibrate on"
    assert not (tmp_path / "mine.json").exists()


def test_single_points_beside_a_layout_neither_slide_nor_lose_its_model(tmp_path: Path):
    slides = np.full((2, 2, 3), 3, np.float32)
    Layout("two", np.array([(0, 50, 110), (-40, 0, 90)], np.float32), code=(0.5,), model="m", slides_mm=slides).save(
        tmp_path / "two.json"
    )
    asked = asked_layout(str(tmp_path / "two.json"), ["0,0,120"])
    assert (asked.code, asked.model) == ((0.5,), "m")
    assert asked.slides_mm is not None
    assert asked.slides_mm[:, 0, 0].tolist() == [3, 3, 0]


def test_layouts_are_listed_and_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["layout", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(available_layouts())
    points = np.array([(0, 50, 110), (-40, 0, 90)], np.float32)
    slides = np.array([[(3, 0, -4), (0, 2, 0)], [(0, 0, 0), (0, 0, 0)]], np.float32)
    Layout(
        "two",
        points,
        names=("top", "right"),
        regions={"all": np.arange(2)},
        code=(0.5,),
        model="small 12",
        slides_mm=slides,
    ).save(tmp_path / "two.json")
    assert main(["layout", "show", str(tmp_path / "two.json")]) == 0
    first, region, _, top, right = capsys.readouterr().out.splitlines()
    assert first == "two: 2 points, data set code 0.500 of the model small 12"
    assert region == "  all: 0-1"
    assert top.split() == ["0", "0.0", "50.0", "110.0", "top", "slides", "5.0", "sideways,", "2.0", "up"]
    assert right.split()[:5] == ["1", "-40.0", "0.0", "90.0", "right"]
    assert main(["layout", "show", "ibug86"]) == 2
    assert "did you mean ibug68" in capsys.readouterr().err
