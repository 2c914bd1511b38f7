"""The crop's camera: rotations, projection, where training starts, and cameras of photos as those of their crops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from anymark.canonical import load_layout
from anymark.learn.data.geometry import to_window
from anymark.learn.models.camera import (
    START_FOCAL,
    CameraHead,
    Cameras,
    crop_cameras,
    rotation_from_6d,
    turn_to_axis,
)
from anymark.learn.models.predictors import MEAN_HALF_WINDOW_MM

FRONTAL = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
FACE = torch.tensor(load_layout("mediapipe478").points_mm)
MIRROR = torch.tensor([-1.0, 1.0, 1.0])


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def assert_rotations(rotation: Tensor) -> None:
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand_as(rotation), atol=1e-5)
    assert torch.allclose(torch.det(rotation), torch.ones(len(rotation)), atol=1e-5)


def turned(yaw: float, pitch: float, roll: float) -> Tensor:
    """(3, 3) R_camera_head of a head turned by these angles, radians."""
    (cy, sy), (cp, sp), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (yaw, pitch, roll))
    about_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = torch.tensor([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = torch.tensor([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return FRONTAL @ about_z @ about_x @ about_y


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_six_numbers_make_a_rotation(seed: int) -> None:
    numbers = torch.randn(8, 6, generator=seeded(seed))
    rotation = rotation_from_6d(numbers)
    assert_rotations(rotation)
    assert torch.allclose(rotation_from_6d(rotation[:, :2].flatten(1)), rotation, atol=1e-5)
    assert torch.allclose(rotation_from_6d(3 * numbers), rotation, atol=1e-5)


def test_six_numbers_of_no_length_stay_finite() -> None:
    numbers = torch.tensor([[0.0] * 6, [1.0, 0, 0, 2.0, 0, 0]], requires_grad=True)
    rotation = rotation_from_6d(numbers)
    rotation.square().sum().backward()
    assert torch.isfinite(rotation).all()
    assert numbers.grad is not None
    assert torch.isfinite(numbers.grad).all()


def test_training_starts_from_a_frontal_head_in_the_middle_of_the_crop() -> None:
    camera = CameraHead(8).cameras(torch.zeros(2, 8))
    assert torch.equal(camera.rotation, FRONTAL.expand(2, 3, 3))
    assert torch.allclose(camera.focal, torch.full((2,), START_FOCAL))
    middle = torch.tensor([[[0.0, 5.0, 0.0], [MEAN_HALF_WINDOW_MM, 5.0, 0.0]]]).expand(2, -1, -1)
    assert torch.allclose(camera.project(middle)[0], torch.tensor([[0.0, 0.0], [1.0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("spread", [1.0, 1000.0])
def test_any_features_give_a_camera_before_which_the_head_is(spread: float) -> None:
    torch.manual_seed(0)
    head = CameraHead(8).requires_grad_(False)
    camera = head.cameras(spread * torch.randn(200, 8))
    assert_rotations(camera.rotation)
    assert float(camera.focal.min()) >= 0.99 * START_FOCAL / 8
    assert float(camera.focal.max()) <= 1.01 * START_FOCAL * 8
    assert float(camera.translation_mm[:, 2].min()) > 0
    assert torch.isfinite(camera.project(FACE.expand(200, -1, -1))).all()


def test_the_pinhole_projects_as_it_should() -> None:
    camera = Cameras(FRONTAL[None], torch.tensor([[10.0, -20.0, 500.0]]), torch.tensor([4.0]))
    points = torch.tensor([[[30.0, 60.0, 100.0], [0.0, 0.0, 0.0]]])
    want = torch.tensor([[[4 * 40 / 400, 4 * -80 / 400], [4 * 10 / 500, 4 * -20 / 500]]])
    assert torch.allclose(camera.project(points), want)


def test_wrong_focal_lengths_move_no_landmark_far() -> None:
    """Distance follows from scale and focal length: twice the latter moves points by what perspective does, no more."""
    head = CameraHead(1).requires_grad_(False)
    near = head.cameras(torch.zeros(1, 1))
    head.bias[9] = math.log(2)
    far = head.cameras(torch.zeros(1, 1))
    assert float(far.focal / near.focal) == pytest.approx(2, rel=0.05)
    flat = FACE * torch.tensor([1.0, 1.0, 0.0])
    assert torch.allclose(near.project(flat[None]), far.project(flat[None]), atol=1e-5)
    assert float((near.project(FACE[None]) - far.project(FACE[None])).norm(dim=-1).max()) < 0.15


def test_thirteen_numbers_are_a_camera_and_back() -> None:
    rotation = rotation_from_6d(torch.randn(5, 6, generator=seeded()))
    camera = Cameras(rotation, torch.randn(5, 3, generator=seeded(1)), torch.rand(5, generator=seeded(2)))
    flat = camera.flat()
    assert flat.shape == (5, 13)
    assert torch.equal(flat[:, 1], rotation[:, 0, 1])  # row by row
    for kept, given_ in zip(Cameras.from_flat(flat), camera, strict=True):
        assert torch.equal(kept, given_)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_smallest_turn_takes_a_ray_to_the_axis(seed: int) -> None:
    ray = torch.randn(5, 3, generator=seeded(seed))
    ray[:, 2] = ray[:, 2].abs() + 0.1
    ray = ray / ray.norm(dim=1, keepdim=True)
    turn = turn_to_axis(ray)
    assert_rotations(turn)
    axis = torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose((turn @ ray[..., None])[..., 0], axis.expand(5, 3), atol=1e-5)
    angle = (turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2  # its cosine
    assert torch.allclose(angle, ray[:, 2], atol=1e-5)


FOCAL_PX, PRINCIPAL_PX = 900.0, (320.0, 240.0)


def photographed(rotation: Tensor, place_mm: Tensor) -> Tensor:
    """(N, 2) pixels of the face in a photo."""
    seen = FACE @ rotation.T + place_mm
    return FOCAL_PX * seen[:, :2] / seen[:, 2:] + torch.tensor(PRINCIPAL_PX)


def square(centre_px: Tensor, half_px: float, roll: float, mirrored: bool) -> Tensor:
    """(1, 2, 3) crop coordinates -> pixels."""
    cos, sin = half_px * math.cos(roll), half_px * math.sin(roll)
    linear = torch.tensor([[cos, -sin], [sin, cos]]) @ torch.diag(torch.tensor([-1.0 if mirrored else 1.0, 1.0]))
    return torch.cat([linear, centre_px[:, None]], 1)[None]


def seen_in_crop(rotation: Tensor, place_mm: Tensor, crop: Tensor, mirrored: bool) -> tuple[Cameras, Tensor]:
    """The crop's camera, and (N, 2) where it sees the face; the mirrored face in a crop that mirrors."""
    camera = crop_cameras(rotation[None], place_mm[None], torch.tensor([FOCAL_PX]), torch.tensor([PRINCIPAL_PX]), crop)
    assert_rotations(camera.rotation)
    return camera, camera.project((FACE * MIRROR if mirrored else FACE)[None])[0]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("roll", [0.0, 0.7, -2.5])
