"""Labelling, by a teacher that knows the answer: it reads off a picture's colours where in the photo it was cut."""

from __future__ import annotations

import csv
import io
import os
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from anymark import Detector
from anymark.canonical import load_layout
from anymark.canonical.face_mesh import EYE_CORNERS
from anymark.cli import main
from anymark.commands.demo import astronaut
from anymark.detect.image import Photo, open_photo
from anymark.detect.locate import Box
from anymark.engine.label import CROP_PX, CROP_SCALE, Crop, Label, Skipped, average, cut, label_face, label_photo
from anymark.engine.label_set import Parts, copies, groups, splits
from anymark.engine.teacher import FaceMesh, load_teacher
from anymark.errors import AnymarkError
from anymark.photo_files import CROPS, LABELS, PhotoTar, read_labels, read_npz

LAYOUT = load_layout("mediapipe478")
FLIP = LAYOUT.flip
assert FLIP is not None
SIZE = 400, 320


def truth(centre: tuple[float, float] = (190, 170), side: float = 100, roll: float = 0.2) -> np.ndarray:
    """(478, 3) pixels: the layout seen from in front, turned; the box of its face is about `side` wide."""
    points = LAYOUT.points_mm.astype(float)
    points = (points - (points[:468].min(0) + points[:468].max(0)) / 2) / np.ptp(points[:468], axis=0).max() * side
    cos, sin = np.cos(roll), np.sin(roll)
    xy = points[:, :2] * (1, -1) @ np.array([[cos, sin], [-sin, cos]]) + centre
    return np.column_stack([xy, -points[:, 2]])


