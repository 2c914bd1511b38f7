"""The reader of WFLW: lists of 207 words a line, and subsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.errors import AnymarkError
from anymark.evaluate.wflw import SUBSETS, read_wflw
from tests.evaluate.public import WflwTree, face, lies_on

LIST = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_test.txt"


@pytest.fixture
def tree(tmp_path: Path) -> WflwTree:
    return WflwTree(tmp_path / "wflw")


def test_points_lie_on_their_pixels(tree: WflwTree):
    tree.add()
    tree.add(pixels=face("wflw98", (7, -12)))
    for labelled in read_wflw(tree.write()).faces:
        assert labelled.points_px.shape == (98, 2)
        assert lies_on(labelled.points_px, labelled.load())


@pytest.mark.parametrize("first_centre", [0.5, 1.0])
def test_the_first_pixel_may_be_called_otherwise(first_centre: float, tree: WflwTree):
    tree.add(first_centre=first_centre)
    (labelled,) = read_wflw(tree.write(), first_centre=first_centre).faces
    assert lies_on(labelled.points_px, labelled.load())


def test_lengths_are_those_of_the_protocol(tree: WflwTree):
    pixels = face("wflw98")
    pixels[60], pixels[72], pixels[96], pixels[97] = (100, 100), (130, 140), (110, 120), (116, 128)
    tree.add(pixels=pixels)
    (labelled,) = read_wflw(tree.write()).faces
    assert labelled.lengths_px["inter-ocular"] == pytest.approx(50)
    assert labelled.lengths_px["inter-pupil"] == pytest.approx(10)
    assert read_wflw(tree.root).normalisers[0] == "inter-ocular"
    assert read_wflw(tree.root).threshold == 0.10


@pytest.mark.parametrize("lists", [True, False])
def test_subsets_overlap(lists: bool, tree: WflwTree):
    for subsets in (["blur", "occlusion"], [], ["blur"], ["largepose"]):
        tree.add(subsets=subsets)
    benchmark = read_wflw(tree.write(lists))
    assert {row: benchmark.row(row).tolist() for row in benchmark.rows} == {
        "largepose": [3],
        "occlusion": [0],
        "blur": [0, 2],
        "all": [0, 1, 2, 3],
    }
    assert any("flags of the test list" in note for note in benchmark.notes) is not lists


def test_where_lists_of_subsets_are_there_flags_do_not_count(tree: WflwTree):
    tree.add(subsets=["makeup"], flags=["blur"])
    assert read_wflw(tree.write()).faces[0].subsets == ("makeup",)


def test_two_faces_of_one_photo_are_told_apart(tree: WflwTree):
    tree.add(subsets=["blur"])
    tree.write()
    path, other = tree.root / LIST, face("wflw98", (30, 0))
    words = path.read_text().split()
    words[:196] = [f"{value:.6f}" for value in other.ravel()]
    path.write_text(path.read_text() + " ".join(words) + "\n")
    first, second = read_wflw(tree.root).faces
    assert (first.subsets, second.subsets) == (("blur",), ())
    assert first.name != second.name


def test_counts_that_are_not_the_protocols_are_noted(tree: WflwTree):
    tree.add(subsets=["blur"])
    notes = read_wflw(tree.write()).notes
    assert "WFLW has 2500 faces in the protocol, 1 here" in notes
    assert "WFLW blur has 773 faces in the protocol, 1 here" in notes
    assert len(notes) == 1 + len(SUBSETS)


def test_calibration_comes_from_the_training_list(tree: WflwTree):
    tree.add()
    for i in range(5):
        tree.add("train", pixels=face("wflw98", (i, 0)))
    benchmark = read_wflw(tree.write(), calibrate=3)
    assert [f.points_px[0, 0] - benchmark.faces[0].points_px[0, 0] for f in benchmark.calibration] == [0, 2, 4]
    assert not {f.name for f in benchmark.calibration} & {f.name for f in benchmark.faces}
    with pytest.raises(AnymarkError, match="--calibrate 6, but only 5"):
        read_wflw(tree.root, calibrate=6)


def test_points_outside_of_the_photo_are_kept(tree: WflwTree):
    pixels = face("wflw98", (-90, 0))
    assert (pixels < 0).any()
    tree.add(pixels=pixels)
    assert read_wflw(tree.write()).faces[0].points_px == pytest.approx(pixels + 0.5)


@pytest.mark.parametrize(
    ("place", "word", "message"),
    [
        (3, "x", "line 1 does not begin with 196 numbers"),
        (3, "nan", "line 1: a point is not finite"),
        (200, "2", "line 1: the flags 2 0 0 0 0 0 are not all 0 or 1"),
        (3, "", "line 1 has 206 words, expected 207"),
    ],
)
def test_damaged_lines_are_left_out_and_named(place: int, word: str, message: str, tree: WflwTree):
    tree.add()
    tree.add()
    tree.write()
    path = tree.root / LIST
    first, second = path.read_text().splitlines()
    words = first.split()
    words[place] = word
    path.write_text(f"{' '.join(words)}\n\n{second}\n")
    benchmark = read_wflw(tree.root)
    assert len(benchmark.faces) == 1
    assert any(message in note and note.endswith(": left out") for note in benchmark.notes)
    path.write_text(" ".join(words))
    with pytest.raises(AnymarkError, match="no test face of WFLW") as caught:
        read_wflw(tree.root)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_face_without_size_is_left_out(tree: WflwTree):
    tree.add()
    tree.add(pixels=np.full((98, 2), 30))
    benchmark = read_wflw(tree.write())
    assert len(benchmark.faces) == 1
    assert any("line 2: the outer corners of the eyes are one point" in note for note in benchmark.notes)


def test_what_is_missing_is_named(tree: WflwTree):
    with pytest.raises(AnymarkError, match="WFLW_images: no such folder"):
        read_wflw(tree.root)
    tree.add()
    tree.write()
    with pytest.raises(AnymarkError, match="--first-centre 2: must be 0 to 1"):
        read_wflw(tree.root, first_centre=2)
    (tree.root / LIST).unlink()
    with pytest.raises(AnymarkError, match=r"attr_test\.txt: cannot be read \(No such file"):
        read_wflw(tree.root)
