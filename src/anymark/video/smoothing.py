"""Tracks made steadier: `causal`, frame by frame as they come, or `offline`, with all frames known.

How much a landmark is smoothed follows from its sigma. 3D points, and the camera with the pose, are smoothed along with
the landmarks, by the same filter; then each 3D point is moved across the line of sight, so that it projects onto its
landmark again. Frames without a head stay without; where it was away for more than `BRIDGED_S`, the filter starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from anymark.detect.camera import nearest_rotation
from anymark.errors import AnymarkError
from anymark.video.filters import JITTER, OneEuro, smooth_both_ways
from anymark.video.frames import Frame
from anymark.video.rows import Rows, to_landmarks, to_rows
from anymark.video.track import Track
from anymark.video.tracker import TrackedHead

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp] | slice

Smoothing = Literal["none", "causal", "offline"]

BRIDGED_S = 0.5
"""A filter runs on over frames without the head for so long."""

_POINTS_AT_ONCE = 1024  # bounds memory for layouts of many points
_ALL = slice(None)


class CausalSmoother:
    """Smooths the heads of one video as they come; what comes later changes nothing."""

    def __init__(self) -> None:
        self._heads: dict[int, _CausalHead] = {}

    def step(self, frame: Frame, heads: Sequence[TrackedHead]) -> list[TrackedHead]:
        """The heads that a tracker gave for a frame, smoothed."""
        if not heads:
            return []
        rows = to_rows(frame, heads, len(heads[0].landmarks))
        self.smooth(rows, frame.time_s)
        return [
            replace(head, landmarks=to_landmarks(row, head.landmarks.layout))
            for head, row in zip(heads, rows, strict=True)
        ]

    def smooth(self, rows: Rows, time_s: float) -> None:
        """Smooth the rows of one frame in place."""
        self._heads = {key: head for key, head in self._heads.items() if time_s - head.time_s <= BRIDGED_S}
        for i, key in enumerate(rows["head"].tolist()):
            self._heads.setdefault(key, _CausalHead()).smooth(rows[i : i + 1], time_s)


class _CausalHead:
    """The filter of one head: points and camera."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self._filter = OneEuro()
        self._points: Array | None = None  # as filtered last
        self._camera = np.zeros(0)

    def smooth(self, row: Rows, time_s: float) -> None:
        """Smooth one row (1,) in place."""
        points, camera = _points(row, _ALL, _ALL), _cameras(row, _ALL)
        gain = self._filter.gain(time_s, row["xy_px"][0], row["sigma_px"][0], float(_px_per_mm(row, _ALL)[0]))
        if self._points is None:
            self._points, self._camera = points, camera
        else:
            self._points = self._points + gain[:, None] * (points - self._points)
            self._camera = self._camera + np.median(gain) * (camera - self._camera)
            _set_cameras(row, _ALL, self._camera)
            _set_points(row, _ALL, _ALL, self._points)
        self.time_s = time_s


def smooth(track: Track, how: Smoothing) -> Track:
    """A track made steadier: "causal" or "offline"; "none" gives it as it is.

    Raises:
        AnymarkError: it has been smoothed already.
    """
    if how == "none":
        return track
    if track.smooth != "none":
        raise AnymarkError(f"{track.video}: this track has been smoothed already ({track.smooth})")
    out = np.empty_like(track.rows)
    smooth_rows(track.rows, out, track.time_s, how)
    return replace(track, smooth=how, rows=out)


def smooth_rows(rows: Rows, out: Rows, time_s: Array, how: Smoothing) -> None:
    """Rows of one video made steadier; in bounded memory where both are mapped from files.

    Args:
        rows: (R,) in the order of frames.
        out: (R,) what becomes of them.
        time_s: (F,) of each frame, increasing.
        how: As of `smooth`.
    """
    if how == "offline":
        _smooth_offline(rows, out, time_s)
    elif how == "causal":
        _smooth_causal(rows, out, time_s)
    else:
        out[:] = rows


def _smooth_causal(rows: Rows, out: Rows, time_s: Array) -> None:
    smoother = CausalSmoother()
    for i in range(len(rows)):
        out[i] = rows[i]
        smoother.smooth(out[i : i + 1], float(time_s[rows["frame"][i]]))


