"""Pictures read between their pixels, and linear light. Pixels: (0, 0) is the outer corner of the top-left one."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_ROW = 16384  # cv2's maps are pictures, and none of their sides may pass 32767


def look(image: npt.NDArray[Any], xy_px: npt.NDArray[Any], border: float = 0.0) -> Floats:
    """Bilinear values (H', W', ...) of an image (H, W, ...) at pixels (H', W', 2); `border` outside."""
    x, y = (np.ascontiguousarray(xy_px[..., k] - 0.5, np.float32) for k in (0, 1))
    image = np.ascontiguousarray(image)
    out = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(border,) * 4)
    return np.asarray(out, np.float32)


def sample(image: npt.NDArray[Any], xy_px: npt.NDArray[Any], border: float = 0.0) -> Floats:
    """Bilinear values (N, ...) of an image (H, W, ...) at pixels (N, 2); `border` outside."""
    rows = -(-len(xy_px) // _ROW)
    at = np.zeros((rows * _ROW, 2), np.float32)
    at[: len(xy_px)] = xy_px
    out = look(image, at.reshape(rows, _ROW, 2), border)
    return out.reshape(rows * _ROW, *image.shape[2:])[: len(xy_px)]


def fill(image: npt.NDArray[np.floating], weight: npt.NDArray[np.floating]) -> Floats:
    """Push-pull: values (H, W, C) times their weights (H, W) of 0 to 1 -> values, gaps filled smoothly from around."""
    if min(weight.shape) <= 2 or weight.min() >= 1:
        mean = image.sum((0, 1)) / max(float(weight.sum()), 1e-6)
        return (image + 1e-6 * mean).astype(np.float32) / (weight[..., None] + np.float32(1e-6))
    half = (max(1, weight.shape[1] // 2), max(1, weight.shape[0] // 2))
    channels = image.shape[2]  # cv2 drops a single one
    small = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.float32).reshape(*half[::-1], channels)
    small_weight = np.asarray(cv2.resize(weight, half, interpolation=cv2.INTER_AREA), np.float32)
    strong = np.minimum(1, 4 * small_weight)  # one known pixel in four makes a known one
    coarse = fill(small * (strong / np.maximum(small_weight, 1e-6))[..., None], strong)
    up = np.asarray(cv2.resize(coarse, weight.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    up = up.reshape(image.shape)
    return (image + (1 - weight)[..., None] * up).astype(np.float32)


def to_linear(rgb: npt.NDArray[Any]) -> Floats:
    """Display colours 0..255 -> linear light 0..1."""
    return np.power(np.asarray(rgb, np.float32) / np.float32(255), np.float32(2.2))


def to_display(linear: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Linear light -> display colours 0..255; what is too bright is clipped."""
    return (255 * np.power(np.clip(linear, 0, 1), np.float32(1 / 2.2)) + 0.5).astype(np.uint8)


def exposed(
    linear: npt.NDArray[np.floating], seen: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """A picture (H, W, 3), linear, exposed so that what is seen of the head (H, W) is neither black nor white."""
    level = float(np.quantile(linear[seen].mean(-1), 0.7)) if seen.any() else 0.3
    wanted = np.clip(level, 0.06, 0.75) * 2 ** rng.normal(0, 0.35)
    linear = linear * (np.clip(wanted, 0.04, 0.9) / max(level, 1e-3))
    bright = linear.max(-1, keepdims=True)
    rolled = (0.8 + 0.2 * np.tanh((bright - 0.8) / 0.2)) / np.maximum(bright, 1e-6)
    return to_display(linear * np.where(bright > 0.8, rolled, 1))
