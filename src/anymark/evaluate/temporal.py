"""How steady landmarks are over time, with labels and without: pure functions of numpy arrays.

A track is (T, N, 2): N points on T consecutive frames of one video, in pixels; NaN on frames where the head was missed.
Terms that would need such a frame are left out; where none is left, the answer is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FLICKER_FACE_PX = 256
"""Flicker is that of a face whose box has the area of so many pixels squared."""


def flicker(found_px: npt.ArrayLike, labels_px: npt.ArrayLike) -> float:
    """NMF of "Recurrence without Recurrence" (Micaelli et al. 2023): how much errors change from frame to frame.

    Errors are vectors, so what moves with its label does not flicker, nor does a constant offset. Unlike all others
    here, this number is no fraction: it is in hundredths of a pixel of a face of `FLICKER_FACE_PX`, as in the paper.

    Args:
        found_px: (T, N, 2).
        labels_px: (T, N, 2); the area of their box is the face's.
    """
    found, labels = np.asarray(found_px, np.float64), np.asarray(labels_px, np.float64)
    change = np.linalg.norm(np.diff(found - labels, axis=0), axis=2)
    area = np.prod(labels.max(1) - labels.min(1), axis=1)
    scale = np.sqrt(area[1:]) / FLICKER_FACE_PX
    return 100 * _rms(change / scale[:, None])


def velocity(track_px: npt.ArrayLike, length_px: float) -> float:
    """Mean distance that points move from a frame to the next, over a length of the head, such as its eyes'
    distance. Of a head that does not move, this is jitter."""
    steps = np.linalg.norm(np.diff(np.asarray(track_px, np.float64), axis=0), axis=2)
    return _mean(steps / length_px)


def acceleration(track_px: npt.ArrayLike, length_px: float) -> float:
    """Mean of |p(t+1) - 2 p(t) + p(t-1)| over a length of the head: jitter with even motion taken out."""
    bends = np.linalg.norm(np.diff(np.asarray(track_px, np.float64), n=2, axis=0), axis=2)
    return _mean(bends / length_px)


def high_pass(track_px: npt.ArrayLike, length_px: float, frames: int = 7) -> float:
    """Root of the mean square of what smooth motion does not explain, over a length of the head.

    Smooth is the parabola through `frames` frames about each (Savitzky-Golay); a frame so near to an end, or to a miss,
    that its parabola would lack frames is left out.

    Raises:
        ValueError: `frames` is even or below 5: a parabola explains three frames altogether.
    """
    if frames < 5 or frames % 2 == 0:
        raise ValueError(f"a parabola is fitted to an odd number of frames, 5 or more, not to {frames}")
    track = np.asarray(track_px, np.float64)
    if len(track) < frames:
        return float("nan")
    basis = np.vander(np.arange(frames) - frames // 2, 3).astype(np.float64)
    weights = (np.eye(frames) - basis @ np.linalg.pinv(basis))[frames // 2]
    about = np.lib.stride_tricks.sliding_window_view(track, frames, axis=0)  # (T - frames + 1, N, 2, frames)
    return _rms(np.linalg.norm(about @ weights, axis=2) / length_px)


def _mean(values: Array) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else float("nan")


def _rms(values: Array) -> float:
    return float(np.sqrt(_mean(values**2)))
