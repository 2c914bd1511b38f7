"""The differentiable renderer: a template's points and lines painted on pictures (Generative Landmarks, R)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anymark.detect.template import Template
from anymark.learn.data.geometry import pixel_centres
from anymark.learn.data.marked import blurred
from anymark.tables import check_numbers

PIXEL = 0.4
"""Standard deviation, in pixels, of what a pixel sees: it blurs marks that are finer, too."""
LOOKS_PACE = 20.0
"""Share of the learning rate for colour and opacity: they are few numbers, and far from where they begin."""
LIGHT, MEDIUM = 0.03, 0.5
"""Light is the brightness of the picture under a blur of so many sides, in which paint has its own colour at 0.5."""
LEAST_OPACITY, MOST_OPACITY = 0.5, 0.98
"""What covers less is no paint: while points are wrong, painting next to nothing would cost least. What covers all has
no gradient."""


@dataclass(frozen=True)
class PainterConfig:
    """How marks look."""

    colour: tuple[float, float, float] | Literal["learned"] = "learned"
    """RGB in 0..1 of the paint, or found in training,"""
    opacity: float | Literal["learned"] = "learned"
    """as is how much of the skin it covers."""
    dots: Literal["single", "all"] = "single"
    """Which points are dots: those of no line, or all, as knots of the lines, too."""
    line: float = 0.006
    """Standard deviation of a line's profile, in sides of the picture: 0.4 times the painted width."""
    dot: float = 1.75
    """Width of a dot over that of a line."""
    shading: float = 0.0
    """How much paint takes of the light that it lies in: the power of the picture's brightness about it."""

    def __post_init__(self) -> None:
        check_numbers(self, "line", least=1e-4, most=1)
        check_numbers(self, "dot", least=0.1, most=10)
        check_numbers(self, "shading", least=0, most=1)
        if self.colour != "learned":
            check_numbers(self, "colour", least=0, most=1)
        if self.opacity != "learned":
            check_numbers(self, "opacity", least=LEAST_OPACITY, most=MOST_OPACITY)


@dataclass(frozen=True)
class Looks:
    """How the marks of B pictures differ from the painter's own."""

    colour: Float[Tensor, "B 3"]
    """Factors of the paint's colour,"""
    opacity: Float[Tensor, " B"]
    """of what it covers,"""
    width: float
    """and of its width."""


class Painter(nn.Module):
    """Paints a template with one colour.

    Each mark covers alpha_k = opacity * exp(-d^2 / 2 sigma^2) at distance d of the dot or the line; together they cover
    1 - prod(1 - alpha_k), whatever their order. What is finer than pixels is wider and as much fainter.
    """

    dots: Tensor
    lines: Tensor

    def __init__(self, template: Template, config: PainterConfig) -> None:
        super().__init__()
        dots = torch.arange(len(template)) if config.dots == "all" else torch.tensor(template.dots.astype("int64"))
        self.register_buffer("dots", dots, persistent=False)
        self.line, self.dot, self.shading = config.line, config.dot, config.shading
        self.register_buffer("lines", torch.tensor(template.lines.astype("int64")), persistent=False)
        start = (0.2, 0.2, 0.2) if config.colour == "learned" else config.colour
        self.colour = nn.Parameter(_logit(torch.tensor(start)), requires_grad=config.colour == "learned")
        opacity = 0.8 if config.opacity == "learned" else config.opacity
        above = (torch.tensor(opacity) - LEAST_OPACITY) / (MOST_OPACITY - LEAST_OPACITY)
        self.above = nn.Parameter(_logit(above), requires_grad=config.opacity == "learned")
        for parameter in (self.colour, self.above):
            parameter.pace = LOOKS_PACE  # type: ignore[attr-defined]

    def forward(
        self,
        image: Float[Tensor, "B 3 S S"],
        points: Float[Tensor, "B N 2"],
        looks: Looks | None = None,
    ) -> Float[Tensor, "B 3 S S"]:
        """Pictures in 0..1 with marks at points in -1..1."""
        covered = self.cover(points, image.shape[-1], 1.0 if looks is None else looks.width)
        colour = self.colour.sigmoid()
        if looks is not None:
            covered, colour = covered * looks.opacity[:, None, None], (colour * looks.colour).clamp(0, 1)
        colour = colour.view(-1, 3, 1, 1)
        if self.shading:
            light = blurred(image.mean(1, keepdim=True), LIGHT).clamp(min=1e-3)
            colour = (colour * (light / MEDIUM) ** self.shading).clamp(max=1)
        return image + covered[:, None] * (colour - image)

    def cover(self, points: Float[Tensor, "B N 2"], size: int, width: float = 1.0) -> Float[Tensor, "B S S"]:
        """0..1, how much of each pixel of a picture is covered by marks of that width, over their own."""
        at = pixel_centres(size, points.device).flatten(0, 1).to(points.dtype)
        alphas = []
        if len(self.dots):
            peak, unit = self._seen(width * self.line * self.dot, 2, size)
            alphas.append(peak * (-_to_points(at / unit, points[:, self.dots] / unit)).exp())
        if len(self.lines):
            peak, unit = self._seen(width * self.line, 1, size)
            start, end = (points[:, ends] / unit for ends in self.lines.T)
            alphas.append(peak * (-_to_segments(at / unit, start, end)).exp())
        bare = torch.log1p(-torch.cat(alphas, -1)).sum(-1).exp()
        return (1 - bare).unflatten(1, (size, size))

    @property
    def opacity(self) -> Tensor:
        """0..1, how much of the skin lies hidden under the middle of a mark."""
        return LEAST_OPACITY + (MOST_OPACITY - LEAST_OPACITY) * self.above.sigmoid()

    def _seen(self, width: float, across: int, size: int) -> tuple[Tensor, float]:
        """What the middle of a mark that is so wide across it, in one or two directions, covers of pixels; and
        sqrt(2) sigma in half sides."""
        seen = math.sqrt(width**2 + (PIXEL / size) ** 2)
        return self.opacity * (width / seen) ** across, 2 * math.sqrt(2) * seen


def _to_points(at: Float[Tensor, "P 2"], points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B P N"]:
    """Squared distances of pixels to points; products of matrices, which cost a fraction of differences."""
    return at.square().sum(1)[:, None] - 2 * at @ points.transpose(1, 2) + points.square().sum(-1)[:, None]


def _to_segments(
    at: Float[Tensor, "P 2"], start: Float[Tensor, "B L 2"], end: Float[Tensor, "B L 2"]
) -> Float[Tensor, "B P L"]:
    """Squared distances of pixels to line segments."""
    along = end - start
    length = along.square().sum(-1)[:, None].clamp(min=1e-8)
    reach = at @ along.transpose(1, 2) - (start * along).sum(-1)[:, None]
    share = (reach / length).clamp(0, 1)
    return _to_points(at, start) - share * (2 * reach - share * length)


def _logit(p: Tensor) -> Tensor:
    return torch.logit(p.clamp(0.02, 0.98))
