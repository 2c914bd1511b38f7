"""Runs a detector over a benchmark: which head is scored, what counts as missed, every face's errors."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from anymark.apps.queries import View
from anymark.canonical import Layout
from anymark.detect.boxes import iou
from anymark.detect.detector import Detector, Head
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import Benchmark, Face
from anymark.evaluate.metrics import MISSED, point_distances

Array = npt.NDArray[np.float64]
Boxes = Literal["gt", "rough", "locate"]
Progress = Callable[[int, int], None]

LEAST_OVERLAP = 0.3
"""Least IoU of a located head's box with the annotated face's: below, the face is missed."""


ROUGH_SCALE, ROUGH_SHIFT, ROUGH_ROLL_DEG = (0.6, 3.0), 0.5, 45.0
"""Rough windows: so many times as large as the exact one (uniform in the log), off by so many longer sides of the box
at most, along each axis, and rolled by so much at most."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a detector found on the M faces of a benchmark, N points each."""

    benchmark: Benchmark
    layout: Layout
    found_px: Array
    """(M, N, 2) landmarks; NaN where the face was missed."""
    sigma_px: Array
    """(M, N) what the detector says of their errors, see `Landmarks.sigma_px`; NaN where the face was missed."""
    errors: dict[str, Array]
    """Normaliser -> (M,) each face's mean error as a fraction of it; infinity where the face was missed."""
    notes: tuple[str, ...]
    """Photos that could not be read, a line each; their faces are missed."""
    answers: dict[str, Array] = field(default_factory=dict)
    """What the benchmark asked of each head besides: name -> (M, ...), as in `Face.truth`; NaN where it was missed."""

    @property
    def nme(self) -> Array:
        """(M,) errors by the benchmark's first normaliser."""
        return self.errors[self.benchmark.normalisers[0]]

    def point_errors(self) -> Array:
        """(M, N) each point's error by the first normaliser; NaN where the face was missed."""
        labels = np.stack([face.points_px for face in self.benchmark.faces])
        length = np.array([face.lengths_px[self.benchmark.normalisers[0]] for face in self.benchmark.faces])
        return point_distances(self.found_px, labels) / length[:, None]

    def truth(self, name: str) -> Array:
        """(M, ...) what the labels say, beside `answers`."""
        return np.stack([face.truth[name] for face in self.benchmark.faces])


def find_head(detector: Detector, image: npt.NDArray[np.uint8], face: Face, boxes: Boxes) -> Head | None:
    """The head of an annotated face in its photo, encoded; None if it was not found.

    "gt": one upright window about the annotated box; the labels say nothing of roll. "rough": a `rough_window`.
    "locate": the whole photo is searched, and the head found whose box overlaps the annotated box best is taken, if by
    `LEAST_OVERLAP` or more.
    """
    if boxes != "locate":
        window = Window.from_box(face.box_px, detector.landmarker.window_scale)
        return detector.encode(image, [window if boxes == "gt" else rough_window(window, face)])[0]
    heads = detector.encode(image)
    if not heads:
        return None
    overlaps = iou(np.stack([head.box_px for head in heads]), face.box_px[None])[:, 0]
    best = int(overlaps.argmax())
    return heads[best] if overlaps[best] >= LEAST_OVERLAP else None


def rough_window(exact: Window, face: Face) -> Window:
    """A window that is only roughly about a face, the same whenever it is asked for."""
    rng = np.random.default_rng(zlib.crc32(face.name.encode()))
    low, high = np.log(ROUGH_SCALE)
    reach = ROUGH_SHIFT * float((face.box_px[2:] - face.box_px[:2]).max())
    roll = math.radians(rng.uniform(-ROUGH_ROLL_DEG, ROUGH_ROLL_DEG))
    return Window(
        exact.centre_px + rng.uniform(-reach, reach, 2), exact.side_px * math.exp(rng.uniform(low, high)), roll
    )


def score(
    detector: Detector, benchmark: Benchmark, layout: Layout, boxes: Boxes, progress: Progress | None = None
) -> Scores:
    """Find the layout's points on every face of a benchmark.

    Raises:
        AnymarkError: layout and labels differ in the number of points, or none of the photos can be read.
    """
    faces = benchmark.faces
    count = len(faces[0].points_px)
    if len(layout) != count:
        raise AnymarkError(f"layout {layout.name!r} has {len(layout)} points, {benchmark.name} labels {count}")
    found, sigma = np.full((len(faces), count, 2), np.nan), np.full((len(faces), count), np.nan)
    errors = {name: np.full(len(faces), MISSED) for name in benchmark.normalisers}
    answers = {name: np.full((len(faces), *faces[0].truth[name].shape), np.nan) for name in benchmark.asked}
    notes: list[str] = []
    for i, face in enumerate(faces):
        try:
            image = face.load()
        except AnymarkError as error:
            notes.append(f"{error}: counted as missed")
            continue
        head = find_head(detector, image, face, boxes)
        if head is not None:
            landmarks = head.query(layout)
            found[i], sigma[i] = landmarks.xy_px, landmarks.sigma_px
            for name, take in benchmark.asked.items():
                answers[name][i] = take(landmarks)
            distance = float(point_distances(found[i], face.points_px).mean())
            for name, values in errors.items():
                values[i] = distance / face.lengths_px[name]
        if progress is not None:
            progress(i + 1, len(faces))
    if len(notes) == len(faces):
        raise AnymarkError(f"{benchmark.name}: none of {len(faces)} photos can be read, the first: {notes[0]}")
    return Scores(benchmark, layout, found, sigma, errors, tuple(notes), answers)


def views_of(detector: Detector, faces: Sequence[Face], normaliser: str, boxes: Boxes) -> tuple[list[View], list[str]]:
    """Encoded heads of annotated faces for calibration, and a line for each face that was missed.

    Raises:
        AnymarkError: none was found, or a photo cannot be read.
    """
    views, missed = [], []
    for face in faces:
        head = find_head(detector, face.load(), face, boxes)
        if head is None:
            missed.append(f"{face.name}: no head found, not calibrated on")
        else:
            views.append(View(head, face.points_px, face.lengths_px[normaliser]))
    if not views:
        raise AnymarkError(f"no head found on any of the {len(faces)} photos to calibrate on")
    return views, missed
