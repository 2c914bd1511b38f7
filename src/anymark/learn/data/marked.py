"""The two sets of pictures of a marker model, marked and unmarked: read, compared, and drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from kornia.filters import gaussian_blur2d
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.detect.files import photos
from anymark.detect.image import open_photo
from anymark.errors import AnymarkError
from anymark.learn.data.geometry import pixel_centres, to_photo
from anymark.tables import check_numbers

LEAST_PICTURES = 8
"""Of a set."""
MOST_APART = 0.12
"""Log of width over height may differ by so much."""
LEAST_SPREAD = 0.03
"""Of mean colours from picture to picture: what sets of one light have is counted as this."""
_LEAST_BLUR_PX = 0.15  # pixels are no finer


@dataclass(frozen=True)
class JitterConfig:
    """How pictures of both sets are changed alike, so that nothing but marks tells one set from the other."""

    shift: float = 0.04
    """Standard deviation of the place, in sides,"""
    scale: float = 0.05
    """of the log of the size,"""
    roll_deg: float = 4.0
    """and of the roll."""
    brightness: float = 0.08
    contrast: float = 0.12
    """Log of it."""
    tint: float = 0.05
    """Log of each colour channel's gain."""
    mirror: float = 0.0
    """Share of mirrored pictures, in which points swap sides: for templates that are their own mirror image."""
    noise: float = 0.02
    """On what critics judge."""

    def __post_init__(self) -> None:
        check_numbers(self, "shift", "scale", "roll_deg", "brightness", "contrast", "tint", "noise", least=0)
        check_numbers(self, "mirror", least=0, most=1)


def read_sets(sources: Sequence[Path], size: int, limit: int | None = None) -> list[UInt8[Tensor, "N 3 S S"]]:
    """The pictures of folders, or the frames of videos, each as a square of one size: the middle of it.

    Args:
        limit: so many of each at most.

    Raises:
        AnymarkError: there are none or too few, one cannot be read, or they are of different shapes.
    """
    sets, shape = [], None
    for source in sources:
        frames = []
        for name, pixels in _pictures(source):
            ratio = pixels.shape[1] / pixels.shape[0]
            shape = ratio if shape is None else shape
            if abs(math.log(ratio / shape)) > MOST_APART:
                size_px = f"{pixels.shape[1]} x {pixels.shape[0]}"
                raise AnymarkError(f"{name}: {size_px}: pictures of both sets must be of about one shape")
            frames.append(square(pixels, size))
            if limit is not None and len(frames) >= limit:
                break
        if len(frames) < LEAST_PICTURES:
            raise AnymarkError(f"{source}: {len(frames)} pictures; at least {LEAST_PICTURES} are needed")
        sets.append(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous())
    return sets


def square(pixels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """The largest square in the middle of a picture (H, W, 3), at another size."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX, (left, top, left + side, top + side)))


def _pictures(source: Path) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Name and pixels (H, W, 3) of each."""
    if source.is_file():
        from anymark.video import open_video

        for frame in open_video(source):
            if frame.pixels is not None:
                yield f"{source}: frame {frame.index}", frame.pixels
        return
    if not source.is_dir():
        raise AnymarkError(f"{source}: no such folder or video")
    for path in photos(str(source)):
        yield str(path), open_photo(path).pixels


@dataclass(frozen=True)
class Compared:
    """What tells the two sets apart."""

    marks: float
    """How much more fine detail the marked set has, over its spread from picture to picture: what marks are made of."""
    colours: float
    """How far apart their mean colours are, over that spread: what no marks are."""


def compare(marked: UInt8[Tensor, "N 3 S S"], unmarked: UInt8[Tensor, "M 3 S S"]) -> Compared:
    """Whether marks are to be seen, and whether anything else is."""

    def detail(images: Tensor) -> Tensor:
        image = images.float() / 255
        fine = image - F.avg_pool2d(F.pad(image, (3, 3, 3, 3), mode="reflect"), 7, 1)
        inner = fine[..., size // 8 : -size // 8, size // 8 : -size // 8]
        return inner.abs().mean((1, 2, 3)) / image.std((1, 2, 3)).clamp(min=0.02)

    size = marked.shape[-1]
    one, other = detail(marked), detail(unmarked)
    colour, plain = (images.float().mean((2, 3)) / 255 for images in (marked, unmarked))
    spread = (colour.var(0) + plain.var(0)).sqrt().clamp(min=LEAST_SPREAD)
    return Compared(
        float((one.mean() - other.mean()) / (one.var() + other.var()).sqrt().clamp(min=1e-6)),
        float(((colour.mean(0) - plain.mean(0)).abs() / spread).max()),
    )


def jittered(
    images: UInt8[Tensor, "B 3 S S"], config: JitterConfig, generator: Generator
) -> tuple[Float[Tensor, "B 3 S S"], Float[Tensor, "B 2 3"]]:
    """Pictures as bytes -> in 0..1, a little elsewhere and in another light; and where their places were before."""
    n, device = len(images), images.device

    def normal(sd: float, *shape: int) -> Tensor:
        return sd * torch.randn(n, *shape, generator=generator, device=device)

    grow, roll = normal(config.scale).exp(), torch.deg2rad(normal(config.roll_deg))
    sign = torch.where(torch.rand(n, generator=generator, device=device) < config.mirror, -1.0, 1.0)
    cos, sin = grow * roll.cos(), grow * roll.sin()
    affine = torch.stack(
        [cos * sign, -sin, 2 * normal(config.shift), sin * sign, cos, 2 * normal(config.shift)], 1
    ).unflatten(1, (2, 3))
    image = moved(images.float() / 255, affine)
    gain = (normal(config.contrast, 1, 1, 1) + normal(config.tint, 3, 1, 1)).exp()
    mean = image.mean((2, 3), keepdim=True)
    return ((image - mean) * gain + mean + normal(config.brightness, 1, 1, 1)).clamp(0, 1), affine


def moved(image: Float[Tensor, "B 3 S S"], affine: Float[Tensor, "B 2 3"]) -> Float[Tensor, "B 3 S S"]:
    """Pictures as maps from -1..1 to -1..1 show them; what lies beside a picture is mirrored."""
    size = image.shape[-1]
    grid = to_photo(pixel_centres(size, image.device).flatten(0, 1)[None], affine).unflatten(1, (size, size))
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def blurred(image: Float[Tensor, "B C S S"], sd: float) -> Float[Tensor, "B C S S"]:
    """Pictures under a Gaussian of that standard deviation, in sides."""
    size = image.shape[-1]
    reach = min(math.ceil(3 * sd * size), size - 1)
    if sd * size < _LEAST_BLUR_PX:
        return image
    return gaussian_blur2d(image, 2 * reach + 1, (sd * size, sd * size))
