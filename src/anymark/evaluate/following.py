"""The face's points through a video: as anymark's tracker follows them, under each smoothing, and as a rival does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.canonical.face_mesh import FACE_MESH_POINTS
from anymark.detect.boxes import iou
from anymark.detect.detector import Detector
from anymark.engine.teacher import FaceMesh
from anymark.evaluate.benchmark import points_box
from anymark.evaluate.score import LEAST_OVERLAP
from anymark.video import Frame, Tracker
from anymark.video.rows import Rows, row_dtype, tracked
from anymark.video.smoothing import Smoothing, smooth_rows

Array = npt.NDArray[np.float64]

SMOOTHINGS: tuple[Smoothing, ...] = get_args(Smoothing)


@dataclass(frozen=True, eq=False)
class Followed:
    """T frames of a video."""

    time_s: Array
    """(T,)"""
    rows: Rows
    """(R,) anymark's heads, as the tracker gave them."""
    rival: list[list[Array]] | None
    """The faces (468, 2) that the rival found in each frame; None: there is none."""

    @property
    def ids(self) -> list[int]:
        """The numbers of anymark's heads, the one seen in most frames first."""
        numbers, counts = np.unique(self.rows["head"], return_counts=True)
        return numbers[np.argsort(-counts, kind="stable")].tolist()

    def tracks(self, heads: Sequence[int]) -> dict[str, Array]:
        """How it is smoothed -> (T, 468, 2) anymark's points of one head, pixels; NaN on frames where it was missed.

        Args:
            heads: The numbers that this one head had; it had one at a time.
        """
        rows = self.rows[np.isin(self.rows["head"], heads)]
        out: dict[str, Array] = {}
        for how in SMOOTHINGS:
            smoothed = np.empty_like(rows)
            smooth_rows(rows, smoothed, self.time_s, how)
            out[how] = self._nothing()
            out[how][rows["frame"]] = smoothed["xy_px"][:, :FACE_MESH_POINTS]
        return out

    def rival_track(self, boxes_px: Array) -> Array:
        """(T, 468, 2) the rival's points of the head whose face has boxes (T, 4) in the frames; NaN where it missed it,
        and where the box is NaN."""
        out = self._nothing()
        for i, faces in enumerate(self.rival or ()):
            if not faces or not np.isfinite(boxes_px[i]).all():
                continue
            overlaps = iou(np.stack([points_box(face) for face in faces]), boxes_px[i : i + 1])[:, 0]
            best = int(overlaps.argmax())
            if overlaps[best] >= LEAST_OVERLAP:
                out[i] = faces[best]
        return out

    def _nothing(self) -> Array:
        return np.full((len(self.time_s), FACE_MESH_POINTS, 2), np.nan)


def follow(
    frames: Iterable[Frame], detector: Detector, layout: Layout, max_heads: int | None, rival: FaceMesh | None
) -> Followed:
    """Follow the heads of a video, the rival's on the very same frames.

    Args:
        layout: Begins with the face's 468 points.
        rival: One that follows; what it followed before is forgotten.

    Raises:
        AnymarkError: the video cannot be read, or a frame's numbers are not finite.
    """
    tracker = Tracker(detector, layout, max_heads)
    time_s: list[float] = []
    rows: list[Rows] = [np.zeros(0, row_dtype(len(layout)))]
    faces: list[list[Array]] = []
    if rival is not None:
        rival.forget()
    for frame, found_rows in tracked(frames, tracker):
        time_s.append(frame.time_s)
        rows.append(found_rows)
        if rival is not None:
            found = [] if frame.pixels is None else rival.faces(np.ascontiguousarray(frame.pixels))
            faces.append([points[:FACE_MESH_POINTS, :2] for points in found])
    return Followed(np.array(time_s), np.concatenate(rows), None if rival is None else faces)
