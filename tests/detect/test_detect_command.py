"""`anymark detect` and `anymark demo`: what they print, write and exit with."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.canonical import CanonicalHead, load_layout
from anymark.cli import main
from anymark.commands import demo
from anymark.commands.detect import Detect, asked_layout
from anymark.detect.detector import Detector
from anymark.detect.model import Network
from tests.detect.synthetic import blobs

LAYOUT = "x,y,z,name\n0,0,0,middle\n40,0,0,left\n-40,0,0,right\n0,60,0,\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `anymark detect` in a folder with photos and a layout; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(blobs(320, 240, (100, 120))).save("one.jpg", quality=98)
    Image.fromarray(np.maximum(blobs(320, 240, (80, 120), sigma=8), blobs(320, 240, (220, 120)))).save("two.png")
    Image.new("RGB", (64, 64)).save("none.png")
    Path("layout.csv").write_text(LAYOUT)

    def call(*argv: str, layout: str | None = "layout.csv") -> tuple[int, str, str]:
        model = ("--model", str(models / "basis"), "--locator", str(models / "locator"))
        code = main(["detect", *argv, *(("--layout", layout) if layout else ()), *model])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_photo_with_the_defaults(run: Run) -> None:
    code, out, err = run("one.jpg")
    assert (code, err) == (0, "")
    assert out.startswith("one.jpg  face 1/1  score 0.9")
    assert re.search(r"4 points  sigma \d\.\d px\n$", out)
    assert sorted(p.name for p in Path("anymark-out").iterdir()) == ["one.anymark.jpg", "one.anymark.json"]
    data = json.loads(Path("anymark-out/one.anymark.json").read_text())
    np.testing.assert_allclose(data["faces"][0]["points"][0][:2], [100, 120], atol=0.2)
    with Image.open("anymark-out/one.anymark.jpg") as drawing:
        assert drawing.size == (320, 240)


def test_a_line_a_face(run: Run) -> None:
    code, out, _ = run("two.png", "none.png")
    assert code == 0
    lines = out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["two.png", "face 1/2"],
        ["two.png", "face 2/2"],
        ["none.png", "no face"],
    ]
    assert json.loads(Path("anymark-out/none.anymark.json").read_text())["faces"] == []
    assert run("two.png", "--max-heads", "1")[1].count("face 1/1") == 1


def test_bad_files_do_not_stop_the_others(run: Run) -> None:
    Path("broken.jpg").write_bytes(Path("one.jpg").read_bytes()[:500])
    Path("text.png").write_text("no image")
    Path("empty").mkdir()
    code, out, err = run("broken.jpg", "one.jpg", "missing.jpg", "text.png", "empty", "two.png", "*.gif")
    assert code == 2
    assert [line.split("  ")[0] for line in out.splitlines()] == ["one.jpg", "two.png", "two.png"]
    assert len(err.splitlines()) == 5
    assert all(line.startswith("anymark: ") for line in err.splitlines())
    for name in ("broken.jpg", "missing.jpg", "text.png", "empty", "*.gif"):
        assert f"anymark: {name}: " in err
    assert "Traceback" not in err
    assert Path("anymark-out/two.anymark.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes")
def test_files_and_folders_that_cannot_be_opened_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    iterdir = Path.iterdir

    def locked(folder: Path) -> Iterator[Path]:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", locked)
    Path("locked").mkdir()
    os.mkfifo("pipe.jpg")
    long = 300 * "x" + ".jpg"
    code, out, err = run("locked", long, "pipe.jpg", "", "one.jpg")
    assert (code, out.split("  ")[0]) == (2, "one.jpg")
    assert sorted(err.splitlines()) == [
        "anymark: an empty name given as a photo",
        "anymark: locked: permission denied",
        "anymark: pipe.jpg: a pipe or device, not an image",
        f"anymark: {long}: file name too long",
    ]


@pytest.mark.parametrize("option", ["--layout", "--out", "--csv", "--json", "--model"])
def test_an_empty_value_is_not_the_current_folder(run: Run, option: str) -> None:
    for given in ([option, ""], [f"{option}="]):
        assert run("one.jpg", *given) == (2, "", f"anymark: {option}: an empty value\n")


def test_a_folder_and_a_glob(run: Run) -> None:
    code, out, _ = run(".", "*.jpg")  # each photo once
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == ["none.png", "one.jpg", "two.png", "two.png"]
    assert run(".", "--out", ".")[0] == 0
    assert [line.split("  ")[0] for line in run(".")[1].splitlines()] == ["none.png", "one.jpg", "two.png", "two.png"]


def test_json_and_csv_of_all(run: Run) -> None:
    code, _, _ = run("one.jpg", "two.png", "none.png", "--json", "all.json", "--csv", "all.csv")
    assert code == 0
    assert not Path("anymark-out").exists()
    images = json.loads(Path("all.json").read_text())["images"]
    assert [len(image["faces"]) for image in images] == [1, 2, 0]
    with open("all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4
    assert rows[1]["name"] == "left"
    face = images[0]["faces"][0]
    assert [float(rows[1][key]) for key in ("x_px", "y_px", "sigma_px", "visible")] == face["points"][1]
    assert [float(rows[1][key]) for key in ("x_mm", "y_mm", "z_mm")] == face["xyz_mm"][1] == [40, 0, 0]
    run("one.jpg", "--json", "all.json", "--out", "drawn")
    assert Path("drawn/one.anymark.jpg").exists()


def test_pose_and_focal_length_are_printed_on_demand(run: Run) -> None:
    code, out, _ = run("two.png", "none.png", "--pose", "--csv", "a.csv")
    assert code == 0
    *faces, none = out.splitlines()
    assert none == "none.png  no face"
    for line in faces:
        found = re.search(r"  yaw (-?\d+\.\d)  pitch (-?\d+\.\d)  roll (-?\d+\.\d)  focal (\d+) px$", line)
        assert found is not None
        assert [abs(float(angle)) for angle in found.groups()[:3]] == [0, 0, 0]
    focal = [float(line.split()[-2]) for line in faces]
    assert focal[0] / focal[1] == pytest.approx(10 / 8, rel=0.02)  # as large as the crop
    assert "yaw" not in run("one.jpg", "--csv", "a.csv")[1]


def test_the_mesh_of_the_only_head_is_the_file_that_was_asked_for(run: Run) -> None:
    assert run("one.jpg", "--mesh", "head.obj")[0] == 0
    assert not Path("anymark-out").exists()
    layout = load_layout("head.obj")
    np.testing.assert_allclose(layout.points_mm, CanonicalHead.load().vertices_mm, atol=1e-3)
    for suffix in ("glb", "ply"):
        pytest.importorskip("trimesh")
        assert run("one.jpg", "--mesh", f"head.{suffix}")[0] == 0
        assert Path(f"head.{suffix}").stat().st_size > 10_000


def test_a_mesh_may_go_into_the_folder_that_is_made_for_the_drawings(run: Run) -> None:
    assert run("one.jpg", "--mesh", "new/head.obj", "--out", "new")[0] == 0
    assert sorted(path.name for path in Path("new").iterdir()) == ["head.obj", "one.anymark.jpg", "one.anymark.json"]


def test_meshes_of_several_heads_are_numbered_and_of_several_photos_named(run: Run) -> None:
    before = set(Path().iterdir())

    def written(*argv: str) -> list[str]:
        assert run(*argv)[0] == 0
        new = sorted(path.name for path in set(Path().iterdir()) - before)
        for name in new:
            Path(name).unlink()
        return new

    assert written("two.png", "--mesh", "head.obj") == ["head.head1.obj", "head.head2.obj"]
    assert written("two.png", "--mesh", "head.obj", "--max-heads", "1") == ["head.obj"]
    assert written("none.png", "--mesh", "head.obj") == []
    assert written("one.jpg", "two.png", "--mesh", "head.obj") == [
        "head-one.obj",
        "head-two.head1.obj",
        "head-two.head2.obj",
    ]


def test_no_mesh_lies_over_that_of_a_photo_of_nearly_the_same_name(run: Run) -> None:
    Path("two.jpg").write_bytes(Path("one.jpg").read_bytes())
    Path("two-1.jpg").write_bytes(Path("one.jpg").read_bytes())
    assert run("two.png", "two.jpg", "two-1.jpg", "--mesh", "head.obj")[0] == 0
    assert len(list(Path().glob("head*.obj"))) == 4


def test_an_answer_that_is_not_finite_names_the_photo_and_writes_nothing_of_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Network.__call__

    def broken(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        answers = call(self, **inputs)
        if self.path.name == "encode.onnx" and len(inputs["image"]) == 2:  # that of two.png
            answers[1] = answers[1] * np.float32(np.nan)
        return answers

    monkeypatch.setattr(Network, "__call__", broken)
    code, out, err = run("two.png", "one.jpg", "--json", "all.json", "--out", "drawn")
    assert code == 2
    assert [line.split("  ")[0] for line in out.splitlines()] == ["one.jpg"]
    assert re.fullmatch(r"anymark: two\.png: .*encode\.onnx: its answer is not finite\n", err)
    assert [image["image"] for image in json.loads(Path("all.json").read_text())["images"]] == ["one.jpg"]
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["one.anymark.jpg", "one.anymark.json"]


def test_smaller_faces_are_searched_for_on_demand(run: Run) -> None:
    Image.fromarray(blobs(2400, 900, (1500, 400), sigma=4)).save("wide.png")
    assert run("wide.png", "--csv", "a.csv")[1] == "wide.png  no face\n"
    assert "face 1/1" in run("wide.png", "--csv", "a.csv", "--search-px", "2400")[1]


def test_the_results_of_the_others_are_in_the_files_of_all(run: Run) -> None:
    code, _, _ = run("missing.jpg", "one.jpg", "--json", "all.json")
    assert code == 2
    assert [image["image"] for image in json.loads(Path("all.json").read_text())["images"]] == ["one.jpg"]


def test_points_of_the_callers(run: Run) -> None:
    assert "  1 point  " in run("one.jpg", "--point", "-10,20.5,0", "--json", "p.json", layout=None)[1]
    (point,) = json.loads(Path("p.json").read_text())["images"][0]["faces"][0]["points"]
    assert point[0] < 100
    assert point[1] < 120
    assert "  6 points  " in run("one.jpg", "--point", "-10,20,0", "--point=1,2,3", "--csv", "p.csv")[1]
    assert [row.split(",")[3] for row in Path("p.csv").read_text().splitlines()[1:3]] == ["middle", "left"]


def test_a_point_is_added_after_those_of_the_layout() -> None:
    layout = asked_layout("ibug68", ["1,2,3"])
    assert (len(layout), layout.points_mm[-1].tolist()) == (69, [1, 2, 3])
    assert layout.code == "ibug68"
    assert len(asked_layout(None, [])) == 68
    assert len(asked_layout(None, ["1,2,3"])) == 1


@pytest.mark.parametrize(
    ("argv", "layout", "message"),
    [
        ([], "layout.csv", "no photos given"),
        (["one.jpg"], "ibug-68", "ibug68"),
        (["one.jpg"], "missing.csv", "missing.csv"),
        (["one.jpg"], "nan.json", "nan.json"),
        (["one.jpg"], "flat.json", "flat.json"),
        (["one.jpg", "--point", "1,2"], None, "--point 1,2: three numbers"),
        (["one.jpg", "--point", "1,x,2"], None, "--point 1,x,2: three numbers"),
        (["one.jpg", "--point", "1,nan,2"], None, "--point 1,nan,2: not finite"),
        (["one.jpg", "--max-heads", "0"], "layout.csv", "--max-heads 0"),
        (["one.jpg", "--json", "one.jpg"], "layout.csv", "one.jpg: would overwrite what is read"),
        (["one.jpg", "--csv", "layout.csv"], "layout.csv", "layout.csv: would overwrite what is read"),
        (["one.jpg", "--json", "a", "--csv", "./a"], "layout.csv", "a: is to be written twice"),
        (
            ["one.jpg", "--json", "one.anymark.jpg", "--out", "."],
            "layout.csv",
            "one.anymark.jpg: is to be written twice",
        ),
        (
            ["one.jpg", "--csv", "one.anymark.json", "--out", "."],
            "layout.csv",
            "one.anymark.json: is to be written twice",
        ),
        (["two.png", "two.anymark.png", "--out", "."], "layout.csv", "two.anymark.png: would overwrite what is read"),
        (["one.jpg", "--json", "."], "layout.csv", ".: cannot write"),
        (["one.jpg", "--search-px", "5000"], "layout.csv", "search_px 5000: must be 32 to 4096"),
        (["one.jpg", "--csv", "no/such/folder.csv"], "layout.csv", "folder.csv: cannot write"),
        (["one.jpg", "--out", "layout.csv"], "layout.csv", "layout.csv: cannot write"),
        (["one.jpg", "--mesh", "head.stl"], "layout.csv", "head.stl: a mesh's file must end in .obj, .glb, .ply"),
        (["one.jpg", "--mesh", "no/head.obj"], "layout.csv", "head.obj: cannot write"),
        (["one.jpg", "--mesh", "mine.obj"], "mine.obj", "mine.obj: would overwrite what is read"),
    ],
)
def test_a_call_that_cannot_be_done_says_why_in_one_line(
    run: Run, argv: list[str], layout: str | None, message: str
) -> None:
    Path("nan.json").write_text('{"points_mm": [[0, 0, NaN]]}')
    Path("mine.obj").write_text("v 0 50 110\nv 0 40 110\n")
    Path("flat.json").write_text('{"points_mm": [[0, 0], [1, 2]]}')
    Path("two.anymark.png").write_bytes(Path("one.jpg").read_bytes())
    before = Path("one.jpg").read_bytes()
    code, out, err = run(*argv, layout=layout)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("anymark: ")
    assert message in err
    assert Path("one.jpg").read_bytes() == before
    assert not list(Path().glob(".*.tmp"))


def test_a_bad_model_is_named_once(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    code = main(["detect", "one.jpg", "two.png", "--layout", "layout.csv", "--model", "model"])
    assert (code, capsys.readouterr().err) == (2, "anymark: model: not a model (no card.json)\n")
    long = 300 * "x"
    assert main(["detect", "one.jpg", "--model", long]) == 2
    assert capsys.readouterr().err.startswith(f"anymark: {long}: no such model")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_keeps_what_was_done(run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    encode = Detector.encode
    before = signal.getsignal(number)

    def stop_at_two(self: Detector, image: object, *args: object, **options: object) -> object:
        if image.pixels.max() == 0:
            signal.raise_signal(number)
        return encode(self, image, *args, **options)

    monkeypatch.setattr(Detector, "encode", stop_at_two)
    code, _, err = run("one.jpg", "none.png", "two.png", "--json", "all.json")
    assert code == 130
    assert "stopped" in err
    assert signal.getsignal(number) is before
    assert not list(Path().rglob(".*.tmp"))
    assert [image["image"] for image in json.loads(Path("all.json").read_text())["images"]] == ["one.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_a_name_that_is_no_text(run: Run) -> None:
    Path("one.jpg").rename(os.fsdecode(b"\xff.jpg"))
    code, out, err = run(".", "--csv", "all.csv", "--json", "all.json")
    assert (code, err) == (0, "")
    assert "\ufffd.jpg  face 1/1" in out
    assert "\ufffd.jpg" in Path("all.csv").read_text("utf-8")


def test_a_reader_that_has_gone_does_not_stop_the_work(run: Run, models: Path) -> None:
    argv = ["detect", "one.jpg", "two.png", "--layout", "layout.csv"]
    argv += ["--model", str(models / "basis"), "--locator", str(models / "locator"), "--json", "all.json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "anymark.cli", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait()) == ("", 0)
    process.stderr.close()
    assert len(json.loads(Path("all.json").read_text())["images"]) == 2


def test_the_demo_is_detect_on_the_astronaut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Detect] = []
    monkeypatch.setattr(Detect, "run", lambda self: asked.append(self) or 0)
    assert main(["demo", "photo.jpg", "--layout", "irises"]) == 0
    assert (asked[0].files, asked[0].layout) == (("photo.jpg",), "irises")
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert "pip install 'anymark[demo]'" in capsys.readouterr().err


def test_the_demo_says_where_the_drawing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("none.jpg")
    assert main(["demo", "none.jpg", "--out", "drawn"]) == 0
    name, drawing = capsys.readouterr().out.splitlines()[-1].split(": ")
    assert name == "drawing"
    with Image.open(drawing) as image:
        assert image.size == (64, 64)


def test_the_astronaut_is_in_scikit_image() -> None:
    pytest.importorskip("skimage")
    with Image.open(demo.astronaut()) as image:
        assert image.size == (512, 512)
