"""Pictures without heads: views into panoramas and painted textures, as backgrounds and as negatives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor
from torch.nn import functional as F

from anymark.engine.hdr import HELD_OUT_PANORAMAS, read_hdr
from anymark.errors import AnymarkError


def panorama_views(
    panorama: Float[np.ndarray, "H W 3"], count: int, size: int, rng: np.random.Generator
) -> UInt8[Tensor, "N 3 S S"]:
    """Pinhole views in random directions of an equirectangular panorama, exposed and tone-mapped at random."""
    picture = torch.from_numpy(panorama.transpose(2, 0, 1).copy())[None]
    along = (torch.arange(size) + 0.5) / size * 2 - 1
    x, y = torch.meshgrid(along, along, indexing="xy")
    views = torch.empty(count, 3, size, size, dtype=torch.uint8)
    for view in views:
        yaw, pitch = rng.uniform(-np.pi, np.pi), np.clip(rng.normal(0, 0.35), -1.2, 1.2)
        zoom = np.tan(np.radians(rng.uniform(35, 100)) / 2)
        ahead = np.cos(pitch) + np.sin(pitch) * y * zoom
        up = np.sin(pitch) - np.cos(pitch) * y * zoom
        right = x * zoom
        longitude = torch.atan2(right, ahead) + yaw
        latitude = torch.atan2(up, torch.hypot(right, ahead))
        grid = torch.stack([(longitude / np.pi + 1) % 2 - 1, -latitude / (np.pi / 2)], -1)
        linear = F.grid_sample(picture, grid[None], padding_mode="border", align_corners=False)[0]
        linear = linear * (2 ** rng.normal(0, 0.8) * 0.25 / linear.median().clamp(min=1e-4))
        mapped = linear / (1 + linear) if rng.random() < 0.5 else linear
        view.copy_((mapped.clamp(0, 1) ** (1 / 2.2) * 255).round().to(torch.uint8))
    return views


def painted_textures(count: int, size: int, rng: np.random.Generator) -> UInt8[Tensor, "N 3 S S"]:
    """Overlapping discs, rings, boxes, strokes and letters of a few colours, over gradients and noise."""
    out = np.empty((count, 3, size, size), np.uint8)
    for picture in out:
        palette = rng.integers(0, 256, (rng.integers(2, 8), 3))
        if rng.random() < 0.4:  # skin, wood and sand: colour must not make a head
            palette = (palette * 0.4 + np.array([200, 150, 120]) * rng.uniform(0.3, 0.75)).astype(int)
        ends = palette[rng.integers(0, len(palette), 2)]
        ramp = np.linspace(0, 1, size)[:, None, None] * np.ones((1, size, 1))
        image = Image.fromarray((ends[0] * (1 - ramp) + ends[1] * ramp).astype(np.uint8))
        image = image.rotate(90 * int(rng.integers(4)))
        if rng.random() < 0.15:
            _paint_page(image, palette, rng)
        else:
            _paint_shapes(image, palette, rng)
        if rng.random() < 0.5:
            image = image.filter(ImageFilter.GaussianBlur(float(rng.exponential(1.5))))
        noise = sum(
            np.kron(rng.normal(0, 1, (size >> o, size >> o, 1)), np.ones((1 << o, 1 << o, 1))) for o in range(4)
        )
        noisy = np.asarray(image) + noise * rng.exponential(5)
        picture[:] = np.clip(noisy, 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return torch.from_numpy(out)


def _paint_shapes(image: Image.Image, palette: np.ndarray, rng: np.random.Generator) -> None:
    draw, size = ImageDraw.Draw(image), image.width
    for _ in range(int(rng.integers(0, 160))):
        radius = min(size / 2, 3 / rng.uniform(0.02, 1))  # many small, few large, as in nature
        x, y = rng.uniform(0, size, 2)
        rx, ry = radius * rng.uniform(0.4, 1.5, 2)
        colour = tuple(int(c) for c in np.clip(palette[rng.integers(len(palette))] + rng.normal(0, 12, 3), 0, 255))
        kind = rng.integers(6)
        if kind == 0:
            draw.rectangle((x - rx, y - ry, x + rx, y + ry), colour)
        elif kind == 1:
            draw.line((x - rx, y - ry, x + rx * 3, y + ry * 3), colour, int(1 + radius / 6))
        elif kind == 2 and radius > 5:
            draw.text((x - rx, y - ry), _letters(int(rng.integers(1, 12)), rng), colour, ImageFont.load_default(radius))
        elif kind == 3:
            rim = tuple(255 - c for c in colour)
            draw.ellipse((x - rx, y - rx, x + rx, y + rx), colour, rim, int(1 + rx * rng.uniform(0, 0.4)))
        else:
            draw.ellipse((x - rx, y - ry, x + rx, y + ry), colour)


def _paint_page(image: Image.Image, palette: np.ndarray, rng: np.random.Generator) -> None:
    """Lines of text, as on signs, captions and pages: letters look like small heads."""
    draw, height = ImageDraw.Draw(image), int(8 * 4 ** rng.random())
    font, ink = ImageFont.load_default(height), tuple(int(c) for c in palette[0] * rng.uniform(0, 0.6))
    for y in range(int(rng.integers(0, image.height // 2)), image.height, int(height * rng.uniform(1, 2))):
        draw.text((rng.uniform(-20, 40), y), _letters(int(rng.integers(5, 40)), rng), ink, font)


def _letters(count: int, rng: np.random.Generator) -> str:
    codes = rng.integers(97, 123, count) if rng.random() < 0.7 else rng.integers(33, 127, count)
    spaces = rng.random(count) < 0.15
    return "".join(" " if space else chr(code) for code, space in zip(codes, spaces, strict=True))


def panorama_folder(photos: Path) -> Path:
    """`hdri` in $ANYMARK_ASSETS or, where that is not set, in `assets` beside the photos."""
    assets = os.environ.get("ANYMARK_ASSETS")
    return (Path(assets) if assets else photos.parent / "assets") / "hdri"


def load_backgrounds(
    folder: Path, names: Sequence[str] | None, views: int, textures: int, size: int, seed: int
) -> UInt8[Tensor, "N 3 S S"]:
    """A bank of head-free pictures: `views` of each panorama in `folder`, then `textures` painted ones.

    Args:
        names: the panoramas to take; None: all but the held-out ones.

    Raises:
        AnymarkError: no panoramas there.
    """
    rng = np.random.default_rng(seed)
    files = sorted(f for f in folder.glob("*.hdr") if (f.stem in names if names else f.stem not in HELD_OUT_PANORAMAS))
    if not files:
        raise AnymarkError(f"{folder}: no panoramas (*.hdr) there (see ANYMARK_ASSETS)")
    parts = [panorama_views(read_hdr(file), views, size, rng) for file in files]
    return torch.cat([*parts, painted_textures(textures, size, rng)])
