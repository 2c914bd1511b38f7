"""What every benchmark is, whatever its files look like: annotated faces, their groups and what divides errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import FACE_MESH_POINTS
from anymark.detect.image import identified
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError
from anymark.evaluate.metrics import box_size, mean_pair_distance, point_pair_distance
from anymark.spread import spread

Array = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Face:
    """One annotated face of one photo."""

    name: str
    """Unique in its benchmark; what messages call it."""
    group: str
    """Folder or source that it comes from."""
    points_px: Array
    """(N, 2) labels; (0, 0) is the outer corner of the top-left pixel."""
    box_px: Array
    """(4,) x0, y0, x1, y1: where the 468 points of the face mesh would have their box."""
    lengths_px: Mapping[str, float]
    """Normaliser -> its length on this face."""
    load: Callable[[], npt.NDArray[np.uint8]]
    """The photo, RGB (H, W, 3). Raises AnymarkError."""
    subsets: tuple[str, ...] = ()
    """Further groups that it counts in."""
    frame: tuple[str, int] | None = None
    """Name of its video and which of its frames it is, counted from 0; None for photos."""
    truth: Mapping[str, Array] = field(default_factory=dict)
    """What else is labelled: depth, or, under the keys of `Benchmark.asked`, such as which points are seen."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """The faces of a protocol and how they are reported.

    Raises:
        AnymarkError: there is nothing to score.
    """

    name: str
    layout: Layout | None
    """Whose points the labels are; None where anymark ships none: it must be given, or calibrated from scratch."""
    faces: tuple[Face, ...]
    """What is scored."""
    calibration: tuple[Face, ...]
    """What the layout may be optimised on; never among `faces`."""
    rows: Mapping[str, tuple[str, ...]]
    """Lines of the table -> groups of faces; the last one has them all."""
    normalisers: tuple[str, ...]
    """Keys of every face's `lengths_px`; the first one is that of the NME."""
    threshold: float
    """Of FR and AUC, unless the user gives one."""
    regions: Mapping[str, npt.NDArray[np.integer]] = field(default_factory=dict)
    """Region -> indices of its points; empty: the layout's own are reported."""
    asked: Mapping[str, Callable[[Landmarks], npt.NDArray[np.floating]]] = field(default_factory=dict)
    """What is kept of each head besides where its points are: name -> how to take it from the landmarks."""
    notes: tuple[str, ...] = ()
    """What is not as the protocol has it, a line each."""

    def __post_init__(self) -> None:
        if not self.faces:
            raise AnymarkError(f"{self.name}: no faces to score")

    def row(self, name: str) -> npt.NDArray[np.int64]:
        """Indices of the faces of one line of the table."""
        groups = set(self.rows[name])
        return np.array(
            [i for i, face in enumerate(self.faces) if face.group in groups or not groups.isdisjoint(face.subsets)],
            np.int64,
        )

    def limited(self, count: int) -> Benchmark:
        """So many of its faces, spread evenly; of videos, the first so many frames of each. A note says so."""
        if self.faces[0].frame is not None:
            faces = [face for face in self.faces if face.frame is not None and face.frame[1] < count]
        else:
            faces = [self.faces[i] for i in spread(len(self.faces), count)]
        note = f"{self.name}: {len(faces)} of {len(self.faces)} faces scored (--limit {count})"
        fewer = replace(self, faces=tuple(faces), notes=(*self.notes, note))
        return replace(fewer, rows={row: groups for row, groups in self.rows.items() if len(fewer.row(row))})


def readable(items: Iterable[T], read: Callable[[T], Face], notes: list[str]) -> list[Face]:
    """The faces of these items; what `read` refuses cannot be scored, so it is left out and noted."""
    faces = []
    for item in items:
        try:
            faces.append(read(item))
        except AnymarkError as error:
            notes.append(f"{error}: left out")
    return faces


