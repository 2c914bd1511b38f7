"""The spatial transformer S: a rough window -> the crop that the encoder sees (I3DL; sizes and bounds are ours)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anymark.learn.models.encoder import Encoder, EncoderConfig
from anymark.tables import check_numbers

NUMBERS = {"similarity": 4, "affine": 6}
MOST_LOG_SCALE = math.log(8.0)
"""A crop's side is between an eighth of its window's and eight times it,"""
MOST_SHIFT = 2.0
"""its centre at most a window's side away,"""
MOST_STRETCH = 0.3
"""and an affine one's stretch and shear are at most this, as logs."""


@dataclass(frozen=True)
class CropConfig:
    """What the crop is free to be, and the network that chooses it."""

    kind: Literal["none", "similarity", "affine"] = "similarity"
    """"none": the crop is the window itself, as in the papers before."""
    backbone: str = "mobilenetv4_conv_small_050"
    """A preset or any timm model name."""
    input_size: int = 96
    """Side of the window as S sees it, pixels."""
    features: int = 256
    """Length of its feature vector."""
    grid_channels: int = 48
    """Channels that each cell of its last feature map keeps."""
    likelihood: float = 0.05
    """Share of the likelihood's gradient that reaches S, beside that of `loss.place`. Much of it keeps S where it is:
    as soon as the crop moves, all of F's answers move with it, and F has yet to learn that."""

    def __post_init__(self) -> None:
        check_numbers(self, "input_size", least=32)
        check_numbers(self, "features", "grid_channels", least=1)
        check_numbers(self, "likelihood", least=0, most=1)


class SpatialTransformer(nn.Module):
    """Windows -> affine maps theta from crop coordinates [-1, 1]^2 to window coordinates; the identity at the start.

    The same theta carries landmarks back: no inverse is needed.
    """

    def __init__(self, config: CropConfig) -> None:
        super().__init__()
        self.encoder = Encoder(
            EncoderConfig(config.backbone, config.input_size, config.features, grid_channels=config.grid_channels)
        )
        self.head = nn.Linear(config.features, NUMBERS[config.kind])
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, window: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 2 3"]:
        """RGB windows in 0..1 -> theta."""
        return to_theta(self.head(self.encoder(window)))


def to_theta(numbers: Float[Tensor, "B C"]) -> Float[Tensor, "B 2 3"]:
    """log scale, roll, shift x and y (and stretch and shear) -> affine maps; all zeros are the identity."""
    scale = _bounded(numbers[:, 0], MOST_LOG_SCALE).exp()
    cos, sin = scale * numbers[:, 1].cos(), scale * numbers[:, 1].sin()
    linear = torch.stack([cos, -sin, sin, cos], 1).unflatten(1, (2, 2))
    if numbers.shape[1] == NUMBERS["affine"]:
        stretch, shear = _bounded(numbers[:, 4], MOST_STRETCH), _bounded(numbers[:, 5], MOST_STRETCH)
        none = torch.zeros_like(shear)
        linear = linear @ torch.stack([stretch.exp(), shear, none, (-stretch).exp()], 1).unflatten(1, (2, 2))
    shift = _bounded(numbers[:, 2:4], MOST_SHIFT)
    return torch.cat([linear, shift[..., None]], 2)


def _bounded(x: Tensor, most: float) -> Tensor:
    """x near 0, and between -most and most everywhere."""
    return most * (x / most).tanh()


Look = Callable[[Tensor], Tensor]
"""theta (B, 2, 3) -> the pixels (B, 3, S, S) of the crops."""