def _smooth_offline(rows: Rows, out: Rows, time_s: Array) -> None:
    out[:] = rows
    frames, heads = np.array(rows["frame"]), np.array(rows["head"])
    for head in np.unique(heads):
        places = np.flatnonzero(heads == head)
        times = time_s[frames[places]]
        breaks = np.flatnonzero(np.diff(times) > BRIDGED_S) + 1
        for part, part_s in zip(np.split(places, breaks), np.split(times, breaks), strict=True):
            _smooth_part(rows, out, part, part_s)


def _smooth_part(rows: Rows, out: Rows, places: npt.NDArray[np.intp], time_s: Array) -> None:
    """The rows of one head at these places, without a gap that is not bridged."""

    def read_cameras(first: int, end: int) -> tuple[Array, Array]:
        at = places[first:end]
        return _cameras(rows, at)[:, None], np.median(_noise_mm(rows, at, _ALL), 1, keepdims=True)

    def write_cameras(first: int, smooth: Array) -> None:
        _set_cameras(out, places[first : first + len(smooth)], smooth[:, 0])

    smooth_both_ways(time_s, read_cameras, write_cameras)
    for start in range(0, rows.dtype["sigma_px"].shape[0], _POINTS_AT_ONCE):
        these = slice(start, start + _POINTS_AT_ONCE)

        def read_points(first: int, end: int, these: slice = these) -> tuple[Array, Array]:
            at = places[first:end]
            return _points(rows, at, these), _noise_mm(rows, at, these)

        def write_points(first: int, smooth: Array, these: slice = these) -> None:
            _set_points(out, places[first : first + len(smooth)], these, smooth)

        smooth_both_ways(time_s, read_points, write_points)


def _px_per_mm(rows: Rows, at: Places) -> Array:
    """(R,) pixels that a millimetre across the line of sight takes, at the middle of the head."""
    return rows["focal_px"][at].astype(np.float64) / rows["t_camera_head_mm"][at][:, 2]


def _noise_mm(rows: Rows, at: Places, these: slice) -> Array:
    """(R, N) how much points change from frame to frame of themselves: a standard deviation, in millimetres."""
    return JITTER * rows["sigma_px"][at, these] / _px_per_mm(rows, at)[:, None]


def _points(rows: Rows, at: Places, these: slice) -> Array:
    """(R, N, 5) x and y in pixels, then x, y and z in millimetres of the head frame."""
    return np.concatenate([rows["xy_px"][at, these], rows["xyz_mm"][at, these]], 2).astype(np.float64)


def _set_points(rows: Rows, at: Places, these: slice, points: Array) -> None:
    """What `_points` gave, with each 3D point moved to where the row's camera projects it onto its 2D one."""
    xy, xyz = points[..., :2], points[..., 2:]
    rotation, place = rows["R_camera_head"][at].astype(np.float64), rows["t_camera_head_mm"][at][:, None]
    depth = (xyz @ rotation.transpose(0, 2, 1) + place)[..., 2:]
    across = (xy - rows["principal_px"][at][:, None]) * depth / rows["focal_px"][at][:, None, None]
    rows["xy_px"][at, these] = xy
    rows["xyz_mm"][at, these] = (np.concatenate([across, depth], 2) - place) @ rotation


def _cameras(rows: Rows, at: Places) -> Array:
    """(R, 15) rotation, translation, log of the focal length and principal point: what may be averaged."""
    turn = rows["R_camera_head"][at].reshape(-1, 9)
    focal = np.log(rows["focal_px"][at].astype(np.float64))
    return np.column_stack([turn, rows["t_camera_head_mm"][at], focal, rows["principal_px"][at]])


def _set_cameras(rows: Rows, at: Places, cameras: Array) -> None:
    """What `_cameras` gave, with the rotation that lies nearest."""
    rows["R_camera_head"][at] = nearest_rotation(cameras[:, :9].reshape(-1, 3, 3))
    rows["t_camera_head_mm"][at], rows["focal_px"][at] = cameras[:, 9:12], np.exp(cameras[:, 12])
    rows["principal_px"][at] = cameras[:, 13:]
