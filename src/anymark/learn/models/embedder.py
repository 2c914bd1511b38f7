"""The dense embedder: a picture of a head -> where on the head each pixel lies (DenseMarks, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.errors import AnymarkError
from anymark.learn.models.encoder import IMAGENET_MEAN, IMAGENET_STD, PRESETS, Encoder, EncoderConfig
from anymark.learn.models.necks import Dpt, Pyramid
from anymark.tables import check_numbers

STEEP = 3.0
"""uvw = tanh(STEEP x) / 2 + 1/2, as the authors' code has it."""
LAST_PACE = 0.05
"""Share of the learning rate for the last layers: a step of theirs moves every pixel by millimetres."""
INNER = 0.75
"""Share of a picture's side, in its middle, that the glance is at: the window of landmark models."""
OCTAVES, FIELD = 5, 96
"""Of the glance's coordinates; and channels of its field."""
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
    glance: int = 160
    """pyramid: side of the middle of the picture as a landmark model's encoder reads it, pixels; 0 for none. What it
    makes of the head as a whole, its pose and shape, is spread over the picture."""
    pretrained: bool = False
    """Start from timm's weights (downloaded; mind their licence)."""

    def __post_init__(self) -> None:
        check_numbers(self, "input_size", least=32)
        check_numbers(self, "widths", "depths", least=1)
        check_numbers(self, "glance", least=0)
        if not len(self.widths) == len(self.depths) == 4:
            raise AnymarkError("widths and depths: there must be four of each")


class Embedding(NamedTuple):
    """What the embedder says of B pictures, at half their size: pixel (j, i) is about (2 j + 1, 2 i + 1)."""

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
        self.glance = Glance(config, config.widths[1]) if config.neck == "pyramid" and config.glance else None
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
            self.place.weight.mul_(0.1)  # tanh must not start in its flat part
            self.more.weight.mul_(0.1)
            assert self.more.bias is not None
            self.more.bias[1] = torch.tensor(START_SPREAD_MM).log()

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Embedding:
        """RGB in 0..1; H and W are multiples of the backbone's coarsest stride, or of its patches."""
        normal = (image - self.mean) / self.std
        features = self.encoder(normal) if self.glance is None else self.encoder(normal, self.glance(image))
        uvw = torch.tanh(STEEP * self.place(features)) / 2 + 0.5
        head, spread = self.more(features).unbind(1)
        return Embedding(uvw, head, spread)


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

    def forward(
        self, image: Float[Tensor, "B 3 H W"], glance: Float[Tensor, "B G r s"] | None = None
    ) -> Float[Tensor, "B C h w"]:
        features = self.backbone(image)
        return self.neck([features[i] for i in self.levels], glance)


class Glance(nn.Module):
    """What a landmark model's encoder makes of the head, for every place of the picture: a field over its coordinates
    that is modulated by the features (FiLM, Perez et al. 2018), at an eighth of the input. The encoder itself stays as
    it is: `train.init` brings one that knows heads.

    Args:
        width: channels of the field.
    """

    def __init__(self, config: EmbedderConfig, width: int) -> None:
        super().__init__()
        self.size = config.glance
        self.encoder = Encoder(EncoderConfig(config.backbone, config.glance)).requires_grad_(False)
        features = EncoderConfig.features
        self.enter = nn.Conv2d(2 + 4 * OCTAVES, FIELD, 1)
        self.layers = nn.ModuleList(nn.Conv2d(FIELD, FIELD, 1) for _ in range(2))
        self.modulate = nn.ModuleList(nn.Linear(features, 2 * FIELD) for _ in range(3))
        self.leave = nn.Conv2d(FIELD, width, 1)
        nn.init.zeros_(self.leave.weight)

    def train(self, mode: bool = True) -> Glance:
        """The encoder's running statistics stay, too."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B G r s"]:
        """RGB in 0..1."""
        height, width = image.shape[-2:]
        top, left = round(height * (1 - INNER) / 2), round(width * (1 - INNER) / 2)
        inner = image[..., top : height - top, left : width - left]
        size = (self.size, self.size)
        with torch.no_grad():
            features = self.encoder(F.interpolate(inner, size, mode="bilinear", align_corners=False))
        x = self.enter(_places(height // 8, width // 8, image))
        for layer, modulate in zip([None, *self.layers], self.modulate, strict=True):
            scale, shift = modulate(features)[..., None, None].chunk(2, 1)
            x = F.relu((x if layer is None else layer(x)) * (1 + scale) + shift)
        return self.leave(x)


def _places(rows: int, columns: int, like: Tensor) -> Float[Tensor, "1 C h w"]:
    """Coordinates of a map's cells in -1..1, with sines and cosines of a few octaves."""
    along = [(torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) * (2 / n) - 1 for n in (columns, rows)]
    xy = torch.stack(torch.meshgrid(*along, indexing="xy"))
    waves = [f(math.pi / 2 * 2**k * xy) for k in range(OCTAVES) for f in (torch.sin, torch.cos)]
    return torch.cat([xy, *waves])[None]


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
