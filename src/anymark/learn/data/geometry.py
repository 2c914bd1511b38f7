"""Windows onto photos, in batches: where they lie, their pixels, and points carried through them.

The batched twin of `anymark.detect.window`, with two freedoms that only training needs: mirroring and anisotropy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.tables import ABOVE_0, check_ends, check_numbers

MOST_OVERSAMPLED = 6
"""Samples of a photo, along each axis, that a window's pixel is the mean of, at most."""


@dataclass(frozen=True)
class GeometryConfig:
    """How the window of a training sample differs from the exact one. Standard deviations of normal laws."""

    scale: float = 0.12
    """Log of the window's side."""
    shift: float = 0.05
    """Centre, as a fraction of the side, each axis."""
    roll_deg: float = 14.0
    """Roll of most windows; one in eight is rolled three times as far."""
    anisotropy: float = 0.0
    """Log of width over height. No camera sees heads so."""
    mirror: float = 0.5
    """Probability of mirroring, with the layout's flip pairs."""
    rough: float = 0.0
    """Share of windows that are only roughly about the head, for S to put right, mirrored as others. Uniform laws:"""
    rough_scale: tuple[float, float] = (0.6, 3.0)
    """side over the exact one's (uniform in its log),"""
    rough_shift: float = 0.5
    """centre, as a fraction of the longer side of the face's box, each axis, at most,"""
    rough_roll_deg: float = 45.0
    """and roll, at most."""

    def __post_init__(self) -> None:
        check_numbers(self, "scale", "shift", "roll_deg", "anisotropy", "rough_shift", "rough_roll_deg", least=0)
        check_numbers(self, "mirror", "rough", least=0, most=1)
        check_numbers(self, "rough_scale", least=ABOVE_0)
        check_ends(self, "rough_scale")


NO_AUGMENTATION = GeometryConfig(0, 0, 0, 0, 0)
ROUGH = GeometryConfig(0, 0, 0, 0, 0, rough=1.0)
"""Every window as rough as S has to cope with."""


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

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator, device=device) * (high - low) + low

    rough = uniform(0, 1) < config.rough
    low, high = (math.log(end) for end in config.rough_scale)
    box_side = (box_px[:, 2:] - box_px[:, :2]).amax(1)
    side = window_scale * box_side * torch.where(rough, uniform(low, high), normal(config.scale)).exp()
    reach = config.rough_shift
    shift = [torch.where(rough, uniform(-reach, reach) * box_side, normal(config.shift) * side) for _ in range(2)]
    centre = (box_px[:, :2] + box_px[:, 2:]) / 2 + torch.stack(shift, 1)
    far = uniform(0, 1) < 0.125
    turn = config.rough_roll_deg
    roll = torch.deg2rad(torch.where(rough, uniform(-turn, turn), normal(config.roll_deg) * torch.where(far, 3.0, 1.0)))
    stretch = (normal(config.anisotropy) / 2).exp()
    sign = torch.where(uniform(0, 1) < config.mirror, -1.0, 1.0)
    half_x, half_y = side / 2 * stretch * sign, side / 2 / stretch
    linear = torch.stack([roll.cos() * half_x, -roll.sin() * half_y, roll.sin() * half_x, roll.cos() * half_y], 1).view(
        n, 2, 2
    )
    return torch.cat([linear, centre[:, :, None]], 2)


def nearby_windows(
    window: Float[Tensor, "B 2 3"], scale: float, shift: float, roll_deg: float, generator: Generator
) -> Float[Tensor, "B 2 3"]:
    """The same windows a little larger or smaller, elsewhere and turned, as from one frame of a video to the next.

    Args:
        scale: standard deviation of the log of the side.
        shift: of the centre, as a fraction of the side, each axis.
        roll_deg: of the roll.
    """
    n, device = len(window), window.device
    normal = torch.randn(4, n, generator=generator, device=device)
    size, roll = (scale * normal[0]).exp(), torch.deg2rad(roll_deg * normal[1])
    cos, sin = size * roll.cos(), size * roll.sin()
    inner = torch.stack([cos, -sin, 2 * shift * normal[2], sin, cos, 2 * shift * normal[3]], 1).unflatten(1, (2, 3))
    return compose(window, inner)


