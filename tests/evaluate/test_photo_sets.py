"""The readers of anymark's own benchmarks: on small files made here, and on the data itself where it is."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.canonical import Layout, load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.photo_sets import FACELAB_ANNOTATED, face_mesh, read_facelab189, read_photos
from anymark.photo_files import PhotoTar, read_card, read_labels


def write_source(
    folder: Path, splits: list[int], label_sd: list[float] | np.ndarray | None = None, **labels: object
) -> None:
    """A photo set; `labels` are put over those of labels.npz, and None takes one away."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(splits))
    points = rng.uniform(50, 150, (len(splits), 478, 3))
    points[:, 33], points[:, 263] = (60, 80, 0), (90, 80, 40)
    with tarfile.open(folder / "crops.tar", "w") as tar:
        for i in reversed(range(len(splits))):  # not in the labels' order
            buffer = io.BytesIO()
            Image.new("RGB", (200, 200), (i, 0, 0)).save(buffer, "WEBP", lossless=True)
            info = tarfile.TarInfo(f"{i:05}.webp")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    own: dict[str, object] = {
        "name": np.array([f"{i:05}.webp" for i in range(len(splits))]),
        "landmarks_q64": (points * 64).astype(np.int16),
        "split": np.array(splits, np.uint8),
        "label_sd": np.asarray([0.005] * len(splits) if label_sd is None else label_sd),
        "size": np.full(len(splits), 200, np.int32),
        "valid_box": np.tile(np.array([0, 0, 200, 200], np.float32), (len(splits), 1)),
    }
    kept = {key: np.asarray(value) for key, value in (own | labels).items() if value is not None}
    np.savez(folder / "labels.npz", **kept)


def test_held_out_photos_alone_are_scored(tmp_path: Path):
    write_source(tmp_path / "faker", [0, 1, 2, 1])
    write_source(tmp_path / "congress", [1, 0])
    benchmark = read_photos(tmp_path)
    assert [face.name for face in benchmark.faces] == ["faker/00001", "faker/00003", "congress/00000"]
    assert [len(benchmark.row(row)) for row in ("faker", "congress", "all")] == [2, 1, 3]
    assert any("sfhq" in note for note in benchmark.notes)


def test_photos_are_those_of_their_labels(tmp_path: Path):
    write_source(tmp_path / "faker", [0, 1, 2, 1])
    for face, value in zip(read_photos(tmp_path).faces, (1, 3), strict=True):
        assert (face.load() == (value, 0, 0)).all()


def test_lengths_in_3d_and_2d(tmp_path: Path):
    write_source(tmp_path / "faker", [1])
    face = read_photos(tmp_path).faces[0]
    assert face.lengths_px["eyes 3D"] == 50
    assert face.lengths_px["eyes 2D"] == 30
    assert face.points_px.shape == (468, 2)
    assert face.box_px.tolist() == [*face.points_px.min(0), *face.points_px.max(0)]


def test_calibration_is_never_scored(tmp_path: Path):
    write_source(tmp_path / "faker", [0, 0, 0, 0, 1, 0], [0.01, 0.2, 0.01, 0.01, 0.01, -1])
    # the second label is bad, nobody knows how good the last one is
    for split, scored in (("held-out", {"faker/00004"}), ("train", {"faker/00001", "faker/00005"})):
        benchmark = read_photos(tmp_path, split, calibrate=3)
        assert {face.name for face in benchmark.calibration} == {"faker/00000", "faker/00002", "faker/00003"}
        assert {face.name for face in benchmark.faces} == scored
    with pytest.raises(AnymarkError, match="--calibrate 4, but only 3"):
        read_photos(tmp_path, calibrate=4)


def test_labels_of_unknown_spread_are_good_where_no_spread_is_known(tmp_path: Path):
    write_source(tmp_path / "faker", [0, 0, 1], [-1, -1, -1])
    assert read_labels(tmp_path / "faker").chosen("train", good=True).tolist() == [0, 1]


def test_bad_photo_sets_are_named(tmp_path: Path):
    with pytest.raises(AnymarkError, match="none of the photo sets"):
        read_photos(tmp_path)
    write_source(tmp_path / "faker", [1])
    (tmp_path / "faker" / "crops.tar").write_bytes(b"no tar at all")
    with pytest.raises(AnymarkError, match=r"crops\.tar"):
        read_photos(tmp_path)
    (tmp_path / "faker" / "labels.npz").write_bytes(b"no labels")
    with pytest.raises(AnymarkError, match=r"labels\.npz"):
        read_photos(tmp_path)
    (tmp_path / "faker" / "labels.npz").unlink()
    with pytest.raises(AnymarkError, match=r"labels\.npz"):
        read_photos(tmp_path)


