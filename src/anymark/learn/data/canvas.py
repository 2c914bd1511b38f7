"""A picture that photos are painted on, layer over layer, and the geometry of laying them out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

Region = tuple[int, int, int, int]


@dataclass
class Canvas:
    """One scene while it is painted; the last layer over a pixel owns it."""

    image: Float[Tensor, "3 S S"]
    owner: Int[Tensor, "S S"]
    heads: list[tuple[int, Tensor]] = field(default_factory=list)
    layers: int = 0

    def paint(
        self,
        photo: UInt8[Tensor, "3 H W"],
        to_photo: Float[Tensor, "2 3"],
        region: Region,
        *,
        outside: str = "keep",
        feather: float = 0.0,
        ellipse: bool = False,
    ) -> int:
        """Paint a photo, seen through an affine map from scene to photo pixels, into a region; returns the layer.

        Args:
            outside: beyond the photo "keep" what is there, or go on with its "border" or its "reflection" (not of
                heads: nobody would know of the second one).
            feather: width of the soft edge of the region, pixels.
            ellipse: paint the ellipse in the region only.
        """
        x0, y0, x1, y1 = region
        self.layers += 1
        if x1 - x0 < 2 or y1 - y0 < 2:
            return self.layers
        device = self.image.device
        shrink = int(max(1, to_photo[:, :2].det().abs().sqrt().item() + 0.3))
        pixels = photo[None].float() / 255
        shrink = min(shrink, *photo.shape[1:])
        if shrink > 1:
            pixels = F.avg_pool2d(pixels, shrink)
        xs, ys = torch.arange(x0, x1, device=device) + 0.5, torch.arange(y0, y1, device=device) + 0.5
        at = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1) @ to_photo[:, :2].T + to_photo[:, 2]
        covered = at.new_tensor([pixels.shape[3], pixels.shape[2]]) * shrink
        at = at * (2 / covered) - 1
        mode = "reflection" if outside == "reflection" else "border"
        new = F.grid_sample(pixels, at[None], padding_mode=mode, align_corners=False)[0]
        alpha = torch.ones(y1 - y0, x1 - x0, device=device)
        if ellipse:
            u, v = (xs - (x0 + x1) / 2) / ((x1 - x0) / 2), (ys - (y0 + y1) / 2) / ((y1 - y0) / 2)
            edge = (1 - (u[None] ** 2 + v[:, None] ** 2).sqrt()) * (min(x1 - x0, y1 - y0) / 2)
            alpha = (edge / max(feather, 1.0)).clamp(0, 1)
        elif feather > 0:
            edge = torch.minimum(torch.minimum(xs - x0, x1 - xs)[None], torch.minimum(ys - y0, y1 - ys)[:, None])
            alpha = (edge / feather).clamp(0, 1)
        if outside == "keep":
            alpha = alpha * (at.abs() <= 1).all(-1)
        old = self.image[:, y0:y1, x0:x1]
        self.image[:, y0:y1, x0:x1] = old + (new - old) * alpha
        self.owner[y0:y1, x0:x1][alpha > 0.5] = self.layers
        return self.layers

    def visible(self, layer: int, box: Sequence[float]) -> float:
        """Share of a box that still shows a layer."""
        size = len(self.owner)
        x0, y0, x1, y1 = (min(max(round(v), 0), size) for v in box)
        area = (box[2] - box[0]) * (box[3] - box[1])
        return float((self.owner[y0:y1, x0:x1] == layer).sum()) / max(area, 1.0)


def similarity(zoom: float, roll: float, rng: np.random.Generator) -> Float[Tensor, "2 2"]:
    """Rotation and scale, mirrored half of the time, slightly stretched."""
    stretch = math.exp(rng.normal(0, 0.04))
    sign = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(roll), math.sin(roll)
    return torch.tensor([[cos * sign * stretch, -sin / stretch], [sin * sign * stretch, cos / stretch]]) * zoom


def split_region(region: Region, count: int, rng: np.random.Generator) -> list[Region]:
    """Cut a region into rectangles, the largest first, across its longer side."""
    tiles = [region]
    while len(tiles) < count:
        tiles.sort(key=lambda t: (t[2] - t[0]) * (t[3] - t[1]))
        x0, y0, x1, y1 = tiles.pop()
        cut = rng.uniform(0.35, 0.65)
        if x1 - x0 > y1 - y0:
            x = round(x0 + (x1 - x0) * cut)
            tiles += [(x0, y0, x, y1), (x, y0, x1, y1)]
        else:
            y = round(y0 + (y1 - y0) * cut)
            tiles += [(x0, y0, x1, y), (x0, y, x1, y1)]
    return tiles
