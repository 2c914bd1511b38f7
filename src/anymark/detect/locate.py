"""Where the faces of a photo are: a small network on a pyramid of sizes, its peaks merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.detect.image import Photo
from anymark.detect.model import Model, Network

LEVELS_PX = (320, 960)
"""Longest sides that a photo is searched at: the first finds faces that fill it, the others smaller ones."""

_MULTIPLE = 32  # the network's input sides are multiples of this
_SAME_FACE_IOU = 0.4
_LEAST_SIDE_PX = 14  # of a face at a level; the network learned faces from 24 px up, and what is smaller is texture
_WORTH_ANOTHER_LEVEL = 1.25
# Distance of the eyes over the longer side of the box: about 0.4 from the front. In profile the eyes coincide and their
# direction is noise, so the roll fades out between these two.
_ROLL_NONE, _ROLL_FULL = 0.12, 0.25


@dataclass(frozen=True, eq=False)
class Box:
    """A located face."""

    box_px: npt.NDArray[np.float64]
    """(4,) [x0, y0, x1, y1] about its landmarks, pixels of the photo."""
    score: float
    """0..1."""
    roll_rad: float
    """How far the head is turned in the image plane, positive = clockwise on screen; 0 in profile."""


class Locator:
    """A locator model folder: locate.onnx.

    Args:
        model: Its card gives "threshold", the least score of a face.
        levels_px: Longest sides to search at, ascending; but for the first, none is above
            the photo's own.
    """

    def __init__(self, model: Model, levels_px: Sequence[int] = LEVELS_PX) -> None:
        self._model = model
        self._levels_px = tuple(levels_px)
        self.threshold = float(model.need("threshold"))

    @cached_property
    def _network(self) -> Network:
        return self._model.network("locate.onnx", ["score", "geometry"])

    def load(self) -> None:
        """Load the network now rather than at first use."""
        _ = self._network

    def locate(self, photo: Photo) -> list[Box]:
        """The faces of a photo, largest first."""
        image = Image.fromarray(photo.pixels)
        levels = [self._levels_px[0]]
        for level in self._levels_px[1:]:
            level = min(level, max(image.size))
            if level > _WORTH_ANOTHER_LEVEL * levels[-1]:
                levels.append(level)
        found = [self._level(image, level) for level in levels]
        scores = np.concatenate([score for score, _ in found])
        geometry = np.concatenate([values for _, values in found]) * photo.shrink
        boxes = [
            Box(geometry[i, :4], float(scores[i]), roll_of(geometry[i]))
            for i in suppress(geometry[:, :4], scores, _SAME_FACE_IOU)
        ]
        return sorted(boxes, key=lambda box: -float(np.prod(box.box_px[2:] - box.box_px[:2])))

    def _level(self, image: Image.Image, longest: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Scores (M,) and geometries (M, 8) in pixels of `image`, of the peaks with its longest side scaled."""
        factor = longest / max(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        small = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        padding = (-size[1] % _MULTIPLE, -size[0] % _MULTIPLE)
        padded = np.pad(small, ((0, padding[0]), (0, padding[1]), (0, 0)))
        score, geometry = (output[0] for output in self._network(image=padded[None]))
        rows, columns = np.nonzero(peaks(score) & (score >= self.threshold))
        values = geometry[rows, columns].astype(np.float64)
        scale = np.array([image.width / size[0], image.height / size[1]] * 4)
        sides = values[:, 2:4] - values[:, :2]
        ordered = (sides > 0).all(1) & (sides.max(1, initial=0) >= _LEAST_SIDE_PX) & np.isfinite(values).all(1)
        return score[rows, columns][ordered], (values * scale)[ordered]


def peaks(score: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Where a map (h, w) is no smaller than its eight neighbours."""
    height, width = score.shape
    padded = np.pad(score, 1, constant_values=-np.inf)
    shifts = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return score >= np.max(shifts, axis=0)


def suppress(boxes: npt.NDArray[np.float64], scores: npt.NDArray[np.floating[Any]], most_iou: float) -> list[int]:
    """Indices of the boxes (M, 4) to keep, best first: none overlaps a better one by more than `most_iou`."""
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        overlap = np.minimum(boxes[rest, 2:], boxes[best, 2:]) - np.maximum(boxes[rest, :2], boxes[best, :2])
        intersection = np.prod(np.clip(overlap, 0, None), axis=1)
        order = rest[intersection <= most_iou * (area[rest] + area[best] - intersection)]
    return kept


def roll_of(geometry: npt.NDArray[np.float64]) -> float:
    """The roll of one face (8,) [x0, y0, x1, y1, right eye x, y, left eye x, y]; radians, 0 in profile."""
    side = max(geometry[2] - geometry[0], geometry[3] - geometry[1])
    dx, dy = geometry[6:8] - geometry[4:6]
    trust = (math.hypot(dx, dy) / side - _ROLL_NONE) / (_ROLL_FULL - _ROLL_NONE)
    return math.atan2(dy, dx) * min(max(trust, 0.0), 1.0)
