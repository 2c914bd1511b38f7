"""Files out: whole or not at all, and what is read back is what was found."""

from __future__ import annotations

import csv
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark import AnymarkError, Camera, Crop, Landmarks, Layout, Window
from anymark.canonical.frame import FACING
from anymark.detect.files import output_names, photos
from anymark.detect.write import Found, csv_file, json_file, write_found, write_image
from anymark.files import atomic, check_targets, write_json

LAYOUT = Layout("two", np.array([[0, 0, 0], [30, 0, 0]], np.float32), names=("nose, tip", "ear"))


def found(name: str, faces: int) -> Found:
    face = Landmarks(
        layout=LAYOUT,
        xy_px=np.array([[1.25, 5.5], [3, -2]], np.float32),
        sigma_px=np.array([1, 2], np.float32),
        xyz_mm=np.array([[0.5, 0, 0], [30.25, 1, -2]], np.float32),
        uncovered=np.array([0.75, 0.5], np.float32),
        box_px=np.array([0.0, 0.0, 4.0, 4.0]),
        window=Window(np.array([2.0, 2.0]), 6.0, 0.25),
        crop=Crop(np.array([[3.0, 0.0, 2.0], [0.0, 3.0, 2.0]])),
        camera=Camera(30.0, np.array([2.0, 2.0]), FACING, np.array([0.0, 0.0, 600.0])),
        score=0.5,
    )
    return Found(name, (30, 20), LAYOUT, [face] * faces)


