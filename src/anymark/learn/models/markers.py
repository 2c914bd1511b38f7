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
from anymark.learn.data.geometry import to_photo
from anymark.learn.models.painter import Looks, Painter, PainterConfig
from anymark.tables import check_numbers

STRIDES = 16
"""Of L_delta's four convolutions: sizes must be a multiple."""
POOLED = 50
"""Made pictures that a critic remembers (Shrivastava et al. 2017)."""
KEPT = "kept"
"""The buffer of a run that no use of it needs."""
TURN, GROW, MOVE, EACH = 0.3, 0.15, 0.15, 0.06
"""Standard deviations of how marks are strewn: radians, log of the size, half sides, and half sides of each point;"""
SHADE, TINT, WIDE, FAINT = 0.3, 0.1, 0.3, 0.3
"""of the logs of their brightness, of its channels, and of their width; and how much fainter they are at most."""
_FARTHEST = 0.5  # a point may leave its place in the template by a quarter of the picture's side


@dataclass(frozen=True)
class MarkerConfig:
    """Sizes of the networks; the defaults are for two cores, recipes/markers.toml is for a GPU."""

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
    """Standard deviation, in sides of the picture, of what marked pictures are blurred with, before they are compared
    with those that were painted again: marks attract from afar. It falls to nothing on the way."""
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
    """G: a ResNet generator (Zhu et al. 2017) that says how a picture changes; a marked picture -> the same without
    marks. It starts as the picture itself.

    Unlike CycleGAN's, what each size sees goes straight across to where the picture grows again, as a U-Net's (Isola et
    al. 2017), and nothing is normalised: a line is no wider than a pixel or two, and is known by its colour.
    """

    def __init__(self, config: MarkerConfig) -> None:
        super().__init__()
        width = config.generator
        self.fine = _conv(3, width)
        self.middle = nn.Sequential(_conv(width, 2 * width, 2), _conv(2 * width, 2 * width))
        self.coarse = nn.Sequential(
            _conv(2 * width, 4 * width, 2), *(Residual(4 * width) for _ in range(config.blocks))
        )
        self.middle_again = _conv(6 * width, 2 * width)
        self.fine_again = _conv(3 * width, width)
        self.last = nn.Conv2d(width, 3, 3, 1, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
        """RGB in 0..1 -> about there."""
        whole = self.fine(2 * image - 1)
        half = self.middle(whole)
        again = self.middle_again(torch.cat([_twice(self.coarse(half)), half], 1))
        return image + torch.tanh(self.last(self.fine_again(torch.cat([_twice(again), whole], 1))))


class Residual(nn.Module):
    """A residual block of the generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(width, width), nn.Conv2d(width, width, 3, 1, 1))

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
    """These, painted there."""
    unmarked_again: Float[Tensor, "B 3 S S"]
    """These, painted elsewhere, too, and wiped."""
    wiped: Float[Tensor, "B 3 S S"]
    """The marked ones without their marks;"""
    wiped_points: Float[Tensor, "B N 2"]
    """and the points of these."""


class MarkerModel(nn.Module):
    """All networks of a run. What is exported is `deltas`.

    Args:
        pictures: of the marked set, whose points are kept while training.
    """

    steps: Tensor
    kept: Float[Tensor, "M 2 N 2"] | None
    """Where the points of each marked picture were found, and which way they were going."""

    def __init__(self, template: Template, config: MarkerConfig, pictures: int = 0) -> None:
        super().__init__()
        self.deltas = Deltas(template, config)
        self.generator = Generator(config)
        still = torch.stack([self.deltas.template, torch.zeros_like(self.deltas.template)])
        self.register_buffer(KEPT, still.repeat(pictures, 1, 1, 1) if pictures else None)
        self.painter = Painter(template, config.painter)
        self.of_marked, self.of_unmarked = Critic(config), Critic(config)
        self.pool_marked, self.pool_unmarked = Pool(config.size), Pool(config.size)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(
        self,
        unmarked: Float[Tensor, "B 3 S S"],
        marked: Float[Tensor, "B 3 S S"],
        noise: Float[Tensor, "B 3 S S"],
        strewn: Strewn | None = None,
    ) -> Made:
        """Both cycles.

        Args:
            noise: is added to what L_delta sees: what G leaves of marks must not tell it more.
            strewn: how the marks that G learns to wipe differ from those that L_delta would have painted.
        """
        points = self.deltas(unmarked + noise)
        painted = self.painter(unmarked, points)
        wiped = self.generator(marked)
        # each cycle teaches who closes it: the other one would learn to hide marks, or not to paint any
        with torch.no_grad():
            strange = painted if strewn is None else self.painter(unmarked, strewn(points), strewn.looks)
        wiped_points = self.deltas(wiped.detach() + noise)
        return Made(points, painted, self.generator(strange.detach()), wiped, wiped_points)


@dataclass(frozen=True)
class Strewn:
    """How marks are strewn over B pictures, so that G wipes them off wherever and however they are: it must have learnt
    that before L_delta knows any place."""

    affine: Float[Tensor, "B 2 3"]
    """Of all points of a picture about their middle,"""
    each: Float[Tensor, "B N 2"]
    """and what is added to each."""
    looks: Looks

    @staticmethod
    def draw(batch: int, count: int, strength: float, generator: torch.Generator) -> Strewn:
        """Some, by at most `strength`."""
        device = generator.device

        def normal(sd: float, *shape: int) -> Tensor:
            return strength * sd * torch.randn(batch, *shape, generator=generator, device=device)

        much = torch.rand(batch, 1, 1, generator=generator, device=device)
        turn, grow = (much * normal(TURN, 1, 1))[:, 0], (much * normal(GROW, 1, 1))[:, 0].exp()
        cos, sin = grow * turn.cos(), grow * turn.sin()
        move = (much * normal(MOVE, 1, 2))[:, 0]
        affine = torch.cat([cos, -sin, move[:, :1], sin, cos, move[:, 1:]], 1).unflatten(1, (2, 3))
        faint = 1 - strength * FAINT * torch.rand(batch, generator=generator, device=device)
        wide = float((strength * WIDE * torch.randn((), generator=generator, device=device)).exp())
        colour = (normal(SHADE, 1) + normal(TINT, 3)).exp()
        return Strewn(affine, much * normal(EACH, count, 2), Looks(colour, faint, wide))

    def __call__(self, points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 2"]:
        """Where the marks of these points are strewn."""
        middle = points.mean(1, keepdim=True)
        return middle + to_photo(points - middle, self.affine) + self.each


def softened(image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
    """Over 3 x 3 pixels."""
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.1))


def _twice(image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 2*H 2*W"]:
    return F.interpolate(image, scale_factor=2.0)


def _start(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
