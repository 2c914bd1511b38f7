"""Detector and Landmarks: photo in, pixels out, by whichever door and with whichever predictor."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark import AnymarkError, Camera, Crop, Detector, Landmarks, Layout, Window
from anymark.canonical.frame import FACING
from anymark.detect.model import Network
from tests.detect.synthetic import (
    LOGIT,
    SIGMA,
    SPREAD,
    WINDOW_SCALE,
    blobs,
    expected,
    write_fixed_locator,
)

CENTRES = [(100.3, 120.7), (280.9, 150.2)]
POINTS_MM = np.array([[0, 0, 0], [10, 20, 5], [-30, 0, 12]], np.float32)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Two heads, the second a little larger."""
    return np.maximum(blobs(380, 300, CENTRES[0], sigma=9), blobs(380, 300, CENTRES[1], sigma=10))


@pytest.fixture(scope="module", params=["basis", "mlp"])
def detector(models: Path, request: pytest.FixtureRequest) -> Detector:
    return Detector(models / request.param, models / "locator", threads=1)


def assert_same(first: Landmarks, second: Landmarks, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(first.xy_px, second.xy_px, atol=atol)
    np.testing.assert_allclose(first.sigma_px, second.sigma_px, atol=atol)
    np.testing.assert_allclose(first.box_px, second.box_px, atol=atol)
    assert first.score == pytest.approx(second.score)


def test_points_are_found_where_they_are(detector: Detector, photo: np.ndarray) -> None:
    faces = detector.detect(photo, POINTS_MM)
    assert len(faces) == 2
    for face, centre, sigma in zip(faces, reversed(CENTRES), (10, 9), strict=True):  # largest first
        np.testing.assert_allclose(face.xy_px, expected(centre, face.crop.affine, POINTS_MM), atol=0.06)
        np.testing.assert_allclose(face.sigma_px, SIGMA * face.crop.side_px / 2, rtol=1e-4)
        np.testing.assert_allclose(face.xyz_mm, POINTS_MM, atol=2e-3)
        np.testing.assert_allclose(face.uncovered, 1 / (1 + np.exp(-LOGIT)), rtol=1e-5)
        assert face.crop.side_px == pytest.approx(2 * SPREAD * sigma, rel=0.01)
        assert {array.dtype for array in (face.xy_px, face.sigma_px, face.xyz_mm, face.visible)} == {np.dtype("f4")}


@pytest.mark.parametrize("model", ["basis", "plain", "turned"])
def test_the_camera_sees_the_points_where_they_are(models: Path, photo: np.ndarray, model: str) -> None:
    for face in Detector(models / model, models / "rolled").detect(photo, "mediapipe478"):
        np.testing.assert_allclose(face.camera.project(face.xyz_mm), face.xy_px, atol=1e-3)
        np.testing.assert_allclose(face.camera.principal_px, face.crop.centre_px)
        yaw, pitch, roll = face.camera.yaw_pitch_roll_deg
        assert (yaw, pitch) == pytest.approx((0, 0), abs=1e-3)
        assert np.radians(roll) == pytest.approx(face.crop.roll_rad, abs=1e-5)


@pytest.mark.parametrize("scale", [0.6, 1.0, 3.0])
@pytest.mark.parametrize("roll", [-np.pi / 4, 0.0, np.pi / 4])
def test_rough_windows_lead_to_the_same_crop(models: Path, photo: np.ndarray, scale: float, roll: float) -> None:
    """S puts a window right that is of another size and beside the head; this one knows nothing of rolls."""
    alone, detector = photo[:, :190], Detector(models / "basis", threads=1)
    centre, side = np.array(CENTRES[0]), 2 * SPREAD * 9
    (exact,) = detector.encode(alone, [Window(centre, side, roll)])
    for shift in ((0.1, -0.3), (-0.3, 0.2)):
        window = Window(centre + np.array(shift) * side / WINDOW_SCALE * min(scale, 1), scale * side, roll)
        (rough,) = detector.encode(alone, [window])
        assert rough.window is window
        np.testing.assert_allclose(rough.crop.centre_px, exact.crop.centre_px, atol=0.5)
        assert rough.crop.side_px == pytest.approx(exact.crop.side_px, rel=0.08)  # the coarser, the more blurred
        assert rough.crop.roll_rad == pytest.approx(roll, abs=1e-3)  # it may have been read again
        np.testing.assert_allclose(rough.query("ibug68").xy_px, exact.query("ibug68").xy_px, atol=6)


def test_without_s_the_crop_is_the_window(models: Path, photo: np.ndarray) -> None:
    window = Window(np.array(CENTRES[0]) + 3, 130.0, 0.2)
    (head,) = Detector(models / "plain").encode(photo, [window])
    np.testing.assert_allclose(head.crop.affine, window.affine())


def test_a_followed_head_is_read_in_its_window_and_its_crop_is_chosen_only_where_it_strays(
    models: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, detector = photo[:, :190], Detector(models / "basis", threads=1)
    (head,) = detector.encode(alone, [Window(np.array(CENTRES[0]), 2 * SPREAD * 9)])
    choose, chosen = detector.landmarker.crops, []
    monkeypatch.setattr(detector.landmarker, "crops", lambda windows: chosen.append(len(windows)) or choose(windows))
    window = head.next_window()
    (followed,) = detector.follow(alone, [window])
    assert not chosen
    assert followed.window is window
    np.testing.assert_allclose(followed.crop.affine, window.affine())
    np.testing.assert_allclose(followed.query("ibug68").xy_px, head.query("ibug68").xy_px, atol=1.5)
    near, far = (Window(window.centre_px + shift * window.side_px, window.side_px) for shift in (0.05, 0.3))
    for found in detector.follow(alone, [near, window, far]):
        place = found.query("ibug68").xy_px.mean(0)  # this model's faces are as large as the crop makes them
        np.testing.assert_allclose(place, head.query("ibug68").xy_px.mean(0), atol=4)
    assert chosen[0] == 1  # of the far one alone
    assert detector.follow(alone, []) == []


def test_a_followed_head_that_is_gone_is_as_unsure_as_anywhere_else(models: Path, photo: np.ndarray) -> None:
    detector = Detector(models / "basis", most_unsure=None)
    empty, windows = np.zeros_like(photo), [Window(np.array(CENTRES[0]), 100.0)]
    (followed,), (read,) = detector.follow(empty, windows), detector.encode(empty, windows)
    assert followed.unsureness <= read.unsureness * (1 + 1e-6)


def test_the_crop_is_cut_from_the_photo_and_not_from_the_window(models: Path, photo: np.ndarray) -> None:
    """In a window that is far too wide, a head has few pixels: had it been cut from these, it would be blurred."""
    seen: list[np.ndarray] = []
    detector = Detector(models / "basis")
    encode = detector.landmarker.encode
    detector.landmarker.encode = lambda crops: seen.append(crops) or encode(crops)
    for scale in (1.0, 4.0):
        detector.encode(photo[:, :190], [Window(np.array(CENTRES[0]), scale * 114.5)])
    sharpness = [float(np.abs(np.diff(crops[0].astype(float), axis=1)).max()) for crops in seen]
    assert sharpness[1] > 0.85 * sharpness[0]


def test_the_box_and_the_next_window_are_those_of_the_face_that_was_found(models: Path, photo: np.ndarray) -> None:
    for head in Detector(models / "basis", models / "locator").encode(photo):
        face = head.query("mediapipe478").xy_px[:468]
        np.testing.assert_allclose(head.box_px, [*face.min(0), *face.max(0)], atol=0.01)
        want, window = Window.from_box(head.box_px, WINDOW_SCALE), head.next_window()
        np.testing.assert_allclose(window.centre_px, want.centre_px, atol=0.01)
        assert window.side_px == pytest.approx(want.side_px, abs=0.01)
        assert window.roll_rad == head.roll_rad == pytest.approx(0, abs=0.01)
        sigma = SIGMA * head.crop.side_px / 2
        assert head.unsureness == pytest.approx(sigma / (window.side_px / WINDOW_SCALE), rel=1e-3)


def test_the_box_of_a_rolled_face_is_as_large_as_that_of_an_upright_one(models: Path, photo: np.ndarray) -> None:
    upright = Detector(models / "basis", models / "locator").encode(photo)
    for head, turned in zip(upright, Detector(models / "turned", models / "locator").encode(photo), strict=True):
        assert turned.roll_rad == pytest.approx(np.arctan2(0.6, 0.8), abs=0.01)
        sides = [each.box_px[2:] - each.box_px[:2] for each in (head, turned)]
        np.testing.assert_allclose(sides[0], sides[1], rtol=0.01)


def fixed(folder: Path, models: Path, boxes: list[list[int]], scores: list[float]) -> Detector:
    """A detector whose locator gives these boxes in any photo of 160 pixels, whatever is in it."""
    return Detector(models / "basis", write_fixed_locator(folder, boxes, scores), search_px=160)


@pytest.mark.parametrize("scores", [[0.9, 0.8], [0.8, 0.9]])
def test_two_boxes_that_come_to_lie_on_one_face_are_one_head(tmp_path: Path, models: Path, scores: list[float]) -> None:
    photo, boxes = blobs(160, 160, (80, 80), sigma=5), [[30, 50, 90, 110], [70, 50, 130, 110]]
    (head,) = fixed(tmp_path / "locator", models, boxes, scores).encode(photo)
    assert head.score == pytest.approx(0.9)
    np.testing.assert_allclose((head.box_px[:2] + head.box_px[2:]) / 2, [80, 80], atol=8)


def test_the_largest_head_comes_first_by_what_was_found(tmp_path: Path, models: Path) -> None:
    # the first box is the smaller one, but its face the larger
    photo = np.maximum(blobs(160, 160, (40, 50), sigma=5), blobs(160, 160, (115, 110), sigma=4))
    detector = fixed(tmp_path / "locator", models, [[20, 30, 60, 70], [92, 87, 138, 133]], [0.9, 0.8])
    heads = detector.encode(photo)
    areas = [np.prod(head.box_px[2:] - head.box_px[:2]) for head in heads]
    assert areas == sorted(areas, reverse=True)
    assert [head.score for head in heads] == pytest.approx([0.9, 0.8])
    (largest,) = detector.detect(photo, POINTS_MM, max_heads=1)
    assert largest.score == pytest.approx(0.9)


def test_a_box_whose_landmarks_are_unsure_is_no_head(models: Path, photo: np.ndarray, tmp_path: Path) -> None:
    unsureness = Detector(models / "basis", models / "locator").encode(photo)[0].unsureness
    assert 0.2 * SIGMA < unsureness < 2 * SIGMA
    strict = Path(shutil.copytree(models / "basis", tmp_path / "strict"))
    card = json.loads((strict / "card.json").read_text())
    (strict / "card.json").write_text(json.dumps({**card, "most_unsure": 0.9 * unsureness}))

    def heads(model: Path, most_unsure: float | None) -> int:
        return len(Detector(model, models / "locator", most_unsure=most_unsure).encode(photo))

    assert heads(models / "basis", None) == 2
    assert heads(models / "basis", 0.9 * unsureness) == 0
    assert heads(models / "basis", 1.1 * unsureness) == 2
    assert heads(strict, None) == 0
    assert heads(strict, 1.1 * unsureness) == heads(strict, np.inf) == 2
    box = [[x - 40, y - 40, x + 40, y + 40] for x, y in CENTRES]
    assert len(Detector(strict).detect(photo, POINTS_MM, boxes=box)) == 2  # the caller knows
    windows = [Window(np.array(centre), 130.0) for centre in CENTRES]
    assert len(Detector(strict).encode(photo, windows)) == 2
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(AnymarkError, match="most_unsure must be above 0"):
            Detector(most_unsure=bad)


def test_smaller_faces_are_found_where_more_is_searched(models: Path) -> None:
    photo = blobs(3000, 1600, (2100.5, 900.2), sigma=5)
    assert Detector(models / "basis", models / "locator").detect(photo, POINTS_MM) == []
    (face,) = Detector(models / "basis", models / "locator", search_px=2560).detect(photo, POINTS_MM)
    np.testing.assert_allclose(face.xy_px[0], (2100.5, 900.2), atol=0.5)
    for bad in (31, 4097, -1):
        with pytest.raises(AnymarkError, match=f"search_px {bad}: must be 32 to 4096"):
            Detector(models / "basis", models / "locator", search_px=bad).encode(photo)


def test_a_rolled_head_is_read_upright(models: Path, photo: np.ndarray) -> None:
    for face, centre in zip(
        Detector(models / "basis", models / "rolled").detect(photo, POINTS_MM), reversed(CENTRES), strict=True
    ):
        assert face.window.roll_rad == pytest.approx(0.4, abs=0.01)
        assert face.crop.roll_rad == pytest.approx(0.4, abs=0.01)
        np.testing.assert_allclose(face.xy_px, expected(centre, face.crop.affine, POINTS_MM), atol=0.06)


def test_a_head_on_its_side_is_read_in_the_surest_of_four_quarter_turns(
    models: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(models / "basis", models / "rolled", most_unsure=np.inf, looks=1)
    turns: list[float] = []

    def unsure_but_in_one(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        answers = call(self, **inputs)
        if self.path.name == "decode.onnx":
            turns.append(0)
            answers[0][..., 2] += 0.0 if len(turns) % 4 == 0 else 3.0  # log sigma: the last turn is the surest
        return answers

    call = Network.__call__
    monkeypatch.setattr(Network, "__call__", unsure_but_in_one)
    box = [[CENTRES[0][0] - 40, CENTRES[0][1] - 40, CENTRES[0][0] + 40, CENTRES[0][1] + 40]]
    (face,) = detector.detect(photo, POINTS_MM, boxes=box)
    assert face.window.roll_rad == pytest.approx(3 * np.pi / 2)
    assert len(turns) == 5


def test_array_path_and_pillow_give_the_same(detector: Detector, photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    for source in (path, str(path), Image.fromarray(photo), photo[..., 0]):
        for one, other in zip(detector.detect(source, POINTS_MM), detector.detect(photo, POINTS_MM), strict=True):
            assert_same(one, other)


def test_an_exif_turned_file_gives_upright_coordinates(detector: Detector, photo: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(np.rot90(photo))).save(path, exif=exif)
    assert_same(detector.detect(path, POINTS_MM)[0], detector.detect(photo, POINTS_MM)[0])


def test_a_batch_equals_one_by_one(detector: Detector, photo: np.ndarray) -> None:
    photos = [photo, np.zeros_like(photo), photo[:, :200], *[np.roll(photo, 3 * i, axis=1) for i in range(20)]]
    together = detector.detect_batch((image for image in photos), POINTS_MM)
    assert [len(faces) for faces in together[:3]] == [2, 0, 1]
    for faces, image in zip(together, photos, strict=True):
        for one, other in zip(faces, detector.detect(image, POINTS_MM), strict=True):
            assert_same(one, other)
    assert detector.detect_batch([], POINTS_MM) == []


def test_a_bad_photo_of_a_batch_stands_in_its_place(detector: Detector, photo: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    photos = [photo, tmp_path / "missing.png", str(tmp_path / "text.png"), np.zeros((0, 5)), photo]
    good, missing, text, empty, last = detector.detect_batch(photos, POINTS_MM)
    assert len(good) == len(last) == 2
    for error, message in (
        (missing, "missing.png: no such file"),
        (text, "text.png: not an image"),
        (empty, "array of"),
    ):
        assert isinstance(error, AnymarkError)
        assert message in str(error)
        assert error.__traceback__ is error.__context__ is None  # they would keep the pixels of every bad photo


def test_what_is_wrong_with_the_whole_batch_is_raised(detector: Detector, models: Path, photo: np.ndarray) -> None:
    for call in (
        lambda: detector.detect_batch([], "no-such-layout"),
        lambda: detector.detect_batch([photo], max_heads=0),
        lambda: detector.detect_batch([photo], Layout("no-such-layout", POINTS_MM, code=(1.0, 2.0, 3.0))),
        lambda: Detector(models / "none", models / "locator").detect_batch([]),
        lambda: Detector(models / "basis", models / "none").detect_batch([]),
    ):
        with pytest.raises(AnymarkError, match=r"no-such-layout|max_heads|none: no such model"):
            call()


def test_moving_and_scaling_the_photo_does_that_to_its_points(detector: Detector, photo: np.ndarray) -> None:
    face = detector.detect(photo, POINTS_MM)[0]
    step = np.array([11, 7])
    window = Window(face.window.centre_px + step, face.window.side_px)
    (head,) = detector.encode(np.pad(photo, ((7, 0), (11, 0), (0, 0))), [window])
    moved = head.query(POINTS_MM)
    np.testing.assert_allclose(moved.xy_px, face.xy_px + step, atol=1e-3)
    np.testing.assert_allclose(moved.crop.centre_px, face.crop.centre_px + step, atol=1e-3)
    assert moved.camera.focal_px == pytest.approx(face.camera.focal_px, rel=1e-4)
    (head,) = detector.encode(photo.repeat(2, 0).repeat(2, 1), [face.window.scaled(2)])
    np.testing.assert_allclose(head.query(POINTS_MM).xy_px, face.xy_px * 2, atol=0.1)


def test_boxes_of_the_callers_are_taken_in_their_order(detector: Detector, photo: np.ndarray) -> None:
    boxes = [[x - 40, y - 30, x + 40, y + 30] for x, y in CENTRES]
    faces = detector.detect(photo, POINTS_MM, boxes=boxes)
    for face, box, centre in zip(faces, boxes, CENTRES, strict=True):
        assert face.score == 1
        np.testing.assert_allclose(face.window.centre_px, np.array(box).reshape(2, 2).mean(0))
        assert face.window.side_px == pytest.approx(WINDOW_SCALE * 80)
        np.testing.assert_allclose((face.box_px[:2] + face.box_px[2:]) / 2, centre, atol=12)  # the face that was found
        np.testing.assert_allclose(face.xy_px, expected(centre, face.crop.affine, POINTS_MM), atol=0.06)
    assert detector.detect(photo, POINTS_MM, boxes=[]) == []
    assert detector.detect(photo, POINTS_MM, boxes=np.zeros((0, 4))) == []


@pytest.mark.parametrize(
    "boxes",
    [[[0, 0, 0, 5]], [[0, 0, np.nan, 5]], [[1, 2, 3]], [1, 2, 3, 4], [[1, 2, 3, 4], [1, 2]], "face"],
)
def test_bad_boxes_are_refused(detector: Detector, photo: np.ndarray, boxes: list) -> None:
    with pytest.raises(AnymarkError, match="box"):
        detector.detect(photo, POINTS_MM, boxes=boxes)


def test_max_heads(detector: Detector, photo: np.ndarray) -> None:
    assert len(detector.detect(photo, POINTS_MM, max_heads=1)) == 1
    assert [len(faces) for faces in detector.detect_batch([photo, photo], POINTS_MM, max_heads=1)] == [1, 1]


def test_heads_and_landmarks_print_as_one_short_line(detector: Detector, photo: np.ndarray) -> None:
    (head, *_) = detector.encode(photo)
    for thing, said in ((head, "score="), (head.query("ibug68"), "'ibug68', 68 points")):
        assert said in str(thing)
        assert len(str(thing)) < 120
        assert "\n" not in str(thing)


def test_encode_once_query_many(detector: Detector, photo: np.ndarray) -> None:
    head = detector.encode(photo)[0]
    assert head.image_size_px == (380, 300)
    whole = head.query(POINTS_MM)
    assert_same(whole, detector.detect(photo, Layout("mine", POINTS_MM))[0])
    for i, point in enumerate(POINTS_MM):  # a point is where it is whatever else is asked
        np.testing.assert_allclose(head.query(point[None]).xy_px[0], whole.xy_px[i], atol=1e-4)


def test_a_layout_changed_in_place_is_not_answered_from_the_cache(detector: Detector, photo: np.ndarray) -> None:
    head = detector.encode(photo)[0]
    points = POINTS_MM.copy()
    first = head.query(points)
    points[0, 0] += 50
    assert np.abs(head.query(points).xy_px[0] - first.xy_px[0]).max() > 10


def test_many_layouts_and_many_points(detector: Detector, photo: np.ndarray) -> None:
    head = detector.encode(photo)[0]
    rng = np.random.default_rng(0)
    points = rng.uniform(-60, 60, (70_000, 3)).astype(np.float32)  # more than the trunk takes at once
    many = head.query(points)
    assert len(many) == 70_000
    for i in range(0, 70_000, 7_000):  # more layouts than are kept
        np.testing.assert_allclose(head.query(points[i : i + 2]).xy_px, many.xy_px[i : i + 2], atol=1e-3)


def test_files_and_names_of_layouts(detector: Detector, photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("x,y,z\n0,0,0\n10,20,5\n-30,0,12\n")
    assert_same(detector.detect(photo, path)[0], detector.detect(photo, POINTS_MM)[0])
    assert_same(detector.detect(photo, str(path))[0], detector.detect(photo, POINTS_MM)[0])
    with pytest.raises(AnymarkError, match="no-such-layout"):
        detector.detect(photo, "no-such-layout")


def test_a_layouts_data_set_code_moves_its_points(models: Path, photo: np.ndarray) -> None:
    head = Detector(models / "basis", models / "locator").encode(photo)[0]
    plain, coded = (head.query(Layout("mine", POINTS_MM, code=code)) for code in (None, "ibug68"))
    np.testing.assert_allclose(coded.xyz_mm - plain.xyz_mm, [[10, 0, 0]] * 3, atol=1e-4)
    assert (coded.xy_px[:, 0] > plain.xy_px[:, 0] + 1).all()


def test_points_slide_with_the_side_that_a_head_is_seen_from(models: Path, photo: np.ndarray) -> None:
    head = Detector(models / "basis", models / "locator").encode(photo)[0]
    camera = np.array([0.8, 0, -0.6, 0, -1, 0, -0.6, 0, -0.8, 0, 0, 700, 5], np.float32)
    turned = replace(head, camera=Camera.of_crop(camera, head.crop))
    slides = np.tile(np.array([[10.0, 0, -5], [0, 0, 0]]), (3, 1, 1))
    sliding = Layout("mine", POINTS_MM, slides_mm=slides)
    for each, moved in ((head, (0, 0, 0)), (turned, (6, 0, -3))):
        found = each.query(sliding)
        np.testing.assert_allclose(found.xyz_mm, each.query(POINTS_MM + np.float32(moved)).xyz_mm, atol=0.02)
        np.testing.assert_allclose(found.layout.points_mm, POINTS_MM + np.array(moved), atol=0.02)


def test_what_is_hidden_by_the_head_itself_is_not_visible(models: Path, photo: np.ndarray) -> None:
    head = Detector(models / "basis", models / "locator").encode(photo)[0]
    found = head.query(np.array([[3, -1, 129], [0, 60, 20], [0, 30, -90]], np.float32))  # nose, brain, back of the head
    np.testing.assert_allclose(found.visible, [1 / (1 + np.exp(-LOGIT)), 0, 0], atol=0.02)
    assert found.visible is found.visible
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        np.testing.assert_array_equal(again.visible, found.visible)
        np.testing.assert_array_equal(again.xy_px, found.xy_px)
        assert again.layout.name == found.layout.name


def test_visibility_costs_nothing_that_is_not_asked_for(
    models: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = Detector(models / "basis", models / "locator", looks=1).encode(photo)[0]
    points: list[int] = []
    call = Network.__call__

    def counted(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        points.append(len(inputs["points_mm"]))
        return call(self, **inputs)

    monkeypatch.setattr(Network, "__call__", counted)
    found = [head.query(POINTS_MM), head.query(POINTS_MM + 1)]
    assert max(points) == 3
    assert [each.visible.shape for each in found] == [(3,), (3,)]
    assert points.count(4451) == 2  # the head's vertices: query.onnx once, decode.onnx once


def test_the_mesh_is_the_whole_head_where_the_photo_shows_it(detector: Detector, photo: np.ndarray) -> None:
    head = detector.encode(photo)[0]
    mesh = head.mesh()
    found = head.query("head")
    np.testing.assert_allclose(mesh.vertices_mm, found.xyz_mm)
    np.testing.assert_allclose(mesh.camera.project(mesh.vertices_mm), found.xy_px, atol=1e-3)
    assert mesh.image_size_px == (380, 300)


def test_an_answer_that_is_not_finite_is_never_a_result(
    models: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(models / "basis", models / "locator")
    call = Network.__call__

    def broken(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        answers = call(self, **inputs)
        if self.path.name == "encode.onnx":
            answers[0] = answers[0] * np.float32(np.nan)
        return answers

    good = detector.detect(photo, POINTS_MM)
    monkeypatch.setattr(Network, "__call__", broken)
    with pytest.raises(AnymarkError, match=r"encode\.onnx: its answer is not finite"):
        detector.detect(photo, POINTS_MM)
    with pytest.raises(AnymarkError, match=r"encode\.onnx: its answer is not finite"):
        detector.encode(photo, [good[0].window])
    first, nothing, last = detector.detect_batch([photo, np.zeros_like(photo), photo], POINTS_MM)
    assert (isinstance(first, AnymarkError), nothing, isinstance(last, AnymarkError)) == (True, [], True)


@pytest.mark.parametrize(
    "points", [np.zeros((0, 3)), np.zeros((2, 2)), np.full((2, 3), np.nan), [[1, 2], [3]], [[1, 2, 10**400]], [[]]]
)
def test_points_that_are_none_are_refused(detector: Detector, photo: np.ndarray, points: np.ndarray) -> None:
    with pytest.raises(AnymarkError, match="point"):
        detector.detect(photo, points)


WRONG_KINDS = """
import sys
import numpy as np
from anymark import AnymarkError, Camera, Crop, Detector, Layout, Window
photo, detector = np.zeros((64, 64, 3), np.uint8), Detector(sys.argv[1])
window = Window(np.array([32.0, 32.0]), 64.0)
head = detector.encode(photo, [window])[0]
for call in (
    lambda: detector.encode(photo, [[0, 0, 64]]),
    lambda: detector.encode(photo, window),
    lambda: detector.encode(photo, "window"),
    lambda: detector.encode(None),
    lambda: detector.encode([1, 2]),
    lambda: detector.detect(photo, boxes=[[0, 0, None, 9]]),
    lambda: detector.detect(photo, boxes=[window]),
    lambda: detector.detect(photo, boxes=5),
    lambda: head.query([["a", "b", "c"]]),
    lambda: head.query([1, 2, 3]),
    lambda: head.query([[1, 2, None], [1, 2, {}]]),
    lambda: head.query(5),
    lambda: head.query(None),
    lambda: Window([1, [2]], 3.0),
    lambda: Window([1, 2], "wide"),
    lambda: Window("middle", None),
    lambda: Layout("mine", [[1, 2, 3], [4]]),
    lambda: Layout("mine", "points"),
    lambda: Layout("mine", [[1, 2, 3]], edges=[[0, 0], [0]]),
    lambda: Layout("mine", [[1, 2, 3]], code=[["a"]]),
    lambda: Crop("wide"),
    lambda: Crop([[1, 2, 3], [4]]),
    lambda: Camera("long", [0, 0], np.eye(3), [0, 0, 1]),
    lambda: Camera(1.0, [0, 0], [[1, 2], [3]], [0, 0, 1]),
    lambda: Camera(1.0, None, np.eye(3), [0, 0, 1]),
):
    try:
        call()
        print("nothing")
    except AnymarkError as error:
        print(error)
"""


def test_values_of_the_wrong_kind_are_named_in_one_line(models: Path) -> None:
    # in a process of its own: here, the tests' type checker would stop them at the door
    command = [sys.executable, "-c", WRONG_KINDS, str(models / "basis")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = ["windows"] * 3 + ["photo"] * 2 + ["box"] * 3 + ["point"] * 5 + ["window"] * 3 + ["layout 'mine'"] * 4
    words += ["crop"] * 2 + ["camera"] * 3
    lines = done.stdout.splitlines()
    assert (len(lines), done.stderr) == (len(words), "")
    for line, word in zip(lines, words, strict=True):
        assert word in line


def landmarks(**changes: object) -> Landmarks:
    fields = {
        "layout": Layout("two", np.array([[0, 0, 0], [30, 0, 0]], np.float32)),
        "xy_px": np.array([[1, 5], [3, 2]], np.float32),
        "sigma_px": np.array([1, 2], np.float32),
        "xyz_mm": np.array([[0.123, 0, 0], [30, 1, 2]], np.float32),
        "uncovered": np.array([1, 0.256], np.float32),
        "box_px": np.array([0.0, 0.0, 4.0, 4.0]),
        "window": Window(np.array([2.0, 2.0]), 6.0),
        "crop": Crop(np.array([[3.0, 0.0, 2.0], [0.0, 3.0, 2.0]])),
        "camera": Camera(30.0, np.array([2.0, 2.0]), FACING, np.array([0.0, 0.0, 600.0])),
        "score": 0.5,
    }
    return Landmarks(**(fields | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"xy_px": np.zeros((3, 2), np.float32)},
        {"xy_px": np.array([[1, 5], [np.nan, 2]], np.float32)},
        {"sigma_px": np.array([1, -2], np.float32)},
        {"sigma_px": np.array([1], np.float32)},
        {"xyz_mm": np.zeros((2, 2), np.float32)},
        {"xyz_mm": np.full((2, 3), np.inf, np.float32)},
        {"uncovered": np.array([0.5, 1.5], np.float32)},
        {"uncovered": np.array([0.5, -0.1], np.float32)},
        {"uncovered": np.array([0.5, np.nan], np.float32)},
        {"box_px": np.array([4.0, 0.0, 0.0, 4.0])},
        {"score": float("nan")},
    ],
)
def test_landmarks_are_checked(changes: dict[str, object]) -> None:
    with pytest.raises(AnymarkError):
        landmarks(**changes)


def test_landmarks_as_numbers() -> None:
    found = landmarks()
    assert len(found) == 2
    assert found.bounding_box.tolist() == [1, 2, 3, 5]
    assert found.to_dict() == {
        "score": 0.5,
        "box_px": [0, 0, 4, 4],
        "window": {"centre_px": [2, 2], "side_px": 6, "roll_rad": 0},
        "crop": [[3, 0, 2], [0, 3, 2]],
        "camera": {
            "focal_px": 30,
            "principal_px": [2, 2],
            "R_camera_head": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
            "t_camera_head_mm": [0, 0, 600],
        },
        "points": [[1, 5, 1, 1], [3, 2, 2, 0.26]],
        "xyz_mm": [[0.12, 0, 0], [30, 1, 2]],
    }
    assert found.visible.tolist() == found.uncovered.tolist()  # there is no head to hide them
