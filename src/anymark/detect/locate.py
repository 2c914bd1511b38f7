"""Where the faces of a photo are: a small network on a pyramid of sizes, what it finds merged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.detect.boxes import one_a_face
from anymark.detect.image import Photo
from anymark.detect.model import Model, Network
from anymark.errors import AnymarkError

SEARCH_PX = 960
"""Longest side at which a photo is searched for its smallest faces, unless the caller says more or less."""

MOST_SEARCH_PX = 4096
"""4096 x 4096 pixels take 0.8 GB and, on one thread, two seconds; memory and time grow with the area."""

_COARSE_PX = (160, 320, SEARCH_PX)  # coarser levels, below the finest: the first finds faces that fill the photo
_ENLARGED_PX = 320  # levels above this are no larger than the photo itself
_MULTIPLE = 32  # the network's input sides are multiples of this
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
    """A locator model folder: locate.onnx, whose scores are 0 but at their local maxima.

    Args:
        model: Its card gives "threshold", the least score of a face.
        search_px: Longest side of the finest level that photos are searched at, coarser ones included; a photo that is
            smaller, at its own size. A face is found if it is at least about 20 px wide at that level.

    Raises:
        AnymarkError: the card lacks or garbles the threshold, or search_px is not 32..4096.
    """

    def __init__(self, model: Model, search_px: int = SEARCH_PX) -> None:
        if not _MULTIPLE <= search_px <= MOST_SEARCH_PX:
            raise AnymarkError(f"search_px {search_px}: must be {_MULTIPLE} to {MOST_SEARCH_PX}")
        self._model = model
        coarser = (level for level in _COARSE_PX if _WORTH_ANOTHER_LEVEL * level < search_px)
        self._levels_px = (*coarser, search_px)
        self.threshold = model.number("threshold", most=1)

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
            level = min(level, max(*image.size, _ENLARGED_PX))
            if level > _WORTH_ANOTHER_LEVEL * levels[-1]:
                levels.append(level)
        found = [self._level(image, level) for level in levels]
        scores = np.concatenate([score for score, _ in found])
        geometry = np.concatenate([values for _, values in found]) * photo.shrink
        kept = one_a_face(geometry[:, :4], scores)
        return [Box(geometry[i, :4], float(scores[i]), roll_of(geometry[i])) for i in kept]

    def _level(self, image: Image.Image, longest: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Scores (M,) and geometries (M, 8) in pixels of `image`, of the faces with its longest side scaled."""
        factor = longest / max(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        small = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
        padding = (-size[1] % _MULTIPLE, -size[0] % _MULTIPLE)
        padded = np.pad(small, ((0, padding[0]), (0, padding[1]), (0, 0)))
        score, geometry = (output[0] for output in self._network(image=padded[None]))
        rows, columns = np.nonzero(score >= self.threshold)
        values = geometry[rows, columns].astype(np.float64)
        scale = np.array([image.width / size[0], image.height / size[1]] * 4)
        sides = values[:, 2:4] - values[:, :2]
        ordered = (sides > 0).all(1) & (sides.max(1, initial=0) >= _LEAST_SIDE_PX) & np.isfinite(values).all(1)
        return score[rows, columns][ordered], (values * scale)[ordered]


def roll_of(geometry: npt.NDArray[np.float64]) -> float:
    """The roll of one face (8,) [x0, y0, x1, y1, right eye x, y, left eye x, y]; radians, 0 in profile."""
    side = max(geometry[2] - geometry[0], geometry[3] - geometry[1])
    dx, dy = geometry[6:8] - geometry[4:6]
    trust = (math.hypot(dx, dy) / side - _ROLL_NONE) / (_ROLL_FULL - _ROLL_NONE)
    return math.atan2(dy, dx) * min(max(trust, 0.0), 1.0)
