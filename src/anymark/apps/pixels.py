"""Pictures as linear light, read between their pixels, and carried on where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

Floats = npt.NDArray[np.float32]

_TRUNCATE = 3.0  # standard deviations that a Gaussian reaches
_FADE = 2.0  # a scale so many times as coarse weighs a hundredth


def to_linear(display: npt.NDArray[np.floating]) -> Floats:
    """sRGB (...), 0..1 -> linear light."""
    display = np.clip(display, 0, 1)
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4).astype(np.float32)


def photo_to_linear(photo: npt.NDArray[np.uint8]) -> Floats:
    """sRGB (...), uint8 -> linear light."""
    return _OF_BYTES[photo]


def to_display(linear: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Linear light (...) -> sRGB, uint8; what is too bright is clipped."""
    linear = np.clip(linear, 0, 1)
    display = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * display).astype(np.uint8)


def sampled(picture: npt.NDArray[np.floating], xy_px: npt.NDArray[np.floating]) -> Floats:
    """Values (N, C) between the pixels of a picture (H, W, C) at points (N, 2); beyond its edges, those of the edge."""
    at = [xy_px[:, 1] - 0.5, xy_px[:, 0] - 0.5]
    layers = [map_coordinates(layer, at, order=1, mode="nearest") for layer in np.moveaxis(picture, 2, 0)]
    return np.stack(layers, 1).astype(np.float32, copy=False)


def blurred(values: npt.NDArray[np.floating], radius: float) -> Floats:
    """A Gaussian blur of (H, W) or (H, W, C), zero beyond the edges."""
    radii = (radius, radius, 0)[: values.ndim]
    smooth = gaussian_filter(values.astype(np.float32), radii, mode="constant", truncate=_TRUNCATE)
    return np.asarray(smooth, np.float32)


def spread(values: Floats, weight: Floats, radii: Sequence[float]) -> Floats:
    """Values (H, W, C), known to a degree (H, W) of 0..1, smoothed and carried on to where they are not known.

    Args:
        radii: Of blurs, growing. The finest that has something known within its reach counts.
    """
    known = values * weight[..., None]
    mean = known.sum((0, 1)) / max(float(weight.sum()), 1e-6)
    total, sure = np.zeros_like(values) + 1e-9 * mean, np.full(weight.shape, 1e-9, np.float32)
    for radius in radii:
        share = np.float32(10.0 ** (-2 * np.log(radius / radii[0]) / np.log(_FADE)))
        total += share * blurred(known, radius)
        sure += share * blurred(weight, radius)
    return total / sure[..., None]


_OF_BYTES = to_linear(np.arange(256) / 255)
