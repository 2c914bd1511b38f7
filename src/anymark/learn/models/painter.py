"""The differentiable renderer: a template's points and lines painted on pictures (Generative Landmarks, R)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anymark.detect.template import Template
from anymark.learn.data.geometry import pixel_centres
from anymark.tables import check_numbers

DARKEST = 0.05
"""Of the light that falls on the paint, so that black skin, too, can show some."""


@dataclass(frozen=True)
class PainterConfig:
    """How marks look."""

    colour: tuple[float, float, float] | Literal["learned"] = "learned"
    """RGB in 0..1 of the paint under the mean light, or found in training,"""
    opacity: float | Literal["learned"] = "learned"
    """as is how much of the skin it covers."""
    dots: Literal["single", "all"] = "single"
    """Which points are dots: those of no line, or all, as knots of the lines, too."""
    dot: float = 1.5
    """Width of a dot over that of a line."""
    wide: float = 0.05
    """Standard deviation of a mark's profile at the start of training, in sides of the picture: far marks attract,"""
    fine: float = 0.012
    """and at the end: the painted width."""

    def __post_init__(self) -> None:
        check_numbers(self, "wide", "fine", least=1e-4, most=1)
        check_numbers(self, "dot", least=0.1, most=10)
        if self.colour != "learned":
            check_numbers(self, "colour", least=0, most=1)
        if self.opacity != "learned":
            check_numbers(self, "opacity", least=0, most=1)


class Painter(nn.Module):
    """Paints a template with one colour.

    Each mark covers alpha_k = opacity * exp(-d^2 / 2 sigma^2) at distance d of the dot or the line; together they cover
    1 - prod(1 - alpha_k), whatever their order.
    """

    dots: Tensor
    lines: Tensor

    def __init__(self, template: Template, config: PainterConfig) -> None:
        super().__init__()
        dots = torch.arange(len(template)) if config.dots == "all" else torch.tensor(template.dots.astype("int64"))
        self.register_buffer("dots", dots, persistent=False)
        self.dot = config.dot
        self.register_buffer("lines", torch.tensor(template.lines.astype("int64")), persistent=False)
        start = (0.2, 0.2, 0.2) if config.colour == "learned" else config.colour
        self.colour = nn.Parameter(_logit(torch.tensor(start)), requires_grad=config.colour == "learned")
        opacity = 0.8 if config.opacity == "learned" else config.opacity
        self.opacity = nn.Parameter(_logit(torch.tensor(opacity)), requires_grad=config.opacity == "learned")

    def forward(
        self, image: Float[Tensor, "B 3 S S"], points: Float[Tensor, "B N 2"], sigma: float
    ) -> Float[Tensor, "B 3 S S"]:
        """Pictures in 0..1 with marks at points in -1..1.

        Args:
            sigma: of a line's profile, in sides of the picture.
        """
        covered = self.cover(points, sigma, image.shape[-1])[:, None]
        light = (image.mean((1, 2, 3), keepdim=True) / 0.5).clamp(DARKEST, 2.0)
        paint = (self.colour.sigmoid().view(1, 3, 1, 1) * light).clamp(0, 1)
        return image + covered * (paint - image)

    def cover(self, points: Float[Tensor, "B N 2"], sigma: float, size: int) -> Float[Tensor, "B S S"]:
        """0..1, how much of each pixel of a picture is covered."""
        at = pixel_centres(size, points.device)
        squared = []
        if len(self.dots):
            squared.append((at[:, :, None] - points[:, None, None, self.dots]).square().sum(-1) / self.dot**2)
        if len(self.lines):
            start, end = points[:, self.lines[:, 0]], points[:, self.lines[:, 1]]
            squared.append(_to_segments(at, start, end))
        spread = (2 * sigma) ** 2  # a side is 2 long
        alpha = self.opacity.sigmoid() * torch.exp(torch.cat(squared, -1) / (-2 * spread))
        return 1 - torch.log1p(-alpha.clamp(max=0.999)).sum(-1).exp()


def _to_segments(
    at: Float[Tensor, "S S 2"], start: Float[Tensor, "B L 2"], end: Float[Tensor, "B L 2"]
) -> Float[Tensor, "B S S L"]:
    """Squared distances of pixels to line segments."""
    along = (end - start)[:, None, None]
    to = at[:, :, None] - start[:, None, None]
    share = ((to * along).sum(-1) / along.square().sum(-1).clamp(min=1e-8)).clamp(0, 1)
    return (to - share[..., None] * along).square().sum(-1)


def _logit(p: Tensor) -> Tensor:
    return torch.logit(p.clamp(0.02, 0.98))
