"""What all benchmarks share, without a model."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.apps.annotations import first_centre_to_px
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import Benchmark, Face, lengths, part, readable
from anymark.evaluate.report import Detail


def face(name: str, group: str = "a", subsets: tuple[str, ...] = (), frame: tuple[str, int] | None = None) -> Face:
    def load() -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    box = np.array([0.0, 0, 1, 1])
    return Face(name, group, np.zeros((2, 2)), box, {"eyes": 1.0}, load, subsets=subsets, frame=frame)


def benchmark(*faces: Face, rows: dict[str, tuple[str, ...]] | None = None) -> Benchmark:
    return Benchmark("mine", None, faces, (), rows or {"all": ("a",)}, ("eyes",), 0.1, notes=("first",))


@pytest.mark.parametrize(("first_centre", "at"), [(0.0, 0.5), (0.5, 0.0), (1.0, -0.5)])
def test_the_first_pixel_ends_up_at_a_half(first_centre: float, at: float):
    assert (first_centre_to_px(np.full((3, 2), first_centre), first_centre) == 0.5).all()
    assert (first_centre_to_px(np.zeros((3, 2)), first_centre) == at).all()


def test_a_face_counts_in_its_group_and_in_all_its_subsets():
    all_faces = benchmark(
        face("1", subsets=("x", "y")),
        face("2", subsets=("y",)),
        face("3", "b"),
        rows={"x": ("x",), "y": ("y",), "b or x": ("b", "x"), "all": ("a", "b")},
    )
    assert {row: all_faces.row(row).tolist() for row in all_faces.rows} == {
        "x": [0],
        "y": [0, 1],
        "b or x": [0, 2],
        "all": [0, 1, 2],
    }


def test_a_limit_spreads_over_the_faces_and_drops_rows_that_are_empty():
    rows = {"a": ("a",), "b": ("b",), "all": ("a", "b")}
    limited = benchmark(*(face(str(i), "b" if i == 1 else "a") for i in range(5)), rows=rows).limited(3)
    assert [f.name for f in limited.faces] == ["0", "2", "4"]
    assert list(limited.rows) == ["a", "all"]
    assert limited.notes == ("first", "mine: 3 of 5 faces scored (--limit 3)")
    assert len(benchmark(face("1"), face("2")).limited(9).faces) == 2


def test_a_limit_takes_the_first_frames_of_each_video():
    frames = [face(f"{video}{i}", frame=(video, i)) for video in "vw" for i in range(4)]
    assert [f.name for f in benchmark(*frames).limited(2).faces] == ["v0", "v1", "w0", "w1"]


def test_a_part_is_never_scored():
    faces = [face(str(i)) for i in range(7)]
    for count in range(7):
        scored, calibration = part(faces, count, "mine")
        assert len(calibration) == count
        assert {f.name for f in scored} | {f.name for f in calibration} == set("0123456")
        assert not {f.name for f in scored} & {f.name for f in calibration}
    with pytest.raises(AnymarkError, match="mine: --calibrate 7 leaves none of 7 faces"):
        part(faces, 7, "mine")


def test_what_cannot_be_read_is_left_out_and_noted():
    def read(name: str) -> Face:
        if name == "bad":
            raise AnymarkError("bad.txt: not a face")
        return face(name)

    notes: list[str] = []
    assert [f.name for f in readable(["1", "bad", "2"], read, notes)] == ["1", "2"]
    assert notes == ["bad.txt: not a face: left out"]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0], [0, 0], [3, 4], [5, 5]], "the outer corners of the eyes are one point"),
        ([[0, 0], [9, 0], [3, 0], [5, 0]], "the points lie on one line"),
        ([[0, 0], [9, 0], [3, 3], [3, 3]], "the points lie on one line"),
    ],
)
def test_faces_without_size_are_named(points: list[list[float]], message: str):
    with pytest.raises(AnymarkError, match=f"a.txt: {message}"):
        lengths(np.array(points, float), (0, 1), ([2], [3]), "a.txt")


def test_details_are_small_tables():
    rows = {"first row": {"NME": 0.0123, "FR": 0.5}, "b": {"NME": 1.0, "FR": float("nan")}}
    first, *lines = Detail("errors", rows, percent=True).table().splitlines()
    assert first.split() == ["errors", "NME", "FR"]
    assert [line.split() for line in lines] == [["first", "row", "1.23", "50.00"], ["b", "100.00", "-"]]
    assert len({len(line) for line in (first, *lines)}) == 1
    assert Detail("degrees", {"yaw": {"error": 3.456}}).table().split() == ["degrees", "error", "yaw", "3.46"]
