"""Which points of a video or photo a command line means by the pixels that were clicked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.clicks import Clicked, ClickedPoints, find_clicked, parse_click, read_markers
from anymark.canonical import Layout
from anymark.commands.asked import asked_layout, joined
from anymark.commands.said import complain
from anymark.detect.detector import Detector
from anymark.errors import AnymarkError
from anymark.video import Video


def asked_of_video(
    name: str | None, points: Sequence[str], markers: Path | None, video: Video, detector: Detector
) -> tuple[Layout, ClickedPoints | None]:
    """The same where points may be pixels that were clicked in a video: these come last, and on their own, too.

    Raises:
        AnymarkError: as `asked_layout`; or a point that is neither three numbers nor a pixel, or see
            `anymark.apps.clicks.find_clicked`.
    """
    clicked, in_mm = _clicks(points, markers)
    if not clicked:
        return asked_layout(name, in_mm), None
    base = asked_layout(name, in_mm) if name is not None or in_mm else None
    frames = ((frame.index, frame.pixels) for frame in video)
    own = find_in(video.name, clicked, frames, detector, like=base)
    return own.layout if base is None else joined(base, own.layout), own


def clicks_of(points: Sequence[str], markers: Path | None) -> list[Clicked]:
    """The clicked pixels of a command line, at least one.

    Raises:
        AnymarkError: there is none, or something else.
    """
    clicked, in_mm = _clicks(points, markers)
    if in_mm:
        raise AnymarkError(f"--point {in_mm[0]}: a clicked pixel [NAME=]X,Y[@FRAME] is needed")
    if not clicked:
        raise AnymarkError("no points given: --point [NAME=]X,Y[@FRAME] or --marker-file")
    return clicked


def find_in(
    name: str,
    clicked: Sequence[Clicked],
    frames: Iterable[tuple[int, npt.NDArray[np.uint8] | None]],
    detector: Detector,
    near_surface: bool = True,
    like: Layout | None = None,
) -> ClickedPoints:
    """What was clicked in the frames of a file; doubts about it go to stderr.

    Raises:
        AnymarkError: see `anymark.apps.clicks.find_clicked`.
    """
    try:
        return find_clicked(clicked, frames, detector, lambda said: complain(f"{name}: {said}"), near_surface, like)
    except AnymarkError as error:
        raise AnymarkError(f"{name}: {error}") from None


def _clicks(points: Sequence[str], markers: Path | None) -> tuple[list[Clicked], list[str]]:
    """The clicked pixels of a command line, and its points in millimetres."""
    parsed = [parse_click(text, number) for number, text in enumerate(points, 1)]
    in_mm = [text for text, click in zip(points, parsed, strict=True) if click is None]
    return [*filter(None, parsed), *(read_markers(markers) if markers is not None else ())], in_mm
