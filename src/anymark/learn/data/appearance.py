"""Colour and degradation of training windows, on the batch and on its device.

Each effect touches a random part of the batch, so that a step costs little and clean windows stay frequent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from kornia.enhance import jpeg_codec_differentiable
from kornia.filters import gaussian_blur2d, motion_blur
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.tables import check_numbers

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class AppearanceConfig:
    """Probabilities are per sample; strengths are standard deviations or upper bounds."""

    brightness: float = 0.12
    contrast: float = 0.18
    """Log of the contrast."""
    saturation: float = 0.3
    """Log of the saturation."""
    hue_deg: float = 12.0
    tint: float = 0.06
    """Log of each colour channel's gain."""
    grey: float = 0.15
    """Probability of a grey window."""
    light: float = 0.3
    """Probability of a linear gradient of light across the window."""
    blur: float = 0.15
    motion: float = 0.05
    low_resolution: float = 0.2
    """Probability of having been as small as a quarter of the input size."""
    noise: float = 0.4
    noise_level: float = 0.05
    jpeg: float = 0.12
    patch: float = 0.35
    """Probability of an occluding patch: one colour, or a piece of another window."""

    def __post_init__(self) -> None:
        chances = ("grey", "light", "blur", "motion", "low_resolution", "noise", "jpeg", "patch")
        check_numbers(self, *chances, least=0, most=1)
        check_numbers(self, "brightness", "contrast", "saturation", "hue_deg", "tint", "noise_level", least=0)


NO_DEGRADATION = AppearanceConfig(*[0.0] * len(fields(AppearanceConfig)))
"""Pictures as they are."""


def _chance(n: int, p: float, generator: Generator, device: torch.device) -> Tensor:
    """Indices of the samples that an effect of probability p touches."""
    return torch.nonzero(torch.rand(n, generator=generator, device=device) < p)[:, 0]


def degrade(
    image: Float[Tensor, "B 3 S S"], config: AppearanceConfig, generator: Generator
) -> Float[Tensor, "B 3 S S"]:
    """Windows in 0..1 -> the same windows as worse cameras and light would show them, in 0..1."""
    n, device = len(image), image.device

    def uniform(m: int, low: float, high: float) -> Tensor:
        return torch.rand(m, generator=generator, device=device) * (high - low) + low

    image = _recolour(image, config, generator)
    if len(i := _chance(n, config.light, generator, device)):
        image[i] *= _light(len(i), image.shape[-1], generator, device)
    if len(i := _chance(n, config.blur, generator, device)):
        sigma = uniform(len(i), 0.3, 2.0)
        image[i] = gaussian_blur2d(image[i], (7, 7), torch.stack([sigma, sigma], 1))
    if len(i := _chance(n, config.motion, generator, device)):
        image[i] = motion_blur(
            image[i], 7, uniform(len(i), 0, 180), torch.zeros(len(i), device=device)
        )  # both ways: nothing moves
    if len(i := _chance(n, config.low_resolution, generator, device)):
        size = image.shape[-1]
        small = max(8, int(size * float(uniform(1, 0.25, 0.8))))
        shrunk = F.interpolate(image[i], (small, small), mode="area")
        image[i] = F.interpolate(shrunk, (size, size), mode="bilinear", align_corners=False)
    if len(i := _chance(n, config.noise, generator, device)):
        level = uniform(len(i), 0, config.noise_level)[:, None, None, None]
        image[i] += level * torch.randn(image[i].shape, generator=generator, device=device)
    image = image.clamp(0, 1)
    if len(i := _chance(n, config.jpeg, generator, device)) and image.shape[-1] % 16 == 0:
        image[i] = jpeg_codec_differentiable(image[i], uniform(len(i), 20, 80)).clamp(0, 1)
    return image


def occlude(
    image: Float[Tensor, "B 3 S S"], config: AppearanceConfig, generator: Generator
) -> tuple[Float[Tensor, "B 3 S S"], Bool[Tensor, "B S S"]]:
    """Rolled rectangles and ellipses over some windows, of one colour or cut from the next window; and where."""
    n, size, device = len(image), image.shape[-1], image.device
    i = _chance(n, config.patch, generator, device)
    m = len(i)
    covered = torch.zeros(n, size, size, dtype=torch.bool, device=device)
    if m == 0:
        return image, covered
    along = torch.linspace(-1, 1, size, device=device)
    centre = torch.rand(m, 2, 1, 1, generator=generator, device=device) * 1.6 - 0.8
    radius = torch.rand(m, 2, 1, 1, generator=generator, device=device) * 0.35 + 0.06
    angle = torch.rand(m, 1, 1, generator=generator, device=device) * math.pi
    x, y = along[None, None] - centre[:, 0], along[None, :, None] - centre[:, 1]
    u = (angle.cos() * x + angle.sin() * y) / radius[:, 0]
    v = (angle.cos() * y - angle.sin() * x) / radius[:, 1]
    ellipse = torch.rand(m, 1, 1, generator=generator, device=device) < 0.5
    mask = torch.where(ellipse, u**2 + v**2 < 1, torch.maximum(u.abs(), v.abs()) < 1)[:, None]
    flat = torch.rand(m, 3, 1, 1, generator=generator, device=device)
    other = image[(i + 1) % n]
    filling = torch.where(torch.rand(m, 1, 1, 1, generator=generator, device=device) < 0.5, flat, other)
    image = image.clone()
    image[i] = torch.where(mask, filling, image[i])
    covered[i] = mask[:, 0]
    return image, covered


def _recolour(image: Tensor, config: AppearanceConfig, generator: Generator) -> Tensor:
    """Hue, saturation, grey, tint, contrast and brightness as one affine map of RGB a sample."""
    n, device = len(image), image.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    luma = image.new_tensor(LUMA)
    grey = torch.rand(n, generator=generator, device=device) < config.grey
    saturation = torch.where(grey, 0.0, (normal(n) * config.saturation).exp())[:, None, None]
    to_grey = luma.expand(3, 3)  # each row: the luma
    saturate = to_grey + saturation * (torch.eye(3, device=device) - to_grey)
    contrast = (normal(n, 1) * config.contrast + normal(n, 3) * config.tint).exp()
    matrix = contrast[:, :, None] * (saturate @ _hue(normal(n) * math.radians(config.hue_deg)))
    offset = 0.5 * (1 - contrast) + normal(n, 1) * config.brightness
    return (torch.einsum("bij,bjhw->bihw", matrix, image) + offset[:, :, None, None]).contiguous()


def _hue(angle: Tensor) -> Tensor:
    """(B, 3, 3) rotations of RGB about the grey axis."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    third = torch.full((3, 3), 1 / 3, device=angle.device)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=angle.device) / math.sqrt(3)
    return cos * torch.eye(3, device=angle.device) + (1 - cos) * third + sin * cross


def _light(n: int, size: int, generator: Generator, device: torch.device) -> Tensor:
    """(n, 1, S, S) gains of a light from one side."""
    angle = torch.rand(n, generator=generator, device=device) * (2 * math.pi)
    strength = torch.rand(n, generator=generator, device=device) * 0.7
    along = torch.linspace(-1, 1, size, device=device)
    ramp = angle.cos()[:, None, None] * along[None, None] + angle.sin()[:, None, None] * along[None, :, None]
    return (1 + strength[:, None, None] * ramp).clamp(min=0.05)[:, None]