def test_a_set_brings_its_own_layout(tmp_path: Path):
    folder = tmp_path / "faker"
    points = load_layout("ibug68").points_mm[:20]
    q64 = np.random.default_rng(0).integers(0, 9000, (2, 20, 2)).astype(np.int16)
    boxes = np.array([[10, 20, 110, 120.5]] * 2)
    write_source(folder, [0, 1], landmarks_q64=q64, layout="points.json", box=boxes)
    Layout("own", points).save(folder / "points.json")
    labels = read_labels(folder)
    assert (load_layout(labels.layout).points_mm == points).all()
    assert (labels.points_px == q64 / 64).all()
    assert np.isnan(labels.depth_px).all()
    assert (labels.box_px == boxes).all()
    with pytest.raises(AnymarkError, match=r"points\.json; only sets of mediapipe478 can be scored"):
        read_photos(tmp_path)


def test_a_shipped_layout_is_named_and_a_box_may_be_given(tmp_path: Path):
    boxes = np.array([[10, 20, 110, 120.5]])
    write_source(tmp_path / "a", [1], landmarks_q64=np.zeros((1, 68, 3), np.int16), layout="ibug68", box=boxes)
    assert read_labels(tmp_path / "a").layout == "ibug68"
    write_source(tmp_path / "faker", [1], box=boxes)
    face = read_photos(tmp_path).faces[0]
    assert face.box_px.tolist() == boxes[0].tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"size": None}, r"not a file of labels .*size"),
        ({"layout": "ibug86"}, r"no layout named 'ibug86'; did you mean"),
        ({"layout": "points.json"}, r"points\.json: no such file"),
        ({"layout": "ibug68"}, r"landmarks \(2, 478, 3\), expected \(N, 68, 3\)"),
        ({"layout": "ibug68", "landmarks_q64": np.zeros((2, 68, 2), np.int16)}, "lacks 'box'"),
        ({"landmarks_q64": np.zeros((2, 478, 2), np.int16)}, "mediapipe478 need their depth"),
        ({"landmarks_q64": np.zeros((2, 478), np.int16)}, r"landmarks \(2, 478\), expected"),
        ({"box": np.zeros((2, 3))}, r"box \(2, 3\), expected \(2, 4\)"),
        ({"box": np.array([[0, 0, 9, 9], [0, 9, 9, 9]])}, r"00001\.webp: box is not x0, y0, x1, y1"),
        ({"box": np.array([[0, 0, np.nan, 9], [0, 0, 9, 9]])}, r"00000\.webp: box is not x0, y0, x1, y1"),
        ({"valid_box": np.array([[0, 0, 9, 9], [9, 0, 9, 9]])}, r"00001\.webp: valid_box is not"),
        ({"split": np.zeros(3, np.uint8)}, "arrays differ in length"),
        ({"size": np.array(200)}, "arrays differ in length"),
        ({"size": np.array([200, 0])}, r"00001\.webp: size is not finite, or not above 0"),
        ({"size": np.array([200.0, 200.0])}, "size is of float64, expected whole numbers"),
        ({"split": np.array(["train", "train"])}, "split is of <U5, expected whole numbers"),
        ({"label_sd": np.array(["small", "0.1"])}, "label_sd is of <U5, expected numbers"),
        ({"label_sd": np.array([0.1, np.nan])}, r"00001\.webp: label_sd is not finite"),
        ({"label_sd": np.zeros((2, 2))}, r"label_sd \(2, 2\), expected \(2,\)"),
        ({"name": np.array([0, 1])}, "name is of int64, expected text"),
        ({"landmarks_q64": np.full((2, 478, 3), np.inf)}, r"00000\.webp: landmarks_q64 is not finite"),
    ],
)
def test_labels_that_cannot_be_are_named(tmp_path: Path, labels: dict[str, object], message: str):
    write_source(tmp_path / "own", [0, 1], **labels)
    with pytest.raises(AnymarkError, match=message) as caught:
        read_labels(tmp_path / "own")
    assert str(tmp_path / "own" / "labels.npz") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_photo_that_is_missing_is_named(tmp_path: Path):
    write_source(tmp_path / "faker", [1, 1], name=np.array(["00000.webp", "00007.webp"]))
    with pytest.raises(AnymarkError, match=r"crops\.tar: no photo '00007\.webp'"):
        read_photos(tmp_path)


