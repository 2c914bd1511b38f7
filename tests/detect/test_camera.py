"""The camera: a pinhole, the crop's numbers seen from the photo, and turning to another principal point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymark import AnymarkError, Camera, Crop, Window
from anymark.canonical import CanonicalHead
from anymark.canonical.frame import FACING
from anymark.engine.shots import angles, turned

HEAD = CanonicalHead.load().vertices_mm[::20].astype(float)

angle = st.floats(-1.4, 1.4)
poses = st.tuples(angle, angle, angle, st.floats(-50, 50), st.floats(-50, 50), st.floats(500, 5000))
Pose = tuple[float, float, float, float, float, float]


def posed(pose: Pose) -> Camera:
    """A camera before which a head is turned by yaw, pitch and roll, lies at x and y, and is enlarged by focal."""
    yaw, pitch, roll, x, y, focal = pose
    return Camera(focal, np.array([300.0, 200.0]), turned(yaw, pitch, roll), np.array([x, y, 700.0]))


def vector(camera: Camera) -> np.ndarray:
    """The numbers of a crop whose half side is a pixel."""
    return np.array([*camera.R_camera_head.ravel(), *camera.t_camera_head_mm, camera.focal_px])


def test_a_frontal_head_lies_in_the_photo_as_in_the_mirror_of_words() -> None:
    camera = Camera(1000.0, np.array([100.0, 50.0]), FACING, np.array([0.0, 0.0, 500.0]))
    points = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 100], [10, 0, 100]], float)
    want = [
        [100, 50],
        [120, 50],
        [100, 30],
        [100, 50],
        [125, 50],
    ]  # the subject's left is right; up is up; near is large
    np.testing.assert_allclose(camera.project(points), want)
    np.testing.assert_allclose(camera.in_camera_mm(points[3]), [0, 0, 400])
    assert camera.yaw_pitch_roll_deg == pytest.approx((0, 0, 0))


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll", "nose", "top"),
    [(30, 0, 0, (1, 0), None), (0, 30, 0, (0, -1), None), (0, 0, 30, None, (1, -1)), (90, 0, 0, (1, 0), None)],
)
def test_which_way_is_positive(yaw: float, pitch: float, roll: float, nose: tuple | None, top: tuple | None) -> None:
    camera = Camera(1000.0, np.zeros(2), turned(*np.radians([yaw, pitch, roll])), np.array([0.0, 0.0, 1000.0]))
    assert camera.yaw_pitch_roll_deg == pytest.approx((yaw, pitch, roll))
    origin, ahead, up = camera.project(np.array([[0, 0, 0], [0, 0, 100], [0, 100, 0]], float))
    if nose is not None:
        np.testing.assert_allclose(np.sign((ahead - origin).round(6)), nose)
    if top is not None:
        np.testing.assert_allclose(np.sign((up - origin).round(6)), top)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll", "seen_from"),
    [
        (0, 0, 50, (0, 0, 1)),
        (30, 0, 0, (-0.5, 0, 0.75**0.5)),
        (0, 30, 20, (0, -0.5, 0.75**0.5)),
        (-90, 0, 0, (1, 0, 0)),
    ],
)
def test_a_head_turned_to_its_left_is_seen_from_its_right(
    yaw: float, pitch: float, roll: float, seen_from: tuple[float, float, float]
) -> None:
    camera = Camera(1000.0, np.zeros(2), turned(*np.radians([yaw, pitch, roll])), np.array([0.0, 0.0, 700.0]))
    np.testing.assert_allclose(camera.seen_from, seen_from, atol=1e-12)


@given(poses)
def test_the_camera_lies_where_the_head_is_seen_from(pose: Pose) -> None:
    camera = posed(pose)
    away = np.linalg.norm(camera.t_camera_head_mm)
    np.testing.assert_allclose(camera.in_camera_mm(away * camera.seen_from), 0, atol=1e-9)


@given(poses)
def test_angles_are_those_that_the_data_engine_turns_heads_by(pose: Pose) -> None:
    camera = posed(pose)
    assert camera.yaw_pitch_roll_deg == pytest.approx(np.degrees(angles(camera.R_camera_head)), abs=1e-6)


@given(poses, st.floats(-500, 500), st.floats(-500, 500), st.floats(50, 500), st.floats(-3, 3))
def test_a_crops_camera_sees_in_the_photo_what_it_sees_in_the_crop(
    pose: Pose, x: float, y: float, side: float, roll: float
) -> None:
    camera, window = posed(pose), Window(np.array([x, y]), side, roll)
    in_crop = Camera(camera.focal_px / 100, np.zeros(2), camera.R_camera_head, camera.t_camera_head_mm)
    in_photo = Camera.of_crop(vector(in_crop), Crop(window.affine()))
    np.testing.assert_allclose(in_photo.project(HEAD), window.to_image(in_crop.project(HEAD)), atol=1e-6)
    np.testing.assert_allclose(in_photo.principal_px, window.centre_px)
    assert in_photo.focal_px == pytest.approx(in_crop.focal_px * side / 2)
    turn = np.radians(np.subtract(in_photo.yaw_pitch_roll_deg, in_crop.yaw_pitch_roll_deg))
    np.testing.assert_allclose(np.exp(1j * turn), np.exp([0, 0, 1j * roll]), atol=1e-6)


def test_of_a_slightly_stretched_crop_it_is_nearly_so() -> None:
    in_crop = Camera(10.0, np.zeros(2), turned(0.3, 0.1, 0.0), np.array([0.0, 0.0, 1300.0]))
    square = Crop(np.column_stack([100 * np.array([[1.05, 0.02], [-0.01, 1 / 1.05]]), [320, 240]]))
    error = Camera.of_crop(vector(in_crop), square).project(HEAD) - square.to_image(in_crop.project(HEAD))
    assert 0.1 < np.abs(error).max() < 12


@given(poses)
def test_the_same_principal_point_is_the_same_camera(pose: Pose) -> None:
    camera = posed(pose)
    same = camera.about(camera.principal_px)
    np.testing.assert_allclose(vector(same), vector(camera), atol=1e-9)


@given(poses, st.floats(-0.25, 0.25), st.floats(-0.25, 0.25))
def test_another_principal_point_moves_points_by_little(pose: Pose, x: float, y: float) -> None:
    camera = posed(pose)
    principal = camera.principal_px - camera.focal_px * np.array([x, y])
    other = camera.about(principal)
    np.testing.assert_allclose(other.principal_px, principal)
    on_axis = camera.R_camera_head.T @ ([0, 0, 900] - camera.t_camera_head_mm)
    np.testing.assert_allclose(other.project(on_axis), camera.project(on_axis), atol=1e-6)
    # as many times the head's size as the ray's angle times itself and the angle that the head subtends
    error, angle = np.linalg.norm(other.project(HEAD) - camera.project(HEAD), axis=1), np.hypot(x, y)
    size = np.ptp(camera.project(HEAD), axis=0).max()
    assert error.max() / size <= angle * (angle + size / camera.focal_px) + 1e-6


def test_the_crop_of_a_photo_with_a_known_camera_gives_it_back() -> None:
    """A head well beside the middle of a photo: the camera that looks at it, seen from the middle, is the photo's."""
    photo = Camera(800.0, np.array([320.0, 240.0]), turned(0.4, 0.2, 0.1), np.array([150.0, 60.0, 600.0]))
    ray = photo.t_camera_head_mm / np.linalg.norm(photo.t_camera_head_mm)
    axis = np.cross(ray, [0, 0, 1])
    sin, cos = np.linalg.norm(axis), ray[2]
    a, b, c = axis / sin
    skew = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    turn = np.eye(3) + sin * skew + (1 - cos) * skew @ skew  # takes the ray to the optical axis
    # a plane across a ray off the axis is drawn out by 1 / cos, and once more along the radius
    looks = Camera(
        800 * ray[2] ** -1.5, photo.project(np.zeros(3)), turn @ photo.R_camera_head, turn @ photo.t_camera_head_mm
    )
    found = looks.about(photo.principal_px)
    np.testing.assert_allclose(vector(found), vector(photo), rtol=1e-4, atol=1e-6)


def test_a_principal_point_beyond_all_sense_still_gives_a_camera() -> None:
    camera = Camera(500.0, np.zeros(2), FACING, np.array([0.0, 0.0, 700.0])).about([1e5, 0.0])
    assert np.isfinite(vector(camera)).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"focal_px": 0.0},
        {"focal_px": np.nan},
        {"principal_px": np.zeros(3)},
        {"principal_px": np.array([np.inf, 0])},
        {"R_camera_head": np.eye(2)},
        {"R_camera_head": 2 * np.eye(3)},
        {"R_camera_head": np.diag([1.0, 1.0, -1.0])},
        {"t_camera_head_mm": np.array([0.0, np.nan, 1.0])},
    ],
)
def test_a_camera_that_is_none_is_refused(changes: dict[str, object]) -> None:
    good = {"focal_px": 1.0, "principal_px": np.zeros(2), "R_camera_head": FACING, "t_camera_head_mm": np.zeros(3)}
    with pytest.raises(AnymarkError, match=f"camera: {next(iter(changes))}"):
        Camera(**(good | changes))
