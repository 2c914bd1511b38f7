"""The readers of anymark's own benchmarks: on small files made here, and on the data itself where it is."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.errors import AnymarkError
from anymark.evaluate.photo_sets import FACELAB_ANNOTATED, face_mesh, read_facelab189, read_photos


def write_source(folder: Path, splits: list[int], label_sd: list[float] | None = None) -> None:
    folder.mkdir(parents=True)
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
    np.savez(
        folder / "labels.npz",
        name=np.array([f"{i:05}.webp" for i in range(len(splits))]),
        landmarks_q64=(points * 64).astype(np.int16),
        split=np.array(splits, np.uint8),
        label_sd=np.array(label_sd or [0.005] * len(splits), np.float32),
    )


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
    write_source(tmp_path / "faker", [0, 0, 0, 0, 1], [0.01, 0.2, -1, 0.01, 0.01])
    for split, scored in (("held-out", {"faker/00004"}), ("train", {"faker/00001"})):
        benchmark = read_photos(tmp_path, split, calibrate=3)
        assert {face.name for face in benchmark.calibration} == {"faker/00000", "faker/00002", "faker/00003"}
        assert {face.name for face in benchmark.faces} == scored
    with pytest.raises(AnymarkError, match="--calibrate 4, but only 3"):
        read_photos(tmp_path, calibrate=4)


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
