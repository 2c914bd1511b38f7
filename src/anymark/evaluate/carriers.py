"""Who carries pixels from one picture of a head to another, of the same person or of somebody else: the dense model,
and what there is to hold it against.

Each looks at a picture once, and then says for pixels of one where the same points of the head are in another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from anymark.apps.correspond import Finder
from anymark.apps.pixels import sampled
from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.detect.dense import LEAST_HEAD, DenseMap
from anymark.detect.detector import Head
from anymark.detect.window import crop
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

GRID = 64
"""Cells of a picture's square, along a side, that descriptors are taken of."""

_SEEN = 0.5
_SIFT_SHARE = 1 / 25  # of the square's side: a key point's size; its descriptor looks at six times as much


@dataclass(eq=False)
class Looked:
    """A picture of one head, and what models say of it."""

    pixels: npt.NDArray[np.uint8]
    head: Head
    dense: DenseMap

    @cached_property
    def finder(self) -> Finder:
        """Of the dense map."""
        return Finder(self.dense)

    @cached_property
    def square(self) -> npt.NDArray[np.uint8]:
        """(256, 256, 3) what the dense model sees."""
        return crop(self.pixels, self.dense.crop, 256)

    @cached_property
    def vertices(self) -> tuple[Array, npt.NDArray[np.bool_]]:
        """(V, 2) where the query model has the head's vertices, and which it thinks are seen."""
        found = self.head.query(load_layout(HEAD))
        return found.xy_px.astype(np.float64), found.visible > _SEEN

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What carriers keep of it."""
        return {}


class Carrier(ABC):
    """One of them."""

    name: str

    @abstractmethod
    def carry(self, first: Looked, second: Looked, xy_px: Array) -> Array:
        """Pixels (N, 2) of the first picture -> those of the second; NaN where it has none."""


class ByDense(Carrier):
    """Through the dense maps: the point of the head at a pixel, and the pixel that shows it."""

    name = "dense"

    def carry(self, first: Looked, second: Looked, xy_px: Array) -> Array:
        """See `Carrier`."""
        if not second.dense.share:
            return np.full(xy_px.shape, np.nan)
        return second.finder(first.dense.at(xy_px).points_mm).xy_px


class ByQuery(Carrier):
    """Through the query model: the nearest vertex that it sees at a pixel, and where it has that in the other."""

    name = "query model, nearest vertex"

    def carry(self, first: Looked, second: Looked, xy_px: Array) -> Array:
        """See `Carrier`."""
        (one, seen), (other, _) = first.vertices, second.vertices
        some = np.flatnonzero(seen) if seen.any() else np.arange(len(one))
        nearest = some[np.linalg.norm(xy_px[:, None] - one[some], axis=-1).argmin(1)]
        return other[nearest]


class ByDescriptors(Carrier):
    """By the nearest descriptor among the cells of the other picture that show the head.

    Args:
        describe: A square (256, 256, 3) -> (GRID, GRID, D).
        unit: Whether descriptors count by their direction alone.
    """

    def __init__(self, name: str, describe: Callable[[npt.NDArray[np.uint8]], Floats], unit: bool) -> None:
        self.name, self._describe, self._unit = name, describe, unit

    def carry(self, first: Looked, second: Looked, xy_px: Array) -> Array:
        """See `Carrier`."""
        own, (theirs, places) = self._features(first), self._cells(second)
        at = (first.dense.crop.to_crop(xy_px) + 1) * (GRID / 2)
        asked = self._scaled(sampled(own, at.astype(np.float32)))
        # the nearest one: |a - b|^2 without |a|^2
        nearest = ((theirs**2).sum(1) - 2 * asked @ theirs.T).argmin(1)
        return places[nearest]

    def _scaled(self, features: Floats) -> Floats:
        if not self._unit:
            return features
        return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-6)

    def _features(self, looked: Looked) -> Floats:
        if self.name not in looked.kept:
            looked.kept[self.name] = self._describe(looked.square)
        return looked.kept[self.name]

    def _cells(self, looked: Looked) -> tuple[Floats, Array]:
        """Descriptors (C, D) of the cells that show the head, and their middles (C, 2) in the picture."""
        key = f"{self.name}, cells"
        if key not in looked.kept:
            along = (np.arange(GRID) + 0.5) * (2 / GRID) - 1
            places = looked.dense.crop.to_image(np.stack(np.meshgrid(along, along), -1).reshape(-1, 2))
            on = looked.dense.at(places).head > LEAST_HEAD
            on = on if on.any() else np.ones(len(places), bool)
            flat = self._scaled(self._features(looked).reshape(GRID * GRID, -1))
            looked.kept[key] = flat[on], np.asarray(places[on], np.float64)
        return looked.kept[key]


class ByFaceMesh(Carrier):
    """MediaPipe's Face Mesh: the nearest of its triangles, and the same place on it in the other picture.

    Raises:
        AnymarkError: mediapipe is not installed.
    """

    name = "mediapipe, nearest triangle"

    def __init__(self) -> None:
        from anymark.engine.teacher import FaceMesh

        self._mesh = FaceMesh()
        triangles = load_layout(FACE_MESH_LAYOUT).triangles
        assert triangles is not None
        self._triangles = triangles[(triangles < FACE_MESH_POINTS).all(1)]

    def carry(self, first: Looked, second: Looked, xy_px: Array) -> Array:
        """See `Carrier`."""
        one, other = self._points(first), self._points(second)
        if one is None or other is None:
            return np.full((len(xy_px), 2), np.nan)
        triangle, weights = nearest_triangles(one, self._triangles, xy_px)
        return np.einsum("nk,nkd->nd", weights, other[self._triangles[triangle]])

    def _points(self, looked: Looked) -> Array | None:
        if self.name not in looked.kept:
            found = self._mesh.points(np.ascontiguousarray(looked.pixels))
            looked.kept[self.name] = None if found is None else found[:FACE_MESH_POINTS, :2]
        return looked.kept[self.name]


def nearest_triangles(
    xy: Array, triangles: npt.NDArray[np.integer], points: Array
) -> tuple[npt.NDArray[np.intp], Array]:
    """For each of the points (N, 2) the triangle of a plane mesh (V, 2), (T, 3) that it lies in or is nearest to, (N,),
    and its weights (N, 3) there: below 0 and above 1 outside."""
    a, b, c = (xy[triangles[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    fine = np.abs(area) > 1e-6
    safe = np.where(fine, area, 1.0)
    p = points[:, None]
    second = ((p[..., 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (p[..., 1] - a[:, 1]) * (c[:, 0] - a[:, 0])) / safe
    third = ((b[:, 0] - a[:, 0]) * (p[..., 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (p[..., 0] - a[:, 0])) / safe
    weights = np.stack([1 - second - third, second, third], -1)
    inside = np.clip(weights, 0, None)
    inside /= inside.sum(-1, keepdims=True)
    nearest = np.einsum("ntk,tkd->ntd", inside, xy[triangles])
    away = np.where(fine, np.linalg.norm(nearest - p, axis=-1), np.inf)
    best = away.argmin(1)
    return best, weights[np.arange(len(points)), best]


def carriers(mediapipe: bool) -> tuple[list[Carrier], list[str]]:
    """All there are, the dense model first, and a line for each that is missing.

    Args:
        mediapipe: Whether MediaPipe is among them: it sees faces alone.
    """
    found: list[Carrier] = [
        ByDense(),
        ByQuery(),
        ByDescriptors("colour and place", _colour_and_place, unit=False),
        ByDescriptors("dense SIFT", _sift, unit=True),
    ]
    missing = []
    if find_spec("torch") and find_spec("timm"):
        found.append(ByDescriptors("the backbone, untrained", _untrained, unit=True))
    else:
        missing.append("the untrained backbone is left out: it needs anymark[train]")
    if mediapipe:
        try:
            found.append(ByFaceMesh())
        except AnymarkError as error:
            missing.append(f"MediaPipe is left out: {error}")
    return found, missing


def _colour_and_place(square: npt.NDArray[np.uint8]) -> Floats:
    """RGB in 0..1, and the place in the square in -1..1."""
    colours = cv2.resize(square, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    along = ((np.arange(GRID) + 0.5) * (2 / GRID) - 1).astype(np.float32)
    return np.dstack([colours, *np.meshgrid(along, along)]).astype(np.float32)


def _sift(square: npt.NDArray[np.uint8]) -> Floats:
    """RootSIFT at each cell, upright, of one size."""
    step = len(square) / GRID
    along = (np.arange(GRID) + 0.5) * step - 0.5
    keys = [cv2.KeyPoint(float(x), float(y), len(square) * _SIFT_SHARE, 0) for y in along for x in along]
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    keys, found = cv2.SIFT_create().compute(grey, keys)  # type: ignore[attr-defined]
    out = np.zeros((GRID, GRID, 128), np.float32)
    rows = [(int(key.pt[1] / step), int(key.pt[0] / step)) for key in keys]
    root = np.sqrt(found / np.maximum(found.sum(1, keepdims=True), 1e-6))
    for (row, column), each in zip(rows, root, strict=True):
        out[row, column] = each
    return out


def _untrained(square: npt.NDArray[np.uint8]) -> Floats:
    """What the default encoder's backbone says before training, at strides 4, 8 and 16."""
    from anymark.learn.models.untrained import features

    return features(_backbone(), square, GRID)


@lru_cache(maxsize=1)
def _backbone() -> Any:
    from anymark.learn.models.untrained import backbone

    return backbone()
