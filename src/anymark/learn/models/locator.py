"""The head locator: a small fully convolutional network, one score and one head's geometry a cell of 8 x 8 pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.errors import AnymarkError
from anymark.tables import check_numbers

STRIDE = 8
MULTIPLE = 32
"""Height and width of an input are multiples of this."""
GAUSSIAN = 0.12
"""Standard deviation of a head's peak in the heat map, as a fraction of the head's side."""
LEAST_GAUSSIAN = 0.7
"""The same at least, in cells."""
POSITIVE = 0.3
"""Cells learn the geometry of a head where its peak is higher than this."""


@dataclass(frozen=True)
class LocatorConfig:
    """Channels and depth. The defaults: 1 M parameters, about 4 ms for 320 x 320 pixels on one CPU thread."""

    stem: int = 16
    """Channels at stride 2."""
    early: int = 24
    """Channels at stride 4."""
    widths: tuple[int, ...] = (48, 96, 160, 160)
    """Channels at strides 8, 16, 32 and 64; large heads need the last."""
    depths: tuple[int, ...] = (2, 3, 3, 2)
    """Residual blocks at each of these strides."""
    fusion: int = 64
    """Channels of the pyramid that brings all strides back to 8."""

    def __post_init__(self) -> None:
        check_numbers(self, "stem", "early", "widths", "fusion", least=1)
        check_numbers(self, "depths", least=0)
        if not len(self.widths) == len(self.depths) == 4:
            raise AnymarkError("widths and depths: there must be four of each")


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Depthwise 5 x 5, then twice as many channels and back, around a shortcut."""

    def __init__(self, channels: int, kernel: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(channels, channels, kernel, groups=channels),
            *_conv(channels, 2 * channels, 1),
            nn.ReLU(inplace=True),
            *_conv(2 * channels, channels, 1),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.body(x)


class Locator(nn.Module):
    """Image -> scores and heads. Cell (i, j) is centred on pixel ((j + 0.5) * 8, (i + 0.5) * 8)."""

    def __init__(self, config: LocatorConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_conv(3, config.stem, 3, 2),
            nn.ReLU(inplace=True),
            *_conv(config.stem, config.early, 3, 2),
            nn.ReLU(inplace=True),
        )
        stages, inputs = [], config.early
        for width, depth in zip(config.widths, config.depths, strict=True):
            down = [*_conv(inputs, width, 3, 2), nn.ReLU(inplace=True)]
            stages.append(nn.Sequential(*down, *(Block(width) for _ in range(depth))))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv2d(width, config.fusion, 1) for width in config.widths)
        self.refine = nn.ModuleList(Block(config.fusion, 3) for _ in config.widths)
        self.head = nn.Sequential(
            *_conv(config.fusion, config.fusion, 3),
            nn.ReLU(inplace=True),
            Block(config.fusion),
            nn.ReLU(inplace=True),
        )
        last = nn.Conv2d(config.fusion, 9, 1)
        nn.init.normal_(last.weight, std=0.01)
        # few cells hold a head, and a head starts 64 pixels wide with level eyes
        last.bias = nn.Parameter(torch.tensor([-4.0, 1.4, 1.4, 1.4, 1.4, -0.2, -0.2, 0.2, -0.2]))
        self.head.append(last)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B h w 8"]]:
        """RGB in 0..1 -> logits of the scores, and geometry in pixels (box, then right and left eye)."""
        x = self.stem((image - 0.5) * 4)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        fused = None
        for feature, lateral, refine in reversed(list(zip(features, self.lateral, self.refine, strict=True))):
            level = lateral(feature)
            if fused is not None:  # twice as large; an odd size has a row or column less
                up = F.interpolate(fused, scale_factor=2.0, mode="nearest")
                level = level + up[:, :, : level.shape[2], : level.shape[3]]
            fused = refine(level)
        out = self.head(fused)
        return out[:, 0], decode(out[:, 1:].permute(0, 2, 3, 1))


