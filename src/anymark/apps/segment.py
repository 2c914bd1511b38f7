"""Segmentation: which region of the head each pixel of a photo shows (Continuous Landmark Detection, section 4.3).

No network is trained for it: the predicted head is drawn in its camera, so any partition of the head will do, and what
covers the head is left out as far as the model tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anymark.apps.head_pixels import HeadPixels
from anymark.apps.partition import Partition
from anymark.canonical.posed import points_on
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError

Floats = npt.NDArray[np.float32]

SAMPLES = 3
"""Places along a side that each pixel is looked at in: edges have so many times so many steps."""

_MOST_NUMBERS = 1_000_000_000  # of all masks together
_FACE = "mediapipe478"
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The R regions of a partition in a photo of H x W pixels, of all heads in it."""

    partition: Partition
    masks: Floats
    """(R, H, W) 0..1, how much of each pixel shows each region; they sum to 1 at most."""

    @property
    def labels(self) -> npt.NDArray[np.int16]:
        """(H, W) the region that each pixel shows most of, -1 where that is none."""
        none = 1 - self.masks.sum(0)
        best = self.masks.argmax(0).astype(np.int16)
        return np.where(self.masks.max(0) > none, best, np.int16(-1))

    def picture(self) -> Image.Image:
        """Labels as a picture of a palette: 0 for none, then the regions by their number, from 1, in their colours."""
        image = Image.fromarray((self.labels + 1).astype(np.uint8))
        image.putpalette([0, 0, 0, *self.partition.colours.ravel().tolist()])
        return image

    def over(self, photo: npt.NDArray[np.uint8], strength: float = 0.55) -> Image.Image:
        """The regions in their colours over the photo (H, W, 3)."""
        alpha = (strength * self.masks.sum(0))[..., None]
        colour = np.einsum("rhw,rc->hwc", strength * self.masks, self.partition.colours.astype(np.float32))
        return Image.fromarray(np.rint(photo * (1 - alpha) + colour).astype(np.uint8))


def segment(heads: Sequence[Landmarks], size_px: tuple[int, int], partition: Partition) -> Segmentation:
    """Segment a photo.

    Args:
        heads: The layout "head" of each head; nearer ones lie over farther ones.
        size_px: (width, height) of the photo.
        partition: What to tell apart.

    Raises:
        AnymarkError: landmarks of another layout, or a head too large to be drawn.
    """
    width, height = size_px
    if len(partition.names) * width * height > _MOST_NUMBERS:
        raise AnymarkError(f"{len(partition.names)} regions of {width} x {height} pixels are too many to hold")
    masks = np.zeros((len(partition.names), height, width), np.float32)
    for head in sorted(heads, key=lambda each: -each.camera.t_camera_head_mm[2]):
        (x0, y0, x1, y1), cover, own = _masks_of(head, size_px, partition)
        here = masks[:, y0:y1, x0:x1]
        here *= 1 - np.maximum(cover, own.sum(0))
        here += own
    return Segmentation(partition, masks)


def _masks_of(
    head: Landmarks, size_px: tuple[int, int], partition: Partition
) -> tuple[tuple[int, int, int, int], Floats, Floats]:
    """A box, how much of its pixels (h, w) shows one head, and (R, h, w) each region of it."""
    pixels = HeadPixels.of(head, size_px, SAMPLES)
    labels, uncovered = partition.labels(pixels), pixels.uncovered
    if partition.gap >= 0:
        gap = (pixels.raster.triangle < 0) & _between_lips(head, pixels)
        labels = np.where(gap, np.int16(partition.gap), labels)
        seen = np.median(points_on(head.uncovered[:, None], _FACE)[INNER_LIPS, 0])
        uncovered = np.where(gap, np.float32(seen), uncovered)
    x0, y0, x1, y1 = pixels.box_px
    shape = (len(partition.names), y1 - y0, x1 - x0)
    rows, columns = np.nonzero(labels >= 0)
    pixel = (labels[rows, columns].astype(np.intp) * shape[1] + rows // SAMPLES) * shape[2] + columns // SAMPLES
    total = np.bincount(pixel, uncovered[rows, columns], int(np.prod(shape)))
    cover = pixels.averaged(pixels.uncovered)
    return pixels.box_px, cover, (total / SAMPLES**2).astype(np.float32).reshape(shape)


def _between_lips(head: Landmarks, pixels: HeadPixels) -> npt.NDArray[np.bool_]:
    """Which places lie inside of the lips' inner edge."""
    height, width = pixels.raster.triangle.shape
    image = Image.new("1", (width, height))
    edge = points_on(head.xy_px.astype(np.float64), _FACE)[INNER_LIPS, :]
    at = (edge - pixels.box_px[:2]) * pixels.factor - 0.5  # Pillow draws in coordinates of pixel centres
    ImageDraw.Draw(image).polygon([tuple(xy) for xy in at.tolist()], fill=1)
    return np.asarray(image)
