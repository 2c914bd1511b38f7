"""Photos, and where batches of training samples look at them: windows, their surroundings and crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.learn.data.appearance import AppearanceConfig, degrade, occlude
from anymark.learn.data.geometry import (
    compose,
    cut_windows,
    follow,
    pixel_centres,
    to_photo,
)


@dataclass(frozen=True)
class Views:
    """Photos of one set, and where to look at them."""

    photos: Float[Tensor, "B 3 H W"]
    """RGB in 0..1."""
    window: Float[Tensor, "B 2 3"]
    """Window coordinates -> photo pixels."""
    valid_box_px: Float[Tensor, "B 4"]
    around: Float[Tensor, "B 3 Z Z"]
    """What lies around each photo: a picture that fills its window, or a colour (Z = 1),"""
    smear: Bool[Tensor, " B"]
    """or whether the photo's border goes on there."""

    def cut(self, theta: Float[Tensor, "B 2 3"], size: int) -> Float[Tensor, "B 3 S S"]:
        """The pixels of crops of the windows."""
        around = self.around
        if around.shape[-1] > 1:
            grid = to_photo(pixel_centres(size, theta.device).flatten(0, 1)[None], theta).unflatten(1, (size, size))
            around = F.grid_sample(around, grid, padding_mode="reflection", align_corners=False)
        window = compose(self.window, theta)
        return cut_windows(self.photos, window, size, self.valid_box_px, around, self.smear)


def draw_surroundings(
    n: int, backgrounds: UInt8[Tensor, "N 3 Z Z"] | None, generator: Generator, device: torch.device
) -> tuple[Float[Tensor, "B 3 #Z #Z"], Bool[Tensor, " B"]]:
    """What lies around n photos, `Views.around` and `Views.smear`: black, a colour, a picture without heads, or the
    photo's own border."""
    look = torch.rand(n, 1, 1, 1, generator=generator, device=device)
    around = torch.rand(n, 3, 1, 1, generator=generator, device=device) * (look > 0.25)  # some of them black
    if backgrounds is not None:
        pick = torch.randint(len(backgrounds), (n,), generator=generator, device=device)
        around = torch.where(look > 0.5, backgrounds[pick].float() / 255, around)
    return around, look[:, 0, 0, 0] > 0.85


@dataclass
class Looker:
    """Cuts the crops that S asks for, as bad cameras would show them; what a model calls once a batch."""

    views: Sequence[Views]
    size: int
    appearance: AppearanceConfig
    generator: Generator
    covered: Bool[Tensor, "B S S"] | None = field(default=None, init=False)
    """Which pixels of the last crops things were put over."""

    def __call__(self, theta: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 S S"]:
        with torch.autocast(theta.device.type, enabled=False):  # places must not be rounded
            return self._look(theta.float())

    def _look(self, theta: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 S S"]:
        with torch.no_grad():
            counts = [len(view.window) for view in self.views]
            thetas = theta.detach().nan_to_num().split(counts)  # a grid of NaN would crash grid_sample
            parts = [v.cut(t, self.size) for v, t in zip(self.views, thetas, strict=True)]
            image, self.covered = occlude(torch.cat(parts), self.appearance, self.generator)
            image = degrade(image, self.appearance, self.generator)
        return follow(image, theta).contiguous(memory_format=torch.channels_last)
