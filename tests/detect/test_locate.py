"""The locator: faces of every size come out once, in pixels of the photo, with the roll of their eyes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.detect.image import open_photo
from anymark.detect.locate import Locator, roll_of
from anymark.detect.model import Model
from tests.detect.synthetic import blobs, write_fixed_locator


@pytest.fixture(scope="module")
def locator(models: Path) -> Locator:
    return Locator(Model(models / "locator", "locator", threads=1))


def centres(boxes: list) -> np.ndarray:
    return np.array([(box.box_px[:2] + box.box_px[2:]) / 2 for box in boxes]).reshape(-1, 2)


@pytest.mark.parametrize("size", [(320, 320), (320, 200), (200, 317), (150, 150), (640, 512), (1000, 333)])
def test_a_face_is_boxed_in_pixels_of_the_photo(locator: Locator, size: tuple[int, int]) -> None:
    width, height = size
    x, y, sigma = 0.4 * width + 0.3, 0.55 * height + 0.1, 0.015 * max(size)
    boxes = locator.locate(open_photo(blobs(width, height, (x, y), sigma=sigma)))
    assert len(boxes) == 1
    np.testing.assert_allclose(centres(boxes)[0], (x, y), atol=0.006 * max(size))
    sides = boxes[0].box_px[2:] - boxes[0].box_px[:2]
    np.testing.assert_allclose(sides, 2 * 3 * np.sqrt(2) * sigma, rtol=0.06)
    assert 0.5 < boxes[0].score <= 1
    assert boxes[0].roll_rad == 0


def test_faces_come_largest_first(locator: Locator) -> None:
    photo = np.maximum(blobs(320, 320, (80, 80), sigma=6), blobs(320, 320, (230, 220), sigma=9))
    found = centres(locator.locate(open_photo(photo)))
    np.testing.assert_allclose(found, [(230, 220), (80, 80)], atol=1)


def test_no_face_is_an_empty_list(locator: Locator) -> None:
    assert locator.locate(open_photo(np.zeros((100, 200, 3), np.uint8))) == []


def test_a_small_face_of_a_large_photo_is_found_on_the_second_level(models: Path, locator: Locator) -> None:
    photo = open_photo(blobs(1900, 1000, (1500.2, 700.9), sigma=6))
    assert Locator(Model(models / "locator", "locator"), search_px=320).locate(photo) == []
    np.testing.assert_allclose(centres(locator.locate(photo)), [(1500.2, 700.9)], atol=1)


def test_a_face_that_fills_the_photo_is_found_on_the_coarsest_level(locator: Locator) -> None:
    (box,) = locator.locate(open_photo(blobs(320, 320, (160, 160), sigma=28)))  # too large for the locator at 320
    np.testing.assert_allclose(box.box_px, [41, 41, 279, 279], atol=4)


def test_scores_are_taken_as_they_come(tmp_path: Path) -> None:
    # which cells are local maxima is for the network to say: two neighbours with a score are two faces
    boxes = [[10, 10, 50, 50], [60, 10, 100, 60], [10, 70, 80, 150]]
    folder = write_fixed_locator(tmp_path / "fixed", boxes, [0.9, 0.6, 0.4])
    found = Locator(Model(folder, "locator"), search_px=160).locate(open_photo(np.zeros((160, 160, 3), np.uint8)))
    assert [box.box_px.tolist() for box in found] == [boxes[1], boxes[0]]  # the third is below the threshold


def test_boxes_of_a_photo_worked_on_at_a_fraction_are_in_its_own_pixels(locator: Locator, tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    Image.fromarray(blobs(800, 600, (500, 200), sigma=25)).save(path)
    photo = open_photo(path, max_pixels=130_000)
    assert photo.shrink == 2
    np.testing.assert_allclose(centres(locator.locate(photo)), [(500, 200)], atol=3)


def test_the_roll_is_that_of_the_eyes(models: Path) -> None:
    rolled = Locator(Model(models / "rolled", "locator"))
    (box,) = rolled.locate(open_photo(blobs(320, 320, (150, 150))))
    assert box.roll_rad == pytest.approx(0.4, abs=0.01)


def geometry(right: tuple[float, float], left: tuple[float, float]) -> np.ndarray:
    return np.array([0, 0, 100, 100, *right, *left], float)


def test_roll_signs_and_profile() -> None:
    assert roll_of(geometry((30, 40), (70, 40))) == 0
    # The subject's left eye is on the right of the screen; when it is lower, the head is turned clockwise.
    assert roll_of(geometry((30, 40), (70, 60))) == pytest.approx(np.arctan2(20, 40))
    assert roll_of(geometry((70, 60), (30, 60))) == pytest.approx(np.pi)
    assert roll_of(geometry((50, 40), (50, 45))) == 0  # profile: their direction is noise
    half = roll_of(geometry((50, 40), (50, 58)))
    assert 0 < half < np.pi / 2
