"""Windows and crops as affine maps, their pixels, and the gradient that passes through cutting them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from anymark.learn.data.geometry import (
    NO_AUGMENTATION,
    ROUGH,
    GeometryConfig,
    compose,
    cut_windows,
    follow,
    identity,
    inverse,
    is_mirrored,
    nearby_windows,
    pixel_centres,
    sample_windows,
    to_photo,
    to_window,
)

BOX = torch.tensor([[10.0, 20.0, 70.0, 60.0], [0.0, 0.0, 30.0, 90.0]])


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def side_and_roll(window: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) sides in the unit of where it leads, and rolls in degrees."""
    roll = torch.rad2deg(torch.atan2(window[:, 1, 0], window[:, 0, 0]))
    return 2 * torch.det(window[:, :, :2]).abs().sqrt(), roll


def test_exact_window_is_the_box_scaled_about_its_centre() -> None:
    window = sample_windows(BOX, 1.5, NO_AUGMENTATION, seeded())
    corners = to_photo(torch.tensor([[[-1.0, -1.0], [1.0, 1.0]]]).expand(2, -1, -1), window)
    assert torch.allclose(corners[0], torch.tensor([[40 - 45.0, 40 - 45.0], [40 + 45.0, 40 + 45.0]]))
    assert torch.allclose(corners[1, 1] - corners[1, 0], torch.full((2,), 135.0))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_to_window_inverts_to_photo(seed: int) -> None:
    window = sample_windows(BOX, 1.5, GeometryConfig(), seeded(seed))
    points = torch.rand(2, 5, 2, generator=seeded(seed)) * 4 - 2
    assert torch.allclose(to_window(to_photo(points, window), window), points, atol=1e-4)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_composing_takes_points_through_one_map_and_then_the_other(seed: int) -> None:
    outer, inner = (sample_windows(BOX, 1.5, GeometryConfig(), seeded(seed + k)) for k in (0, 1))
    inner = inner / 50
    points = torch.rand(2, 5, 2, generator=seeded(seed)) * 4 - 2
    assert torch.allclose(to_photo(points, compose(outer, inner)), to_photo(to_photo(points, inner), outer), atol=1e-2)
    assert torch.equal(compose(outer, identity(2, outer)), outer)
    assert torch.equal(compose(identity(2, outer), outer), outer)
    for there_and_back in (compose(outer, inverse(outer)), compose(inverse(outer), outer)):
        assert torch.allclose(there_and_back, identity(2, outer), atol=1e-4)


def test_mirrored_windows_have_negative_area_and_about_their_share() -> None:
    boxes = BOX[:1].expand(2000, -1)
    assert not is_mirrored(sample_windows(boxes, 1.5, NO_AUGMENTATION, seeded())).any()
    share = is_mirrored(sample_windows(boxes, 1.5, GeometryConfig(mirror=0.3), seeded())).float().mean()
    assert share == pytest.approx(0.3, abs=0.04)


def test_spread_of_side_and_roll_is_what_the_config_says() -> None:
    config = GeometryConfig(scale=0.2, shift=0.0, roll_deg=10, anisotropy=0.0, mirror=0.0)
    window = sample_windows(BOX[:1].expand(4000, -1), 1.5, config, seeded())
    side, roll = side_and_roll(window)
    assert float((side / 90).log().std()) == pytest.approx(0.2, rel=0.06)
    assert float(roll.abs().median()) == pytest.approx(0.6745 * 10, rel=0.2)  # robust to the far eighth