@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.6, -0.3)])
def test_a_crop_about_the_principal_point_sees_what_the_photo_shows(
    yaw: float, pitch: float, roll: float, mirrored: bool
) -> None:
    rotation, place = turned(yaw, pitch, 0.2), torch.tensor([5.0, 20.0, 700.0])
    crop = square(torch.tensor(PRINCIPAL_PX), 170.0, roll, mirrored)
    camera, found = seen_in_crop(rotation, place, crop, mirrored)
    assert float(camera.focal) == pytest.approx(FOCAL_PX / 170, rel=1e-4)
    want = to_window(photographed(rotation, place)[None], crop)[0]
    assert torch.allclose(found, want, atol=1e-4)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("roll", [0.0, 0.7])
@pytest.mark.parametrize(("x", "y"), [(60.0, 0.0), (-40.0, 50.0), (0.0, -60.0)])
def test_a_crop_near_the_principal_point_sees_nearly_what_the_photo_shows(
    x: float, y: float, roll: float, mirrored: bool
) -> None:
    rotation, place = turned(0.4, -0.2, 0.1), torch.tensor([x, y, 700.0])  # up to 5 degrees off the axis
    photo_px = photographed(rotation, place)
    centre_px = (photo_px.amin(0) + photo_px.amax(0)) / 2
    crop = square(centre_px, 0.75 * float((photo_px.amax(0) - photo_px.amin(0)).max()), roll, mirrored)
    _, found = seen_in_crop(rotation, place, crop, mirrored)
    want = to_window(photo_px[None], crop)[0]
    assert float((found - want).norm(dim=1).max()) < 0.02  # 1 % of the crop's side


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("roll", [0.0, 1.3])
def test_what_lies_in_the_middle_of_a_crop_stays_there_however_far_off_the_axis(roll: float, mirrored: bool) -> None:
    rotation, place = turned(-0.3, 0.1, 0.0), torch.tensor([250.0, -180.0, 600.0])
    nose = 1
    crop = square(photographed(rotation, place)[nose], 150.0, roll, mirrored)
    _, found = seen_in_crop(rotation, place, crop, mirrored)
    assert float(found[nose].norm()) < 1e-4
    # and sizes about it are kept: what is seen there is drawn out as much in the photo as the focal length says
    want = to_window(photographed(rotation, place)[None], crop)[0]
    near = (want.norm(dim=1) < 0.2) & (want.norm(dim=1) > 0)
    areas = [torch.det(torch.cov(points[near].T)) for points in (found, want)]
    assert float((areas[0] / areas[1]).sqrt()) == pytest.approx(1, abs=0.03)


def test_autocast_rounds_no_landmark() -> None:
    camera = CameraHead(8).cameras(torch.zeros(2, 8))
    points = 80 * torch.randn(2, 50, 3, generator=Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = camera.project(points)
    torch.testing.assert_close(rounded, camera.project(points), rtol=0, atol=1e-6)
