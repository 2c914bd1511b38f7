"""From a backbone's features to a map: the decoders of dense models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.learn.models.locator import Block


class Pyramid(nn.Module):
    """A light decoder for convolutional backbones: from the coarsest features to those at a quarter of the input, level
    by level, each with what the backbone says at its own scale.

    Args:
        channels: of the backbone's features, fine to coarse. widths: of the levels. depths: blocks at each.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(channels, widths, strict=True))
        self.refine = nn.ModuleList(
            nn.Sequential(*(Block(w) for _ in range(d))) for w, d in zip(widths, depths, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairwise(widths))
        self.width = widths[0]

    def forward(self, features: Sequence[Tensor], more: Sequence[Tensor] = ()) -> Float[Tensor, "B C H W"]:
        """Features, fine to coarse; and what is added to the first levels."""
        x = self.refine[-1](self.lateral[-1](features[-1]))
        for i in reversed(range(len(features) - 1)):
            level = self.lateral[i](features[i])
            x = F.interpolate(self.down[i](x), size=level.shape[-2:], mode="bilinear", align_corners=False)
            x = self.refine[i](level + x + more[i] if i < len(more) else level + x)
        return x


class Residual(nn.Module):
    """Two pre-activated 3 x 3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.convolution2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.convolution2(F.relu(self.convolution1(F.relu(x))))


class Fusion(nn.Module):
    """A finer level's features added to what came before, and all of it twice as large."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual_layer1 = Residual(channels)
        self.residual_layer2 = Residual(channels)
        self.projection = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, finer: Tensor | None) -> Float[Tensor, "B C H W"]:
        if finer is not None:
            if finer.shape != x.shape:
                finer = F.interpolate(finer, size=x.shape[-2:], mode="bilinear", align_corners=False)
            x = x + self.residual_layer1(finer)
        x = F.interpolate(self.residual_layer2(x), scale_factor=2.0, mode="bilinear", align_corners=True)
        return self.projection(x)


class Dpt(nn.Module):
    """The decoder of dense prediction transformers (Ranftl et al. 2021), which DenseMarks takes for its ViT.

    Four levels of tokens, each told what the class token says, become maps at 4, 2, 1 and 1/2 of the tokens' grid, and
    are fused coarse to fine: the answer is 8 times as fine as the grid.

    Args:
        dim: of the tokens.
    """

    FACTORS = (4, 2, 1, 0.5)

    def __init__(self, dim: int, widths: Sequence[int] = (96, 192, 384, 768), width: int = 256) -> None:
        super().__init__()
        self.readout = nn.ModuleList(nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU()) for _ in widths)
        self.project = nn.ModuleList(nn.Conv2d(dim, w, 1) for w in widths)
        self.resize = nn.ModuleList(_resize(w, factor) for w, factor in zip(widths, self.FACTORS, strict=True))
        self.convs = nn.ModuleList(nn.Conv2d(w, width, 3, padding=1, bias=False) for w in widths)
        self.fusion = nn.ModuleList(Fusion(width) for _ in widths)
        self.width = width

    def forward(
        self, levels: Sequence[tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C"]]]
    ) -> Float[Tensor, "B W H X"]:
        """Maps of tokens with their class tokens, shallow to deep."""
        maps = []
        for i, (tokens, said) in enumerate(levels):
            rows, columns = tokens.shape[-2:]
            flat = tokens.flatten(2).transpose(1, 2)
            flat = self.readout[i](torch.cat([flat, said[:, None].expand_as(flat)], -1))
            grid = flat.transpose(1, 2).unflatten(2, (rows, columns))
            maps.append(self.convs[i](self.resize[i](self.project[i](grid))))
        x = maps[-1]
        for i, fusion in enumerate(self.fusion):
            x = fusion(x, None if i == 0 else maps[-1 - i])
        return x


def _resize(channels: int, factor: float) -> nn.Module:
    if factor > 1:
        return nn.ConvTranspose2d(channels, channels, int(factor), stride=int(factor))
    if factor == 1:
        return nn.Identity()
    return nn.Conv2d(channels, channels, 3, stride=int(1 / factor), padding=1)
