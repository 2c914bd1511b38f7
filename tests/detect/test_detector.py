"""Detector and Landmarks: photo in, pixels out, by whichever door and with whichever predictor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark import AnymarkError, Detector, Landmarks, Layout, Window
from tests.detect.synthetic import SIGMA, WINDOW_SCALE, blobs, write_fixed_locator

CENTRES = [(100.3, 120.7), (280.9, 150.2)]
POINTS_MM = np.array([[0, 0, 0], [10, 20, 5], [-30, 0, 12]], np.float32)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Two heads, the second a little larger."""
    return np.maximum(blobs(380, 300, CENTRES[0], sigma=9), blobs(380, 300, CENTRES[1], sigma=10))


@pytest.fixture(scope="module", params=["basis", "mlp"])
def detector(models: Path, request: pytest.FixtureRequest) -> Detector:
    return Detector(models / request.param, models / "locator", threads=1, looks=1)


def expected(centre: tuple[float, float], window: Window) -> np.ndarray:
    """Where `POINTS_MM` are for a head at `centre`."""
    cos, sin = np.cos(window.roll_rad), np.sin(window.roll_rad)
    turn = np.array([[cos, -sin], [sin, cos]])
    return centre + POINTS_MM[:, :2] * (1, -1) / 100 * window.side_px / 2 @ turn.T


def assert_same(first: Landmarks, second: Landmarks, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(first.xy_px, second.xy_px, atol=atol)
    np.testing.assert_allclose(first.sigma_px, second.sigma_px, atol=atol)
    np.testing.assert_allclose(first.box_px, second.box_px, atol=atol)
    assert first.score == pytest.approx(second.score)


def test_points_are_found_where_they_are(detector: Detector, photo: np.ndarray) -> None:
    faces = detector.detect(photo, POINTS_MM)
    assert len(faces) == 2
    for face, centre in zip(faces, reversed(CENTRES), strict=True):  # largest first
        np.testing.assert_allclose(face.xy_px, expected(centre, face.window), atol=0.06)
        np.testing.assert_allclose(face.sigma_px, SIGMA * face.window.side_px / 2, rtol=1e-4)
        assert face.xy_px.dtype == face.sigma_px.dtype == np.float32


def test_the_second_look_is_around_the_face_that_the_first_one_found(models: Path, photo: np.ndarray) -> None:
    once, twice = (Detector(models / "basis", models / "locator", looks=n) for n in (1, 2))
    for first, second in zip(once.encode(photo), twice.encode(photo), strict=True):
        face = first.query("mediapipe478").xy_px[:468]
        want = Window.from_box([*face.min(0), *face.max(0)], WINDOW_SCALE)
        np.testing.assert_allclose(second.window.centre_px, want.centre_px, atol=0.01)
        assert second.window.side_px == pytest.approx(want.side_px, abs=0.01)
        assert second.window.roll_rad == pytest.approx(0, abs=0.01)
        assert second.score == first.score
    with pytest.raises(AnymarkError, match="looks must be at least 1"):
        Detector(looks=0)


def fixed(folder: Path, models: Path, boxes: list[list[int]], scores: list[float], **options: int) -> Detector:
    """A detector whose locator gives these boxes in any photo of 160 pixels, whatever is in it."""
    return Detector(models / "basis", write_fixed_locator(folder, boxes, scores), search_px=160, **options)


@pytest.mark.parametrize("scores", [[0.9, 0.8], [0.8, 0.9]])
def test_two_boxes_that_come_to_lie_on_one_face_are_one_head(tmp_path: Path, models: Path, scores: list[float]) -> None:
    photo, boxes = blobs(160, 160, (80, 80), sigma=5), [[30, 50, 90, 110], [70, 50, 130, 110]]
    assert len(fixed(tmp_path / "once", models, boxes, scores, looks=1).encode(photo)) == 2
    (head,) = fixed(tmp_path / "twice", models, boxes, scores, looks=2).encode(photo)
    assert head.score == pytest.approx(0.9)
    np.testing.assert_allclose((head.box_px[:2] + head.box_px[2:]) / 2, [80, 80], atol=8)


def test_the_largest_head_comes_first_by_what_the_last_look_found(tmp_path: Path, models: Path) -> None:
    # the first box is the smaller one, but the longer: its window is wider, and so is the synthetic face found in it
    photo = np.maximum(blobs(160, 160, (40, 50), sigma=4), blobs(160, 160, (115, 110), sigma=4))
    detector = fixed(tmp_path / "locator", models, [[10, 40, 70, 60], [92, 87, 138, 133]], [0.9, 0.8])
    heads = detector.encode(photo)
    areas = [np.prod(head.box_px[2:] - head.box_px[:2]) for head in heads]
    assert areas == sorted(areas, reverse=True)
    assert [head.score for head in heads] == pytest.approx([0.9, 0.8])
    (largest,) = detector.detect(photo, POINTS_MM, max_heads=1)
    assert largest.score == pytest.approx(0.9)


def test_a_box_whose_landmarks_are_unsure_is_no_head(models: Path, photo: np.ndarray, tmp_path: Path) -> None:
    unsureness = SIGMA * WINDOW_SCALE / 2  # sigma is a hundredth of half a window
    strict = Path(shutil.copytree(models / "basis", tmp_path / "strict"))
    card = json.loads((strict / "card.json").read_text())
    (strict / "card.json").write_text(json.dumps({**card, "most_unsure": 0.9 * unsureness}))

    def heads(model: Path, most_unsure: float | None) -> int:
        return len(Detector(model, models / "locator", looks=1, most_unsure=most_unsure).encode(photo))

    assert heads(models / "basis", None) == 2
    assert heads(models / "basis", 0.9 * unsureness) == 0
    assert heads(models / "basis", 1.1 * unsureness) == 2
    assert heads(strict, None) == 0
    assert heads(strict, 1.1 * unsureness) == heads(strict, np.inf) == 2
    box = [[x - 40, y - 40, x + 40, y + 40] for x, y in CENTRES]
    assert len(Detector(strict, looks=1).detect(photo, POINTS_MM, boxes=box)) == 2  # the caller knows
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
        Detector(models / "basis", models / "rolled", looks=1).detect(photo, POINTS_MM), reversed(CENTRES), strict=True
    ):
        assert face.window.roll_rad == pytest.approx(0.4, abs=0.01)
        np.testing.assert_allclose(face.xy_px, expected(centre, face.window), atol=0.06)


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
    np.testing.assert_allclose(head.query(POINTS_MM).xy_px, face.xy_px + step, atol=1e-3)
    (head,) = detector.encode(photo.repeat(2, 0).repeat(2, 1), [face.window.scaled(2)])
    np.testing.assert_allclose(head.query(POINTS_MM).xy_px, face.xy_px * 2, atol=0.1)


