"""The detector: encode a head once, query it as often as you like."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import EYE_CORNERS, FACE_MESH_POINTS
from anymark.detect.boxes import check_boxes, one_a_face
from anymark.detect.image import Photo, Source, open_photo
from anymark.detect.landmarker import Landmarker
from anymark.detect.landmarks import Landmarks
from anymark.detect.locate import SEARCH_PX, Box, Locator, roll_of
from anymark.detect.model import Model
from anymark.detect.window import Window, crop
from anymark.errors import AnymarkError

Points = str | os.PathLike[str] | Layout | npt.NDArray[np.floating] | Sequence[Sequence[float]]
"""What can be asked of a head: a layout, its name, its file, or points (N, 3) in millimetres of the head frame."""


@dataclass(frozen=True, eq=False)
class Head:
    """One encoded head of one photo; made by `Detector.encode`."""

    code: npt.NDArray[np.float32]
    """(K, 3) or (D,) what the network made of it."""
    window: Window
    """The square that the network saw, pixels of the photo."""
    box_px: npt.NDArray[np.float64]
    """(4,) [x0, y0, x1, y1] the face, pixels of the photo."""
    score: float
    """0..1, the locator's; 1 for boxes and windows of the caller's."""
    image_size_px: tuple[int, int]
    """(width, height) of the photo, upright."""
    landmarker: Landmarker

    def __repr__(self) -> str:
        return f"Head(box_px={self.box_px.round(1).tolist()}, score={self.score:.2f})"

    def next_window(self) -> Window:
        """The window about the face as its landmarks show it: where to look in the next frame of a video."""
        box = found_face(self)
        return Window.from_box(box.box_px, self.landmarker.window_scale, box.roll_rad)

    def query(self, points: Points) -> Landmarks:
        """Where these points are; any layout, any number of times.

        Raises:
            AnymarkError: no such layout, or points that are not (N, 3) finite numbers.
        """
        layout = as_layout(points)
        found = self.landmarker.landmarks(self.code, layout.points_mm)
        return Landmarks(
            layout=layout,
            xy_px=self.window.to_image(found[:, :2]).astype(np.float32),
            sigma_px=np.exp(found[:, 2]) * np.float32(self.window.side_px / 2),
            box_px=self.box_px,
            window=self.window,
            score=self.score,
        )


class Detector:
    """Finds heads in photos and any point on them.

    Models are loaded at first use, and verified by their SHA-256; `load` does it at once.

    Args:
        model: A landmark model of the package by name, or a model's folder.
        locator: A locator of the package by name, or a model's folder; not needed where boxes or windows are given.
        providers: onnxruntime's execution providers, best first; None is the CPU.
        threads: Threads of each network; None is all cores.
        search_px: Longest side at which photos are searched for their smallest faces, coarser levels included; photos
            that are smaller, at their own size. A face is found if it is at least about 20 px wide there: at 960, a
            fiftieth of the photo's longest side. Time and memory grow with the square; 4096, the most, takes 0.8 GB.
        looks: How often a head is read. Boxes, a locator's or the caller's, are rough; the second look is at an
            upright window around the face that the first one found, which lowers the error by about 5 % and takes a
            millisecond. The box of the result is that face's. Heads in windows of the caller's are read once.
        most_unsure: A located box is no head if the median sigma of its face is above this fraction of the box's longer
            side. None takes the number of the landmark model's card; infinity keeps every box. Heads in boxes and
            windows of the caller's are always kept.

    Raises:
        AnymarkError: a number out of its range; at first use, no such model or provider.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "small",
        locator: str | os.PathLike[str] = "locator",
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        search_px: int = SEARCH_PX,
        looks: int = 2,
        most_unsure: float | None = None,
    ) -> None:
        if looks < 1:
            raise AnymarkError(f"looks must be at least 1, not {looks}")
        if most_unsure is not None and not most_unsure > 0:
            raise AnymarkError(f"most_unsure must be above 0, not {most_unsure}")
        self._looks = looks
        self._names = (model, locator)
        self._options = (providers, threads)
        self._search_px = search_px
        self._most_unsure = most_unsure

    @cached_property
    def landmarker(self) -> Landmarker:
        """The landmark model."""
        return Landmarker(Model(self._names[0], "landmarks", *self._options))

    @cached_property
    def locator(self) -> Locator:
        """The locator model."""
        return Locator(Model(self._names[1], "locator", *self._options), self._search_px)

    def load(self) -> None:
        """Load and verify both models now."""
        self.landmarker.load()
        self.locator.load()

    def encode(self, image: Source, windows: Sequence[Window] | None = None) -> list[Head]:
        """The heads of one photo, to be queried.

        Args:
            image: A file, a Pillow image or an array; see `open_photo`.
            windows: Where the heads are, in pixels of the photo, when you know (the next frame of a video): their order
                is kept. None searches the photo, largest head first.

        Raises:
            AnymarkError: a bad photo, window or model.
        """
        photo = open_photo(image)
        if windows is None:
            return self._located(photo, None)
        if not isinstance(windows, Sequence) or not all(isinstance(window, Window) for window in windows):
            raise AnymarkError(f"windows must be a list of anymark.Window, not {windows!r:.80}")
        return self._encode([self._view(photo, window, self._box_of(window), 1.0) for window in windows])

    def detect(
        self,
        image: Source,
        layout: Points = "ibug68",
        boxes: npt.ArrayLike | None = None,
        max_heads: int | None = None,
    ) -> list[Landmarks]:
        """The landmarks of every head of one photo, largest first; an empty list where there is none.

        Args:
            image: A file, a Pillow image or an array; see `open_photo`.
            layout: What to look for.
            boxes: (M, 4) faces [x0, y0, x1, y1] in pixels, when you know them: their order is kept.
            max_heads: The first so many only.

        Raises:
            AnymarkError: a bad photo, layout, box or model.
        """
        if max_heads is not None and max_heads < 1:
            raise AnymarkError(f"max_heads must be at least 1, not {max_heads}")
        asked, photo = as_layout(layout), open_photo(image)
        if boxes is None:
            heads = self._located(photo, max_heads)
        else:
            given = [Box(box, 1.0, 0.0) for box in check_boxes(boxes)]
            heads = self._heads_in(photo, given[:max_heads])
        return [head.query(asked) for head in heads]

    def detect_batch(
        self, images: Iterable[Source], layout: Points = "ibug68", max_heads: int | None = None
    ) -> list[list[Landmarks] | AnymarkError]:
        """`detect` for many photos: one list of heads a photo, in the order given.

        A bad photo does not stop the others: the AnymarkError that says why stands in its place, told by `isinstance`.
        Photos are opened one after another and let go once they are done, so `images` may be a generator.

        Raises:
            AnymarkError: nothing can be done at all: a bad layout, max_heads or model.
        """
        asked = as_layout(layout)
        self.load()
        results: list[list[Landmarks] | AnymarkError] = []
        for image in images:
            try:
                photo = open_photo(image)
            except AnymarkError as error:
                results.append(AnymarkError(str(error)))  # a new one: what was raised keeps the pixels in its traceback
            else:
                results.append(self.detect(photo, asked, max_heads=max_heads))
        return results

    def _located(self, photo: Photo, max_heads: int | None) -> list[Head]:
        """The heads of a photo, largest first, without what the landmark model does not recognise as one."""
        most = self.landmarker.most_unsure if self._most_unsure is None else self._most_unsure
        heads = [head for head in self._heads_in(photo, self.locator.locate(photo)) if unsureness(head) <= most]
        # two boxes of the locator may have come to lie on one face at the second look
        boxes = np.array([head.box_px for head in heads]).reshape(-1, 4)
        kept = one_a_face(boxes, np.array([head.score for head in heads]))
        return [heads[i] for i in kept][:max_heads]

    def _heads_in(self, photo: Photo, boxes: Sequence[Box]) -> list[Head]:
        heads = self._righted(photo, boxes, self._look(photo, boxes))
        for _ in range(self._looks - 1):
            heads = self._look(photo, [found_face(head) for head in heads])
        return heads

    def _righted(self, photo: Photo, boxes: Sequence[Box], heads: Sequence[Head]) -> list[Head]:
        """Heads that may lie on their sides or upside down, which locators tell badly: the surest of four looks."""
        out = list(heads)
        for i, (box, head) in enumerate(zip(boxes, heads, strict=True)):
            if unsureness(head) > self.landmarker.most_unsure:
                turned = [Box(box.box_px, box.score, box.roll_rad + k * math.pi / 2) for k in (1, 2, 3)]
                out[i] = min([head, *self._look(photo, turned)], key=unsureness)
        return out

    def _look(self, photo: Photo, boxes: Sequence[Box]) -> list[Head]:
        scale = self.landmarker.window_scale
        windows = [Window.from_box(box.box_px, scale, box.roll_rad) for box in boxes]
        views = [self._view(photo, window, box.box_px, box.score) for window, box in zip(windows, boxes, strict=True)]
        return self._encode(views)

    def _view(self, photo: Photo, window: Window, box_px: npt.NDArray[np.float64], score: float) -> _View:
        pixels = crop(photo.pixels, window.scaled(1 / photo.shrink), self.landmarker.input_size)
        return _View(window, box_px, score, photo.full_size_px, pixels)

    def _box_of(self, window: Window) -> npt.NDArray[np.float64]:
        half = window.side_px / 2 / self.landmarker.window_scale
        return np.concatenate([window.centre_px - half, window.centre_px + half])

    def _encode(self, views: Sequence[_View]) -> list[Head]:
        if not views:
            return []
        codes = self.landmarker.encode(np.stack([view.pixels for view in views]))
        return [
            Head(code, view.window, view.box_px, view.score, view.image_size_px, self.landmarker)
            for code, view in zip(codes, views, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class _View:
    """A head cut out of its photo, before it is encoded."""

    window: Window
    box_px: npt.NDArray[np.float64]
    score: float
    image_size_px: tuple[int, int]
    pixels: npt.NDArray[np.uint8]


def found_face(head: Head) -> Box:
    """The face's box and roll as the landmarks of a first look show them."""
    points = head.query("mediapipe478").xy_px.astype(np.float64)
    face, eyes = points[:FACE_MESH_POINTS], points[np.array(EYE_CORNERS)].mean(1)
    roll = roll_of(np.concatenate([face.min(0), face.max(0), *eyes]))
    # the box of the face as it lies upright in its window, about the same centre: the window is turned, not the box
    cos, sin = math.cos(roll), math.sin(roll)
    turn = np.array([[cos, -sin], [sin, cos]])
    upright = face @ turn
    low, high = upright.min(0), upright.max(0)
    centre, half = turn @ (low + high) / 2, (high - low) / 2
    return Box(np.concatenate([centre - half, centre + half]), head.score, roll)


def unsureness(head: Head) -> float:
    """The median sigma of the face mesh over the longer side of the face's box."""
    sigma_px = head.query("mediapipe478").sigma_px[:FACE_MESH_POINTS]
    return float(np.median(sigma_px)) / float((head.box_px[2:] - head.box_px[:2]).max())


def as_layout(points: Points) -> Layout:
    """A layout, its name, its file or points (N, 3) in millimetres -> the layout.

    Raises:
        AnymarkError: no such layout, or points that are not (N, 3) finite numbers.
    """
    if isinstance(points, Layout):
        return points
    if isinstance(points, np.ndarray | Sequence) and not isinstance(points, str):
        try:
            with np.errstate(over="ignore"):
                table = np.asarray(points, np.float32)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
            raise AnymarkError(f"points {str(points)[:80]} are not rows of three numbers, millimetres") from None
        return Layout("points", table)
    if not isinstance(points, str | os.PathLike):
        raise AnymarkError(f"{points!r:.80} is no layout: a Layout, a name, a file or points (N, 3) are")
    if isinstance(points, str) and not Path(points).suffix:
        return _shipped(points)
    return load_layout(points)


@lru_cache(maxsize=32)
def _shipped(name: str) -> Layout:
    """A layout of the package; its file is read once, not once a frame."""
    return load_layout(name)
