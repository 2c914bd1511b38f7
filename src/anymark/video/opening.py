"""`open_video`: what a name means."""

from __future__ import annotations

import math
import os
import stat
from fractions import Fraction
from pathlib import Path

from anymark.errors import AnymarkError
from anymark.video.clip import Clip
from anymark.video.frames import Video
from anymark.video.sequence import PICTURES, ImageSequence, is_pattern

SEQUENCE_RATE = 24.0
"""Frames a second of image sequences, unless the caller says another."""
_MOST_STOPS = 32.0


def open_video(
    source: str | os.PathLike[str],
    rate: float | None = None,
    exposure_stops: float = 0.0,
    threads: int | None = None,
) -> Video:
    """A video file, an image sequence or a folder of pictures.

    Args:
        source: A file (mp4, mov, webm, mkv, avi, gif, ...), `shot.%04d.png` or `shot.####.exr` for the pictures with a
            number in that place, or a folder: all its pictures.
        rate: Frames a second of an image sequence, 24 by default; video files have times of their own.
        exposure_stops: Exposure of .exr pictures, in stops; see `anymark.video.exr`.
        threads: Threads of the decoder; None is all cores.

    Raises:
        AnymarkError: there is no such video, it cannot be read, an option does not apply or is out of its range, or
            what reads it is not installed.
    """
    if rate is not None and not (math.isfinite(rate) and 0.001 <= rate <= 100_000):
        raise AnymarkError(f"rate {rate}: frames a second must be 0.001 to 100000")
    if not abs(exposure_stops) <= _MOST_STOPS:
        raise AnymarkError(f"exposure_stops {exposure_stops}: must be -{_MOST_STOPS:g} to {_MOST_STOPS:g}")
    if threads is not None and threads < 1:
        raise AnymarkError(f"threads {threads}: must be at least 1")
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # a name may hold what no name can
        if is_pattern(str(source)):
            return ImageSequence(source, _fraction(rate), exposure_stops)
        raise AnymarkError(f"{source}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
    if stat.S_ISDIR(mode):
        return ImageSequence(source, _fraction(rate), exposure_stops)
    if not stat.S_ISREG(mode):  # to open a pipe would wait for whoever writes to it; and it cannot be read twice
        raise AnymarkError(f"{source}: a pipe or device, not a video file")
    if path.suffix.lower() in PICTURES - {".gif"}:
        raise AnymarkError(f"{source}: a single picture; name a sequence as shot.%04d.png or shot.####.png")
    if rate is not None:
        raise AnymarkError(f"{source}: has times of its own; a rate is for image sequences")
    if exposure_stops:
        raise AnymarkError(f"{source}: an exposure is for .exr sequences")
    if path.stat().st_size == 0:
        raise AnymarkError(f"{source}: empty file")
    return Clip(source, threads)


def _fraction(rate: float | None) -> Fraction:
    """23.976 is 24000/1001, and so are the other rates of television."""
    value = SEQUENCE_RATE if rate is None else rate
    television = Fraction(round(value * 1.001) * 1000, 1001)
    if television and abs(value - television) < 0.005 and value != round(value):
        return television
    return Fraction(value).limit_denominator(100_000)