def note_count(what: str, expected: int, count: int, notes: list[str], kind: str = "faces") -> None:
    """Note that a benchmark has not as many faces as its protocol says."""
    if count != expected:
        notes.append(f"{what} has {expected} {kind} in the protocol, {count} here")


def part(faces: Sequence[Face], calibrate: int, what: str) -> tuple[tuple[Face, ...], tuple[Face, ...]]:
    """The faces of a benchmark without training photos -> those to score and the `calibrate` ones, spread evenly, to
    calibrate on.

    Raises:
        AnymarkError: none would be left to score.
    """
    chosen = set(for_calibration(calibrate, len(faces), what))
    if calibrate and len(chosen) == len(faces):
        raise AnymarkError(f"{what}: --calibrate {calibrate} leaves none of {len(faces)} faces to score")
    scored = tuple(face for i, face in enumerate(faces) if i not in chosen)
    return scored, tuple(faces[i] for i in sorted(chosen))


def for_calibration(count: int, available: int, what: str) -> list[int]:
    """`count` indices spread evenly over range(available).

    Raises:
        AnymarkError: there are not so many.
    """
    if count > available:
        raise AnymarkError(f"{what}: --calibrate {count}, but only {available} annotated images are there")
    return spread(available, count).tolist()


def lengths(
    points_px: Array, outer_eyes: tuple[int, int], eyes: tuple[list[int], list[int]], where: str
) -> dict[str, float]:
    """What errors of points (N, 2) are divided by, pixels: the distances of the outer corners of the eyes
    ("inter-ocular") and of the means of the points of each eye ("inter-pupil"), the root of the area of the points'
    box ("box").

    Raises:
        AnymarkError: one is 0; the line begins with `where`.
    """
    ocular = point_pair_distance(points_px, *outer_eyes)
    if not ocular > 0:
        raise AnymarkError(f"{where}: the outer corners of the eyes are one point")
    out = {"inter-ocular": ocular, "inter-pupil": mean_pair_distance(points_px, *eyes), "box": box_size(points_px)}
    if not min(out.values()) > 0:
        raise AnymarkError(f"{where}: the points lie on one line")
    return out


def points_box(points_px: Array) -> Array:
    """The box (4,) of points (N, 2)."""
    return np.concatenate([points_px.min(0), points_px.max(0)])


@dataclass(frozen=True, eq=False)
class BoxRule:
    """From the upright box of one set of points of a face to the box of the 468 points that windows are defined by.

    A fixed affine rule, the same for all faces: both sets are projected frontally from the canonical head, and each
    side of the second box is placed by the size of the first. So a face of 300-W, whose points end at the brows, gains
    a forehead.
    """

    offsets: Array
    """(4,) of x0, y0, x1, y1; in widths of the first box for x and in its heights for y."""

    @staticmethod
    def between(source_mm: npt.ArrayLike, target_mm: npt.ArrayLike) -> BoxRule:
        """The rule that maps the frontal box of canonical points (N, 3) to that of others (M, 3)."""
        source, target = (points_box(np.asarray(p, np.float64)[:, :2] * (1, -1)) for p in (source_mm, target_mm))
        size = np.tile(source[2:] - source[:2], 2)
        return BoxRule((target - source) / size)

    @staticmethod
    def from_layout(layout: Layout) -> BoxRule:
        """From the box of a layout's points to that of the 468."""
        return BoxRule.between(layout.points_mm, load_layout("mediapipe478").points_mm[:FACE_MESH_POINTS])

    def __call__(self, box_px: Array) -> Array:
        return box_px + self.offsets * np.tile(box_px[2:] - box_px[:2], 2)


def stored_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """A photo as its file stores it, RGB (H, W, 3): labels count stored pixels, so EXIF orientation is not applied.

    Raises:
        AnymarkError: the file is missing, damaged or not an image.
    """
    try:
        with path.open("rb") as file, identified(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AnymarkError(f"{path}: not a readable image ({error})") from None
