"""Who is compared: anymark as its users run it, and MediaPipe's Face Mesh on the very same pictures.

Both answer the 468 points of the face in pixels, (0, 0) the outer corner of the top-left one. Either may look at each
picture by itself, or follow a face from frame to frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
import numpy.typing as npt

from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.detect.detector import Detector, Head
from anymark.engine.teacher import FaceMesh
from anymark.video import Frame, Tracker

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

Reader = Callable[[Picture], Array | None]
"""A picture -> the face's points (468, 2), or None where no face was found."""

Rival = Literal["mediapipe"]

RATE = 24
"""Frames a second that pictures are taken for where they are followed."""


@dataclass(frozen=True)
class Contestant:
    """One of them."""

    name: str
    begin: Callable[[], Reader]
    """Gives a reader that knows of no picture yet."""
    follows: bool
    """It goes by what it saw in the picture before."""


def contestants(detector: Detector, against: Rival | None, follows: bool) -> list[Contestant]:
    """anymark, then its rival if there is one.

    Args:
        follows: Pictures are frames of a video with one head: anymark's `Tracker`, and MediaPipe with
            static_image_mode=False. Otherwise each is looked at by itself, and the head in its middle counts.

    Raises:
        AnymarkError: mediapipe is not installed.
    """
    ours = Contestant("anymark", lambda: _tracking(detector) if follows else _looking(detector), follows)
    return [ours] if against is None else [ours, _mediapipe(follows)]


def version_of(rival: Rival | None) -> str | None:
    """The rival that was measured, with its version."""
    return None if rival is None else f"{rival} {version(rival)}"


def middle_head(heads: Sequence[Head], picture: Picture) -> Head:
    """Of one or more heads the one whose face is nearest to the middle of the picture."""
    boxes = np.array([head.box_px for head in heads]).reshape(-1, 2, 2)
    away = np.linalg.norm(boxes.mean(1) - np.array(picture.shape[1::-1]) / 2, axis=1)
    return heads[int(away.argmin())]


def face_of(head: Head) -> Array:
    """(468, 2) the face's points of an encoded head."""
    return head.query(FACE_MESH_LAYOUT).xy_px[:FACE_MESH_POINTS].astype(np.float64)


def _looking(detector: Detector) -> Reader:
    """Each picture by itself: located, then read."""

    def read(picture: Picture) -> Array | None:
        heads = detector.encode(picture)
        return face_of(middle_head(heads, picture)) if heads else None

    return read


def _tracking(detector: Detector) -> Reader:
    """Located once, then followed from window to window."""
    tracker, frames = Tracker(detector, FACE_MESH_LAYOUT, max_heads=1), 0

    def read(picture: Picture) -> Array | None:
        nonlocal frames
        heads = tracker.step(Frame(frames, frames, frames / RATE, picture))
        frames += 1
        return heads[0].landmarks.xy_px[:FACE_MESH_POINTS].astype(np.float64) if heads else None

    return read


def _mediapipe(follows: bool) -> Contestant:
    mesh = FaceMesh(follows=True, most_faces=1) if follows else FaceMesh()

    def read(picture: Picture) -> Array | None:
        points = mesh.points(np.ascontiguousarray(picture))
        return None if points is None else points[:FACE_MESH_POINTS, :2]

    def begin() -> Reader:
        if follows:
            mesh.forget()
        return read

    return Contestant("mediapipe", begin, follows)
