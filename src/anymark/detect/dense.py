"""The dense model: where on the canonical head every pixel of a photo lies (DenseMarks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anymark.canonical.frame import mm_to_uvw, uvw_to_mm
from anymark.detect.image import Photo
from anymark.detect.mesh import HeadMesh
from anymark.detect.model import Model, Network
from anymark.detect.prior import STRIDE, no_prior, prior_of
from anymark.detect.window import Crop, Window, cut
from anymark.errors import AnymarkError

Floats = npt.NDArray[np.float32]

DENSE = "dense-small"
"""The dense model that ships."""

CHANNELS = 5
"""Of dense.onnx: u, v, w, logit of showing the head, log of the spread in millimetres."""

SPREAD_TO_SIGMA = 2.0
"""A density that falls off as exp(-distance / spread) in space has this many spreads for a standard deviation, along
each axis."""

LEAST_HEAD = 0.5
"""Pixels that are less likely to show the head count as none of it."""

_LARGEST_INPUT = 4096  # pixels; more is a slip on the card
_BATCH = 8


class Sampled(NamedTuple):
    """A dense map at some places of the photo."""

    points_mm: Floats
    """(..., 3)"""
    head: Floats
    """(...)"""
    sigma_mm: Floats
    """(...)"""


@dataclass(frozen=True, eq=False)
class DenseMap:
    """Where the pixels of one square of a photo lie on the canonical head; S a side.

    Pixel (j, i) of the map is about (-1 + (2 j + 1) / S, -1 + (2 i + 1) / S) of the crop.

    Raises:
        AnymarkError: shapes disagree, a number is not finite or a probability outside of 0..1.
    """

    points_mm: Floats
    """(S, S, 3) canonical points, head frame. What shows no head has some, too, that mean nothing."""
    head: Floats
    """(S, S) 0..1, how likely a pixel shows the head or its hair."""
    sigma_mm: Floats
    """(S, S) how far off each point may be: its standard deviation along an axis."""
    crop: Crop
    """The square, in pixels of the photo."""
    image_size_px: tuple[int, int]
    """(width, height) of the photo."""

    def __post_init__(self) -> None:
        side = len(self.points_mm)
        for key, shape in (("points_mm", (side, side, 3)), ("head", (side, side)), ("sigma_mm", (side, side))):
            array = np.asarray(getattr(self, key), np.float32)
            if array.shape != shape or side < 2:
                raise AnymarkError(f"dense map: {key} is {array.shape}")
            if not np.isfinite(array).all():
                raise AnymarkError(f"dense map: {key} is not finite")
            object.__setattr__(self, key, array)
        if (self.head < 0).any() or (self.head > 1).any() or (self.sigma_mm < 0).any():
            raise AnymarkError("dense map: a probability outside of 0..1, or a sigma below 0")

    def __repr__(self) -> str:
        return f"DenseMap({self.side} x {self.side}, {100 * self.share:.0f} % head)"

    @property
    def side(self) -> int:
        """S, pixels of the map along a side."""
        return len(self.head)

    @cached_property
    def share(self) -> float:
        """0..1, how much of the square shows the head."""
        return float((self.head > LEAST_HEAD).mean())

    @cached_property
    def uvw(self) -> Floats:
        """(S, S, 3) the points in the unit cube."""
        return mm_to_uvw(self.points_mm).astype(np.float32)

    @cached_property
    def pixels_px(self) -> Floats:
        """(S, S, 2) where the map's pixels are in the photo."""
        along = (np.arange(self.side) + 0.5) * (2 / self.side) - 1
        return self.crop.to_image(np.stack(np.meshgrid(along, along), -1)).astype(np.float32)

    @property
    def pixel_px(self) -> float:
        """Side of one of the map's pixels, in pixels of the photo."""
        return self.crop.side_px / self.side

    def at(self, xy_px: npt.ArrayLike) -> Sampled:
        """The map at places (..., 2) of the photo, bilinear; outside of the square nothing is head."""
        where = (self.crop.to_crop(np.asarray(xy_px, np.float64)) + 1) * (self.side / 2)
        inside = ((where >= 0) & (where <= self.side)).all(-1)
        found = _bilinear(self._channels, where - 0.5)
        return Sampled(found[..., :3], np.where(inside, found[..., 3], np.float32(0)), found[..., 4])

    def gradient(self, xy_px: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(N, 3, 2) millimetres on the head for each pixel of the photo, to the right and down, about places (N, 2)."""
        xy, half = np.asarray(xy_px, np.float64), self.pixel_px / 2
        steps = np.array([[half, 0.0], [0.0, half]])
        sides = [(self.at(xy + step).points_mm - self.at(xy - step).points_mm) / (2 * half) for step in steps]
        return np.stack(sides, -1).astype(np.float64)

    def on_photo(self) -> Sampled:
        """The map at every pixel of the photo: (H, W, 3), (H, W), (H, W)."""
        width, height = self.image_size_px
        return self.at(np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1))

    @cached_property
    def _channels(self) -> Floats:
        return np.concatenate([self.points_mm, self.head[..., None], self.sigma_mm[..., None]], -1)


@dataclass(frozen=True)
class RoundTrip:
    """How much the words of the query model and of a dense one weigh: numbers of its card, fitted on training data."""

    trust: float = 1.0
    """What the dense map's sigmas are multiplied by where points are moved."""
    visible: tuple[float, float, float, float] = (1.0, 0.3, -0.5, 0.0)
    """Weights of the logit of the query model's `uncovered`, of the logit of the head, of the log of 1 + gap^2, and a
    shift: the logit of being seen, as far as both can tell."""


class DenseNetwork:
    """A dense model's folder: dense.onnx and its card.

    Raises:
        AnymarkError: the card lacks or garbles one of its values.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.input_size = model.whole_number("input_size", _LARGEST_INPUT)
        """Side in pixels of the square as it is read."""
        self.window_scale = model.number("window_scale")
        """Side of a head's window over the longer side of its face's box."""
        self.reads_prior = model.card.get("prior") is True
        """Whether it starts from the head that the query model found."""
        self._sigma_scale = model.number("sigma_scale", 1.0)
        self.round_trip = self._round_trip()
        """What this model's maps weigh against landmarks."""

    def _round_trip(self) -> RoundTrip:
        given = self._model.card.get("round_trip")
        if given is None:
            return RoundTrip()
        try:
            trust, visible = float(given["trust"]), tuple(float(v) for v in given["visible"])
        except (TypeError, KeyError, ValueError):
            trust, visible = np.nan, ()
        if len(visible) != 4 or not np.isfinite([trust, *visible]).all() or not trust > 0:
            raise AnymarkError(f"{self._model.folder / 'card.json'}: 'round_trip' must have trust, and 4 of visible")
        return RoundTrip(trust, visible)

    @cached_property
    def _network(self) -> Network:
        return self._model.network("dense.onnx", ["dense"])

    def load(self) -> None:
        """Load it now rather than at first use."""
        _ = self._network

    def window_of(self, box_px: npt.ArrayLike, roll_rad: float) -> Window:
        """The square about the box of a face (4,), with hair and chin, that the model reads."""
        return Window.from_box(box_px, self.window_scale, roll_rad)

    def maps(self, photo: Photo, windows: Sequence[Window], meshes: Sequence[HeadMesh | None]) -> list[DenseMap]:
        """The map of each window.

        Args:
            meshes: the head that the query model found in each; None where there is none.

        Raises:
            AnymarkError: an answer that is not finite.
        """
        crops = [Crop(window.affine()) for window in windows]
        out: list[DenseMap] = []
        for i in range(0, len(crops), _BATCH):
            some = crops[i : i + _BATCH]
            found = self(cut(photo, some, self.input_size), self.priors(some, meshes[i : i + _BATCH]))
            out += [DenseMap(*answer, crop, photo.full_size_px) for answer, crop in zip(found, some, strict=True)]
        return out

    def priors(self, squares: Sequence[Crop], meshes: Sequence[HeadMesh | None]) -> Floats | None:
        """(B, 4, s, s) what the network starts from, if it does; see `anymark.detect.prior`."""
        if not self.reads_prior:
            return None
        side = self.input_size // STRIDE
        both = zip(squares, meshes, strict=True)
        return np.stack([no_prior(side) if mesh is None else prior_of(mesh, crop, side) for crop, mesh in both])

    def __call__(self, pictures: npt.NDArray[np.uint8], priors: Floats | None) -> list[tuple[Floats, Floats, Floats]]:
        """Squares (B, S, S, 3) and what `priors` gives for them -> of each the points (s, s, 3) in millimetres, the
        head (s, s) and sigmas (s, s).

        Raises:
            AnymarkError: an answer is not finite, or of another shape.
        """
        (answer,) = self._network(image=pictures, **({} if priors is None else {"prior": priors}))
        if answer.ndim != 4 or answer.shape[:2] != (len(pictures), CHANNELS) or answer.shape[2] != answer.shape[3]:
            raise AnymarkError(f"{self._network.path}: its answer is {answer.shape}, not (B, {CHANNELS}, s, s)")
        if not np.isfinite(answer).all():
            raise AnymarkError(f"{self._network.path}: its answer is not finite")
        out = []
        for each in answer:
            points = uvw_to_mm(each[:3].transpose(1, 2, 0)).astype(np.float32)
            head = (1 / (1 + np.exp(-np.clip(each[3], -50, 50)))).astype(np.float32)
            sigma = np.exp(np.clip(each[4], -5, 6)) * np.float32(SPREAD_TO_SIGMA * self._sigma_scale)
            out.append((points, head, sigma))
        return out


def whole(size_px: tuple[int, int]) -> Window:
    """The smallest square about a whole photo."""
    width, height = size_px
    return Window(np.array([width / 2, height / 2]), max(size_px))


def _bilinear(picture: Floats, where: npt.NDArray[np.floating]) -> Floats:
    """(H, W, C) at places (..., 2) in indices, its border repeated outwards: (..., C)."""
    height, width = picture.shape[:2]
    x, y = np.clip(where[..., 0], 0, width - 1), np.clip(where[..., 1], 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    right, down = (x - left).astype(np.float32)[..., None], (y - top).astype(np.float32)[..., None]
    upper = picture[top, left] * (1 - right) + picture[top, left + 1] * right
    lower = picture[top + 1, left] * (1 - right) + picture[top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32, copy=False)