def test_an_npy_file_is_no_npz(tmp_path: Path):
    with (tmp_path / "labels.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(AnymarkError, match=r"labels\.npz: not a file of labels \(one array"):
        read_labels(tmp_path)


def write_tar(path: Path, **members: int) -> Path:
    """A tar of pictures of one colour each; a member's name has `/` for `__` and `.` for `_`."""
    with tarfile.open(path, "w") as tar:
        for name, value in members.items():
            buffer = io.BytesIO()
            Image.new("RGB", (4, 4), (value, 0, 0)).save(buffer, "PNG")
            info = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    return path


def test_photos_of_one_name_in_two_folders_are_told_apart(tmp_path: Path):
    path = write_tar(tmp_path / "photos.tar", a__1_png=10, b__1_png=20, c__2_png=30)
    names = ("b/1.png", "./a/1.png", "2.webp")
    tar = PhotoTar(path, names)
    assert [tar.pixels(name)[0, 0, 0] for name in names] == [20, 10, 30]
    with pytest.raises(AnymarkError, match=r"photo '1\.png' of the labels may be 'a/1\.png' or 'b/1\.png'"):
        PhotoTar(path, ["1.png"])
    with pytest.raises(AnymarkError, match=r"'c/2\.png' would be both 'c/2\.png' and 'd/2\.png'"):
        PhotoTar(path, ["c/2.png", "d/2.png"])


def test_a_set_says_what_goes_on_cards(tmp_path: Path):
    write_source(tmp_path / "own", [0, 1], licence="CC0", what="my own photos")
    assert read_card(tmp_path / "own" / "labels.npz") == {"licence": "CC0", "what": "my own photos"}
    assert read_labels(tmp_path / "own").names == ("00000.webp", "00001.webp")
    write_source(tmp_path / "silent", [0])
    assert read_card(tmp_path / "silent" / "labels.npz") == {}
    write_source(tmp_path / "wrong", [0], licence=3)
    with pytest.raises(AnymarkError, match="licence is not one text"):
        read_card(tmp_path / "wrong" / "labels.npz")


def write_facelab(folder: Path, count: int, points: int = 189) -> Path:
    (folder / "neutral").mkdir(parents=True)
    names = [f"{i:03}_03" for i in range(count)][::-1]
    xy = np.random.default_rng(0).uniform(0, 600, (count, points, 2)).astype(np.float32)
    np.savez(folder / "points.npz", points=xy, name=np.array(names))
    return folder


def test_facelab_scores_the_same_photos_whatever_k(tmp_path: Path):
    root = write_facelab(tmp_path / "f", 14)
    for k in (0, 5, FACELAB_ANNOTATED):
        benchmark = read_facelab189(root, k)
        assert [face.name for face in benchmark.faces] == ["010_03", "011_03", "012_03", "013_03"]
        assert [face.name for face in benchmark.calibration] == [f"{i:03}_03" for i in range(k)]
    assert len(read_facelab189(root, 12).faces) == 2
    with pytest.raises(AnymarkError, match="none is left"):
        read_facelab189(root, 14)


def test_bad_facelab_is_named(tmp_path: Path):
    with pytest.raises(AnymarkError, match=r"points\.npz: expected|points \(12, 188, 2\)"):
        read_facelab189(write_facelab(tmp_path / "f", 12, 188))
    with pytest.raises(AnymarkError, match=r"points\.npz"):
        read_facelab189(tmp_path)


def test_face_mesh_has_no_irises():
    layout = face_mesh()
    assert len(layout) == 468
    assert layout.regions
    assert all(index.max() < 468 for index in layout.regions.values())


def test_real_photos(shared: Path):
    benchmark = read_photos(shared / "photos")
    assert len(benchmark.faces) == 338
    assert benchmark.notes == ()
    for face in benchmark.faces[::100]:
        height, width = face.load().shape[:2]
        assert (face.points_px.mean(0) > 0).all()
        assert (face.points_px.mean(0) < (width, height)).all()
        assert face.lengths_px["eyes 3D"] >= face.lengths_px["eyes 2D"]


def test_real_facelab(shared: Path):
    benchmark = read_facelab189(shared / "benchmarks" / "facelab189", 10)
    assert (len(benchmark.faces), len(benchmark.calibration)) == (92, 10)
    face = benchmark.faces[0]
    assert face.load().shape == (675, 675, 3)
    assert benchmark.row("all").tolist() == list(range(92))
    covered = np.concatenate(list(benchmark.regions.values()))
    assert sorted(covered.tolist()) == list(range(189))
    right, left = face.points_px[18], face.points_px[27]  # the subject's right is at the image's left
    assert right[0] < face.points_px[22][0] < face.points_px[23][0] < left[0]
