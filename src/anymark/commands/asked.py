"""Which points a command line asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.clicks import Clicked, clicked_layout, parse_click, read_markers
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
) -> tuple[Layout, Layout | None]:
    """The same where points may be pixels that were clicked in a video; and the layout of those alone, if there are.

    Raises:
        AnymarkError: as `asked_layout`; or a point that is neither three numbers nor a pixel, or see
            `anymark.apps.clicks.clicked_layout`.
    """
    parsed = [parse_click(text, number) for number, text in enumerate(points, 1)]
    in_mm = [text for text, click in zip(points, parsed, strict=True) if click is None]
    clicked = [*filter(None, parsed), *(read_markers(markers) if markers is not None else ())]
    if not clicked:
        return asked_layout(name, in_mm), None
    own = layout_of_clicks(clicked, video, detector)
    if name is None and not in_mm:
        return own, own
    return joined(asked_layout(name, in_mm), own), own


def layout_of_clicks(clicked: Sequence[Clicked], video: Video, detector: Detector, near_surface: bool = True) -> Layout:
    """The layout of pixels that were clicked in a video; doubts about them go to stderr.

    Raises:
        AnymarkError: see `anymark.apps.clicks.clicked_layout`.
    """

    def frames() -> Iterator[tuple[int, npt.NDArray[np.uint8] | None]]:
        for frame in video:
            yield frame.index, frame.pixels

    def warn(said: str) -> None:
        complain(f"{video.name}: {said}")

    try:
        return clicked_layout(clicked, frames, detector, warn, near_surface)
    except AnymarkError as error:
        raise AnymarkError(f"{video.name}: {error}") from None


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