def test_boxes_of_the_callers_are_taken_in_their_order(detector: Detector, photo: np.ndarray) -> None:
    boxes = [[x - 40, y - 30, x + 40, y + 30] for x, y in CENTRES]
    faces = detector.detect(photo, POINTS_MM, boxes=boxes)
    for face, box, centre in zip(faces, boxes, CENTRES, strict=True):
        assert face.score == 1
        assert face.box_px.tolist() == box
        assert face.window.side_px == pytest.approx(WINDOW_SCALE * 80)
        np.testing.assert_allclose(face.xy_px, expected(centre, face.window), atol=0.06)
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


@pytest.mark.parametrize(
    "points", [np.zeros((0, 3)), np.zeros((2, 2)), np.full((2, 3), np.nan), [[1, 2], [3]], [[1, 2, 10**400]], [[]]]
)
def test_points_that_are_none_are_refused(detector: Detector, photo: np.ndarray, points: np.ndarray) -> None:
    with pytest.raises(AnymarkError, match="point"):
        detector.detect(photo, points)


WRONG_KINDS = """
import sys
import numpy as np
from anymark import AnymarkError, Detector, Layout, Window
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
    words = ["windows"] * 3 + ["photo"] * 2 + ["box"] * 3 + ["point"] * 5 + ["window"] * 3 + ["layout 'mine'"] * 3
    lines = done.stdout.splitlines()
    assert (len(lines), done.stderr) == (len(words), "")
    for line, word in zip(lines, words, strict=True):
        assert word in line


def landmarks(**changes: object) -> Landmarks:
    fields = {
        "layout": Layout("two", np.array([[0, 0, 0], [30, 0, 0]], np.float32)),
        "xy_px": np.array([[1, 5], [3, 2]], np.float32),
        "sigma_px": np.array([1, 2], np.float32),
        "box_px": np.array([0.0, 0.0, 4.0, 4.0]),
        "window": Window(np.array([2.0, 2.0]), 6.0),
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
        "points": [[1, 5, 1], [3, 2, 2]],
    }
