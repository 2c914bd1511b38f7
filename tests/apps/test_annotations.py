"""Annotated photos in all the files that users have; every reader's first pixel ends up at a half."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.apps.annotations import LabelledFace, annotation_files, labelled_view, read_annotations
from anymark.canonical import Layout, load_layout
from anymark.detect.detector import Detector
from anymark.errors import AnymarkError
from tests.apps.synthetic import DISTANCE_MM, HALF_CROP_MM, colour_of
from tests.evaluate.synthetic import FACE_BOX

POINTS = np.array([[10.0, 20.5], [30.25, 40.0], [50.0, 60.0]])
THREE = Layout("three", np.array([(0, 50, 110), (-40, 0, 90), (40, 0, 90)], np.float32), names=("top", "right", "left"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (90, 80), (9, 9, 9)).save(tmp_path / name)
    return tmp_path


def write_pts(path: Path, points: np.ndarray = POINTS) -> Path:
    path.write_text("\n".join(f"{x:g} {y:g}" for x, y in points + 0.5))
    return path


def test_pts_lies_beside_its_image(folder: Path):
    (face,) = read_annotations(write_pts(folder / "b.pts"))
    assert face.photo == folder / "b.jpg"
    np.testing.assert_allclose(face.points_px, POINTS)


def test_pts_are_found_by_folder_and_by_image(folder: Path):
    for name in ("b", "a"):
        write_pts(folder / f"{name}.pts")
    assert annotation_files(str(folder)) == [folder / "a.pts", folder / "b.pts"]
    assert annotation_files(str(folder / "b.jpg")) == [folder / "b.pts"]
    assert annotation_files(str(folder / "a.pts")) == [folder / "a.pts"]


@pytest.mark.parametrize("header", ["image,point,x,y", "y,x,point,image", "image,point,name,x_px,y_px,sigma_px"])
def test_a_table_may_have_its_columns_in_any_order(header: str, folder: Path):
    keys = header.split(",")
    rows = [
        ",".join(
            {"image": "a.png", "point": str(i), "x": f"{x}", "y": f"{y}"}.get(key.removesuffix("_px"), "-")
            for key in keys
        )
        for i, (x, y) in enumerate(POINTS)
    ]
    (folder / "t.csv").write_text("\n".join([header, *rows, ""]))
    (face,) = read_annotations(folder / "t.csv")
    assert face.photo == folder / "a.png"
    np.testing.assert_allclose(face.points_px, POINTS)


def test_a_table_has_faces_and_names_and_lacks_what_is_not_labelled(folder: Path):
    rows = ["image,face,point,x,y", "a.png,1,left,5,6", "b.jpg,1,0,1,2", "a.png,2,top,7,8", "a.png,1,0,3,4"]
    (folder / "t.csv").write_text("\n".join(rows))
    first, other, second = read_annotations(folder / "t.csv", THREE)
    assert (first.photo.name, other.photo.name, second.photo.name) == ("a.png", "b.jpg", "a.png")
    np.testing.assert_allclose(first.points_px, [[3, 4], [np.nan, np.nan], [5, 6]])
    np.testing.assert_allclose(second.points_px, [[7, 8], [np.nan, np.nan], [np.nan, np.nan]])
    assert len({first.name, other.name, second.name}) == 3


def test_json_is_what_detect_writes(folder: Path):
    points = [[*xy, 0.5, 0.9] for xy in POINTS.tolist()]
    one = {"image": "a.png", "faces": [{"points": points}, {"points": [None, points[1], None]}]}
    (folder / "one.json").write_text(json.dumps({"format": 2, "layout": "three", **one}))
    first, second = read_annotations(folder / "one.json", THREE)
    np.testing.assert_allclose(first.points_px, POINTS)
    assert np.isfinite(second.points_px).all(1).tolist() == [False, True, False]
    (folder / "many.json").write_text(json.dumps({"images": [one, {"image": "b.jpg", "faces": []}]}))
    assert len(read_annotations(folder / "many.json")) == 2


@pytest.mark.parametrize("kind", ["pts", "csv", "json"])
@pytest.mark.parametrize("first_centre", [0.0, 0.5, 1.0])
def test_the_first_pixel_may_be_called_otherwise(kind: str, first_centre: float, folder: Path):
    points = np.full((3, 2), first_centre)
    rows = "".join(f"a.png,{i},{x},{y}\n" for i, (x, y) in enumerate(points))
    (folder / "a.pts").write_text("\n".join(f"{x} {y}" for x, y in points))
    (folder / "a.csv").write_text("image,point,x,y\n" + rows)
    (folder / "a.json").write_text(json.dumps({"image": "a.png", "faces": [{"points": points.tolist()}]}))
    (face,) = read_annotations(folder / f"a.{kind}", THREE, first_centre)
    assert (face.points_px == 0.5).all()


def test_images_are_looked_for_beside_the_table_first(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "sub").mkdir()
    (folder / "sub" / "t.csv").write_text("image,point,x,y\na.png,0,1,2\n")
    monkeypatch.chdir(folder)
    assert read_annotations(Path("sub/t.csv"))[0].photo == Path("a.png")
    Image.new("RGB", (9, 9)).save(folder / "sub" / "a.png")
    assert read_annotations(Path("sub/t.csv"))[0].photo == Path("sub/a.png")


BAD = {
    "a.pts": ("1 2\n3 4\n", "2 points, expected 3"),
    "none.pts": ("1 1\n2 2\n3 3\n", "none.pts: no image beside it"),
    "header.csv": ("image,x,y\na.png,1,2\n", "no column 'point'"),
    "empty.csv": ("", "no column 'image'"),
    "rows.csv": ("image,point,x,y\n", "no labels"),
    "word.csv": ("image,point,x,y\na.png,0,one,2\n", "line 2: x and y must be numbers"),
    "nan.csv": ("image,point,x,y\na.png,0,nan,2\n", "line 2: not finite"),
    "name.csv": ("image,point,x,y\na.png,nose,1,2\n", "line 2: 'nose' is not a point of layout 'three'"),
    "far.csv": ("image,point,x,y\na.png,3,1,2\n", "line 2: '3' is not a point of layout 'three'"),
    "negative.csv": ("image,point,x,y\na.png,-1,1,2\n", "line 2: '-1' is not a point"),
    "twice.csv": ("image,point,x,y\na.png,0,1,2\na.png,top,1,2\n", "line 3: point top of a.png is there twice"),
    "image.csv": ("image,point,x,y\nc.png,0,1,2\n", "no image c.png"),
    "text.json": ("{", "not valid JSON"),
    "list.json": ("[1]", "not what anymark detect writes"),
    "noimage.json": ('{"faces": []}', "an image without its name"),
    "nofaces.json": ('{"image": "a.png"}', "no list of faces"),
    "nopoints.json": ('{"image": "a.png", "faces": [{}]}', "face 1: points must be a list"),
    "words.json": ('{"image": "a.png", "faces": [{"points": ["abc", "d", "e"]}]}', "face 1: points must be a list"),
    "few.json": ('{"image": "a.png", "faces": [{"points": [[1, 2]]}]}', "face 1: 1 points, expected 3"),
    "nothing.json": ('{"image": "a.png", "faces": [{"points": [null, null, null]}]}', "no labels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_line_that_names_them(name: str, folder: Path):
    text, message = BAD[name]
    (folder / name).write_text(text)
    with pytest.raises(AnymarkError) as error:
        read_annotations(folder / name, THREE)
    assert message in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.png", "a.png: no a.pts beside it"), ("", "no .pts files in this folder"), ("a.txt", "a.txt: no labels")],
)
def test_what_has_no_labels_is_named(name: str, message: str, folder: Path):
    with pytest.raises(AnymarkError, match=message):
        annotation_files(str(folder / name))


def test_the_head_is_that_of_the_labels(turning: Path, locator: Path, tmp_path: Path):
    detector, layout = Detector(turning, locator), load_layout("ibug68")
    Image.new("RGB", (320, 320), colour_of(25, -10)).save(tmp_path / "a.png")
    labels = detector.encode(tmp_path / "a.png")[0].query(layout).xy_px.astype(float)
    view = labelled_view(detector, LabelledFace("a", tmp_path / "a.png", labels))
    np.testing.assert_allclose(view.answers(layout), view.labels, atol=1e-6)
    labels[5:] = np.nan
    assert labelled_view(detector, LabelledFace("a", tmp_path / "a.png", labels)).length_px == view.length_px
    with pytest.raises(AnymarkError, match="face 7: no head found where it is labelled"):
        labelled_view(detector, LabelledFace("face 7", tmp_path / "a.png", labels + 700))
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(AnymarkError, match=r"face 7: .*a\.png: not an image"):
        labelled_view(detector, LabelledFace("face 7", tmp_path / "a.png", labels))


@pytest.mark.parametrize("yaw", [0, 50])
def test_errors_are_over_the_eyes_as_seen_from_ahead(yaw: float, turning: Path, locator: Path, tmp_path: Path):
    Image.new("RGB", (320, 320), colour_of(yaw, 0)).save(tmp_path / "a.png")
    face = LabelledFace("a", tmp_path / "a.png", FACE_BOX.reshape(2, 2).copy())
    right, left = load_layout("mediapipe478").points_mm[[33, 263]]
    px_per_mm = 150 / HALF_CROP_MM * DISTANCE_MM / (DISTANCE_MM - np.cos(np.radians(yaw)) * (right + left)[2] / 2)
    length = labelled_view(Detector(turning, locator), face).length_px
    assert length == pytest.approx(np.linalg.norm(left - right) * px_per_mm, rel=0.01)
