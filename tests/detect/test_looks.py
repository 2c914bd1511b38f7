"""Several looks at one head: what they agree on stays, what they lean to goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymark import AnymarkError, Crop, Detector, Layout, Window, load_layout
from anymark.cli import main
from anymark.commands.demo import astronaut
from anymark.detect.image import load_image
from anymark.detect.landmarker import Answer
from anymark.detect.looks import LOOKS, Look, camera_of, crops_about, read
from tests.detect.synthetic import SPREAD, blobs, expected
from tests.video.fakes import CAMERA, LAYOUT, FakeLandmarker

CENTRE = (100.3, 120.7)
POINTS_MM = np.array([[0, 0, 0], [10, 20, 5], [-30, 0, 12], [40, -10, 30]], np.float32)
CROP = Crop(np.array([[48.0, -36.0, 150.0], [36.0, 48.0, 90.0]]))


class Leaning(FakeLandmarker):
    """Finds every point too far to the crop's right, on whichever side of the head it is."""

    def landmarks(self, code: np.ndarray, camera: np.ndarray, layout: Layout, mirrored: bool = False) -> Answer:
        side = -1 if mirrored else 1
        found = super().landmarks(code, camera, layout)
        return found._replace(xy=found.xy + np.float32([0.1 * side, 0]), xyz_mm=found.xyz_mm + np.float32([side, 2, 0]))


def turned(angle: float, focal: float) -> Look:
    """A look at a head that is turned by so much, a metre away for each ten of the focal length."""
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    vector = np.concatenate([(turn @ np.diag([1.0, -1, -1])).ravel(), [3, 4, 100 * focal, focal]])
    return Look(np.zeros((1, 5), np.float32), vector.astype(np.float32), CROP, False)


