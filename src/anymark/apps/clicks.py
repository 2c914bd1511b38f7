"""Points that were clicked in the frames of a video or in a photo: how they are written, and the layout they make."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.points import Click, Picked, pick
from anymark.canonical import Layout
from anymark.detect.detector import Detector, Head
from anymark.errors import AnymarkError

COLUMNS = ("name", "x_px", "y_px")
"""Of a marker file; "frame" may be one, too."""

FAR_PX, FAR_MM = 1.5, 1.0
"""A click so far outside of the head is worth a warning."""

DISAGREE_PX = 3.0
"""So are clicks of one point in several frames that lie farther from where it is found."""

COVERED = 0.5
"""So is one on what is less likely to be seen."""

_FARTHEST = 2.0  # of a click from a head's box, in sides of the box; no farther does it belong to it
_POINT = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<numbers>[^=@]+)(?:@(?P<frame>\d+))?")


@dataclass(frozen=True)
class Clicked:
    """A pixel that somebody pointed at."""

    name: str
    x_px: float
    y_px: float
    frame: int = 0
    """Index of the frame, from 0."""


def parse_click(text: str, number: int) -> Clicked | None:
    """ "[NAME=]X,Y[@FRAME]"; None for three numbers, which are no pixel. One without a name is called by its number.

    Raises:
        AnymarkError: it is something else.
    """
    match = _POINT.fullmatch(text.strip())
    try:
        numbers = [float(part) for part in match["numbers"].split(",")] if match else []
    except ValueError:
        numbers = []
    if match is None or len(numbers) not in (2, 3) or not all(map(math.isfinite, numbers)):
        raise AnymarkError(f"--point {text}: pixels [NAME=]X,Y[@FRAME], or millimetres X,Y,Z, are needed")
    if len(numbers) == 3:
        return None
    x, y = numbers
    return Clicked((match["name"] or f"point {number}").strip(), x, y, int(match["frame"] or 0))


def read_markers(path: Path) -> list[Clicked]:
    """A table of clicked pixels: CSV with the columns name, x_px, y_px and, if wanted, frame (counted from 0).

    Raises:
        AnymarkError: it cannot be read, lacks a column, or a row is not what it should be.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise AnymarkError(f"{path}: lacks the column {missing[0]}; {', '.join(COLUMNS)} and frame are read")
            markers = [_marker(row, f"{path}, line {reader.line_num}") for row in reader]
        if not markers:
            raise AnymarkError(f"{path}: no markers in it")
        return markers
    except OSError as error:
        raise AnymarkError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnymarkError(f"{path}: not a table ({error})") from None


@dataclass(frozen=True, eq=False)
class ClickedPoints:
    """What was clicked, as canonical points."""

    layout: Layout
    """P points under their names."""
    clicks: tuple[tuple[Click, npt.NDArray[np.uint8]], ...]
    """The clicks of each frame, and the frame (H, W, 3)."""


def find_clicked(
    clicked: Sequence[Clicked],
    frames: Iterable[tuple[int, npt.NDArray[np.uint8] | None]],
    detector: Detector,
    warn: Callable[[str], None],
    near_surface: bool = True,
    like: Layout | None = None,
) -> ClickedPoints:
    """The canonical points of what was clicked; the same name in several frames is one point.

    Args:
        clicked: At least one.
        frames: From the first on, each with its index and (H, W, 3), or None where it failed to decode.
        detector: Finds the heads.
        warn: Is told of clicks that lie off the head or on what covers it.
        near_surface: See `pick`.
        like: See `pick`.

    Raises:
        AnymarkError: a frame is not there or shows no head, a name was clicked twice in one, a click lies far from any
            head, or those of a frame lie on two.
    """
    names = list(dict.fromkeys(each.name for each in clicked))
    wanted = sorted({each.frame for each in clicked})
    clicks: list[tuple[Click, npt.NDArray[np.uint8]]] = []
    index = -1
    for index, pixels in frames:
        if index in wanted:
            here = [each for each in clicked if each.frame == index]
            if pixels is None:
                raise AnymarkError(f"frame {index} failed to decode")
            clicks.append((_click(here, names, index, pixels, detector), pixels))
        if index >= wanted[-1]:
            break
    if len(clicks) < len(wanted):
        raise AnymarkError(f"frame {wanted[len(clicks)]} is not there: there are {index + 1}, counted from 0")
    picked = pick([click for click, _ in clicks], near_surface, like)
    for i, name in enumerate(names):
        for said in _doubts(picked, i):
            warn(f"{name}: {said}")
    return ClickedPoints(Layout("clicked", picked.points_mm, names=tuple(names)), tuple(clicks))


def _click(
    here: Sequence[Clicked], names: list[str], index: int, pixels: npt.NDArray[np.uint8], detector: Detector
) -> Click:
    """The clicks of one frame."""
    heads = detector.encode(pixels)
    if not heads:
        raise AnymarkError(f"frame {index} shows no head")
    xy = np.full((len(names), 2), np.nan)
    for each in here:
        at = names.index(each.name)
        if not np.isnan(xy[at]).any():
            raise AnymarkError(f"{each.name}: clicked twice in frame {index}")
        xy[at] = each.x_px, each.y_px
        height, width = pixels.shape[:2]
        if not (0 <= each.x_px <= width and 0 <= each.y_px <= height):
            raise AnymarkError(f"{each.name}: clicked outside of frame {index}, which is {width} x {height}")
    away = np.stack([_distance(head, xy) for head in heads])
    clicked = np.isfinite(xy).all(1)
    nearest = away[:, clicked].argmin(0)
    far = np.flatnonzero(clicked)[away[:, clicked].min(0) > _FARTHEST]
    if len(far):
        raise AnymarkError(f"{names[far[0]]}: nowhere near a head in frame {index}")
    if len(np.unique(nearest)) > 1:
        one, other = (names[np.flatnonzero(clicked)[(nearest == each).argmax()]] for each in np.unique(nearest)[:2])
        raise AnymarkError(f"{one} and {other} were clicked on two heads in frame {index}: one head at a time")
    return Click(heads[nearest[0]], xy, index)


def _distance(head: Head, xy: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(N,) of points from the middle of a head's face, in sides of its box, less half a side."""
    low, high = head.box_px[:2], head.box_px[2:]
    return np.linalg.norm(xy - (low + high) / 2, axis=1) / float((high - low).max()) - 0.5


def _doubts(picked: Picked, i: int) -> Iterator[str]:
    """What is to be said of a point."""
    off_px, off_mm = picked.off_head_px[i], picked.off_head_mm[i]
    if off_px > FAR_PX and off_mm > FAR_MM:
        yield f"clicked {off_px:.0f} px ({off_mm:.0f} mm) off the head; its nearest point is taken"
    elif picked.error_px[i] > DISAGREE_PX:
        yield f"is found {picked.error_px[i]:.0f} px from its clicks, which do not agree with one another"
    elif picked.uncovered[i] < COVERED:
        yield f"something, perhaps hair, covers the head there (seen with probability {picked.uncovered[i]:.2f})"


def _marker(row: dict[str, str], where: str) -> Clicked:
    try:
        x, y, frame = float(row["x_px"]), float(row["y_px"]), int(row.get("frame") or 0)
    except (TypeError, ValueError):
        raise AnymarkError(f"{where}: x_px and y_px must be numbers, frame a whole one") from None
    if not (row["name"] and math.isfinite(x) and math.isfinite(y) and frame >= 0):
        raise AnymarkError(f"{where}: a name and finite pixels are needed, and a frame of 0 or more")
    return Clicked(row["name"], x, y, frame)
