"""The networks of Generative Landmarks: L_delta, which moves a template's points; G, which wipes marks off; and the
critics, which tell real pictures from made ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.detect.template import Template
from anymark.errors import AnymarkError
from anymark.learn.models.painter import Painter, PainterConfig
from anymark.tables import check_numbers

STRIDES = 16
"""Of L_delta's four convolutions: sizes must be a multiple."""
POOLED = 50
"""Made pictures that a critic remembers (Shrivastava et al. 2017)."""
_FARTHEST = 0.5  # a point may leave its place in the template by a quarter of the picture's side


@dataclass(frozen=True)
class MarkerConfig:
    """Sizes of the networks; the defaults are for two cores, recipes/markers.toml has the paper's."""

    size: int = 64
    """Side of the square pictures, pixels."""
    widths: tuple[int, int, int, int] = (32, 64, 128, 128)
    """Channels of L_delta's convolutions,"""
    hidden: tuple[int, int] = (256, 256)
    """and of its layers after these."""
    generator: int = 16
    """Channels of G's first layer; CycleGAN's has 64."""
    blocks: int = 4
    """Residual blocks of G; CycleGAN has 6 at 128 px."""
    critic: int = 32
    """Channels of the critics' first layer; CycleGAN's have 64."""
    critic_layers: int = 2
    """Strided layers of the critics: 3 judge patches of 70 pixels, 2 of 34."""
    blur: float = 0.05
    """Standard deviation, in sides of the picture, of what all pictures and marks are blurred with at first: marks
    attract from afar. It falls to nothing over the first half of a run."""
    painter: PainterConfig = field(default_factory=PainterConfig)

    def __post_init__(self) -> None:
        check_numbers(self, "size", least=32, most=512)
        check_numbers(self, "widths", "hidden", "generator", "critic", least=4)
        check_numbers(self, "blocks", "critic_layers", least=1, most=12)
        check_numbers(self, "blur", least=0, most=0.2)
        if self.size % STRIDES:
            raise AnymarkError(f"size: {self.size} must be a multiple of {STRIDES}")


class Deltas(nn.Module):
    """L_delta: 4 convolutions and 3 fully connected layers; a picture -> where the template's points are in it. It
    starts as the template itself, and sees no detail so fine that G could hide marks in it."""

    template: Tensor

    def __init__(self, template: Template, config: MarkerConfig) -> None:
        super().__init__()
        self.register_buffer("template", torch.from_numpy(template.points.copy()))
        layers: list[nn.Module] = []
        inputs = 3
        for width in config.widths:
            layers += [nn.Conv2d(inputs, width, 4, 2, 1), nn.InstanceNorm2d(width), nn.LeakyReLU(0.2)]
            inputs = width
        side = config.size // STRIDES
        sizes = [inputs * side**2, *config.hidden]
        layers.append(nn.Flatten())
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        last = nn.Linear(sizes[-1], 2 * len(template))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N 2"]:
        """RGB in 0..1 -> points in -1..1."""
        moved = _FARTHEST * torch.tanh(self.layers(2 * softened(image) - 1))
        return self.template + moved.unflatten(1, (-1, 2))


class Generator(nn.Module):
    """G: CycleGAN's ResNet generator (Zhu et al. 2017), which says how a picture changes; a marked picture -> the same
    without marks. It starts as the picture itself: small networks, too, leave the rest of it sharp."""

    def __init__(self, config: MarkerConfig) -> None:
        super().__init__()
        width = config.generator
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), *_conv(3, width, 7)]
        for _ in range(2):
            layers += _conv(width, 2 * width, 3, 2, 1)
            width *= 2
        layers += [Residual(width) for _ in range(config.blocks)]
        for _ in range(2):
            up = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1)
            layers += [up, nn.InstanceNorm2d(width // 2), nn.ReLU(inplace=True)]
            width //= 2
        last = nn.Conv2d(width, 3, 7)
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), last)
        _start(self)
        nn.init.zeros_(last.weight)

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
        """RGB in 0..1 -> about there."""
        return image + torch.tanh(self.layers(2 * image - 1))


