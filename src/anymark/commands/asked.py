"""Which points a command line asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.clicks import Clicked, ClickedPoints, find_clicked, parse_click, read_markers
from anymark.canonical import Layout
from anymark.commands.following import complain
from anymark.detect.detector import Detector, as_layout
from anymark.errors import AnymarkError
from anymark.video import Video

DEFAULT_LAYOUT = "ibug68"


def asked_layout(name: str | None, points: Sequence[str]) -> Layout:
    """The layout of a command line: --layout with the points of --point, in millimetres, after its own; either alone,
    or the default.

    Raises:
        AnymarkError: no such layout, or a point that is not three numbers.
    """
    if not points:
        return as_layout(name or DEFAULT_LAYOUT)
    single = Layout("points", np.array([_parse_point(text) for text in points], np.float32), names=tuple(points))
    return single if name is None else joined(as_layout(name), single)


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
    own = find_in(video.name, clicked, ((frame.index, frame.pixels) for frame in video), detector)
    if name is None and not in_mm:
        return own.layout, own
    return joined(asked_layout(name, in_mm), own.layout), own


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
) -> ClickedPoints:
    """What was clicked in the frames of a file; doubts about it go to stderr.

    Raises:
        AnymarkError: see `anymark.apps.clicks.find_clicked`.
    """
    try:
        return find_clicked(clicked, frames, detector, lambda said: complain(f"{name}: {said}"), near_surface)
    except AnymarkError as error:
        raise AnymarkError(f"{name}: {error}") from None


def _clicks(points: Sequence[str], markers: Path | None) -> tuple[list[Clicked], list[str]]:
    """The clicked pixels of a command line, and its points in millimetres."""
    parsed = [parse_click(text, number) for number, text in enumerate(points, 1)]
    in_mm = [text for text, click in zip(points, parsed, strict=True) if click is None]
    return [*filter(None, parsed), *(read_markers(markers) if markers is not None else ())], in_mm


def joined(base: Layout, more: Layout) -> Layout:
    """A layout with the points of another after its own."""
    still = np.zeros((len(more), 2, 3), np.float32)
    return Layout(
        f"{base.name}+{more.name}",
        np.concatenate([base.points_mm, more.points_mm]),
        names=(base.names or ("",) * len(base)) + (more.names or ("",) * len(more)),
        edges=base.edges,
        triangles=base.triangles,
        regions=base.regions,
        code=base.code,
        model=base.model,
        slides_mm=None if base.slides_mm is None else np.concatenate([base.slides_mm, still]),
    )


def _parse_point(text: str) -> list[float]:
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise AnymarkError(f"--point {text}: three numbers x,y,z in millimetres are needed") from None
    if not np.isfinite([x, y, z]).all():
        raise AnymarkError(f"--point {text}: not finite")
    return [x, y, z]
