"""Barrel distortion of wide lenses, and infrared cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lens:
    """Radial distortion about the middle of a picture: r -> r (1 + k r^2) / (1 + 2 k), r in halves of its side.

    The corners stay where they are, so that the picture is filled.
    """

    k: float
    """Below 0 for a barrel; above -0.16, so that it can be undone up to the corners."""
    size: int
    """Side of the picture, pixels."""

    def distort(self, xy_px: Array) -> Array:
        """Pinhole pixels (..., 2) -> where the lens shows them."""
        p = (np.asarray(xy_px) - self.size / 2) / (self.size / 2)
        r2 = np.minimum((p**2).sum(-1, keepdims=True), 1 / (3 * max(-self.k, 1e-9)))  # beyond, it would fold back
        return p * ((1 + self.k * r2) / (1 + 2 * self.k)) * self.size / 2 + self.size / 2

    def undistort(self, xy_px: Array) -> Array:
        """The inverse of `distort`, for what it does not fold."""
        q = (np.asarray(xy_px) - self.size / 2) / (self.size / 2)
        p = q
        for _ in range(20):
            p = q * (1 + 2 * self.k) / (1 + self.k * (p**2).sum(-1, keepdims=True))
        return p * self.size / 2 + self.size / 2

    def grid(self) -> Array:
        """(S, S, 2) which pinhole pixel each pixel shows."""
        middles = np.arange(self.size) + 0.5
        return self.undistort(np.stack(np.meshgrid(middles, middles), -1))


def infrared(linear: Floats, rng: np.random.Generator) -> Floats:
    """(H, W, 3) what an infrared camera with lamps beside it sees: grey, flat skin, dark edges."""
    grey = linear @ np.array([0.75, 0.22, 0.03], np.float32)  # skin is bright in infrared, and red of all colours too
    height, width = grey.shape
    y, x = np.mgrid[:height, :width]
    centre = rng.uniform(0.3, 0.7, 2) * (width, height)
    fall = np.exp(-(((x - centre[0]) / width) ** 2 + ((y - centre[1]) / height) ** 2) * rng.uniform(0.5, 2.5))
    return np.repeat((grey**0.8 * fall)[..., None], 3, 2).astype(np.float32)