@pytest.mark.parametrize("looks", LOOKS)
def test_crops_lie_evenly_about_one(looks: int) -> None:
    crops = crops_about(CROP, looks)
    assert len(crops) == max(1, looks // 2)
    places = CROP.to_crop([crop.centre_px for crop in crops])
    np.testing.assert_allclose(places.mean(0), [0, 0], atol=1e-9)
    assert {(*place,) for place in places.round(6)} == {(*place,) for place in (places * (-1, 1)).round(6) + 0.0}
    assert len({(*place,) for place in places.round(6)}) == len(crops)
    np.testing.assert_allclose([crop.affine[:, :2] for crop in crops], [CROP.affine[:, :2]] * len(crops))


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("model", ["basis", "mlp"])
def test_all_looks_see_the_points_where_they_are(models: Path, model: str, looks: int) -> None:
    photo = blobs(200, 240, CENTRE, sigma=9)
    window = Window(np.array(CENTRE), 2 * SPREAD * 9, 0.3)
    for read_it in ("encode", "follow"):
        (head,) = getattr(Detector(models / model, looks=looks), read_it)(photo, [window])
        assert len(head.looks) == looks
        found = head.query(POINTS_MM)
        np.testing.assert_allclose(found.xy_px, expected(CENTRE, head.crop.affine, POINTS_MM), atol=0.2)
        np.testing.assert_allclose(found.xyz_mm, POINTS_MM, atol=0.5)
        np.testing.assert_allclose(found.camera.project(found.xyz_mm), found.xy_px, atol=1e-3)
        assert found.camera.principal_px == pytest.approx(head.crop.centre_px)


@pytest.mark.parametrize("model", ["basis", "mlp"])
def test_a_data_set_moves_points_to_where_it_means_them_in_mirrored_looks_too(models: Path, model: str) -> None:
    photo, window = blobs(200, 240, CENTRE, sigma=9), Window(np.array(CENTRE), 2 * SPREAD * 9)
    for looks in LOOKS:
        (head,) = Detector(models / model, looks=looks).encode(photo, [window])
        plain, coded = (head.query(Layout("mine", POINTS_MM, code=code)) for code in (None, "ibug68"))
        np.testing.assert_allclose(coded.xyz_mm - plain.xyz_mm, np.tile([10, 0, 0], (len(POINTS_MM), 1)), atol=0.1)


def test_what_leans_to_one_side_does_not_do_so_with_a_mirrored_look() -> None:
    code = np.zeros((1, 5), np.float32)
    looks = [Look(code, CAMERA, CROP, mirrored) for mirrored in (False, True)]
    true = FakeLandmarker().landmarks(code, CAMERA, LAYOUT)
    one, both = (read(Leaning(), some, looks[0].camera, CROP, LAYOUT) for some in (looks[:1], looks))
    np.testing.assert_allclose(one.xy - true.xy, np.tile([0.1, 0], (5, 1)), atol=1e-6)
    np.testing.assert_allclose(both.xy, true.xy, atol=1e-6)
    np.testing.assert_allclose(both.xyz_mm, true.xyz_mm, atol=1e-3)  # as what is seen there


def test_cameras_that_differ_give_the_one_between_them() -> None:
    looks = [turned(0.2, 8.0), turned(-0.1, 12.5)]
    camera = camera_of(looks, CROP)
    assert camera.focal_px == pytest.approx(10 * CROP.side_px / 2, rel=1e-5)
    assert camera.t_camera_head_mm[2] == pytest.approx(1000, rel=1e-5)
    np.testing.assert_allclose(camera.R_camera_head, turned(0.05, 10.0).camera.R_camera_head, atol=1e-4)


def test_the_camera_of_a_mirrored_look_sees_the_head_as_it_is() -> None:
    look = replace(turned(0.4, 6.0), mirrored=True)
    points = np.random.default_rng(0).normal(0, 50, (20, 3))
    rotation, place = look.camera_vector[:9].reshape(3, 3), look.camera_vector[9:12]
    x, y, z = ((points * (-1, 1, 1)) @ rotation.T + place).T
    inside = look.camera_vector[12] * np.stack([x / z, y / z], 1)
    np.testing.assert_allclose(look.camera.project(points), CROP.to_image(inside * (-1, 1)), atol=1e-3)


@pytest.mark.parametrize("linear", [[[60, 0], [0, 50]], [[55, 10], [0, 55]], [[48, -36], [36, 48]]])
def test_looks_that_agree_say_what_one_says(linear: list[list[float]]) -> None:
    crop, code = Crop(np.column_stack([linear, [150.0, 90.0]])), np.zeros((1, 5), np.float32)
    looks = [Look(code, CAMERA, crop, mirrored) for mirrored in (False, True)]
    one, both = (read(FakeLandmarker(), some, camera_of(some, crop), crop, LAYOUT) for some in (looks[:1], looks))
    for first, second in zip(one, both, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-3)


@pytest.mark.parametrize("looks", [2, 8])
def test_a_mirrored_photo_has_mirrored_landmarks(looks: int) -> None:
    photo = np.asarray(load_image(astronaut()))[:300]
    width, layout = photo.shape[1], load_layout("dense-500")
    assert layout.flip is not None
    detector = Detector(threads=1, looks=looks)
    window = detector.encode(photo)[0].next_window()
    other = Window(np.array([width, 0]) + window.centre_px * (-1, 1), window.side_px, -window.roll_rad)
    first, second = (
        detector.follow(np.ascontiguousarray(pixels), [where])[0].query(layout)
        for pixels, where in ((photo, window), (photo[:, ::-1], other))
    )
    np.testing.assert_allclose(np.array([width, 0]) + second.xy_px[layout.flip] * (-1, 1), first.xy_px, atol=0.1)
    np.testing.assert_allclose(second.xyz_mm[layout.flip] * (-1, 1, 1), first.xyz_mm, atol=0.1)
    np.testing.assert_allclose(second.sigma_px[layout.flip], first.sigma_px, rtol=0.02)
    yaw, pitch, roll = first.camera.yaw_pitch_roll_deg
    assert second.camera.yaw_pitch_roll_deg == pytest.approx((-yaw, pitch, -roll), abs=0.1)


@pytest.mark.parametrize("looks", [0, 3, -1, 16, True])
def test_other_numbers_are_refused(looks: Any) -> None:
    with pytest.raises(AnymarkError, match=f"looks must be 1, 2, 4 or 8, not {looks}"):
        Detector(looks=looks)


def test_the_command_line_looks_as_often_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for looks in ("1", "2", "8"):
        path = tmp_path / f"{looks}.json"
        assert main(["detect", str(astronaut()), "--looks", looks, "--json", str(path)]) == 0
        found.append(np.array(json.loads(path.read_text())["images"][0]["faces"][0]["points"])[:, :2])
    assert 0 < np.abs(found[1] - found[0]).max() < 3
    assert 0 < np.abs(found[2] - found[1]).max() < 3
    capsys.readouterr()
    assert main(["detect", str(astronaut()), "--looks", "3"]) == 2
    assert "looks must be 1, 2, 4 or 8, not 3" in capsys.readouterr().err


@pytest.mark.parametrize("looks", [None, *LOOKS])
def test_photos_are_looked_at_more_often_than_frames(looks: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anymark.detect.detector.PHOTO_LOOKS", 4)
    detector = Detector(threads=1, looks=looks)
    (head,) = detector.encode(astronaut())
    assert len(head.looks) == (looks or 4)
    (followed,) = detector.follow(astronaut(), [head.next_window()])
    assert len(followed.looks) == (looks or 1)
