"""Windows onto photos, in batches: where they lie, their pixels, and points carried through them.

The batched twin of `anymark.detect.window`, with two freedoms that only training needs: mirroring and anisotropy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.tables import check_numbers


@dataclass(frozen=True)
class GeometryConfig:
    """How the window of a training sample differs from the exact one. Standard deviations of normal laws."""

    scale: float = 0.12
    """Log of the window's side."""
    shift: float = 0.05
    """Centre, as a fraction of the side, each axis."""
    roll_deg: float = 14.0
    """Roll of most windows; one in eight is rolled three times as far."""
    anisotropy: float = 0.04
    """Log of width over height."""
    mirror: float = 0.5
    """Probability of mirroring, with the layout's flip pairs."""

    def __post_init__(self) -> None:
        check_numbers(self, "scale", "shift", "roll_deg", "anisotropy", least=0)
        check_numbers(self, "mirror", least=0, most=1)


NO_AUGMENTATION = GeometryConfig(0, 0, 0, 0, 0)


def sample_windows(
    box_px: Float[Tensor, "B 4"], window_scale: float, config: GeometryConfig, generator: Generator
) -> Float[Tensor, "B 2 3"]:
    """Affine maps from window coordinates [-1, 1]^2 to photo pixels, around each head's box.

    Args:
        box_px: x0, y0, x1, y1 of the heads.
        window_scale: side of the exact window over the longer side of the box.
    """
    n, device = len(box_px), box_px.device

    def normal(sd: float) -> Tensor:
        return torch.randn(n, generator=generator, device=device) * sd

    side = window_scale * (box_px[:, 2:] - box_px[:, :2]).amax(1) * normal(config.scale).exp()
    centre = (box_px[:, :2] + box_px[:, 2:]) / 2
    centre = centre + side[:, None] * torch.stack([normal(config.shift), normal(config.shift)], 1)
    far = torch.rand(n, generator=generator, device=device) < 0.125
    roll = torch.deg2rad(normal(config.roll_deg) * torch.where(far, 3.0, 1.0))
    stretch = (normal(config.anisotropy) / 2).exp()
    sign = torch.where(torch.rand(n, generator=generator, device=device) < config.mirror, -1.0, 1.0)
    half_x, half_y = side / 2 * stretch * sign, side / 2 / stretch
    linear = torch.stack([roll.cos() * half_x, -roll.sin() * half_y, roll.sin() * half_x, roll.cos() * half_y], 1).view(
        n, 2, 2
    )
    return torch.cat([linear, centre[:, :, None]], 2)


def is_mirrored(window: Float[Tensor, "B 2 3"]) -> Tensor:
    """(B,) bool: which windows show the photo mirrored."""
    return torch.det(window[:, :, :2]) < 0


def to_window(points_px: Float[Tensor, "B N 2"], window: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B N 2"]:
    """Photo pixels -> window coordinates [-1, 1]^2."""
    return torch.linalg.solve(window[:, None, :, :2], (points_px - window[:, None, :, 2])[..., None])[..., 0]


def to_photo(points: Float[Tensor, "B N 2"], window: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B N 2"]:
    """Window coordinates -> photo pixels; the inverse of `to_window`."""
    return points @ window[:, :, :2].transpose(1, 2) + window[:, None, :, 2]


def pixel_centres(size: int, device: torch.device) -> Float[Tensor, "S S 2"]:
    """Window coordinates of the centres of a size x size window's pixels."""
    along = (torch.arange(size, device=device) + 0.5) * (2.0 / size) - 1.0
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)


def cut_windows(
    photos: Float[Tensor, "B 3 H W"],
    window: Float[Tensor, "B 2 3"],
    size: int,
    valid_box_px: Float[Tensor, "B 4"],
    fill: Float[Tensor, "B 3"],
    smear: Tensor,
) -> Float[Tensor, "B 3 S S"]:
    """The pixels of each window, anti-aliased by oversampling where they are coarser than the photos'.

    Outside of `valid_box_px` a window shows the colour `fill` or, where `smear` (B,) is true, the nearest pixel.
    """
    height, width = photos.shape[2:]
    photo_px_a_pixel = float(torch.det(window[:, :, :2]).abs().sqrt().mean()) * 2 / size
    oversample = max(1, round(photo_px_a_pixel))
    centres = pixel_centres(size * oversample, photos.device)
    px = to_photo(centres.flatten(0, 1).expand(len(photos), -1, -1), window)
    low, high = valid_box_px[:, None, :2] + 0.5, valid_box_px[:, None, 2:] - 0.5
    inside = ((px >= low - 0.5) & (px <= high + 0.5)).all(-1)
    px = torch.maximum(torch.minimum(px, high), low)
    grid = (px * px.new_tensor([2.0 / width, 2.0 / height]) - 1.0).view(len(photos), *centres.shape)
    out = F.grid_sample(photos, grid, mode="bilinear", padding_mode="border", align_corners=False)
    keep = (inside | smear[:, None]).view(len(photos), 1, *centres.shape[:2])
    out = torch.where(keep, out, fill[:, :, None, None])
    return F.avg_pool2d(out, oversample) if oversample > 1 else out
