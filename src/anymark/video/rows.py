"""Landmarks as rows of fixed size, one for each head and frame, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.detect.camera import Camera
from anymark.detect.landmarks import Landmarks
from anymark.detect.window import Crop, Window
from anymark.errors import AnymarkError
from anymark.video.frames import Frame
from anymark.video.tracker import TrackedHead, Tracker

Rows = npt.NDArray[Any]
"""(R,) of `row_dtype`."""

_CAMERA = ("focal_px", "principal_px", "R_camera_head", "t_camera_head_mm")


def row_dtype(points: int) -> np.dtype:
    """One row: little-endian, packed. `frame` counts from 0 and `head` from 1; the rest is as in `Landmarks`."""
    return np.dtype(
        [
            ("frame", "<i4"),
            ("head", "<i4"),
            ("xy_px", "<f4", (points, 2)),
            ("sigma_px", "<f4", (points,)),
            ("visible", "<f4", (points,)),
            ("xyz_mm", "<f4", (points, 3)),
            ("focal_px", "<f4"),
            ("principal_px", "<f4", (2,)),
            ("R_camera_head", "<f4", (3, 3)),
            ("t_camera_head_mm", "<f4", (3,)),
            ("score", "<f4"),
            ("unsureness", "<f4"),  # of the `Head`
            ("box_px", "<f4", (4,)),
            ("window", "<f4", (4,)),  # centre x and y, side, roll in radians
            ("crop", "<f4", (2, 3)),
        ]
    )


def to_rows(frame: Frame, heads: Sequence[TrackedHead], points: int) -> Rows:
    """(M,) rows of the M heads of a frame.

    Raises:
        AnymarkError: a number is not finite; the message names the frame.
    """
    rows = np.zeros(len(heads), row_dtype(points))
    for i, head in enumerate(heads):
        landmarks, window = head.landmarks, head.landmarks.window
        rows["frame"][i], rows["head"][i] = frame.index, head.id
        for name in ("xy_px", "sigma_px", "visible", "xyz_mm", "score", "box_px"):
            rows[name][i] = getattr(landmarks, name)
        for name in _CAMERA:
            rows[name][i] = getattr(landmarks.camera, name)
        rows["unsureness"][i] = head.unsureness
        rows["window"][i] = (*window.centre_px, window.side_px, window.roll_rad)
        rows["crop"][i] = landmarks.crop.affine
    for name in rows.dtype.names or ():
        if not np.isfinite(rows[name]).all():
            raise AnymarkError(f"frame {frame.index} at {frame.time_s:.3f} s: {name} is not finite")
    return rows


def tracked(frames: Iterable[Frame], tracker: Tracker) -> Iterator[tuple[Frame, Rows]]:
    """Each frame with the rows of its heads, one frame after another; no rows where it failed to decode.

    Raises:
        AnymarkError: the video cannot be read, or a frame's numbers are not finite.
    """
    for frame in frames:
        yield frame, to_rows(frame, tracker.step(frame), len(tracker.layout))


def to_landmarks(row: np.void, layout: Layout) -> Landmarks:
    """What a row was made of, to the precision of float32.

    Args:
        layout: As it was asked for; its points slide to where they lie on a head that is seen as this one.
    """
    x, y, side, roll = row["window"].tolist()
    box, crop, focal, principal, rotation, place = (
        row[name].astype(np.float64) for name in ("box_px", "crop", *_CAMERA)
    )
    camera = Camera(float(focal), principal, rotation, place)
    return Landmarks(
        layout=layout.seen_from(camera.seen_from),
        xy_px=row["xy_px"],
        sigma_px=row["sigma_px"],
        xyz_mm=row["xyz_mm"],
        uncovered=row["visible"],  # with what the head hides already in it
        box_px=box,
        window=Window(np.array([x, y]), side, roll),
        crop=Crop(crop),
        camera=camera,
        score=float(row["score"]),
    )
