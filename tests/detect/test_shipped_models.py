"""The weights in the package, on real photos: they are there, and they are good for something."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark import Detector, Landmarks, Window
from anymark.commands.demo import astronaut
from anymark.detect.boxes import iou
from anymark.detect.model import MODELS, available_models
from anymark.evaluate.photo_sets import read_photos
from anymark.evaluate.score import score

NO_FACES = (
    "brick", "cell", "chelsea", "chessboard_GRAY", "clock_motion", "coffee", "color", "grass", "gravel", "horse",
    "hubble_deep_field", "ihc", "moon", "motorcycle_left", "motorcycle_right", "page", "phantom", "retina",
    "rocket", "text",
)  # fmt: skip


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(threads=1, looks=4)


@pytest.fixture(scope="module")
def pictures() -> Path:
    """The folder of pictures inside the installed scikit-image."""
    pytest.importorskip("skimage")
    return astronaut().parent


def test_the_package_holds_both_models() -> None:
    assert "small" in available_models("landmarks")
    assert "locator" in available_models("locator")
    for card in MODELS.glob("*/card.json"):
        assert json.loads(card.read_text())["licence"] == "Apache-2.0"


def test_points_are_finite_whatever_is_in_the_window(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    (face,) = detector.detect(noise, boxes=[[50, 50, 150, 150]])
    assert len(face) == 68
    assert np.isfinite(face.xy_px).all()


def test_held_out_photos_are_found_about_as_well_as_the_model_card_says(detector: Detector, shared: Path) -> None:
    benchmark = read_photos(shared / "photos")
    faces = [face for face in benchmark.faces if face.group == "sfhq_t2i"][:20]
    assert len(faces) == 20
    assert benchmark.layout is not None
    few = replace(benchmark, faces=tuple(faces), rows={"all": ("sfhq_t2i",)})
    card = json.loads((MODELS / "small/card.json").read_text("utf-8"))
    told = card["metrics"]["held-out photos, boxes of the labels"]["NME %"]
    assert 100 * score(detector, few, benchmark.layout, "gt").nme.mean() < 1.2 * told


def test_the_astronaut(detector: Detector, pictures: Path) -> None:
    (face,) = detector.detect(pictures / "astronaut.png")
    np.testing.assert_allclose(face.bounding_box, [176, 85, 265, 195], atol=30)


def test_the_astronaut_in_3d(detector: Detector, pictures: Path) -> None:
    """A portrait: she looks into the camera, her head a little turned and inclined."""
    [head] = detector.encode(pictures / "astronaut.png")
    face = head.query("ibug68")
    assert np.abs(face.camera.yaw_pitch_roll_deg).max() < 30
    assert 300 < face.camera.focal_px < 5000
    width_mm = np.linalg.norm(face.xyz_mm[45] - face.xyz_mm[36])
    assert 70 < width_mm < 110  # between the outer corners of the eyes
    np.testing.assert_allclose(face.camera.project(face.xyz_mm), face.xy_px, atol=0.01)
    assert np.median(face.visible) > 0.5
    assert head.query("skull").visible.mean() < 0.1
    seen = head.query("head")
    back = seen.layout.points_mm[:, 2] < -60
    assert seen.visible[back].max() < 0.1


def test_a_mirrored_photo_has_the_mirrored_pose(detector: Detector, pictures: Path) -> None:
    with Image.open(pictures / "astronaut.png") as image:
        photo = np.asarray(image.convert("RGB"))
    [here], [there] = detector.encode(photo), detector.encode(np.ascontiguousarray(photo[:, ::-1]))
    yaw, pitch, roll = here.camera.yaw_pitch_roll_deg
    np.testing.assert_allclose(there.camera.yaw_pitch_roll_deg, (-yaw, pitch, -roll), atol=8)
    points, flip = here.query("ibug68"), here.query("ibug68").layout.flip
    mirrored = (there.query("ibug68").xy_px * (-1, 1) + (photo.shape[1], 0))[flip]
    assert np.linalg.norm(points.xy_px - mirrored, axis=1).mean() < 0.05 * _side(points)


@pytest.mark.parametrize(("scale", "shift", "roll"), [(0.7, 0.1, 0.3), (2.0, -0.3, 0.0), (2.5, 0.2, -0.6), (1, 0, 0.7)])
def test_rough_windows_lead_to_the_same_points(
    scale: float, shift: float, roll: float, detector: Detector, pictures: Path
) -> None:
    [head] = detector.encode(pictures / "astronaut.png")
    exact, window = head.query("ibug68"), head.next_window()
    face_px = _side(exact)
    rough = Window(window.centre_px + shift * face_px, scale * window.side_px, window.roll_rad + roll)
    [again] = detector.encode(pictures / "astronaut.png", [rough])
    assert np.linalg.norm(again.query("ibug68").xy_px - exact.xy_px, axis=1).mean() < 0.05 * face_px


def test_several_faces_of_several_sizes_in_one_photo(detector: Detector, pictures: Path) -> None:
    (alone,) = detector.detect(pictures / "astronaut.png")
    with Image.open(pictures / "astronaut.png") as photo:
        bust = photo.convert("RGB").crop((90, 0, 360, 270))
    canvas = Image.new("RGB", (900, 500), (96, 110, 120))
    places = [(1.6, np.array([40, 30])), (0.7, np.array([600, 200]))]
    for scale, corner in places:
        side = round(270 * scale)
        canvas.paste(bust.resize((side, side), Image.Resampling.BICUBIC), tuple(corner.tolist()))
    found = detector.detect(canvas)
    assert len(found) == 2
    for face, (scale, corner) in zip(found, places, strict=True):  # largest first
        box = (alone.box_px - [90, 0, 90, 0]) * scale + np.tile(corner, 2)
        assert iou(face.box_px[None], box[None])[0, 0] > 0.8
        points = (alone.xy_px - np.array([90, 0])) * scale + corner
        distance = np.linalg.norm(face.xy_px - points, axis=1).mean()
        assert distance < 0.02 * _side(face)


def _side(face: Landmarks) -> float:
    return float((face.box_px[2:] - face.box_px[:2]).max())


@pytest.mark.parametrize("name", NO_FACES)
def test_no_face_where_there_is_none(name: str, detector: Detector, pictures: Path) -> None:
    (path,) = pictures.glob(f"{name}.*")
    assert detector.detect(path) == []


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_head_is_found_however_the_photo_lies(degrees: int, detector: Detector, pictures: Path) -> None:
    """Quarter turns lose no pixel, so the points must turn with them."""
    with Image.open(pictures / "astronaut.png") as image:
        photo = image.convert("RGB")
    turned = photo.rotate(degrees, expand=True)  # anticlockwise
    [upright], found = detector.detect(photo), detector.detect(turned)
    assert len(found) >= 1
    angle, middle = np.radians(degrees), np.array(photo.size) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    wanted = (upright.xy_px - middle) @ turn.T + np.array(turned.size) / 2
    size = np.linalg.norm(upright.xy_px[36] - upright.xy_px[45])
    errors = [np.linalg.norm(face.xy_px - wanted, axis=1).mean() / size for face in found]
    assert min(errors) < 0.03


def test_a_window_follows_its_head_from_frame_to_frame(detector: Detector, pictures: Path) -> None:
    with Image.open(pictures / "astronaut.png") as image:
        frames = [np.roll(np.asarray(image.convert("RGB")), (4 * k, 7 * k), (0, 1)) for k in range(6)]
    [head] = detector.encode(frames[0])
    first = head.query("ibug68").xy_px
    for k, frame in enumerate(frames):
        [head] = detector.encode(frame, [head.next_window()])
        moved = head.query("ibug68").xy_px - (7 * k, 4 * k)
        assert np.linalg.norm(moved - first, axis=1).mean() < 1.0