def test_rough_windows_keep_to_their_laws() -> None:
    """The box is 60 wide, so the exact window is 90, and its centre (40, 40)."""
    window = sample_windows(BOX[:1].expand(4000, -1), 1.5, ROUGH, seeded())
    side, roll = side_and_roll(window)
    for values, low, high in (
        ((side / 90).log(), math.log(0.6), math.log(3.0)),
        ((window[:, 0, 2] - 40) / 60, -0.5, 0.5),
        ((window[:, 1, 2] - 40) / 60, -0.5, 0.5),
        (roll, -45.0, 45.0),
    ):
        part = (values - low) / (high - low)  # uniform from 0 to 1
        assert -1e-4 < float(part.min()) < 0.01
        assert 0.99 < float(part.max()) < 1 + 1e-4
        assert float(part.quantile(0.25)) == pytest.approx(0.25, abs=0.03)
        assert float(part.median()) == pytest.approx(0.5, abs=0.03)
    shape = window[:, :, :2] / (side / 2)[:, None, None]
    assert torch.allclose(shape.transpose(1, 2) @ shape, torch.eye(2).expand(4000, 2, 2), atol=1e-4)  # squares
    assert not is_mirrored(window).any()


def test_so_many_windows_are_rough_as_the_share_says() -> None:
    config = GeometryConfig(0, 0, 0, 0, mirror=0.5, rough=0.25)
    window = sample_windows(BOX[:1].expand(4000, -1), 1.5, config, seeded())
    rough = (side_and_roll(window)[0] - 90).abs() > 1e-3
    assert float(rough.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float(is_mirrored(window[rough]).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_nearby_windows_differ_as_said_and_mirror_alike() -> None:
    window = sample_windows(BOX[:1].expand(4000, -1), 1.5, GeometryConfig(), seeded())
    near = nearby_windows(window, 0.03, 0.02, 2.0, seeded(1))
    change = compose(inverse(window), near)
    side, roll = side_and_roll(change)
    assert float((side / 2).log().std()) == pytest.approx(0.03, rel=0.06)
    assert float(roll.std()) == pytest.approx(2.0, rel=0.06)
    assert float((change[:, :, 2] / 2).std()) == pytest.approx(0.02, rel=0.06)
    assert torch.equal(is_mirrored(near), is_mirrored(window))
    assert torch.allclose(nearby_windows(window, 0, 0, 0, seeded()), window, atol=1e-4)


@pytest.mark.parametrize("size", [16, 64, 200])
@pytest.mark.parametrize("roll_deg", [0.0, 30.0])
@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_pixels_and_points_share_one_convention(size: int, roll_deg: float, mirror: float) -> None:
    """A picture whose value is its own x coordinate must read back where each window pixel looks."""
    height, width = 120, 160
    x = (torch.arange(width) + 0.5).expand(1, 3, height, width).clone()
    config = GeometryConfig(scale=0.0, shift=0.02, roll_deg=roll_deg, anisotropy=0.1, mirror=mirror)
    window = sample_windows(torch.tensor([[60.0, 40.0, 100.0, 80.0]]), 1.2, config, seeded(3))
    valid = torch.tensor([[0.0, 0.0, width, height]])
    out = cut_windows(x, window, size, valid, torch.zeros(1, 3, 1, 1), torch.tensor([False]))
    want = to_photo(pixel_centres(size, x.device).flatten(0, 1)[None], window)[0, :, 0].view(size, size)
    assert torch.allclose(out[0, 0], want, atol=2e-2)  # a half-pixel shift would be off by 0.2 and more


def test_outside_of_the_photo_is_filled_or_smeared() -> None:
    photo = torch.full((2, 3, 20, 20), 0.5)
    window = sample_windows(torch.tensor([[5.0, 5.0, 15.0, 15.0]]).expand(2, -1), 4.0, NO_AUGMENTATION, seeded())
    fill = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(2, -1, -1, -1)
    valid = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).expand(2, -1)
    out = cut_windows(photo, window, 16, valid, fill, torch.tensor([False, True]))
    assert torch.allclose(out[0, :, 0, 0], fill[0, :, 0, 0])
    assert torch.allclose(out[0, :, 8, 8], torch.full((3,), 0.5))
    assert torch.allclose(out[1], torch.full((3, 16, 16), 0.5))
    picture = torch.rand(2, 3, 16, 16, generator=seeded())
    out = cut_windows(photo, window, 16, valid, picture, torch.tensor([False, True]))
    assert torch.equal(out[0, :, :4], picture[0, :, :4])
    assert torch.allclose(out[0, :, 8, 8], torch.full((3,), 0.5))


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = (torch.arange(256) % 2).float().expand(1, 3, 256, 256)
    window = sample_windows(torch.tensor([[0.0, 0.0, 256.0, 256.0]]), 1.0, NO_AUGMENTATION, seeded())
    valid = torch.tensor([[0.0, 0.0, 256.0, 256.0]])
    out = cut_windows(stripes, window, 50, valid, torch.zeros(1, 3, 1, 1), torch.tensor([False]))
    assert float((out[0, 0] - 0.5).abs().mean()) < 0.1
    assert math.isclose(float(out.mean()), 0.5, abs_tol=0.01)


def smooth_photo(side: int) -> Tensor:
    """(1, 3, side, side) a picture without edges or fine detail, of three channels that differ."""
    y, x = torch.meshgrid(*2 * [torch.arange(side) + 0.5], indexing="ij")
    waves = [(x / 11 + k).sin() + (y / 13 - k).cos() + ((x + y) / 17).sin() for k in range(3)]
    return torch.stack(waves)[None] / 6 + 0.5


def test_following_keeps_the_pixels_and_moves_them_as_cutting_anew_would() -> None:
    photo = smooth_photo(160)
    window = torch.tensor([[[30.0, -5.0, 80.0], [5.0, 30.0, 76.0]]])
    theta = torch.tensor([[[0.8, 0.3, 0.1], [-0.2, 0.9, -0.15]]])
    y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, 48)], indexing="ij")
    middle = (1 - x**2) * (1 - y**2)  # at the border the crop knows nothing of what comes into it
    weights = torch.stack([x.sin() * middle, y.cos() * middle, (x * y + x) * middle])

    def cut(theta: Tensor) -> Tensor:
        box = torch.tensor([[0.0, 0.0, 160.0, 160.0]])
        return cut_windows(photo, compose(window, theta), 48, box, torch.zeros(1, 3, 1, 1), torch.tensor([False]))

    chosen = theta.clone().requires_grad_()
    followed = follow(cut(theta), chosen)
    assert float((followed - cut(theta)).abs().max().detach()) < 1e-4
    (gradient,) = torch.autograd.grad((followed * weights).sum(), chosen)
    step = 0.01
    for i in range(2):
        for j in range(3):
            change = torch.zeros_like(theta)
            change[0, i, j] = step
            anew = float(((cut(theta + change) - cut(theta - change)) * weights).sum()) / (2 * step)
            assert float(gradient[0, i, j]) == pytest.approx(anew, abs=0.02 * float(gradient.abs().max()))
    crops = cut(theta)
    assert follow(crops, theta) is crops  # where nothing learns nothing is resampled


def test_a_crop_that_is_nowhere_is_cut_without_an_error() -> None:
    """One bad answer of S costs one step, not the run."""
    photo, box = torch.rand(2, 3, 20, 20), torch.tensor([[0.0, 0.0, 20.0, 20.0]]).expand(2, -1)
    window = torch.tensor([[10.0, 0.0, 10.0], [0.0, 10.0, 10.0]]).expand(2, -1, -1).clone()
    window[1, 0, 0] = torch.nan
    out = cut_windows(photo, window, 16, box, torch.zeros(2, 3, 1, 1), torch.tensor([False, False]))
    alone = cut_windows(photo[:1], window[:1], 16, box[:1], torch.zeros(1, 3, 1, 1), torch.tensor([False]))
    assert torch.equal(out[:1], alone)
    nowhere = identity(2, out).clone()
    nowhere[1] = torch.nan
    followed = follow(out, nowhere.requires_grad_())
    assert torch.allclose(followed[:1], alone, atol=1e-4)
    (gradient,) = torch.autograd.grad(followed.sum(), nowhere)
    assert torch.isfinite(gradient[0]).all()
