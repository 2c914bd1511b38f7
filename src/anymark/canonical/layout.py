"""Layouts: named lists of canonical points."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical.frame import into_cube, mm_to_uvw
from anymark.errors import AnymarkError
from anymark.files import write_json


@dataclass(frozen=True, eq=False)
class Layout:
    """A named list of N canonical points; what a user asks a detector for.

    It keeps copies of the arrays, points as float32 and indices as int32.

    Raises:
        AnymarkError: shapes disagree, a point is not finite or outside the unit cube, an index is out of range, the
            code is neither a name nor numbers, or there is a model without numbers.
    """

    name: str
    points_mm: npt.NDArray[np.floating]
    """(N, 3) head frame, millimetres; kept as float32."""
    names: tuple[str, ...] | None = None
    """N names of single points, or None."""
    edges: npt.NDArray[np.integer] | None = None
    """(E, 2) pairs of point indices to draw as lines, or None."""
    triangles: npt.NDArray[np.integer] | None = None
    """(T, 3) point indices, counter-clockwise seen from outside, or None."""
    flip: npt.NDArray[np.integer] | None = None
    """(N,) index of each point's mirror image (a point on the midline names itself), or None."""
    regions: Mapping[str, npt.NDArray[np.integer]] = field(default_factory=dict)
    """Region name -> indices of its points; regions may overlap."""
    code: str | tuple[float, ...] | None = None
    """Whose annotators' points these are: the name of a data set that a model may know, or a data set code's own
    numbers; None: points lie where they say."""
    model: str | None = None
    """The only model that the numbers of `code` mean anything to, by its `Landmarker.name`; None: any that has as
    many."""
    slides_mm: npt.NDArray[np.floating] | None = None
    """(N, 2, 3) how points slide on the head with the side that it is seen from, or None: millimetres for each unit
    that the direction to the camera has along +x and along +y. Annotators put points of an outline where the outline is
    as they see it, which is another place on a head that is turned; `points_mm` is that seen from straight ahead."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "points_mm", self._checked_points())
        for key, width in (("edges", 2), ("triangles", 3), ("flip", None)):
            value = getattr(self, key)
            if value is not None:
                object.__setattr__(self, key, self._checked_indices(key, value, width))
        if self.flip is not None and not np.array_equal(self.flip[self.flip], np.arange(len(self))):
            raise self._error("flip is not its own inverse")
        if self.names is not None:
            if len(self.names) != len(self):
                raise self._error(f"{len(self.names)} names for {len(self)} points")
            object.__setattr__(self, "names", tuple(str(name) for name in self.names))
        regions = {name: self._checked_indices(f"region {name!r}", ids, -1) for name, ids in self.regions.items()}
        object.__setattr__(self, "regions", regions)
        object.__setattr__(self, "code", self._checked_code())
        if self.model is not None and not isinstance(self.code, tuple):
            raise self._error("a model goes with a code of numbers, which this layout has not")
        if self.slides_mm is not None:
            object.__setattr__(self, "slides_mm", self._checked_slides(self.slides_mm))
        # the shipped ones are shared: whoever wrote into one would move everybody's points
        for array in (self.points_mm, self.slides_mm, self.edges, self.triangles, self.flip, *regions.values()):
            if array is not None:
                array.setflags(write=False)

    def _error(self, what: str) -> AnymarkError:
        return AnymarkError(f"layout {self.name!r}: {what}")

    def _checked_points(self) -> npt.NDArray[np.float32]:
        try:
            with np.errstate(over="ignore"):
                points = np.array(self.points_mm, np.float32)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
            raise self._error("points must be (N, 3) numbers, millimetres") from None
        if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
            raise self._error(f"points must be (N, 3) with N > 0, not {points.shape}")
        if not np.isfinite(points).all():
            raise self._error(f"point {int(np.flatnonzero(~np.isfinite(points).all(1))[0])} is not finite")
        uvw = mm_to_uvw(points)
        outside = np.flatnonzero(((uvw < 0) | (uvw > 1)).any(1))
        if len(outside):
            where = ", ".join(f"{value:g}" for value in points[outside[0]])
            raise self._error(
                f"point {int(outside[0])} at ({where}) lies outside the 400 mm cube about the head: "
                "positions are millimetres in the head frame, +x the subject's left, +y up, +z out of the face"
            )
        return points

    def _checked_indices(self, what: str, value: npt.NDArray, width: int | None) -> npt.NDArray[np.int32]:
        """Point indices as int32: (K, width), or (N,) if width is None, or of any length (K,) if width is -1."""
        try:
            index = np.array(value)
        except ValueError:
            raise self._error(f"{what} has rows of different lengths") from None
        rows = len(index) if index.ndim else 0
        want = (len(self),) if width is None else (rows,) if width == -1 else (rows, width)
        if rows == 0 and width is not None and index.ndim:
            return np.zeros(want, np.int32)
        if index.shape != want:
            raise self._error(f"{what} must be {want}, not {index.shape}")
        if index.dtype.kind not in "iu":
            raise self._error(f"{what} must be whole numbers")
        if index.min() < 0 or index.max() >= len(self):
            raise self._error(f"{what} has an index outside 0..{len(self) - 1}")
        return index.astype(np.int32)

    def _checked_code(self) -> str | tuple[float, ...] | None:
        if self.code is None or (isinstance(self.code, str) and self.code):
            return self.code
        try:
            code = np.array(self.code, np.float64)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
            code = np.zeros(0)
        if code.ndim != 1 or len(code) == 0 or not (np.abs(code) <= np.finfo(np.float32).max).all():
            raise self._error(f"code must be the name of a data set or finite numbers, not {str(self.code)[:80]!r}")
        return tuple(code.tolist())

    def _checked_slides(self, value: npt.NDArray) -> npt.NDArray[np.float32]:
        try:
            with np.errstate(over="ignore"):
                slides = np.array(value, np.float32)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
            slides = np.zeros(0, np.float32)
        if slides.shape != (len(self), 2, 3) or not np.isfinite(slides).all():
            raise self._error(f"slides must be ({len(self)}, 2, 3) finite numbers, millimetres")
        return slides

    def __repr__(self) -> str:
        return f"Layout({self.name!r}, {len(self)} points)"

    def __len__(self) -> int:
        return len(self.points_mm)

    def seen_from(self, direction: npt.NDArray[np.floating]) -> Layout:
        """The layout with its points where they have slid to on a head seen from `direction`, within the unit cube.

        Args:
            direction: (3,) unit vector of the head frame, from the head to the camera; (0, 0, 1) is straight ahead.
        """
        if self.slides_mm is None:
            return self
        points = self.points_mm + np.einsum("nkd,k->nd", self.slides_mm, np.asarray(direction, np.float64)[:2])
        return replace(self, points_mm=into_cube(points), slides_mm=None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .json file that `load_layout` reads back; the file is complete or not there at all.

        Raises:
            AnymarkError: the path does not end in .json, or cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".json":
            raise AnymarkError(f"{path}: layouts are saved as .json")
        data: dict[str, object] = {"name": self.name, "points_mm": [_numbers(point) for point in self.points_mm]}
        if self.names is not None:
            data["names"] = list(self.names)
        for key in ("edges", "flip", "triangles"):
            value = getattr(self, key)
            if value is not None:
                data[key] = value.tolist()
        if self.regions:
            data["regions"] = {name: index.tolist() for name, index in self.regions.items()}
        if self.code is not None:
            data["code"] = self.code
        if self.model is not None:
            data["model"] = self.model
        if self.slides_mm is not None:
            data["slides_mm"] = [[_numbers(step) for step in slide] for slide in self.slides_mm]
        write_json(path, data)


def _numbers(row: npt.NDArray[np.float32]) -> list[float]:
    """As JSON: float32 needs up to nine digits to come back as the same number."""
    return [float(f"{value:.9g}") for value in row]