def box_of(points: np.ndarray, roll: float = 0.2) -> Box:
    return Box(np.concatenate([points[:468, :2].min(0), points[:468, :2].max(0)]), 1.0, roll)


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Red is x and green is y, from 10 to 245 across, and noise; blue is texture, no darker than 120."""
    width, height = size
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    noise = np.random.default_rng(7).normal(0, 2, (height, width, 2))  # or rounding down would move it by half a pixel
    blue = Image.fromarray(np.random.default_rng(seed).integers(120, 256, (24, 30), np.uint8))
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[..., 0] = np.rint(10 + x * 235 + noise[..., 0])
    pixels[..., 1] = np.rint(10 + y[:, None] * 235 + noise[..., 1])
    pixels[..., 2] = np.maximum(np.asarray(blue.resize(size, Image.Resampling.BICUBIC)), 120)
    return pixels


def place(red_green: np.ndarray) -> np.ndarray:
    """Where in `picture` these colours (..., 2) are, pixels."""
    return (red_green - 10) / 235 * SIZE


class Exact:
    """Knows the faces of `picture`, at any size and mirrored or not, and errs as told.

    Args:
        faces: (478, 3) each, for a picture of `SIZE`.
        err: Called with the points (478, 3) in the picture that the teacher sees and the number of its look.
    """

    name = "exact"

    def __init__(self, *faces: np.ndarray, err: Callable[[np.ndarray, int], np.ndarray | None] | None = None) -> None:
        self.faces, self.err, self.looks = faces, err, 0

    def points(self, rgb: np.ndarray) -> np.ndarray | None:
        # within the photo, and not next to the black about it
        inside = rgb[..., 2] > 100
        inside[2:-2, 2:-2] &= inside[4:, 2:-2] & inside[:-4, 2:-2] & inside[2:-2, 4:] & inside[2:-2, :-4]
        rows, columns = np.nonzero(inside)
        seen = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], 1)
        there = place(rgb[rows, columns, :2] + 0.5)  # Pillow's turned pictures are rounded down
        matrix = np.linalg.lstsq(seen, there, rcond=None)[0]
        linear = np.linalg.inv(matrix[:2])
        mirrored, scale = np.linalg.det(linear) < 0, np.sqrt(abs(np.linalg.det(linear)))
        found = [np.column_stack([(f[:, :2] - matrix[2]) @ linear, f[:, 2] * scale]) for f in self.faces]
        middle = np.array(rgb.shape[1::-1]) / 2
        points = min(found, key=lambda points: float(np.linalg.norm(points[:468, :2].mean(0) - middle)))
        points = points[FLIP] if mirrored else points  # to a teacher a mirrored face is a face
        self.looks += 1
        return self.err(points, self.looks - 1) if self.err else points


def photo_of(pixels: np.ndarray, shrink: int = 1) -> Photo:
    return Photo(pixels, shrink, (pixels.shape[1] * shrink, pixels.shape[0] * shrink))


def labelled(photo: Photo, face: Box, teacher: Exact) -> Label:
    label = label_face(photo, face, teacher)
    assert isinstance(label, Label)
    return label


@pytest.mark.parametrize("roll", [0.2, -0.3])
@pytest.mark.parametrize("shrink", [1, 2])
def test_the_looks_are_undone(roll: float, shrink: int) -> None:
    """Turned, moved, scaled and mirrored, points come back where they were, depth too."""
    points = truth()
    label = labelled(photo_of(picture(), shrink), box_of(points * shrink, roll), Exact(points))
    np.testing.assert_allclose(label.points_px, points * shrink, atol=0.15 * shrink)
    assert label.looks == 8
    assert label.sd < 0.002


def test_a_sideways_shift_of_the_teacher_cancels() -> None:
    points = truth()
    label = labelled(photo_of(picture()), box_of(points), Exact(points, err=lambda p, _: np.add(p, (3, 0, 0))))
    np.testing.assert_allclose(label.points_px, points, atol=0.15)
    assert 0.01 < label.sd < 0.05


def test_looks_that_disagree_are_dropped_and_unbalance_nothing() -> None:
    points = truth()

    def err(p: np.ndarray, look: int) -> np.ndarray:
        return np.add(p, (3, 0, 0)) if look not in (1, 3) else p[::-1]

    label = labelled(photo_of(picture()), box_of(points), Exact(points, err=err))
    np.testing.assert_allclose(label.points_px, points, atol=0.15)
    assert label.looks == 6


def test_the_spread_is_of_a_look_along_an_axis() -> None:
    rng = np.random.default_rng(0)
    looks = truth() + rng.normal(0, 0.5, (800, 478, 3)) * (1, 1, 0)
    label = average(looks, np.arange(800) % 2 == 1)
    assert isinstance(label, Label)
    inter_ocular = np.linalg.norm(truth()[33, :2] - truth()[263, :2])
    assert label.sd == pytest.approx(0.5 / inter_ocular, rel=0.02)


@pytest.mark.parametrize(
    ("reason", "err"),
    [
        ("unknown to the teacher", lambda p, look: p if look < 3 else None),
        ("looks disagree", lambda p, look: np.add(p, (60 * (look // 2), 0, 0))),
        ("looks disagree", lambda p, look: p[::-1] if look % 2 else p),
    ],
)
def test_what_is_no_label(reason: str, err: Callable[[np.ndarray, int], np.ndarray | None]) -> None:
    label = label_face(photo_of(picture()), box_of(truth()), Exact(truth(), err=err))
    assert isinstance(label, Skipped)
    assert label.reason == reason


@pytest.mark.parametrize("elsewhere", [truth((190, 210)), truth(side=180), truth(side=55)])
def test_a_face_that_was_not_looked_for_is_not_taken(elsewhere: np.ndarray) -> None:
    label = label_face(photo_of(picture()), box_of(truth()), Exact(elsewhere))
    assert isinstance(label, Skipped)
    assert label.reason == "another face"


@pytest.mark.parametrize(("centre", "side"), [((190, 170), 100), ((60, 250), 90), ((190, 170), 250)])
def test_a_crop_is_what_photo_sets_hold(centre: tuple[float, float], side: float) -> None:
    points = truth(centre, side)
    crop = cut(photo_of(picture()), Label(points, 0.004, 8), 1)
    pixels = np.asarray(Image.open(io.BytesIO(crop.webp)).convert("RGB")).astype(float)
    face_px = np.ptp(points[:468, :2], axis=0).max()
    assert pixels.shape == (crop.size, crop.size, 3)
    assert crop.size == min(CROP_PX, int(CROP_SCALE * face_px))
    assert crop.face_px == pytest.approx(face_px)
    scale = crop.size / (CROP_SCALE * face_px)
    found = crop.landmarks_q64 / 64
    box = np.stack([found[:468, :2].min(0), found[:468, :2].max(0)])
    np.testing.assert_allclose(box.mean(0), crop.size / 2, atol=0.02)
    np.testing.assert_allclose(found[:, 2], points[:, 2] * scale, atol=0.01)
    # the labels lie on the same colours as in the photo, and the valid box ends where the black begins
    corner = points[0, :2] - found[0, :2] / scale
    expected = (np.array([0, 0, *SIZE]) - np.tile(corner, 2)) * scale
    np.testing.assert_allclose(crop.valid_box, np.clip(expected, 0, crop.size), atol=0.05)
    x0, y0, x1, y1 = (round(float(value)) for value in crop.valid_box)
    y, x = np.mgrid[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] + 0.5
    seen = place(pixels[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4, :2])
    assert np.abs((seen - np.stack([x, y], -1) / scale - corner).mean((0, 1))).max() < 0.5
    outside = np.ones(pixels.shape[:2], bool)
    outside[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = False
    assert not outside.any() or pixels[outside].mean() < 3
    assert not crop.grayscale


def test_a_photo_without_colour_is_grey() -> None:
    grey = np.repeat(picture()[..., 2:], 3, axis=2)
    assert cut(photo_of(grey), Label(truth(), 0.004, 8), 1).grayscale


def test_faces_that_are_small_or_not_the_largest_are_named() -> None:
    first, second, third = truth((110, 170), 110), truth((300, 100), 60), truth((330, 240), 25)
    boxes, teacher = [box_of(points) for points in (first, second, third)], Exact(first, second, third)
    crops, skipped = label_photo(photo_of(picture()), boxes, teacher, least_px=40)
    assert [crop.face for crop in crops] == [1, 2]
    assert [(skip.reason, skip.face) for skip in skipped] == [("small", 3)]
    crops, skipped = label_photo(photo_of(picture()), boxes, teacher, one_face=True)
    assert [crop.face for crop in crops] == [1]
    assert [(skip.reason, skip.face) for skip in skipped] == [("not the largest", 2), ("not the largest", 3)]
    assert label_photo(photo_of(picture()), [], teacher) == ([], [Skipped("no face")])


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_largest_of_copies_is_kept() -> None:
    rng = np.random.default_rng(0)
    thumbs = np.repeat(rng.normal(size=(1100, 64)), 3, axis=0)  # more than two blocks, each thrice in a row
    thumbs = unit(thumbs + rng.normal(0, 0.05, thumbs.shape))
    size = rng.permutation(len(thumbs)).astype(float)
    kept = copies(thumbs, size)
    triples = np.arange(len(thumbs)).reshape(-1, 3)
    larger = triples[np.arange(1100), size[triples].argmax(1)]
    np.testing.assert_array_equal(kept, np.repeat(larger, 3))
    np.testing.assert_array_equal(copies(thumbs[:2], np.ones(2)), [0, 0])  # of equals the first


def test_alike_faces_and_those_of_a_photo_share_a_group_and_a_side() -> None:
    rng = np.random.default_rng(1)
    thumbs = unit(rng.normal(size=(500, 64)))
    thumbs[7] = unit(thumbs[[3]] + 0.035 * rng.normal(size=(1, 64)))[0]
    assert 0.94 < thumbs[7] @ thumbs[3] < 0.97
    digests = [f"{value:016x}"[::-1] for value in rng.integers(0, 2**62, 500)]  # what varies comes first, as in a hash
    digests[3], digests[7], digests[9] = "0" * 16, "f" * 16, "f" * 16
    group = groups(thumbs, digests)
    assert group[3] == group[7] == group[9]
    assert len(np.unique(group)) == 498
    np.testing.assert_array_equal(group[:4], [0, 1, 2, 3])
    split = splits(group, digests, 0.3)
    assert split[3] == split[7] == split[9] == 1  # the smallest decides
    assert 0.22 < split.mean() < 0.38
    back = splits(groups(thumbs[::-1], digests[::-1]), digests[::-1], 0.3)
    np.testing.assert_array_equal(back[::-1], split)
    assert not splits(group, digests, 0).any()


def test_parts_come_back_as_they_were(tmp_path: Path) -> None:
    first, second = truth((110, 170), 110), truth((300, 100), 60)
    crops, skipped = label_photo(
        photo_of(picture()), [box_of(p) for p in (first, second)] + [box_of(first * 0.3)], Exact(first, second)
    )
    assert (len(crops), len(skipped)) == (2, 1)
    parts = Parts(tmp_path, {})
    assert "a" not in parts
    parts.save("a", crops, skipped)
    parts.save("b", [], [Skipped("no face")])
    assert "a" in Parts(tmp_path, {})
    same, rows = parts.load("a")
    assert rows == skipped
    for before, after in zip(crops, same, strict=True):
        for key in Crop.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(after, key), getattr(before, key))
    assert parts.load("b") == ([], [Skipped("no face")])


# The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Exact:
    """One face in every photo of which `find_faces` says so: those as wide, for their height, as `picture`'s."""
    exact = Exact(truth())

    def find_faces(_: Detector, photo: Photo) -> list[Box]:
        width, height = photo.full_size_px
        if abs(width / height - SIZE[0] / SIZE[1]) > 0.01:
            return []
        return [box_of(truth() * width / SIZE[0])]

    monkeypatch.setattr("anymark.engine.label.find_faces", find_faces)
    monkeypatch.setattr("anymark.engine.teacher.load_teacher", lambda task: exact)
    return exact