def decode(raw: Float[Tensor, "B h w 8"]) -> Float[Tensor, "B h w 8"]:
    """The network's numbers -> box and eyes in pixels of the input.

    The first four are logs of the distances, in strides, from the cell's centre to the box's left, top, right and
    bottom edge; the others are the eyes' offsets from that centre, in mean sides of the box.
    """
    rows = (torch.arange(raw.shape[1], device=raw.device, dtype=raw.dtype) + 0.5) * STRIDE
    columns = (torch.arange(raw.shape[2], device=raw.device, dtype=raw.dtype) + 0.5) * STRIDE
    x, y = columns[None, None, :], rows[None, :, None]
    left, top, right, bottom = ((raw[..., :4].clamp(-6, 6)).exp() * STRIDE).unbind(-1)
    side = (left + top + right + bottom) / 2
    eyes = raw[..., 4:] * side[..., None]
    box = torch.stack([x - left, y - top, x + right, y + bottom], -1)
    shift = torch.stack([x.expand_as(left), y.expand_as(left)] * 2, -1)
    return torch.cat([box, shift + eyes], -1)


@dataclass(frozen=True)
class Targets:
    """What a locator should answer."""

    heat: Float[Tensor, "B h w"]
    """1 in the cell of each head's centre, a Gaussian around it."""
    counts: Bool[Tensor, "B h w"]
    """Where the score counts: not on ignored heads."""
    geometry: Float[Tensor, "B h w 8"]
    """Of the head whose peak is the highest there."""
    weight: Float[Tensor, "B h w"]
    """How much the geometry of a cell counts."""
    side: Float[Tensor, "B h w"]
    """Mean side of that head's box, pixels."""


def encode_targets(
    geometry: Float[Tensor, "B G 8"], heads: Bool[Tensor, "B G"], ignored: Bool[Tensor, "B G"], cells: tuple[int, int]
) -> Targets:
    """Heads in pixels -> targets on a grid of cells (rows, columns)."""
    rows, columns = cells
    device = geometry.device
    y = ((torch.arange(rows, device=device) + 0.5) * STRIDE)[:, None]
    x = ((torch.arange(columns, device=device) + 0.5) * STRIDE)[None]
    x0, y0, x1, y1 = (v[..., None, None] for v in geometry[..., :4].unbind(-1))
    side = (x1 - x0 + y1 - y0) / 2
    sigma = (GAUSSIAN * side).clamp(min=LEAST_GAUSSIAN * STRIDE)
    squared = (x - (x0 + x1) / 2) ** 2 + (y - (y0 + y1) / 2) ** 2
    peak = (-squared / (2 * sigma**2)).exp() * heads[..., None, None]
    own = ((x0 + x1) / 2 - x).abs().le(STRIDE / 2) & ((y0 + y1) / 2 - y).abs().le(STRIDE / 2)
    heat = torch.where(own & heads[..., None, None], 1.0, peak).amax(1)
    inside = (x > x0) & (x < x1) & (y > y0) & (y < y1) & ignored[..., None, None]
    best, which = peak.max(1)
    pick = which.flatten(1)
    cell_geometry = geometry.gather(1, pick[..., None].expand(-1, -1, 8)).view(len(geometry), rows, columns, 8)
    cell_side = side[..., 0, 0].gather(1, pick).view(len(geometry), rows, columns)
    # a cell outside of its head's box cannot name it: distances are positive
    within = (cell_geometry[..., 0] < x) & (cell_geometry[..., 2] > x)
    within &= (cell_geometry[..., 1] < y) & (cell_geometry[..., 3] > y)
    weight = torch.where((best > POSITIVE) & within, best, 0.0)
    return Targets(heat, ~inside.any(1) | (heat > POSITIVE), cell_geometry, weight, cell_side)


def local_maxima(score: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
    """Scores that none of the 8 neighbours exceeds; 0 elsewhere."""
    highest = F.max_pool2d(score[:, None], 3, 1, 1)[:, 0]
    return torch.where(score >= highest, score, torch.zeros_like(score))


def best_cells(score: Float[Tensor, "B h w"], count: int) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """The highest local maxima of each image and their cells' flat indices, highest first."""
    top = local_maxima(score).flatten(1).topk(min(count, score[0].numel()))
    return top.values, top.indices
