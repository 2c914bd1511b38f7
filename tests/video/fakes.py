"""A detector that needs no weights: a "head" is a grey disc on black, told from others by its level.

It lies where the disc does, its face's box about the disc, 100 mm to the disc's radius, seen from the front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark import Detector, Head, Landmarks, Window
from anymark.canonical import Layout, load_layout
from anymark.detect.landmarker import Answer, Landmarker
from anymark.detect.looks import Look
from anymark.detect.window import Crop
from anymark.video import Frame

LEVELS = (80, 120, 160, 200, 240)
FOCAL, DISTANCE_MM, RADIUS_MM = 10.0, 1500.0, 100.0
"""Focal length in half sides of a crop, which are one and a half radii."""
CAMERA = np.array([1, 0, 0, 0, -1, 0, 0, 0, -1, 0, 0, DISTANCE_MM, FOCAL], np.float32)
SIGMA = 0.01
SIZE = (160, 120)

LAYOUT = Layout("five", np.array([[0, 0, 0], [50, 0, 0], [-50, 0, 0], [0, 60, 40], [0, -60, 40]], float))


class FakeLandmarker(Landmarker):
    """Puts the canonical head where the disc is."""

    def __init__(self) -> None:
        self.window_scale = 1.5
        self.most_unsure = 0.08
        self.surface_trust = 1.0

    def landmarks(
        self, code: npt.NDArray[np.float32], camera: npt.NDArray[np.float32], layout: Layout, mirrored: bool = False
    ) -> Answer:
        points = layout.points_mm
        seen = points @ camera[:9].reshape(3, 3).T + camera[9:12]
        ones = np.ones(len(points), np.float32)
        xy = (camera[12] * seen[:, :2] / seen[:, 2:]).astype(np.float32) + code[0, 0]
        return Answer(xy, np.float32(SIGMA) * ones, np.float32(0.75) * ones, points, points)


class FakeHead(Head):
    """Without a surface: nothing is hidden."""

    def query(self, points: Any) -> Landmarks:
        return replace(super().query(points), surface=None)


class FakeDetector(Detector):
    """Finds discs; counts how often it is asked to search a picture, and to read windows.

    Args:
        at_call: Called with the number of each call of `encode`, from 0; what it gives is added to all landmarks.
    """

    landmarker = FakeLandmarker()  # pyright: ignore

    def __init__(self, at_call: Callable[[int], float] = lambda number: 0.0) -> None:
        self.searches, self.reads = 0, 0
        self._at_call = at_call

    def load(self) -> None:
        pass

    def encode(self, image: Any, windows: Sequence[Window] | None = None) -> list[Head]:
        moved = self._at_call(self.searches + self.reads)
        size = (image.shape[1], image.shape[0])
        discs = discs_of(image)
        if windows is None:
            self.searches += 1
            return [_head(disc, None, size, moved) for disc in sorted(discs, key=lambda disc: -disc[2])]
        self.reads += 1
        heads: list[Head] = []
        for window in windows:
            inside = [disc for disc in discs if np.abs(window.to_window(np.array(disc[:2]))).max() < 1]
            away = [float(np.hypot(*(window.centre_px - disc[:2]))) for disc in inside]
            heads.append(_head(inside[int(np.argmin(away))] if inside else None, window, size, moved))
        return heads

    def follow(self, image: Any, windows: Sequence[Window]) -> list[Head]:
        return self.encode(image, windows)


def discs_of(image: npt.NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    """x, y and radius of the discs of a picture, but of those of which little can be seen."""
    found: list[tuple[float, float, float]] = []
    for level in LEVELS:
        rows, columns = np.nonzero(np.abs(image[..., 0].astype(int) - level) < 15)
        if len(rows) >= 100 and 0.75 < (np.ptp(rows) + 1) / (np.ptp(columns) + 1) < 4 / 3:
            found.append((columns.mean() + 0.5, rows.mean() + 0.5, float(np.sqrt(len(rows) / np.pi))))
    return found


def _head(disc: tuple[float, float, float] | None, window: Window | None, size: tuple[int, int], moved: float) -> Head:
    if disc is None:
        assert window is not None
        x, y, radius, unsureness = *window.centre_px.tolist(), window.side_px / 3, 1.0
    else:
        (x, y, radius), unsureness = disc, 0.01
    square = window or Window(np.array([x, y]), 3 * radius)
    crop = Crop(np.array([[1.5 * radius, 0, x], [0, 1.5 * radius, y]]))
    box = np.array([x - radius, y - radius, x + radius, y + radius])
    code = np.full((1, 5), moved, np.float32)
    score = 0.9 if window is None else 1.0
    face = FakeDetector.landmarker.landmarks(code, CAMERA, load_layout("mediapipe478"))
    looks = (Look(code, CAMERA, crop, False),)
    return FakeHead(
        looks, looks[0].camera, face, square, crop, box, 0.0, unsureness, score, size, FakeDetector.landmarker
    )


def picture(*discs: tuple[float, float, float, int], size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    """A black picture (H, W, 3) with discs (x, y, radius, which of `LEVELS`), the last one in front."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    grey = np.zeros(x.shape, np.uint8)
    for cx, cy, radius, level in discs:
        grey[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = LEVELS[level]
    return np.repeat(grey[..., None], 3, axis=2)


def frame(index: int, pixels: npt.NDArray[np.uint8] | None, time_s: float | None = None) -> Frame:
    """A frame at 25 a second, or at a time."""
    return Frame(index, index, index / 25 if time_s is None else time_s, pixels, None if pixels is not None else "torn")
