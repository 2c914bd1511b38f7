"""A short clip for the examples: a virtual camera moves over scikit-image's astronaut (NASA, public domain)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from anymark.video import Frame

IMAGES = Path(os.environ.get("ANYMARK_EXAMPLES", Path(__file__).parents[1] / "docs" / "images" / "examples"))
"""Where the examples' pictures go."""

RATE = 25.0


def astronaut(side: int = 1024) -> np.ndarray:
    """(side, side, 3) the photo."""
    return np.asarray(Image.fromarray(skimage.data.astronaut()).resize((side, side), Image.Resampling.LANCZOS))


def moving(count: int = 40, side: int = 480, card: bool = True) -> Iterator[Frame]:
    """Frames of the face as the camera zooms, turns and pans; a grey card passes before it."""
    photo = Image.fromarray(astronaut())
    for i in range(count):
        t = i / (count - 1)
        turn, zoom = 0.25 * np.sin(2 * np.pi * t), 0.95 + 0.25 * np.sin(np.pi * t)
        middle = np.array([455 + 60 * np.sin(2 * np.pi * t), 250 + 30 * np.cos(2 * np.pi * t)])
        cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
        x, y = middle - np.array([[cos, -sin], [sin, cos]]) @ [side / 2, side / 2]
        frame = np.array(
            photo.transform((side, side), Image.Transform.AFFINE, (cos, -sin, x, sin, cos, y), Image.Resampling.BICUBIC)
        )
        if card:
            left = round(-140 + (side + 280) * t)
            frame[:, max(left - 30, 0) : max(left + 30, 0)] = 110
        yield Frame(i, i, i / RATE, frame)


def save(name: str, *tiles: np.ndarray | Image.Image, height: int = 360) -> None:
    """Tiles side by side as a JPEG."""
    images = [Image.fromarray(tile) if isinstance(tile, np.ndarray) else tile.convert("RGB") for tile in tiles]
    sizes = [(round(each.width * height / each.height), height) for each in images]
    sized = [each.resize(size, Image.Resampling.LANCZOS) for each, size in zip(images, sizes, strict=True)]
    sheet = Image.new("RGB", (sum(each.width for each in sized), height))
    x = 0
    for each in sized:
        sheet.paste(each, (x, 0))
        x += each.width
    IMAGES.mkdir(parents=True, exist_ok=True)
    sheet.save(IMAGES / f"{name}.jpg", quality=88)
    print(IMAGES / f"{name}.jpg")
