"""The dense embedder: a picture of a head -> where on the head each pixel lies (DenseMarks)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.detect.prior import CHANNELS, MIDDLE, STRIDE
from anymark.errors import AnymarkError
from anymark.learn.models.encoder import IMAGENET_MEAN, IMAGENET_STD, PRESETS
from anymark.learn.models.necks import Dpt, Pyramid
from anymark.tables import check_numbers

STEEP = 3.0
"""uvw = tanh(STEEP x) / 2 + 1/2, as the authors' code has it."""
LAST_PACE = 0.05
"""Share of the learning rate for the last layers: a step of theirs moves every pixel by millimetres."""
OCTAVES = 4
"""Of sines and cosines of what a prior says."""
COARSEST = 32
"""Stride of the light decoder's coarsest level: inputs must be a multiple."""
TOLD = 3
"""Levels of the decoder, fine to coarse, that are told of it."""
SURE = 0.98
"""A prior goes no nearer to the cube's walls, as a share of the way: tanh would never reach them."""
START_SPREAD_MM = 30.0
"""What the embedder takes its error for before training."""


@dataclass(frozen=True)
class EmbedderConfig:
    """Which backbone and decoder."""

    backbone: str = "mobilenetv4-conv-small"
    """A preset or any timm model name."""
    neck: Literal["pyramid", "dpt"] = "pyramid"
    """"pyramid": light, for convolutional backbones; "dpt": the paper's, for vision transformers."""
    input_size: int = 256
    """Side of the square input, pixels."""
    widths: tuple[int, ...] = (40, 96, 128, 160)
    """pyramid: channels at strides 4, 8, 16 and 32."""
    depths: tuple[int, ...] = (1, 2, 2, 2)
    """pyramid: blocks at each of these; the finest cost most."""
    prior: bool = True
    """pyramid: start from the head that the query model finds, drawn into the picture (`anymark.detect.prior`)."""
    pretrained: bool = False
    """Start from timm's weights (downloaded; mind their licence)."""

    def __post_init__(self) -> None:
        check_numbers(self, "input_size", least=32)
        check_numbers(self, "widths", "depths", least=1)
        if not len(self.widths) == len(self.depths) == 4:
            raise AnymarkError("widths and depths: there must be four of each")
        if self.neck == "pyramid" and self.input_size % COARSEST:
            raise AnymarkError(f"input_size: {self.input_size} must be a multiple of {COARSEST}")


class Embedding(NamedTuple):
    """What the embedder says of B pictures, at half their size, where pixel (j, i) is about (2 j + 1, 2 i + 1);
    with the neck "dpt" and patches of 16 pixels, at their own."""

    uvw: Float[Tensor, "B 3 h w"]
    """In the unit cube."""
    head: Float[Tensor, "B h w"]
    """Logit of showing the head or its hair."""
    log_spread: Float[Tensor, "B h w"]
    """Log of the spread of uvw, millimetres: a third of the expected distance."""

    def joined(self) -> Float[Tensor, "B 5 h w"]:
        """All as one map."""
        return torch.cat([self.uvw, self.head[:, None], self.log_spread[:, None]], 1)


