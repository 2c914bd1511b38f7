"""What happens to a picture between two frames in which nothing moves, and to the window that a head is read from."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.detect.window import Window

BORDER = 4
"""Pixels that all perturbed pictures lose along each side: as many as resampling needs beside a shifted picture."""

_BLOCK = 8  # of JPEG

Picture = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Perturbation:
    """A small random change of a picture."""

    shift_px: float = 0.0
    """It is shifted by up to so much along each axis, both ways, by Lanczos resampling."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise in each channel, in grey levels of 256."""
    quality: int | None = None
    """Of a JPEG that it is compressed to; the blocks of 8 pixels begin anywhere."""

    def __call__(self, picture: Picture, rng: np.random.Generator) -> tuple[Picture, Array]:
        """A picture (H, W, 3) without its `BORDER`, changed, and what to add (2,) to places in it for those in the
        whole picture."""
        shift = rng.uniform(-self.shift_px, self.shift_px, 2)
        pixels = _inner(picture, shift)
        if self.noise:
            noisy = pixels + rng.normal(0, self.noise, pixels.shape)
            pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if self.quality is not None:
            pixels = _compressed(pixels, self.quality, *rng.integers(0, _BLOCK, 2).tolist())
        return pixels, BORDER + shift


UNCHANGED = Perturbation()

PERTURBATIONS: dict[str, Perturbation] = {
    "shift by up to 0.5 px": Perturbation(shift_px=0.5),
    "noise, 2 levels": Perturbation(noise=2),
    "noise, 5 levels": Perturbation(noise=5),
    "JPEG 70": Perturbation(quality=70),
    "JPEG 50": Perturbation(quality=50),
    "shift, noise 2, JPEG 70": Perturbation(shift_px=0.5, noise=2, quality=70),
}
"""Name -> what stability is measured under; the last one is all together."""

WINDOW_SCALE, WINDOW_SHIFT, WINDOW_ROLL_DEG = 0.03, 0.02, 2.0
"""Standard deviations of a window's jitter: of the logarithm of its side, of its place in sides, of its roll."""


def jittered(window: Window, rng: np.random.Generator) -> Window:
    """The same window, a little off."""
    scale, x, y, roll = rng.normal(0, 1, 4) * (WINDOW_SCALE, WINDOW_SHIFT, WINDOW_SHIFT, np.radians(WINDOW_ROLL_DEG))
    centre = window.centre_px + window.side_px * np.array([x, y])
    return Window(centre, window.side_px * float(np.exp(scale)), window.roll_rad + float(roll))


def _inner(picture: Picture, shift: Array) -> Picture:
    """A picture without its border, shifted; by whole pixels, the pixels themselves."""
    height, width = picture.shape[:2]
    x, y = BORDER + shift
    size = width - 2 * BORDER, height - 2 * BORDER
    box = (x, y, x + size[0], y + size[1])
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, box=box))


def _compressed(picture: Picture, quality: int, x: int, y: int) -> Picture:
    """Through a JPEG whose blocks begin x and y pixels before the picture."""
    padded = np.pad(picture, ((y, 0), (x, 0), (0, 0)), mode="edge")
    with io.BytesIO() as file:
        Image.fromarray(padded).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            return np.asarray(image)[y:, x:]
