"""The window, a square of a photo that is roughly about a head, and the crop, what the network chose to see of it.

This module alone knows how their normalised coordinates relate to pixels. Pixels: x right, y down, (0, 0) is the outer
corner of the top-left pixel. Window and crop: (-1, -1) is the outer top-left corner, (1, 1) the outer bottom-right one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.detect.boxes import check_box
from anymark.detect.image import Photo
from anymark.errors import AnymarkError

_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])

# Box-filtering by an integer first and a triangle filter after it is twice as fast as the triangle filter alone at 600
# to 128 pixels, and differs from it by less than a grey level on photos.
_REDUCING_GAP = 1.5

MOST_SIDE_PX = 1e7
"""Larger windows and crops are a mistake."""


@dataclass(frozen=True, eq=False)
class Window:
    """A square in a photo, turned by `roll_rad` about its centre: p_px = centre + side / 2 * R(roll) @ p_window.

    Raises:
        AnymarkError: a number is not finite, or the side is not positive or beyond all sense.
    """

    centre_px: npt.NDArray[np.float64]
    """(2,) x and y of the centre."""
    side_px: float
    """Length of a side."""
    roll_rad: float = 0.0
    """Positive = clockwise on screen: the window's x axis is (cos roll, sin roll) in the photo."""

    def __post_init__(self) -> None:
        try:
            centre = np.array(self.centre_px, np.float64)
            side, roll = float(self.side_px), float(self.roll_rad)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
            given = f"centre {self.centre_px}, side {self.side_px}, roll {self.roll_rad}"
            raise AnymarkError(f"window: {given[:120]} are not numbers") from None
        if centre.shape != (2,):
            raise AnymarkError(f"window: the centre must be (2,), not {centre.shape}")
        if not (np.isfinite(centre).all() and math.isfinite(roll) and 0 < side <= MOST_SIDE_PX):
            raise AnymarkError(f"window: centre {centre.tolist()}, side {side}, roll {roll} is not a square")
        object.__setattr__(self, "centre_px", centre)
        object.__setattr__(self, "side_px", side)
        object.__setattr__(self, "roll_rad", roll)

    @classmethod
    def from_box(cls, box_xyxy: npt.ArrayLike, scale: float, roll: float = 0.0) -> Window:
        """The window about the middle of a box (4,) [x0, y0, x1, y1] in pixels, `scale` times its longer side wide."""
        x0, y0, x1, y1 = check_box(box_xyxy)
        return cls(np.array([(x0 + x1) / 2, (y0 + y1) / 2]), scale * max(x1 - x0, y1 - y0), roll)

    def affine(self) -> npt.NDArray[np.float64]:
        """(2, 3) the map from window coordinates to pixels."""
        return np.column_stack([self.side_px / 2 * self._rotation(), self.centre_px])

    def to_image(self, xy: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
        """Window coordinates (..., 2) -> pixels (..., 2); float32 stays float32."""
        return _mapped(self.affine(), xy)

    def to_window(self, xy: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
        """Pixels (..., 2) -> window coordinates (..., 2); the inverse of `to_image`."""
        xy = _as_float(xy)
        return (xy - self.centre_px.astype(xy.dtype)) @ (self._rotation() / (self.side_px / 2)).astype(xy.dtype)

    def scaled(self, factor: float) -> Window:
        """The same square in the photo resized by `factor`: scaling an image scales its coordinates, nothing else."""
        return Window(self.centre_px * factor, self.side_px * factor, self.roll_rad)

    def corners_px(self) -> npt.NDArray[np.floating[Any]]:
        """(4, 2) outer corners in pixels, clockwise on screen from the window's top left."""
        return self.to_image(_CORNERS)

    def _rotation(self) -> npt.NDArray[np.float64]:
        cos, sin = math.cos(self.roll_rad), math.sin(self.roll_rad)
        return np.array([[cos, -sin], [sin, cos]])


@dataclass(frozen=True, eq=False)
class Crop:
    """What the network sees: a parallelogram of a photo, the square of most models: p_px = affine @ [p_crop, 1].

    Raises:
        AnymarkError: the map is not (2, 3) finite numbers, mirrors, or is flat or beyond all sense.
    """

    affine: npt.NDArray[np.float64]
    """(2, 3) the map from crop coordinates to pixels."""

    def __post_init__(self) -> None:
        try:
            affine = np.array(self.affine, np.float64)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
            raise AnymarkError(f"crop: {str(self.affine)[:120]} are not numbers") from None
        if affine.shape != (2, 3):
            raise AnymarkError(f"crop: the map must be (2, 3), not {affine.shape}")
        if not (np.isfinite(affine).all() and 0 < _area(affine) <= MOST_SIDE_PX**2 / 4):
            raise AnymarkError(f"crop: {affine.tolist()} maps no square to a photo")
        object.__setattr__(self, "affine", affine)

    @classmethod
    def inside(cls, window: Window, theta: npt.ArrayLike) -> Crop:
        """The part of a window that theta (2, 3), a map from crop to window coordinates, asks for."""
        return cls(window.affine()).part(theta)

    def part(self, theta: npt.ArrayLike) -> Crop:
        """The part of it that theta (2, 3), a map from that part's coordinates to this crop's, asks for."""
        linear, shift = np.hsplit(np.asarray(theta, np.float64), [2])
        return Crop(np.column_stack([self.affine[:, :2] @ linear, self.affine[:, :2] @ shift + self.affine[:, 2:]]))

    @property
    def centre_px(self) -> npt.NDArray[np.float64]:
        """(2,) x and y of the centre."""
        return self.affine[:, 2]

    @property
    def side_px(self) -> float:
        """Length of a side of the square of the same area."""
        return 2 * math.sqrt(_area(self.affine))

    @property
    def roll_rad(self) -> float:
        """Roll of the nearest square, positive = clockwise on screen."""
        (a, b), (c, d) = self.affine[:, :2]
        return math.atan2(c - b, a + d)

    def to_image(self, xy: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
        """Crop coordinates (..., 2) -> pixels (..., 2); float32 stays float32."""
        return _mapped(self.affine, xy)

    def to_crop(self, xy: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
        """Pixels (..., 2) -> crop coordinates (..., 2); the inverse of `to_image`."""
        xy = _as_float(xy)
        return (xy - self.centre_px.astype(xy.dtype)) @ np.linalg.inv(self.affine[:, :2]).T.astype(xy.dtype)

    def scaled(self, factor: float) -> Crop:
        """The same crop of the photo resized by `factor`."""
        return Crop(self.affine * factor)

    def corners_px(self) -> npt.NDArray[np.floating[Any]]:
        """(4, 2) outer corners in pixels, clockwise on screen from the crop's top left."""
        return self.to_image(_CORNERS)


def crop(image: npt.NDArray[np.uint8], square: Window | Crop, size: int) -> npt.NDArray[np.uint8]:
    """A part of an image (H, W, 3), resampled to (size, size, 3) without aliasing; black outside of the image."""
    height, width = image.shape[:2]
    corners = square.corners_px()
    factor = max(1, round(square.side_px / size))
    low = np.clip(np.floor(corners.min(0)) - 2 * factor, 0, (width, height)).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 2 * factor, 0, (width, height)).astype(int)
    if (low >= high).any():
        return np.zeros((size, size, 3), np.uint8)
    # Only the pixels about the square are handed to Pillow: a 4K frame costs no more than a thumbnail.
    region = Image.fromarray(image[low[1] : high[1], low[0] : high[0]])
    inside = bool((corners >= 0).all() and (corners <= (width, height)).all())
    upright = corners[0, 1] == corners[1, 1] and corners[0, 0] == corners[3, 0] and corners[0, 0] < corners[1, 0]
    if upright and inside:
        (x0, y0), (x1, y1) = corners[0] - low, corners[2] - low
        out = region.resize((size, size), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1), reducing_gap=_REDUCING_GAP)
    else:
        if factor > 1:
            region = region.reduce(factor)
        origin = (corners[0] - low) / factor
        # Region pixels for each output pixel along the square's x axis, then along its y axis.
        along_x, along_y = (corners[1] - corners[0]) / (factor * size), (corners[3] - corners[0]) / (factor * size)
        matrix = (along_x[0], along_y[0], origin[0], along_x[1], along_y[1], origin[1])
        out = region.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(out)


def cut(photo: Photo, squares: Sequence[Window] | Sequence[Crop], size: int) -> npt.NDArray[np.uint8]:
    """(B, size, size, 3) what the photo shows in each of B windows or crops, in pixels of the photo."""
    return np.stack([crop(photo.pixels, square.scaled(1 / photo.shrink), size) for square in squares])


def apart(a: Window | Crop, b: Window | Crop) -> float:
    """The longest way from a corner of one to that of the other, over the longer of their sides."""
    way = np.linalg.norm(a.corners_px() - b.corners_px(), axis=1).max()
    return float(way) / max(a.side_px, b.side_px)


def check_windows(windows: Sequence[Window]) -> Sequence[Window]:
    """Windows of a caller's.

    Raises:
        AnymarkError: they are none.
    """
    if not isinstance(windows, Sequence) or not all(isinstance(window, Window) for window in windows):
        raise AnymarkError(f"windows must be a list of anymark.Window, not {windows!r:.80}")
    return windows


def _area(affine: npt.NDArray[np.float64]) -> float:
    """Square pixels for each unit of crop coordinates squared; negative of what mirrors."""
    return float(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0])


def _mapped(affine: npt.NDArray[np.float64], xy: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    xy = _as_float(xy)
    return xy @ affine[:, :2].T.astype(xy.dtype) + affine[:, 2].astype(xy.dtype)


def _as_float(xy: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    array = np.asarray(xy)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