def compose(outer: Float[Tensor, "B 2 3"], inner: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 2 3"]:
    """The affine map that takes points first through `inner`, then through `outer`."""
    linear, shift = outer[:, :, :2] @ inner[:, :, :2], outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([linear, shift], 2)


def identity(batch: int | torch.SymInt, like: Tensor) -> Float[Tensor, "B 2 3"]:
    """Maps that change nothing; as many as an export leaves open."""
    return torch.eye(2, 3, device=like.device, dtype=like.dtype).expand(batch, 2, 3)


def inverse(affine: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 2 3"]:
    """The affine map back."""
    back = torch.linalg.inv(affine[:, :, :2])
    return torch.cat([back, -back @ affine[:, :, 2:]], 2)


def is_mirrored(window: Float[Tensor, "B 2 3"]) -> Tensor:
    """(B,) bool: which windows show the photo mirrored."""
    return torch.det(window[:, :, :2]) < 0


def to_window(points_px: Float[Tensor, "B N 2"], window: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B N 2"]:
    """Photo pixels -> window coordinates [-1, 1]^2."""
    return torch.linalg.solve(window[:, None, :, :2], (points_px - window[:, None, :, 2])[..., None])[..., 0]


def to_photo(points: Float[Tensor, "#B N 2"], window: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B N 2"]:
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
    around: Float[Tensor, "B 3 #S #S"],
    smear: Bool[Tensor, " B"],
) -> Float[Tensor, "B 3 S S"]:
    """The pixels of each window, anti-aliased by oversampling where they are coarser than the photos'.

    Outside of `valid_box_px` a window shows `around` or, where `smear` is true, the nearest pixel.
    """
    # S may answer NaN once, which then costs one step: the loop skips it
    coarseness = (torch.det(window[:, :, :2]).abs().sqrt() * 2 / size).nan_to_num(1.0)  # photo pixels a pixel
    times = coarseness.round().clamp(1, MOST_OVERSAMPLED).int()
    out = photos.new_empty(len(photos), photos.shape[1], size, size)
    for oversample in times.unique().tolist():
        i = torch.nonzero(times == oversample)[:, 0]
        out[i] = _cut(
            photos[i], window[i], size, oversample, valid_box_px[i], around.expand(len(photos), -1, -1, -1)[i], smear[i]
        )
    return out


def _cut(
    photos: Float[Tensor, "B 3 H W"],
    window: Float[Tensor, "B 2 3"],
    size: int,
    oversample: int,
    valid_box_px: Float[Tensor, "B 4"],
    around: Float[Tensor, "B 3 #S #S"],
    smear: Bool[Tensor, " B"],
) -> Float[Tensor, "B 3 S S"]:
    height, width = photos.shape[2:]
    centres = pixel_centres(size * oversample, photos.device)
    px = to_photo(centres.flatten(0, 1).expand(len(photos), -1, -1), window)
    low, high = valid_box_px[:, None, :2] + 0.5, valid_box_px[:, None, 2:] - 0.5
    inside = ((px >= low - 0.5) & (px <= high + 0.5)).all(-1)
    px = torch.maximum(torch.minimum(px, high), low)
    grid = (px * px.new_tensor([2.0 / width, 2.0 / height]) - 1.0).view(len(photos), *centres.shape)
    out = F.grid_sample(photos, grid, mode="bilinear", padding_mode="border", align_corners=False)
    keep = (inside | smear[:, None]).view(len(photos), 1, *centres.shape[:2])
    if oversample > 1:
        keep = F.avg_pool2d(keep.float(), oversample)
        return around + (F.avg_pool2d(out, oversample) - around) * keep
    return torch.where(keep, out, around)


def follow(crops: Float[Tensor, "B 3 S S"], theta: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 S S"]:
    """Crops that were cut through theta's value, resampled so that theta's gradient passes: a change of theta moves
    the pixels as cutting anew would. Their values stay, so cutting itself may be as costly and rough as it likes."""
    if not theta.requires_grad:
        return crops
    moved = compose(inverse(theta.detach()), theta)
    grid = to_photo(pixel_centres(crops.shape[-1], crops.device).flatten(0, 1)[None], moved)
    grid = grid.unflatten(1, crops.shape[-2:]).nan_to_num()  # NaN would crash grid_sample
    return F.grid_sample(crops, grid, mode="bilinear", padding_mode="border", align_corners=False)