class Residual(nn.Module):
    """A residual block of the generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = (
            [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)] for _ in range(2)
        )
        self.layers = nn.Sequential(*first, nn.ReLU(inplace=True), *second)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.layers(x)


class Critic(nn.Module):
    """A PatchGAN discriminator: how real each patch of a picture looks, 1 for real."""

    def __init__(self, config: MarkerConfig) -> None:
        super().__init__()
        width = config.critic
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(config.critic_layers):
            wider, stride = min(2 * width, 8 * config.critic), 1 if i == config.critic_layers - 1 else 2
            layers += [nn.Conv2d(width, wider, 4, stride, 1), nn.InstanceNorm2d(wider), nn.LeakyReLU(0.2)]
            width = wider
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))
        _start(self)

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 1 h w"]:
        return self.layers(2 * image - 1)


class Pool(nn.Module):
    """The last pictures that were made, as bytes, so that a checkpoint keeps them: critics judge new ones and, half of
    the time, one of these in their place."""

    kept: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(POOLED, 3, size, size, dtype=torch.uint8))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def swap(self, made: Float[Tensor, "B 3 S S"], generator: torch.Generator) -> Float[Tensor, "B 3 S S"]:
        """Some of what was made, some of what was made before; the pool takes what it gives for."""
        out = made.clone()
        new = (made.clamp(0, 1) * 255).round().to(torch.uint8)
        for i in range(len(made)):
            count = int(self.count)
            if count < POOLED:
                self.kept[count] = new[i]
                self.count += 1
            elif torch.rand((), generator=generator, device=made.device) < 0.5:
                k = int(torch.randint(POOLED, (), generator=generator, device=made.device))
                out[i] = self.kept[k].to(made.dtype) / 255
                self.kept[k] = new[i]
        return out


class Made(NamedTuple):
    """What the networks make of unmarked and of marked pictures."""

    points: Float[Tensor, "B N 2"]
    """Of the unmarked ones."""
    marked: Float[Tensor, "B 3 S S"]
    """These, painted,"""
    unmarked_again: Float[Tensor, "B 3 S S"]
    """and wiped."""
    wiped: Float[Tensor, "B 3 S S"]
    """The marked ones without their marks;"""
    wiped_points: Float[Tensor, "B N 2"]
    """the points of these,"""
    marked_again: Float[Tensor, "B 3 S S"]
    """and these painted."""


class MarkerModel(nn.Module):
    """All networks of a run. What is exported is `deltas`."""

    steps: Tensor

    def __init__(self, template: Template, config: MarkerConfig) -> None:
        super().__init__()
        self.deltas = Deltas(template, config)
        self.generator = Generator(config)
        self.painter = Painter(template, config.painter)
        self.of_marked, self.of_unmarked = Critic(config), Critic(config)
        self.pool_marked, self.pool_unmarked = Pool(config.size), Pool(config.size)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        unmarked: Float[Tensor, "B 3 S S"],
        marked: Float[Tensor, "B 3 S S"],
        noise: Float[Tensor, "B 3 S S"],
        blur: float = 0.0,
    ) -> Made:
        """Both cycles.

        Args:
            noise: is added to what L_delta sees: what G leaves of marks must not tell it more.
            blur: standard deviation of what the pictures were blurred with, in sides.
        """
        points = self.deltas(unmarked + noise)
        painted = self.painter(unmarked, points, blur)
        wiped = self.generator(marked)
        # each cycle teaches who closes it: the other one would learn to hide marks, or not to paint any
        wiped_points = self.deltas(wiped.detach() + noise)
        again = self.painter(wiped.detach(), wiped_points, blur)
        return Made(points, painted, self.generator(painted.detach()), wiped, wiped_points, again)


def softened(image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
    """Over 3 x 3 pixels."""
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding),
        nn.InstanceNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _start(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
