"""Trees of 300-W in all the variants that are about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.apps.annotations import read_pts
from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import BoxRule, points_box
from anymark.evaluate.three_hundred_w import read_300w
from tests.evaluate.synthetic import Tree

POINTS = np.random.default_rng(0).uniform(5, 300, (68, 2)).round(3)
ROWS = [f"{x:.3f} {y:.3f}" for x, y in POINTS + 0.5]

VARIANTS = {
    "header": "version: 1\nn_points:  68\n{\n" + "\n".join(ROWS) + "\n}",
    "other header": "version: 1.0\nn_points: 68\n{\n" + "\n".join(ROWS) + "\n}\n\n",
    "no header": "\n".join(ROWS) + "\n",
    "braces only": "{\n" + "\n".join(ROWS) + "\n}",
    "blanks": "version: 1\nn_points:  68\n{\n" + "\n".join(f"  {r.replace(' ', '   ')}  " for r in ROWS) + "\n}\n",
    "tabs": "\n".join(r.replace(" ", "\t") for r in ROWS),
    "commas": "\n".join(r.replace(" ", ", ") for r in ROWS),
    "windows": "version: 1\r\nn_points:  68\r\n{\r\n" + "\r\n".join(ROWS) + "\r\n}\r\n",
    "old mac": "version: 1\rn_points:  68\r{\r" + "\r".join(ROWS) + "\r}\r",
    "byte order mark": "\ufeffversion: 1\nn_points:  68\n{\n" + "\n".join(ROWS) + "\n}\n",
    "no space": "version:1\nn_points:68\n{\n" + "\n".join(ROWS) + "}",
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS.keys())
def test_pts_in_all_variants(text: str, tmp_path: Path):
    (tmp_path / "a.pts").write_bytes(text.encode())
    assert read_pts(tmp_path / "a.pts", 68) == pytest.approx(POINTS, abs=1e-9)


def test_the_first_pixels_centre_is_at_a_half(tmp_path: Path):
    (tmp_path / "a.pts").write_text("1 1\n" * 68)
    assert (read_pts(tmp_path / "a.pts", 68) == 0.5).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join(ROWS[:67]), "67 points, expected 68"),
        ("n_points: 68\n{\n" + "\n".join(ROWS[:60]) + "\n}", "60 points, its header says 68"),
        ("\n".join([*ROWS[:5], "1.0", *ROWS[6:]]), "line 6 is not a point: '1.0'"),
        ("\n".join([*ROWS[:5], "1 2 3", *ROWS[6:]]), "line 6 is not a point: '1 2 3'"),
        ("\n".join([*ROWS[:5], "nan 3", *ROWS[6:]]), "a point is not finite"),
        ("\x00\x01\xff", "line 1 is not a point"),
        ("", "0 points, expected 68"),
    ],
)
def test_bad_pts_are_named(text: str, message: str, tmp_path: Path):
    (tmp_path / "bad.pts").write_text(text, encoding="latin-1")
    with pytest.raises(AnymarkError, match=message) as error:
        read_pts(tmp_path / "bad.pts", 68)
    assert "bad.pts" in str(error.value)
    assert "\n" not in str(error.value)


def make_all(tree: Tree) -> None:
    for stem in ("helen/testset/30427236_1", "helen/testset/30427236_2", "lfpw/testset/image_0001"):
        tree.add(stem)
    for stem in ("ibug/image_003_1", "ibug/image_092 _01"):
        tree.add(stem, suffix=".jpg")
    for stem in ("afw/1051618982_1", "afw/1051618982_2", "helen/trainset/10", "lfpw/trainset/image_0002"):
        tree.add(stem, suffix=".jpg")


@pytest.mark.parametrize(("subset", "count"), [("common", 3), ("challenging", 2), ("full", 5)])
def test_subsets(subset: str, count: int, tree: Tree):
    make_all(tree)
    benchmark = read_300w(tree.root, subset)
    assert len(benchmark.faces) == count
    assert len(benchmark.row(subset)) == count
    assert benchmark.calibration == ()
    if subset == "full":
        assert [len(benchmark.row(row)) for row in benchmark.rows] == [3, 2, 5]
        assert "ibug/image_092 _01" in {face.name for face in benchmark.faces}


def test_counts_that_are_not_the_protocols_are_noted(tree: Tree):
    make_all(tree)
    notes = read_300w(tree.root).notes
    assert notes == (
        "300-W common has 554 faces in the protocol, 3 here",
        "300-W challenging has 135 faces in the protocol, 2 here",
        "300-W full has 689 faces in the protocol, 5 here",
    )


def test_calibration_comes_from_the_training_folders_alone(tree: Tree):
    make_all(tree)
    benchmark = read_300w(tree.root, "full", calibrate=4)
    assert {face.group for face in benchmark.calibration} == {"afw", "helen/trainset", "lfpw/trainset"}
    assert len({face.name for face in benchmark.calibration}) == 4
    assert not {face.name for face in benchmark.calibration} & {face.name for face in benchmark.faces}
    with pytest.raises(AnymarkError, match="--calibrate 5, but only 4"):
        read_300w(tree.root, "full", calibrate=5)


def test_scores_what_is_there(tree: Tree):
    tree.add("ibug/image_003_1")
    benchmark = read_300w(tree.root)
    assert list(benchmark.rows) == ["challenging", "full"]
    assert any("helen/testset: no such folder" in note for note in benchmark.notes)
    with pytest.raises(AnymarkError, match="no faces of 300-W common"):
        read_300w(tree.root, "common")


@pytest.mark.parametrize("root", ["missing", "empty"])
def test_no_data_names_the_folder(root: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnymarkError, match=root):
        read_300w(tmp_path / root)


def test_faces_without_usable_labels_are_left_out_and_noted(tree: Tree):
    make_all(tree)
    tree.add("ibug/short", text="1 2\n")
    tree.add("ibug/flat", np.full((68, 2), 9.0))
    tree.add("afw/0", text="no labels")
    benchmark = read_300w(tree.root, "challenging", calibrate=4)
    assert [face.name for face in benchmark.faces] == ["ibug/image_003_1", "ibug/image_092 _01"]
    assert "300-W challenging has 135 faces in the protocol, 2 here" in benchmark.notes
    for name in ("short.pts: 1 points, expected 68", "flat.pts: the outer corners", "0.pts: line 1 is not a point"):
        assert [note for note in benchmark.notes if name in note and note.endswith(": left out")], name
    assert "afw/0" not in {face.name for face in benchmark.calibration}
    with pytest.raises(AnymarkError, match="--calibrate 5, but only 4"):
        read_300w(tree.root, "challenging", calibrate=5)


def test_what_lies_about_is_not_scored(tree: Tree):
    tree.add("ibug/image_003_1")
    tree.add("ibug/._image_003_1", text="resource fork", suffix=None)
    tree.add("ibug/image_003_1_mirror")
    tree.add("ibug/alone", suffix=None)
    Image.new("RGB", (9, 9)).save(tree.root / "ibug" / "unmarked.jpg")
    (tree.root / "ibug" / "Thumbs.db").write_bytes(b"x")
    benchmark = read_300w(tree.root, "challenging")
    assert [face.name for face in benchmark.faces] == ["ibug/image_003_1"]
    assert any("alone.pts: no image beside it" in note for note in benchmark.notes)


def test_copies_with_other_names(tree: Tree):
    tree.add("IBUG/image_092 _01", suffix=None)
    tree.add("IBUG/image_092_01", suffix=".JPG", text="")
    (tree.root / "IBUG/image_092_01.pts").unlink()
    (face,) = read_300w(tree.root, "challenging").faces
    assert face.load().shape == (320, 320, 3)


def test_pixels_are_those_of_the_file(tree: Tree):
    tree.add("ibug/turned", suffix=None)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (320, 200), 77).save(tree.root / "ibug" / "turned.jpg", exif=exif)
    (face,) = read_300w(tree.root, "challenging").faces
    assert face.load().shape == (200, 320, 3)
    assert face.load()[0, 0].tolist() == [77] * 3


def test_lengths_of_a_face(tree: Tree):
    points = np.tile(np.arange(68)[:, None], 2).astype(float)
    points[36:42], points[42:48], points[0] = (10, 50), (50, 80), (0, 90)
    points[36], points[45] = (4, 50), (64, 130)
    tree.add("ibug/a", points)
    lengths = read_300w(tree.root, "challenging").faces[0].lengths_px
    assert lengths["inter-ocular"] == pytest.approx(100)
    eyes = points[36:42].mean(0) - points[42:48].mean(0)
    assert lengths["inter-pupil"] == pytest.approx(np.hypot(*eyes))
    assert lengths["box"] == pytest.approx(np.sqrt(np.prod(points.max(0) - points.min(0))))


def test_a_face_without_size_is_named(tree: Tree):
    tree.add("ibug/flat", np.full((68, 2), 9.0))
    with pytest.raises(AnymarkError, match=r"flat\.pts: the outer corners of the eyes are one point"):
        read_300w(tree.root, "challenging")


def test_box_rule_is_right_on_the_canonical_face(tree: Tree):
    tree.add("ibug/a")
    mesh = load_layout("mediapipe478").points_mm[:468, :2].astype(float) * (1, -1) + (160, 165)
    (face,) = read_300w(tree.root, "challenging").faces
    assert face.box_px == pytest.approx(points_box(mesh), abs=1e-3)


def test_box_rule_scales_with_the_box():
    rule = BoxRule(np.array([0.0, -0.5, 0.0, 0.25]))
    assert rule(np.array([10.0, 20.0, 30.0, 60.0])).tolist() == [10, 0, 30, 70]
