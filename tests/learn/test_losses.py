"""What a batch teaches: known values, where each part is least, and that nothing unknown spoils it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from anymark.canonical import load_layout
from anymark.learn.data.geometry import compose, identity, to_photo, to_window
from anymark.learn.data.landmarks import Batch, Truth
from anymark.learn.data.views import Looker
from anymark.learn.models.camera import Cameras, crop_cameras, rotation_from_6d
from anymark.learn.models.crop import to_theta
from anymark.learn.models.landmarker import Answer
from anymark.learn.train.losses import LossConfig, gaussian_nll, landmark_loss, masked_mean, placed_head
from tests.learn.tiny import UNCHANGED

HEADS, POINTS, UNIT_PX = 4, 40, 150.0
FACE = torch.tensor(load_layout("mediapipe478").points_mm[::12][:POINTS])
MIRROR = torch.tensor([-1.0, 1.0, 1.0])
MIRRORED = torch.tensor([False, True, False, True])
ALONE = LossConfig(place=0, shear=0, shape=0, pose=0, focal=0, prior=0, visible=0, twins=0)
"""The likelihood of the 2D landmarks alone."""


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def batch_of_heads() -> Batch:
    """Heads before their cameras, near the axis, two of them in windows that mirror. All is known; none are twins."""
    frontal_rows = torch.tensor([1.0, 0, 0, 0, -1, 0])
    rotation = rotation_from_6d(frontal_rows + 0.2 * torch.randn(HEADS, 6, generator=seeded(1)))
    place_mm = torch.tensor([0.0, 0.0, 700.0]) + 5 * torch.randn(HEADS, 3, generator=seeded(2))
    focal_px, principal_px = torch.full((HEADS,), 900.0), torch.tensor([320.0, 240.0]).expand(HEADS, 2)
    xyz_mm = FACE + 2 * torch.randn(HEADS, POINTS, 3, generator=seeded(3))
    shown = torch.where(MIRRORED[:, None, None], xyz_mm * MIRROR, xyz_mm)  # what stands before the photo's camera
    seen = shown @ rotation.transpose(1, 2) + place_mm[:, None]
    xy_px = 900.0 * seen[..., :2] / seen[..., 2:] + principal_px[:, None]
    sign = torch.where(MIRRORED, -1.0, 1.0)
    window = UNIT_PX * torch.eye(2).repeat(HEADS, 1, 1)
    window[:, 0, 0] *= sign
    camera = torch.cat([rotation.flatten(1), place_mm, focal_px[:, None], principal_px], 1)
    return Batch(
        torch.zeros(HEADS, 3, 32, 32),
        torch.cat([window, xy_px.mean(1)[..., None]], 2),
        torch.full((HEADS,), UNIT_PX),
        Looker([], 32, UNCHANGED, seeded()),
        FACE.expand(HEADS, -1, -1),
        torch.zeros(HEADS, dtype=torch.long),
        Truth(
            xy_px,
            torch.zeros(HEADS, POINTS),
            xyz_mm,
            (torch.rand(HEADS, POINTS, generator=seeded(4)) < 0.5).float(),
            camera,
            torch.ones(HEADS, POINTS, dtype=torch.bool),
        ),
        torch.arange(HEADS),
        torch.zeros(HEADS, dtype=torch.bool),
    )


def right_answer(
    batch: Batch, theta: Tensor | None = None, sigma_px: float = 3.0, off_px: Tensor | None = None
) -> Answer:
    """What a model would say that is right about everything but how sure it is, and off by so many pixels."""
    theta = identity(HEADS, batch.window) if theta is None else theta
    crop, camera = compose(batch.window, theta), batch.truth.camera
    off = torch.zeros(2) if off_px is None else off_px
    size_px = torch.det(crop[:, :, :2]).abs().sqrt()
    cameras = crop_cameras(camera[:, :9].unflatten(1, (3, 3)), camera[:, 9:12], camera[:, 12], camera[:, 13:], crop)
    return Answer(
        theta=theta,
        placed=theta,
        xy=to_window(batch.truth.xy_px + off, crop),
        log_sigma=(sigma_px / size_px).log()[:, None].expand(HEADS, POINTS),
        visible=20 * batch.truth.visible - 10,
        xyz_mm=batch.truth.xyz_mm,
        camera=cameras,
    )


def loss(answer: Answer, batch: Batch, config: LossConfig) -> float:
    return float(landmark_loss(answer, batch, config))


def test_the_likelihood_has_its_known_values() -> None:
    offset, everywhere = torch.tensor([[[3.0, 4.0]]]), torch.ones(1, 1, dtype=torch.bool)
    nothing = torch.zeros(1, 1)
    assert float(gaussian_nll(offset, nothing, nothing, everywhere)) == pytest.approx(25 / 2)
    two = torch.full((1, 1), 2.0)
    assert float(gaussian_nll(offset, nothing, two, everywhere)) == pytest.approx((25 + 2 * 4) / 2)
    assert float(gaussian_nll(offset, two.log(), nothing, everywhere)) == pytest.approx(2 * math.log(2) + 25 / 8)
    never = torch.full((1, 1), -1e6)
    assert math.isfinite(float(gaussian_nll(0 * offset, never, nothing, everywhere)))


def test_the_likelihood_is_best_where_sigma_is_the_error_along_an_axis() -> None:
    offset = 0.3 * torch.tensor([[[1.0, -1.0]]])
    log_sigma = torch.tensor([[math.log(0.3)]], requires_grad=True)
    gaussian_nll(offset, log_sigma, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)).backward()
    assert log_sigma.grad is not None
    assert float(log_sigma.grad) == pytest.approx(0, abs=1e-5)


def test_the_likelihood_of_many_is_best_at_their_sigma_and_ignores_padding() -> None:
    noise = torch.randn(1, 4000, 2, generator=seeded(1)) * 0.1
    half = torch.arange(4000)[None] < 2000
    noise[:, 2000:] = 100.0

    def nll(sigma: float, sd: float = 0.0) -> float:
        log_sigma = torch.full((1, 4000), math.log(sigma))
        return float(gaussian_nll(noise, log_sigma, torch.full((1, 4000), sd), half))

    assert nll(0.1) < min(nll(0.09), nll(0.11))
    assert nll(0.1) < 0
    # labels that may be off by 0.2 themselves: sigma is what both make
    both = math.hypot(0.1, 0.2)
    assert nll(both, 0.2) < min(nll(0.95 * both, 0.2), nll(1.05 * both, 0.2))


def test_each_sample_counts_the_same_however_many_points_it_has() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [10.0, 100.0, 1000.0], [7.0, 7.0, 7.0]])
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    assert float(masked_mean(values, mask)) == pytest.approx((2 + 10) / 2)
    assert float(masked_mean(values, torch.zeros_like(mask))) == 0


@pytest.mark.parametrize("mirrored", [False, True])
def test_another_crop_with_the_same_answers_in_the_photo_has_the_same_loss(mirrored: bool) -> None:
    """A learned crop must not lower the loss by zooming out."""
    batch = batch_of_heads()
    if not mirrored:
        batch = replace(batch, window=torch.cat([batch.window[:, :, :2].abs(), batch.window[:, :, 2:]], 2))
    config = LossConfig(place=0, shear=0, prior=0)  # those are about the crop itself
    numbers = torch.tensor([[0.0, 0, 0, 0], [0.5, 0.3, 0.1, -0.2], [-0.4, -0.8, 0.0, 0.1]])
    losses = [
        loss(right_answer(batch, to_theta(row.expand(HEADS, 4)), off_px=torch.tensor([2.0, -1.0])), batch, config)
        for row in numbers
    ]
    assert losses[1:] == pytest.approx([losses[0]] * 2, abs=1e-3)


def test_nothing_that_is_said_of_the_head_in_3d_moves_the_crop() -> None:
    batch = batch_of_heads()
    theta = to_theta(torch.tensor([0.3, 0.2, 0.1, 0.1]).expand(HEADS, 4))
    gradients = []
    for config in (ALONE, replace(ALONE, shape=1, pose=1, focal=1, prior=1, visible=1)):
        chosen = theta.clone().requires_grad_()
        answer = right_answer(batch, theta)._replace(theta=chosen, placed=chosen)
        gradients.append(torch.autograd.grad(landmark_loss(answer, batch, config), chosen)[0])
    assert torch.equal(*gradients)


def turned(yaw: float, pitch: float, roll: float) -> Tensor:
    """(3, 3) head to camera, angles in degrees."""
    yaw, pitch, roll = (math.radians(angle) for angle in (yaw, pitch, roll))
    about_y = torch.tensor([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_x = torch.tensor([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_z = torch.tensor([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    return about_z @ about_x @ torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ about_y


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (60, 0), (-90, 10), (20, -30)])
def test_a_head_is_placed_upright_with_its_face_in_the_middle_as_large_as_in_an_exact_window(
    yaw: float, pitch: float
) -> None:
    face = torch.tensor(load_layout("mediapipe478").points_mm[:468])[None]
    xy = placed_head(face, turned(yaw, pitch, 0)[None])[0]
    box = torch.stack([xy.amin(0), xy.amax(0)])
    assert box.mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert float((box[1] - box[0]).max()) == pytest.approx(2 / 1.5, rel=1e-5)
    rolled = placed_head(face, turned(yaw, pitch, 40)[None])[0]
    torch.testing.assert_close(rolled, xy, atol=1e-4, rtol=0)
    up = placed_head(torch.tensor([[[0.0, 0, 0], [0, 100, 0]]]), turned(yaw, pitch, 40)[None])[0]
    assert float(up[1, 0]) == pytest.approx(float(up[0, 0]), abs=1e-5)
    assert up[1, 1] < up[0, 1]


def test_a_head_of_which_nobody_knows_the_pose_is_placed_as_it_looks_into_the_camera() -> None:
    points = torch.randn(1, 5, 3, generator=seeded()) * 50
    unknown = placed_head(points, torch.full((1, 3, 3), torch.nan))
    torch.testing.assert_close(unknown, placed_head(points, turned(0, 0, 0)[None]))


def test_a_crop_is_best_where_the_turned_head_lies_on_the_landmarks() -> None:
    batch = batch_of_heads()
    good = to_theta(torch.tensor([[-0.2, 0.3, 0.1, -0.2]]).expand(HEADS, 4))
    upright = placed_head(batch.queries_mm, right_answer(batch, good).camera.rotation)
    xy_px = to_photo(upright, compose(batch.window, good))
    batch = replace(batch, truth=replace(batch.truth, xy_px=xy_px))
    config = replace(ALONE, place=1)

    def placed(numbers: Tensor) -> float:
        answer = right_answer(batch, to_theta(numbers.expand(HEADS, 4)))
        return loss(answer, batch, config) - loss(answer, batch, ALONE)

    best = torch.tensor([-0.2, 0.3, 0.1, -0.2])
    assert placed(best) == pytest.approx(0, abs=1e-5)
    for change in 0.05 * torch.cat([torch.eye(4), -torch.eye(4)]):
        assert placed(best + change) > 0.005


def test_only_crops_that_are_no_similarities_cost_shear() -> None:
    batch = batch_of_heads()
    similar, sheared, stretched = (
        to_theta(torch.tensor([0.4, 0.5, 0.1, 0.2, *more]).expand(HEADS, 6)) for more in ((0, 0), (0, 0.2), (0.2, 0))
    )

    def cost(theta: Tensor) -> float:
        answer = right_answer(batch, theta)
        return loss(answer, batch, replace(ALONE, shear=1)) - loss(answer, batch, ALONE)

    assert cost(similar) == pytest.approx(0, abs=1e-5)
    assert min(cost(sheared), cost(stretched)) > 0.05


def test_errors_in_3d_cost_what_they_should() -> None:
    batch, right = batch_of_heads(), right_answer(batch_of_heads())
    angle = 0.3
    turn = torch.tensor([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    wrong = {
        "shape": (right._replace(xyz_mm=right.xyz_mm + torch.tensor([0.0, 30.0, 40.0])), 50 / 10),
        "pose": (
            right._replace(camera=right.camera._replace(rotation=right.camera.rotation @ turn)),
            math.sqrt(8) * math.sin(angle / 2),
        ),
        "focal": (right._replace(camera=right.camera._replace(focal=2 * right.camera.focal)), math.log(2)),
    }
    for part, (answer, cost) in wrong.items():
        config = replace(ALONE, **{part: 1.0})
        assert loss(right, batch, config) == pytest.approx(loss(right, batch, ALONE), abs=1e-4)
        assert loss(answer, batch, config) - loss(right, batch, config) == pytest.approx(cost, rel=1e-3)


def test_focal_lengths_of_photos_which_nobody_measured_cost_nothing() -> None:
    batch = batch_of_heads()
    photos = replace(batch, truth=replace(batch.truth, visible=torch.full_like(batch.truth.visible, torch.nan)))
    right = right_answer(batch)
    wrong = right._replace(camera=right.camera._replace(focal=2 * right.camera.focal))
    config = replace(ALONE, focal=1.0)
    assert loss(wrong, photos, config) == pytest.approx(loss(right, photos, config), abs=1e-6)
    assert loss(wrong, batch, config) > loss(right, batch, config) + 0.5


def test_the_prior_keeps_the_head_near_the_canonical_one() -> None:
    batch, right = batch_of_heads(), right_answer(batch_of_heads())
    config = replace(ALONE, prior=1)
    canonical = right._replace(xyz_mm=batch.queries_mm)
    farther = right._replace(xyz_mm=batch.queries_mm + torch.tensor([50.0, 0.0, 0.0]))
    assert loss(farther, batch, config) - loss(canonical, batch, config) == pytest.approx(1, rel=1e-3)


def covered_on_the_left(visible: float) -> tuple[Batch, Tensor]:
    """Heads of which everything is seen, or hidden or unknown; and (B, N) which points were covered in the crops."""
    batch = batch_of_heads()
    batch.look.covered = torch.zeros(HEADS, 32, 32, dtype=torch.bool)
    batch.look.covered[:, :, :16] = True
    left = right_answer(batch).xy[..., 0] < 0
    assert 0.2 < float(left.float().mean()) < 0.8
    return replace(batch, truth=replace(batch.truth, visible=torch.full((HEADS, POINTS), visible))), left


def test_covered_points_count_as_hidden_where_the_rest_is_known() -> None:
    batch, left = covered_on_the_left(visible=1.0)
    config = replace(ALONE, visible=1)
    for logit, want in ((torch.where(left, -10.0, 10.0), 0), (torch.where(left, 10.0, -10.0), 10)):
        said = right_answer(batch)._replace(visible=logit)
        assert loss(said, batch, config) - loss(said, batch, ALONE) == pytest.approx(want, abs=1e-3)


def test_unknown_visibility_teaches_nothing_covered_or_not() -> None:
    batch, _ = covered_on_the_left(visible=torch.nan)
    said = right_answer(batch)._replace(visible=torch.ones(HEADS, POINTS))
    assert loss(said, batch, replace(ALONE, visible=1)) == loss(said, batch, ALONE)


def test_twins_cost_nothing_where_they_agree_and_the_distance_in_sigmas_where_not() -> None:
    heads = batch_of_heads()
    first = torch.tensor([0, 1, 0, 1])  # the last two show the first two's photos, in other windows

    def again(x: Tensor) -> Tensor:
        return x[first]

    truth = Truth(*(again(getattr(heads.truth, key)) for key in Truth.__dataclass_fields__))
    window = again(heads.window)
    window[2:, :, :2] *= 1.1
    batch = replace(heads, window=window, truth=truth, twin=torch.tensor([2, 3, 0, 1]))
    answer = right_answer(batch, sigma_px=3.0)
    config = replace(ALONE, twins=1)
    assert loss(answer, batch, config) == pytest.approx(loss(answer, batch, ALONE), abs=1e-4)
    off = torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None, None] * torch.tensor([6.0, 8.0])
    apart = right_answer(batch, sigma_px=3.0, off_px=off)
    assert loss(apart, batch, config) - loss(apart, batch, ALONE) == pytest.approx(10 / 3, rel=1e-3)
    alone = replace(batch, twin=torch.arange(HEADS))
    assert loss(apart, alone, config) == loss(apart, alone, ALONE)


@pytest.mark.parametrize("head", ["2d", "3d"])
@pytest.mark.parametrize("known", ["all", "some", "nothing"])
def test_losses_and_gradients_are_finite_whatever_is_unknown(head: str, known: str) -> None:
    batch = batch_of_heads()
    if known != "all":
        keep = torch.tensor([known == "some", False, known == "some", False])
        unknown = {
            key: torch.where(keep.view(-1, *[1] * (value.ndim - 1)), value, torch.nan)
            for key, value in ((key, getattr(batch.truth, key)) for key in ("xyz_mm", "visible", "camera"))
        }
        batch = replace(batch, truth=replace(batch.truth, **unknown), twin=torch.tensor([2, 1, 0, 3]))
    right = right_answer(batch_of_heads(), off_px=torch.tensor([1.0, 0.5]))
    camera = right.camera.flat()
    leaves = {key: x.detach().clone().requires_grad_() for key, x in (right._asdict() | {"camera": camera}).items()}
    answer = Answer(**leaves | {"camera": Cameras.from_flat(leaves["camera"])})
    if head == "2d":
        del leaves["xyz_mm"], leaves["camera"]
        nothing = torch.full_like(camera, torch.nan)
        answer = answer._replace(xyz_mm=torch.full_like(right.xyz_mm, torch.nan), camera=Cameras.from_flat(nothing))
    total = landmark_loss(answer, batch, LossConfig())
    assert torch.isfinite(total)
    total.backward()
    assert all(x.grad is not None and bool(torch.isfinite(x.grad).all()) for x in leaves.values())
    assert float(leaves["xy"].grad.abs().min()) > 0  # each landmark is told where to go