def test_one_image_as_json(tmp_path: Path) -> None:
    write_found(tmp_path / "a.json", found("a.jpg", 1))
    data = json.loads((tmp_path / "a.json").read_text())
    assert list(data) == ["format", "layout", "image", "size", "faces"]
    assert (data["format"], data["layout"], data["image"], data["size"]) == (2, "two", "a.jpg", [30, 20])
    face = data["faces"][0]
    assert list(face) == ["score", "box_px", "window", "crop", "camera", "points", "xyz_mm"]
    assert face["points"] == [[1.25, 5.5, 1, 0.75], [3, -2, 2, 0.5]]
    assert face["xyz_mm"] == [[0.5, 0, 0], [30.25, 1, -2]]
    assert face["crop"] == [[3, 0, 2], [0, 3, 2]]
    assert face["camera"]["R_camera_head"] == [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
    assert data["faces"][0]["window"] == {"centre_px": [2, 2], "side_px": 6, "roll_rad": 0.25}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_many_images_as_json(tmp_path: Path, count: int) -> None:
    with json_file(tmp_path / "all.json", LAYOUT) as add:
        for i in range(count):
            add(found(f"{i} é.jpg", i))
    data = json.loads((tmp_path / "all.json").read_text())
    assert (data["format"], data["layout"]) == (2, "two")
    assert [image["image"] for image in data["images"]] == [f"{i} é.jpg" for i in range(count)]
    assert [len(image["faces"]) for image in data["images"]] == list(range(count))


def test_many_images_as_csv(tmp_path: Path) -> None:
    with csv_file(tmp_path / "all.csv") as add:
        add(found("a,b.jpg", 2))
        add(found("none.jpg", 0))
    with open(tmp_path / "all.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:7] == ["image", "face", "point", "name", "x_px", "y_px", "sigma_px"]
    assert rows[0][7:] == ["visible", "x_mm", "y_mm", "z_mm"]
    assert rows[1] == ["a,b.jpg", "1", "0", "nose, tip", "1.25", "5.5", "1.0", "0.75", "0.5", "0.0", "0.0"]
    assert [row[1:4] for row in rows[2:]] == [["1", "1", "ear"], ["2", "0", "nose, tip"], ["2", "1", "ear"]]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("old")
    results = [found("a.jpg", 1), "a bug of ours"]
    with pytest.raises(Exception, match=r"bug|layout"), csv_file(path) as add:
        list(map(add, results))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["all.csv"]
    with csv_file(path) as add:
        assert path.read_text() == "old"
    assert path.read_text().startswith("image,face")


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none" / "a.json", tmp_path / "file" / "a.json", tmp_path, Path("/"), Path(".")):
        with pytest.raises(AnymarkError, match="cannot write") as caught, atomic(path, "w") as file:
            file.write("a")
        assert str(path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_one_and_its_file_is_written(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    link, file = tmp_path / "here" / "a.json", tmp_path / "there" / "b.json"
    link.symlink_to(file)
    for content in ({"a": 1}, {"a": 2}):  # first the file is not there yet, then it is
        write_json(link, content)
        assert json.loads(file.read_text()) == content
        assert link.is_symlink()
    assert sorted(p.name for p in tmp_path.rglob("*.json")) == ["a.json", "b.json"]
    assert sum(p.is_file() for p in tmp_path.rglob("*")) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_json(pipe, {"a": 1})
    reader.join(10)
    assert read == ['{"a": 1}\n']
    assert pipe.is_fifo()
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_numbers_that_json_lacks_leave_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"nme": float("nan")})
    assert (tmp_path / "a.json").read_text() == "old"
    write_json(tmp_path / "a.json", {"é": [1, 2]}, indent=2)
    assert json.loads((tmp_path / "a.json").read_text()) == {"é": [1, 2]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_no_file_is_written_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_targets([Path("a"), Path("b"), Path("sub/a")], [Path("c")])
    Path("photo.jpg").write_text("")
    Path("link.jpg").symlink_to("photo.jpg")
    with pytest.raises(AnymarkError, match=r"^b/\.\./a: is to be written twice"):
        check_targets([Path("a"), Path("b/../a")])
    for target in (Path("link.jpg"), tmp_path / "photo.jpg"):
        with pytest.raises(AnymarkError, match=rf"{target.name}: would overwrite what is read"):
            check_targets([target], [Path("photo.jpg")])


def test_pictures_by_suffix(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), "red")
    for name, kind in (("a.jpg", "JPEG"), ("a.png", "PNG")):
        write_image(tmp_path / name, image)
        with Image.open(tmp_path / name) as back:
            assert (back.format, back.size) == (kind, (20, 10))
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "a.jpg").stat().st_mode
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode  # readable as any other file


def test_output_names_never_clash() -> None:
    paths = [Path(p) for p in ("a/x.jpg", "b/x.jpg", "x.PNG", "X.jpg", "y.tar.png")]
    assert output_names(paths) == ["x.anymark", "x-2.anymark", "x-3.anymark", "X-4.anymark", "y.tar.anymark"]
    names = output_names([Path("x-2.jpg"), Path("x.jpg"), Path("b/x.jpg")])
    assert len(set(names)) == 3


def test_which_photos_an_argument_means(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "notes.txt", "b.anymark.jpg", "x[1].png"):
        (tmp_path / name).write_text("")
    (tmp_path / "sub.jpg").mkdir()
    (tmp_path / "sub.jpg" / "c.jpg").write_text("")
    (tmp_path / "empty").mkdir()
    assert [p.name for p in photos(str(tmp_path))] == ["a.PNG", "b.jpg", "x[1].png"]
    assert [p.name for p in photos(str(tmp_path / "*.jpg"))] == ["b.jpg"]
    assert [p.name for p in photos(str(tmp_path / "**" / "*.jpg"))] == ["b.jpg", "c.jpg"]
    assert photos(str(tmp_path / "x[1].png")) == [tmp_path / "x[1].png"]
    assert photos(str(tmp_path / "missing.jpg")) == [tmp_path / "missing.jpg"]
    assert photos(str(tmp_path / "b.anymark.jpg")) == [tmp_path / "b.anymark.jpg"]
    for name in (tmp_path / "empty", tmp_path / "*.gif"):
        with pytest.raises(AnymarkError, match="no image"):
            photos(str(name))