def write(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).resize(size).save(path)
    return path


def rows_of(out: Path) -> list[list[str]]:
    with (out / "skipped.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_the_set_is_one_that_the_readers_read(teacher: Exact, tmp_path: Path) -> None:
    for seed, suffix in enumerate(("png", "tiff", "bmp")):
        write(tmp_path / f"in/{seed}.{suffix}", seed)
    out = tmp_path / "sets/mine"
    assert main(["data", "label", str(tmp_path / "in"), "--out", str(out)]) == 0
    labels = read_labels(out)
    assert labels.names == ("00000.webp", "00001.webp", "00002.webp")
    assert labels.layout == "mediapipe478"
    tar = PhotoTar(out / CROPS, labels.names)
    for i, name in enumerate(labels.names):
        assert tar.pixels(name).shape == (labels.size_px[i],) * 2 + (3,)
    face = truth()
    scale = labels.size_px[0] / (CROP_SCALE * np.ptp(face[:468, :2], axis=0).max())
    middle = (face[:468, :2].min(0) + face[:468, :2].max(0)) / 2
    expected = (face[:, :2] - middle) * scale + labels.size_px[0] / 2
    np.testing.assert_allclose(labels.points_px, np.repeat(expected[None], 3, 0), atol=0.3)
    types = {
        "landmarks_q64": "int16", "label_sd": "float32", "views": "int8", "split": "uint8", "group": "int32",
        "size": "int32", "face_px_in_source": "float32", "grayscale": "uint8", "valid_box": "float32",
    }  # fmt: skip
    arrays = read_npz(out / LABELS, (*types, "origin"))
    assert {key: str(arrays[key].dtype) for key in types} == types
    assert arrays["origin"].tolist() == ["0.png", "1.tiff", "2.bmp"]
    assert arrays["views"].tolist() == [8, 8, 8]
    assert rows_of(out) == []


def test_training_reads_the_set(teacher: Exact, tmp_path: Path) -> None:
    load_photos = pytest.importorskip("anymark.learn.data.photos").load_photos
    for seed in range(3):
        write(tmp_path / f"in/{seed}.png", seed)
    out = tmp_path / "sets/mine"
    assert main(["data", "label", str(tmp_path / "in"), "--out", str(out), "--held-out", "0"]) == 0
    assert len(load_photos(tmp_path / "sets", "mine", 64, "train")) == 3


def test_duplicates_are_dropped_and_the_largest_kept(
    teacher: Exact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "set"
    write(folder / "a.png", 0)
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())
    write(folder / "c.jpg", 1, (300, 240))
    write(folder / "d.png", 1)
    write(folder / "e.png", 2)
    assert main(["data", "label", str(folder), "--out", str(out)]) == 0
    assert read_npz(out / LABELS, ("origin",))["origin"].tolist() == ["a.png", "d.png", "e.png"]
    assert [(Path(row[0]).name, row[2]) for row in rows_of(out)] == [("b.png", "duplicate"), ("c.jpg", "duplicate")]
    assert rows_of(out)[1][3] == f"of {folder / 'd.png'}, face 1"
    printed = capsys.readouterr().out
    assert "3 faces of 3 photos in 3 groups" in printed
    assert "left out: 2 duplicate" in printed


def test_a_run_that_was_stopped_goes_on(teacher: Exact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(5):
        write(tmp_path / f"in/{seed}.png", seed)
    command = ["data", "label", str(tmp_path / "in"), "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    assert teacher.looks == 40

    def stop(points: np.ndarray, look: int) -> np.ndarray:
        if look == 40 + 20:  # in the middle of the third photo
            raise KeyboardInterrupt
        return points

    out = tmp_path / "stopped"
    teacher.err = stop
    assert main([*command, str(out)]) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert not (out / LABELS).exists()
    teacher.looks = 0
    assert main([*command, str(out)]) == 0
    assert teacher.looks == 24
    for name in (CROPS, LABELS):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # more photos come: the old ones are not looked at again, and keep their side of the split
    before = read_npz(out / LABELS, ("split", "origin"))
    teacher.looks = 0
    write(tmp_path / "in/9.png", 9)
    assert main([*command, str(out)]) == 0
    assert teacher.looks == 8
    after = read_npz(out / LABELS, ("split", "origin"))
    assert after["origin"].tolist() == [*before["origin"], "9.png"]
    np.testing.assert_array_equal(after["split"][:5], before["split"])
    assert not list(out.rglob("*.tmp"))


def test_bad_files_stop_nothing_but_are_told(
    teacher: Exact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in/good.png", 0)
    write(tmp_path / "in/tall.png", 1, (200, 320))
    (tmp_path / "in/bad.png").write_bytes(b"not a photo")
    out = tmp_path / "set"
    assert main(["data", "label", str(tmp_path / "in"), str(tmp_path / "gone.jpg"), "--out", str(out)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert "bad.png" in err[0]
    assert "gone.jpg" in err[1]
    assert sorted((Path(row[0]).name, row[2]) for row in rows_of(out)) == [
        ("bad.png", "unreadable"), ("gone.jpg", "unreadable"), ("tall.png", "no face"),
    ]  # fmt: skip
    assert read_labels(out).names == ("00000.webp",)


def test_no_face_at_all_is_an_error_and_leaves_no_set(
    teacher: Exact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = write(tmp_path / "tall.png", 0, (200, 320)), tmp_path / "set"
    assert main(["data", "label", str(photo), "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"anymark: {out}: nothing was labelled (1 no face)\n"
    assert rows_of(out)[0][2] == "no face"
    assert not (out / LABELS).exists()


def test_folders_in_folders(teacher: Exact, tmp_path: Path) -> None:
    write(tmp_path / "in [x]/a.png", 0)
    write(tmp_path / "in [x]/deep/er/b.png", 1)
    command = ["data", "label", str(tmp_path / "in [x]"), "--out", str(tmp_path / "set")]
    assert main(command) == 0
    assert read_npz(tmp_path / "set" / LABELS, ("origin",))["origin"].tolist() == ["a.png"]
    assert main([*command, "--recursive"]) == 0
    assert sorted(read_npz(tmp_path / "set" / LABELS, ("origin",))["origin"].tolist()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--held-out", "1"], "--held-out 1: "),
        (["--held-out", "nan"], "--held-out nan: "),
        (["--least-px", "-1"], "--least-px -1: "),
        (["--search-px", "1"], "search_px 1: "),
        (["--out", "{file}"], "{file}: is not a folder"),
        (["--out", "{foreign}"], "{foreign}: holds a photo set that was not made here"),
        (["--out", "{begun}"], "{begun}: was begun with least_px 30.0, not 40.0"),
    ],
)
def test_bad_options(
    options: list[str], message: str, teacher: Exact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write(tmp_path / "a.png", 0)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / LABELS).write_bytes(b"precious")
    assert main(["data", "label", str(photo), "--out", str(tmp_path / "begun"), "--least-px", "30"]) == 0
    capsys.readouterr()
    names = {"file": photo, "foreign": tmp_path / "foreign", "begun": tmp_path / "begun"}
    argv = ["data", "label", str(photo), "--out", str(tmp_path / "set"), *(o.format(**names) for o in options)]
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"anymark: {message.format(**names)}")
    assert len(err.splitlines()) == 1
    assert (tmp_path / "foreign" / LABELS).read_bytes() == b"precious"


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    assert "label" in capsys.readouterr().out
    assert main(["data", "label", "--help"]) == 0
    out = capsys.readouterr().out
    for option in ("FILES", "--out", "--recursive", "--held-out", "--one-face", "--least-px", "--search-px", "--task"):
        assert option in out


# MediaPipe --------------------------------------------------------------------------------------------------------


def test_without_mediapipe_one_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    argv = ["data", "label", str(write(tmp_path / "a.png", 0)), "--out", str(tmp_path / "set")]
    monkeypatch.setattr(sys, "version_info", (3, 12))
    assert main(argv) == 2
    assert capsys.readouterr().err == "anymark: Face Mesh needs mediapipe: pip install 'anymark[teacher]'\n"
    assert not (tmp_path / "set").exists()
    (tmp_path / "my.task").write_bytes(b"")
    assert main([*argv, "--task", str(tmp_path / "my.task")]) == 2
    assert capsys.readouterr().err == "anymark: --task needs mediapipe: pip install mediapipe\n"


def test_a_mediapipe_without_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = ModuleType("mediapipe")
    bare.__dict__["__version__"] = "0.10.30"
    monkeypatch.setitem(sys.modules, "mediapipe", bare)
    with pytest.raises(AnymarkError, match=r"needs mediapipe 0\.10\.14, not 0\.10\.30"):
        load_teacher()
    with pytest.raises(AnymarkError, match=r"none\.task: no such file"):
        load_teacher(tmp_path / "none.task")
    (tmp_path / "my.task").write_bytes(b"")
    with pytest.raises(AnymarkError, match="FaceLandmarker"):
        load_teacher(tmp_path / "my.task")


def test_what_mediapipe_answers_is_brought_to_our_convention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several faces the middle one; pixel indices to outer corners; the shift of its 192 pixel window taken out."""
    height, width = 320, 400
    points = truth((200, 160), 100, 0.3)
    upright = truth((200, 160), 100, 0.0)
    shift = 0.33 / 192 * 1.5 * np.ptp(upright[:468, :2], axis=0).max()
    cos, sin = np.cos(0.3), np.sin(0.3)
    said = points + np.array([shift * (cos - sin), shift * (sin + cos), 0]) - (0.5, 0.5, 0)

    def landmarks(values: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(
            landmark=[SimpleNamespace(x=x / width, y=y / height, z=z / width) for x, y, z in values.tolist()]
        )

    class Mesh:
        def __init__(self, **_: object) -> None:
            pass

        def process(self, rgb: np.ndarray) -> SimpleNamespace:
            faces = [landmarks(np.add(said, (120, 0, 0))), landmarks(said)] if rgb.shape[0] == height else None
            return SimpleNamespace(multi_face_landmarks=faces)

    fake = ModuleType("mediapipe")
    fake.__dict__.update(__version__="0", solutions=SimpleNamespace(face_mesh=SimpleNamespace(FaceMesh=Mesh)))
    monkeypatch.setitem(sys.modules, "mediapipe", fake)
    teacher = FaceMesh()
    found = teacher.points(np.zeros((height, width, 3), np.uint8))
    assert found is not None
    np.testing.assert_allclose(found, points, atol=0.01)
    assert teacher.points(np.zeros((64, 64, 3), np.uint8)) is None


@pytest.fixture(scope="module")
def face_mesh() -> FaceMesh:
    if find_spec("mediapipe") is None:
        pytest.skip("needs mediapipe: anymark[teacher]")
    return FaceMesh()


def test_mediapipe_on_the_astronaut(face_mesh: FaceMesh, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its eye corners lie where our own model, which learned from it, sees them."""
    pytest.importorskip("skimage")
    photo, out = astronaut(), tmp_path / "set"
    assert main(["data", "label", str(photo), "--out", str(out)]) == 0
    assert capfd.readouterr().err == ""
    labels = read_labels(out)
    assert len(labels.names) == 1
    (ours,) = Detector().detect(photo, "mediapipe478")
    side = np.ptp(ours.xy_px[:468], axis=0).max()
    centre = (ours.xy_px[:468].min(0) + ours.xy_px[:468].max(0)) / 2
    theirs = (labels.points_px[0] / labels.size_px[0] - 0.5) * CROP_SCALE
    corners = np.array(EYE_CORNERS).ravel()
    inter_ocular = np.linalg.norm(ours.xy_px[33] - ours.xy_px[263]) / side
    off = np.linalg.norm(theirs[corners] - (ours.xy_px[corners] - centre) / side, axis=1) / inter_ocular
    assert off.max() < 0.05
    assert labels.label_sd[0] < 0.02


def test_mediapipe_labels_as_the_given_labels_were_made(face_mesh: FaceMesh, shared: Path) -> None:
    """Not from the photos, which we do not have, but from their crops, which are half as large."""
    given = read_labels(shared / "photos/faker")
    tar = PhotoTar(given.path.parent / CROPS, given.names)
    off = []
    for i in range(0, len(given.names), 25):
        label = label_face(
            open_photo(tar.pixels(given.names[i])), Box(given.box_px[i].astype(float), 1.0, 0.0), face_mesh
        )
        assert isinstance(label, Label)
        inter_ocular = np.linalg.norm(given.points_px[i, 33] - given.points_px[i, 263])
        off.append((label.points_px[:, :2] - given.points_px[i]) / inter_ocular)
    assert np.linalg.norm(off, axis=-1).mean() < 0.004
    assert np.abs(np.mean(off, axis=(0, 1))).max() < 0.0015  # no common shift: theirs were taken out


def test_a_task_file_of_ones_own(face_mesh: FaceMesh, tmp_path: Path) -> None:
    """Made of the package's models, of which only the first point comes out right; and one that is none."""
    pytest.importorskip("skimage")
    spec = find_spec("mediapipe")
    assert spec is not None
    assert spec.origin is not None
    modules = Path(spec.origin).parent / "modules"
    with zipfile.ZipFile(tmp_path / "my.task", "w") as bundle:
        bundle.write(modules / "face_detection/face_detection_short_range.tflite", "face_detector.tflite")
        bundle.write(modules / "face_landmark/face_landmark.tflite", "face_landmarks_detector.tflite")
    pixels = np.ascontiguousarray(open_photo(astronaut()).pixels[20:270, 100:350])
    theirs, own = load_teacher(tmp_path / "my.task").points(pixels), face_mesh.points(pixels)
    assert theirs is not None
    assert own is not None
    assert theirs.shape == (478, 3)
    assert np.linalg.norm((theirs - own)[0, :2]) < 0.03 * np.linalg.norm(own[33, :2] - own[263, :2])
    (tmp_path / "junk.task").write_bytes(os.urandom(64))
    with pytest.raises(AnymarkError, match=r"junk\.task: not the \.task file of a face landmarker"):
        load_teacher(tmp_path / "junk.task")
