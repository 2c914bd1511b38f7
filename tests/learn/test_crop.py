"""S: which crops it can choose, and that it starts from the window itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from anymark.learn.data.geometry import identity
from anymark.learn.models.crop import (
    MOST_LOG_SCALE,
    MOST_SHIFT,
    MOST_STRETCH,
    NUMBERS,
    CropConfig,
    SpatialTransformer,
    to_theta,
)
from tests.learn.tiny import BACKBONE

KINDS = tuple(NUMBERS)


def numbers(kind: str, spread: float, count: int = 500) -> Tensor:
    return spread * torch.randn(count, NUMBERS[kind], generator=Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_are_the_identity(kind: str) -> None:
    assert torch.equal(to_theta(torch.zeros(3, NUMBERS[kind])), identity(3, torch.zeros(1)))


@pytest.mark.parametrize("kind", KINDS)
def test_training_starts_from_the_window_itself(kind: str) -> None:
    transformer = SpatialTransformer(CropConfig(kind, BACKBONE, 32, features=8, grid_channels=4))
    assert torch.equal(transformer(torch.rand(2, 3, 32, 32)), identity(2, torch.zeros(1)))


def test_similarities_scale_turn_and_shift_and_do_nothing_else() -> None:
    theta = to_theta(numbers("similarity", 3.0))
    (a, b), (c, d) = theta[:, 0, :2].unbind(1), theta[:, 1, :2].unbind(1)
    assert torch.allclose(a, d)
    assert torch.allclose(b, -c)
    quarter = to_theta(torch.tensor([[math.log(2.0), math.pi / 2, 0.0, 0.0]]))
    scale = math.exp(MOST_LOG_SCALE * math.tanh(math.log(2.0) / MOST_LOG_SCALE))
    assert torch.allclose(quarter[0, :, :2], scale * torch.tensor([[0.0, -1.0], [1.0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_whatever_the_network_says_the_crop_stays_within_bounds(kind: str, spread: float) -> None:
    theta = to_theta(numbers(kind, spread))
    det = torch.det(theta[:, :, :2].double())
    assert float(det.min()) > 0  # it never mirrors
    assert 0.99 / math.exp(MOST_LOG_SCALE) < float(det.sqrt().min())
    assert float(det.sqrt().max()) < 1.01 * math.exp(MOST_LOG_SCALE)
    assert float(theta[:, :, 2].abs().max()) <= MOST_SHIFT
    along, across = theta[:, :, :2].unbind(2)
    unit = along.norm(dim=1)
    stretch = (unit.square() / det).log() / 2
    shear = (along * across).sum(1) / unit / det.sqrt() * unit / det.sqrt()
    most = 1.01 * MOST_STRETCH if kind == "affine" else 1e-3
    assert float(stretch.abs().max()) < most
    assert float(shear.abs().max()) < most * math.exp(MOST_STRETCH)


@pytest.mark.parametrize("kind", KINDS)
def test_near_zero_each_number_means_what_it_says(kind: str) -> None:
    small = 1e-3
    at = to_theta(small * torch.eye(NUMBERS[kind])) - identity(NUMBERS[kind], torch.zeros(1))
    means = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],  # log of the scale
        [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]],  # roll
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]],  # shift
        [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
        [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]],  # stretch
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]],  # shear
    ]
    assert torch.allclose(at / small, torch.tensor(means[: NUMBERS[kind]]), atol=2e-3)
