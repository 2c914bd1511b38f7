"""Contact sheets of faces: labels in red, what was found in green."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anymark.detect.image import Photo
from anymark.detect.window import Window, crop

_COLUMNS, _TILE, _CAPTION = 6, 256, 16
_OVERSAMPLE = 2  # tiles are drawn at twice their size and halved, which smooths the dots
_MANY = 200  # points that get smaller dots
_LABEL, _FOUND = (255, 70, 70), (60, 255, 110)


@dataclass(frozen=True, eq=False)
class Tile:
    """One face of a sheet."""

    caption: str
    photo: Photo | None
    """None: it cannot be read, and the tile is grey."""
    window: Window
    """What is shown of it."""
    labels_px: npt.NDArray[np.floating]
    """(N, 2) pixels of the photo; those that are NaN are not drawn."""
    found_px: npt.NDArray[np.floating]
    """(N, 2) the same."""


def contact_sheet(tiles: Iterable[Tile]) -> Image.Image:
    """Faces side by side in rows, RGB."""
    drawn = [(tile.caption, _draw(tile)) for tile in tiles]
    rows = -(-len(drawn) // _COLUMNS)
    out = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + _CAPTION)), "black")
    pen = ImageDraw.Draw(out)
    for k, (caption, image) in enumerate(drawn):
        x, y = k % _COLUMNS * _TILE, k // _COLUMNS * (_TILE + _CAPTION)
        out.paste(image, (x, y))
        pen.text((x + 4, y + _TILE + 2), caption[:40].encode("ascii", "replace").decode(), fill="white")
    return out


def _draw(tile: Tile) -> Image.Image:
    size = _TILE * _OVERSAMPLE
    if tile.photo is None:
        image = Image.new("RGB", (size, size), "dimgrey")
    else:
        image = Image.fromarray(crop(tile.photo.pixels, tile.window.scaled(1 / tile.photo.shrink), size))
    pen = ImageDraw.Draw(image)
    _dots(pen, tile.window.to_window(tile.labels_px), _LABEL, size)
    _dots(pen, tile.window.to_window(tile.found_px), _FOUND, size)
    return image.resize((_TILE, _TILE), Image.Resampling.BOX)


def _dots(pen: ImageDraw.ImageDraw, xy: npt.NDArray[np.floating], colour: Sequence[int], size: int) -> None:
    radius = 1.5 if len(xy) > _MANY else 3.0
    for x, y in (xy[np.isfinite(xy).all(1)] + 1) * size / 2:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(colour))
