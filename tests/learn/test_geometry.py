from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from anymark.learn.data.geometry import (
    NO_AUGMENTATION,
    GeometryConfig,
    cut_windows,
    is_mirrored,
    pixel_centres,
    sample_windows,
    to_photo,
    to_window,
)

BOX = torch.tensor([[10.0, 20.0, 70.0, 60.0], [0.0, 0.0, 30.0, 90.0]])


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


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


def test_mirrored_windows_have_negative_area_and_about_their_share() -> None:
    boxes = BOX[:1].expand(2000, -1)
    assert not is_mirrored(sample_windows(boxes, 1.5, NO_AUGMENTATION, seeded())).any()
    share = is_mirrored(sample_windows(boxes, 1.5, GeometryConfig(mirror=0.3), seeded())).float().mean()
    assert share == pytest.approx(0.3, abs=0.04)


def test_spread_of_side_and_roll_is_what_the_config_says() -> None:
    config = GeometryConfig(scale=0.2, shift=0.0, roll_deg=10, anisotropy=0.0, mirror=0.0)
    window = sample_windows(BOX[:1].expand(4000, -1), 1.5, config, seeded())
    side = 2 * window[:, :, 0].norm(dim=1)
    assert float((side / 90).log().std()) == pytest.approx(0.2, rel=0.06)
    roll = torch.rad2deg(torch.atan2(window[:, 1, 0], window[:, 0, 0]))
    assert float(roll.abs().median()) == pytest.approx(0.6745 * 10, rel=0.2)  # robust to the far eighth


@pytest.mark.parametrize("size", [16, 64, 200])
@pytest.mark.parametrize("roll_deg", [0.0, 30.0])
@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_pixels_and_points_share_one_convention(size: int, roll_deg: float, mirror: float) -> None:
    """A picture whose value is its own x coordinate must read back where each window pixel looks."""
    height, width = 120, 160
    x = (torch.arange(width) + 0.5).expand(1, 3, height, width).clone()
    config = GeometryConfig(scale=0.0, shift=0.02, roll_deg=roll_deg, anisotropy=0.1, mirror=mirror)
    window = sample_windows(torch.tensor([[60.0, 40.0, 100.0, 80.0]]), 1.2, config, seeded(3))
    window = window[:, :, :]
    valid = torch.tensor([[0.0, 0.0, width, height]])
    out = cut_windows(x, window, size, valid, torch.zeros(1, 3), torch.tensor([False]))
    want = to_photo(pixel_centres(size, x.device).flatten(0, 1)[None], window)[0, :, 0].view(size, size)
    assert torch.allclose(out[0, 0], want, atol=2e-2)  # a half-pixel shift would be off by 0.2 and more


def test_outside_of_the_photo_is_filled_or_smeared() -> None:
    photo = torch.full((2, 3, 20, 20), 0.5)
    window = sample_windows(torch.tensor([[5.0, 5.0, 15.0, 15.0]]).expand(2, -1), 4.0, NO_AUGMENTATION, seeded())
    fill = torch.tensor([[1.0, 0.0, 0.0]]).expand(2, -1)
    valid = torch.tensor([[0.0, 0.0, 20.0, 20.0]]).expand(2, -1)
    out = cut_windows(photo, window, 16, valid, fill, torch.tensor([False, True]))
    assert torch.allclose(out[0, :, 0, 0], fill[0])
    assert torch.allclose(out[0, :, 8, 8], torch.full((3,), 0.5))
    assert torch.allclose(out[1], torch.full((3, 16, 16), 0.5))


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = (torch.arange(256) % 2).float().expand(1, 3, 256, 256)
    window = sample_windows(torch.tensor([[0.0, 0.0, 256.0, 256.0]]), 1.0, NO_AUGMENTATION, seeded())
    valid = torch.tensor([[0.0, 0.0, 256.0, 256.0]])
    out = cut_windows(stripes, window, 50, valid, torch.zeros(1, 3), torch.tensor([False]))
    assert float((out[0, 0] - 0.5).abs().mean()) < 0.1
    assert math.isclose(float(out.mean()), 0.5, abs_tol=0.01)
