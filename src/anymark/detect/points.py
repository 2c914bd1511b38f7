"""What can be asked of a head: any points, by many names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout, load_layout
from anymark.errors import AnymarkError

Points = str | os.PathLike[str] | Layout | npt.NDArray[np.floating] | Sequence[Sequence[float]]
"""What can be asked of a head: a layout, its name, its file, or points (N, 3) in millimetres of the head frame."""


def as_layout(points: Points) -> Layout:
    """A layout, its name, its file or points (N, 3) in millimetres -> the layout.

    Raises:
        AnymarkError: no such layout, or points that are not (N, 3) finite numbers.
    """
    if isinstance(points, Layout):
        return points
    if isinstance(points, np.ndarray | Sequence) and not isinstance(points, str):
        try:
            with np.errstate(over="ignore"):
                table = np.asarray(points, np.float32)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
            raise AnymarkError(f"points {str(points)[:80]} are not rows of three numbers, millimetres") from None
        return Layout("points", table)
    if not isinstance(points, str | os.PathLike):
        raise AnymarkError(f"{points!r:.80} is no layout: a Layout, a name, a file or points (N, 3) are")
    return _shipped(points) if isinstance(points, str) and "." not in points else load_layout(points)


@lru_cache(maxsize=32)
def _shipped(name: str) -> Layout:
    """A layout of the package; its file is read once, not once a frame."""
    return load_layout(name)
