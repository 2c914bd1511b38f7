"""Videos in: a clip, an image sequence or a folder of pictures becomes frames with their times, one after another.

Every frame is upright RGB uint8 (H, W, 3) with its place in the clip. Memory does not grow with the clip's length.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video, in the order in which they are shown."""

    index: int
    """Counts from 0 at the first frame of the clip, those that failed to decode included."""
    pts: int
    """Its time stamp as the file has it, in units of `Video.time_base`; in image sequences, the number in the name."""
    time_s: float
    """`pts` in seconds."""
    pixels: npt.NDArray[np.uint8] | None
    """(H, W, 3) RGB, upright, not to be written into; None where the frame failed to decode."""
    problem: str | None = None
    """Why it failed to decode."""


class Video(ABC):
    """Frames to be iterated over, each time anew; made by `open_video`. Files are open while they are iterated over."""

    name: str
    """As the caller gave it."""
    time_base: Fraction
    """Seconds of one unit of `Frame.pts`."""
    rate: Fraction | None
    """Mean frames a second as the file says, or None; frames may come at any times all the same."""
    expected: int | None
    """How many frames there should be, as the file says or as it follows from how long it lasts, or None."""
    duration_s: float | None
    """How long it should last, as the file says, or None."""

    @abstractmethod
    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from the index `start` on.

        Raises:
            AnymarkError: the file cannot be read at all. A frame that fails to decode is no error: it has no pixels.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, object]:
        """Plain values that change where the files do, to tell a clip from another of the same name."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()


def file_fingerprint(path: str | os.PathLike[str]) -> dict[str, object]:
    """Size and time of change of one file."""
    about = os.stat(path)
    return {"bytes": about.st_size, "changed_ns": about.st_mtime_ns}
