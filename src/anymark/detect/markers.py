"""Marker models at work (Generative Landmarks): a template's points in pictures of the kind that it was trained on.

They answer in the same words as the landmark model: the template is a layout on a plane, 100 mm to half a side, and its
points are seen by a camera in front of that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.canonical.frame import CUBE_CENTRE_MM, FACING
from anymark.detect.camera import Camera
from anymark.detect.image import Source, open_photo
from anymark.detect.landmarks import Landmarks
from anymark.detect.model import Model
from anymark.detect.template import Template, template_of
from anymark.detect.window import Crop, Window, cut
from anymark.errors import AnymarkError

Floats = npt.NDArray[np.float32]

HALF_SIDE_MM = 100.0
"""Of the plane that a template lies on."""
_AWAY_MM = 1000.0
_LARGEST_INPUT = 4096


@dataclass(frozen=True, eq=False)
class MarkerHead:
    """What a marker model found in one square; stands where a `Head` does."""

    points: Floats
    """(N, 2) in -1..1."""
    square: Window
    network: MarkerNetwork
    score: float = 1.0
    unsureness: float = 0.0
    """It has no word on that."""

    @cached_property
    def xy_px(self) -> Floats:
        """(N, 2) pixels of the photo."""
        return Crop(self.square.affine()).to_image(self.points).astype(np.float32)

    @cached_property
    def box_px(self) -> npt.NDArray[np.float64]:
        """(4,) about all points."""
        return np.concatenate([self.xy_px.min(0), self.xy_px.max(0)]).astype(np.float64)

    def next_window(self) -> Window:
        """The same square: what it shows is framed by whoever films it."""
        return self.square

    def query(self, points: object) -> Landmarks:
        """The template's points.

        Raises:
            AnymarkError: another layout is asked for.
        """
        layout = self.network.layout
        if isinstance(points, Layout) and not np.array_equal(points.points_mm, layout.points_mm):
            raise AnymarkError(f"a marker model knows the points of its template {layout.name!r} alone")
        crop = Crop(self.square.affine())
        camera = Camera.of_crop(_straight(), crop)
        return Landmarks(
            layout=layout,
            xy_px=self.xy_px,
            sigma_px=self.network.sigma * np.float32(crop.side_px / 2),
            xyz_mm=on_plane(self.points),
            uncovered=np.ones(len(self.points), np.float32),
            box_px=self.box_px,
            window=self.square,
            crop=crop,
            camera=camera,
            score=self.score,
        )


class MarkerNetwork:
    """A marker model's folder: points.onnx and its card.

    Raises:
        AnymarkError: the card lacks or garbles one of its values.
    """

    window_scale = 1.0
    most_unsure = np.inf

    def __init__(self, model: Model) -> None:
        self._model = model
        self.input_size = model.whole_number("input_size", _LARGEST_INPUT)
        """Side in pixels of the square as it is read."""
        self.template = self._template()
        self.layout = layout_of(self.template)
        """The template as a layout."""
        self.sigma = self._sigma()
        """(N,) expected errors, in half sides of the square."""

    def _template(self) -> Template:
        try:
            return template_of(self._model.need("template"))
        except AnymarkError as error:
            raise AnymarkError(f"{self._model.folder / 'card.json'}: {error}") from None

    def _sigma(self) -> Floats:
        try:
            sigma = np.array(self._model.need("sigma"), np.float32)
        except (TypeError, ValueError):
            sigma = np.zeros(0, np.float32)
        if sigma.shape != (len(self.template),) or not (np.isfinite(sigma) & (sigma >= 0)).all():
            raise AnymarkError(f"{self._model.folder / 'card.json'}: 'sigma' must be a number of each point")
        return sigma

    @cached_property
    def network(self):
        """points.onnx."""
        return self._model.network("points.onnx", ["points"])

    def __call__(self, pictures: npt.NDArray[np.uint8]) -> Floats:
        """Squares (B, S, S, 3) -> points (B, N, 2) in -1..1.

        Raises:
            AnymarkError: an answer is not finite, or of another shape.
        """
        (points,) = self.network(image=pictures)
        if points.shape != (len(pictures), len(self.template), 2) or not np.isfinite(points).all():
            raise AnymarkError(f"{self.network.path}: its answer is {points.shape}, or not finite")
        return points


class MarkerDetector:
    """Finds a template's points in pictures; stands where a `Detector` does.

    Args:
        model: A marker model's folder.
        providers: onnxruntime's execution providers, best first; None is the CPU.
        threads: Threads of the network; None is all cores.

    Raises:
        AnymarkError: no such model, or a damaged one.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self.landmarker = MarkerNetwork(Model(model, "markers", providers, threads))

    @property
    def layout(self) -> Layout:
        """The template, as a layout."""
        return self.landmarker.layout

    def load(self) -> None:
        """Load and verify the network now."""
        _ = self.landmarker.network

    def encode(self, image: Source, windows: Sequence[Window] | None = None) -> list[MarkerHead]:
        """What is found in each window; in the largest square in the middle of the picture, where none are given.

        Raises:
            AnymarkError: a bad photo, window or model.
        """
        photo = open_photo(image)
        squares = windows or [framed(photo.full_size_px)]
        crops = [Crop(square.affine()) for square in squares]
        found = self.landmarker(cut(photo, crops, self.landmarker.input_size))
        return [MarkerHead(points, square, self.landmarker) for points, square in zip(found, squares, strict=True)]

    def follow(self, image: Source, windows: Sequence[Window]) -> list[MarkerHead]:
        """`encode`: where windows are given they are read as they are."""
        return self.encode(image, windows)

    def detect(self, image: Source) -> list[Landmarks]:
        """The template's points in one picture."""
        return [head.query(self.layout) for head in self.encode(image)]


def framed(size_px: tuple[int, int]) -> Window:
    """The largest square in the middle of a picture (width, height): what counts of it, in training as in use."""
    width, height = size_px
    return Window(np.array([width / 2, height / 2]), min(width, height))


def layout_of(template: Template) -> Layout:
    """A template on its plane."""
    lines = template.lines if len(template.lines) else None
    return Layout(template.name, on_plane(template.points), edges=lines)


def on_plane(points: npt.NDArray[np.floating]) -> Floats:
    """(N, 2) in -1..1 -> (N, 3) millimetres of the head frame, on a plane that faces the camera."""
    flat = np.column_stack([points[:, 0], -points[:, 1], np.zeros(len(points))])
    return (HALF_SIDE_MM * flat + CUBE_CENTRE_MM).astype(np.float32)


def _straight() -> npt.NDArray[np.float64]:
    """(13,) of a crop's camera that sees the plane so that it fills the crop."""
    place = np.array([0, 0, _AWAY_MM]) - FACING @ CUBE_CENTRE_MM
    return np.concatenate([FACING.ravel(), place, [_AWAY_MM / HALF_SIDE_MM]])
