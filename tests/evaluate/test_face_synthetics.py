"""The reader of Face Synthetics: 70 points a text file, and what the segmentation says of the first pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.face_synthetics import face_synthetics_layout, measured_first_centre, read_face_synthetics
from tests.evaluate.public import lies_on, write_face_synthetics


@pytest.mark.parametrize("first_centre", [0.0, 0.5, 1.0])
def test_points_lie_on_their_pixels(first_centre: float, tmp_path: Path):
    benchmark = read_face_synthetics(write_face_synthetics(tmp_path, 2, first_centre), first_centre=first_centre)
    assert [face.name for face in benchmark.faces] == ["000000", "000001"]
    for face in benchmark.faces:
        assert face.points_px.shape == (70, 2)
        assert lies_on(face.points_px, face.load())


@pytest.mark.parametrize("said", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("true", [0.0, 0.5, 1.0])
def test_the_segmentation_tells_the_first_pixel_whatever_was_said(said: float, true: float, tmp_path: Path):
    benchmark = read_face_synthetics(write_face_synthetics(tmp_path, 4, true), first_centre=said)
    measured = measured_first_centre(tmp_path, list(benchmark.faces), said)
    assert measured == pytest.approx(true, abs=0.15)
    assert f"first pixel at {measured:.2f}, the labels were read with {said:g}" in benchmark.notes[-1]


def test_without_segmentation_nothing_is_said_of_it(tmp_path: Path):
    write_face_synthetics(tmp_path, 2)
    (tmp_path / "000000_seg.png").unlink()
    (tmp_path / "000001_seg.png").write_bytes(b"no image")
    assert read_face_synthetics(tmp_path).notes == ()


def test_pupils_follow_the_68_points_the_right_one_first():
    layout, ibug68 = face_synthetics_layout(), load_layout("ibug68").points_mm
    assert len(layout) == 70
    assert (layout.points_mm[:68] == ibug68).all()
    for pupil, eye in ((68, ibug68[36:42]), (69, ibug68[42:48])):
        assert layout.points_mm[pupil] == pytest.approx(eye.mean(0), abs=8)
    assert layout.points_mm[68, 0] < 0 < layout.points_mm[69, 0]


def test_pupils_count_in_no_length(tmp_path: Path):
    write_face_synthetics(tmp_path, 1)
    path = tmp_path / "000000_ldmks.txt"
    lines = path.read_text().splitlines()
    (face,) = read_face_synthetics(tmp_path).faces
    path.write_text("\n".join([*lines[:68], "0 0", "500 500"]))
    (other,) = read_face_synthetics(tmp_path).faces
    assert other.lengths_px == face.lengths_px
    assert (other.box_px == face.box_px).all()


def test_calibration_is_never_scored(tmp_path: Path):
    write_face_synthetics(tmp_path, 5)
    benchmark = read_face_synthetics(tmp_path, calibrate=3)
    assert [face.name for face in benchmark.calibration] == ["000000", "000002", "000004"]
    assert [face.name for face in benchmark.faces] == ["000001", "000003"]
    with pytest.raises(AnymarkError, match="--calibrate 6, but only 5"):
        read_face_synthetics(tmp_path, calibrate=6)
    with pytest.raises(AnymarkError, match="--calibrate 5 leaves none of 5 faces"):
        read_face_synthetics(tmp_path, calibrate=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n" * 69, "69 points, expected 70"),
        ("1 2\n" * 69 + "1 b", "not 70 lines of two numbers"),
        ("1 2\n" * 69 + "1 2 3", "not 70 lines of two numbers"),
        ("1 2\n" * 69 + "1 inf", "not 70 lines of two numbers"),
        ("1 2\n" * 70, "the outer corners of the eyes are one point"),
        ("\x00\xff", "1 points, expected 70"),
    ],
)
def test_damaged_labels_are_left_out_and_named(text: str, message: str, tmp_path: Path):
    write_face_synthetics(tmp_path, 2)
    (tmp_path / "000000_ldmks.txt").write_text(text, encoding="latin-1")
    benchmark = read_face_synthetics(tmp_path)
    assert [face.name for face in benchmark.faces] == ["000001"]
    assert message in benchmark.notes[0]
    (tmp_path / "000001_ldmks.txt").unlink()
    with pytest.raises(AnymarkError, match=r"no faces of Face Synthetics.*000000_ldmks\.txt") as caught:
        read_face_synthetics(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(AnymarkError, match="nothing: no such folder"):
        read_face_synthetics(tmp_path / "nothing")
    with pytest.raises(AnymarkError, match=r"no faces of Face Synthetics \(\*_ldmks\.txt\)"):
        read_face_synthetics(tmp_path)
    write_face_synthetics(tmp_path, 2)
    (tmp_path / "000000.png").unlink()
    assert any("no 000000.png beside it: left out" in note for note in read_face_synthetics(tmp_path).notes)
    with pytest.raises(AnymarkError, match="--first-centre nan: must be 0 to 1"):
        read_face_synthetics(tmp_path, first_centre=np.nan)