class Embedder(nn.Module):
    """A timm backbone, a decoder, and the last layer that makes them a map.

    Raises:
        AnymarkError: timm does not know the backbone or has no weights for it, or it does not go with the decoder.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: EmbedderConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.encoder = Pictures(config) if config.neck == "pyramid" else Tokens(config)
        self.told = Told(config.widths[:TOLD]) if config.neck == "pyramid" and config.prior else None
        width = self.encoder.width
        self.place = nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1)
        self.more = nn.ConvTranspose2d(width, 2, 4, stride=2, padding=1)
        for layer in (self.place, self.more):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            for parameter in layer.parameters():
                parameter.pace = LAST_PACE  # type: ignore[attr-defined]
        with torch.no_grad():
            # tanh must not start in its flat part, and what starts from a prior starts as it
            self.place.weight.mul_(0.1 if self.told is None else 0.0)
            self.more.weight.mul_(0.1)
            assert self.more.bias is not None
            self.more.bias[1] = torch.tensor(START_SPREAD_MM).log()

    def forward(self, image: Float[Tensor, "B 3 H W"], prior: Float[Tensor, "B 4 h w"] | None = None) -> Embedding:
        """RGB in 0..1; H and W are multiples of the backbone's coarsest stride, or of its patches.

        Args:
            prior: at a quarter of the picture, for embedders that start from one; None where no head is known.
        """
        normal = (image - self.mean) / self.std
        if self.told is None:
            features = self.encoder(normal)
            place = STEEP * self.place(features)
        else:
            prior = nowhere(image) if prior is None else prior
            features = self.encoder(normal, self.told(prior))
            start = F.interpolate(prior[:, :3], scale_factor=2.0, mode="bilinear", align_corners=False)
            place = STEEP * self.place(features) + torch.atanh((2 * start - 1).clamp(-SURE, SURE))
        head, spread = self.more(features).unbind(1)
        return Embedding(torch.tanh(place) / 2 + 0.5, head, spread)


def nowhere(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 4 h w"]:
    """The prior of pictures whose heads nobody knows."""
    rows, columns = (n // STRIDE for n in image.shape[-2:])
    return image.new_tensor(MIDDLE).view(1, CHANNELS, 1, 1).expand(len(image), CHANNELS, rows, columns)


class Pictures(nn.Module):
    """A convolutional backbone and the light decoder: features at a quarter of the input."""

    def __init__(self, config: EmbedderConfig) -> None:
        super().__init__()
        self.backbone: Any = _create(config, features_only=True)
        strides = list(self.backbone.feature_info.reduction())
        if not {4, 8, 16, 32} <= set(strides):
            raise AnymarkError(f"backbone {config.backbone!r}: its features have strides {strides}, not 4, 8, 16, 32")
        self.levels = [strides.index(stride) for stride in (4, 8, 16, 32)]
        channels = self.backbone.feature_info.channels()
        self.neck = Pyramid([channels[i] for i in self.levels], config.widths, config.depths)
        self.width = self.neck.width

    def forward(self, image: Float[Tensor, "B 3 H W"], told: Sequence[Tensor] = ()) -> Float[Tensor, "B C h w"]:
        features = self.backbone(image)
        return self.neck([features[i] for i in self.levels], told)


class Told(nn.Module):
    """Reads a prior (`anymark.detect.prior`) for the levels of the light decoder, fine to coarse.

    Args:
        widths: channels of the levels that are told of it.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = CHANNELS + 2 * 3 * OCTAVES
        self.read = nn.ModuleList()
        for width in widths:
            self.read.append(nn.Conv2d(inputs, width, 1))
            inputs = width
        self.leave = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths)
        for layer in self.leave:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]

    def forward(self, prior: Float[Tensor, "B 4 h w"]) -> list[Tensor]:
        around = math.pi * (2 * prior[:, :3] - 1)
        x = torch.cat([prior, *(f(2**k * around) for k in range(OCTAVES) for f in (torch.sin, torch.cos))], 1)
        out = []
        for i, (read, leave) in enumerate(zip(self.read, self.leave, strict=True)):
            x = F.relu(read(F.avg_pool2d(x, 2) if i else x))
            out.append(leave(x))
        return out


class Tokens(nn.Module):
    """A vision transformer and the DPT decoder, which sees its last four blocks: features at half the input for patches
    of 16 pixels."""

    def __init__(self, config: EmbedderConfig) -> None:
        super().__init__()
        self.backbone: Any = _create(config, num_classes=0, img_size=config.input_size)
        if not hasattr(self.backbone, "forward_intermediates") or not getattr(self.backbone, "num_prefix_tokens", 0):
            raise AnymarkError(f"backbone {config.backbone!r}: no vision transformer with a class token")
        self.neck = Dpt(self.backbone.embed_dim)
        self.width = self.neck.width

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        levels = self.backbone.forward_intermediates(
            image, indices=4, norm=True, return_prefix_tokens=True, intermediates_only=True
        )
        return self.neck([(tokens, prefix[:, 0]) for tokens, prefix in levels])


def _create(config: EmbedderConfig, **options: Any) -> nn.Module:
    name = PRESETS.get(config.backbone, config.backbone)
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:3] or sorted(PRESETS)
        raise AnymarkError(f"unknown backbone {config.backbone!r}; for example {', '.join(near)}")
    try:
        return timm.create_model(name, pretrained=config.pretrained, **options)
    except Exception as error:  # whatever timm's many models raise
        raise AnymarkError(f"backbone {config.backbone!r}: {' '.join(str(error).split())}") from error
