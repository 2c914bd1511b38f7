"""Clips with points followed through them, as files that dense models learn from: frames about one head, and tracks on
it, without labels.

NAME.tracks.npz holds frames uint8 (T, S, S, 3), xy_px float32 (T, N, 2) in their pixels, visible bool (T, N), box_px
float32 (T, 4) of the face, valid_box_px float32 (T, 4), the part of each frame that lies inside the video's, and the
tracker's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.arrays import open_arrays
from anymark.detect.dense import DenseNetwork
from anymark.detect.detector import Detector, dense_maps
from anymark.detect.image import open_photo
from anymark.detect.window import Crop, Window, crop
from anymark.engine.tracks import PointTracker, spread_points, without_outliers
from anymark.errors import AnymarkError
from anymark.files import atomic

SUFFIX = ".tracks.npz"

LEAST_TRACKS = 80
"""Clips with fewer tracks that last are dropped, as the paper does."""

_SIDE = 256
_FACES = 2.6  # side of the frames over the longer side of the first face's box: the head has room to move
_ROOM = 0.15  # of the side, beyond which a face has left


@dataclass(frozen=True, eq=False)
class TrackedClip:
    """T frames about one head, and N points on it."""

    frames: npt.NDArray[np.uint8]
    """(T, S, S, 3)"""
    xy_px: npt.NDArray[np.float32]
    """(T, N, 2)"""
    visible: npt.NDArray[np.bool_]
    """(T, N)"""
    box_px: npt.NDArray[np.float32]
    """(T, 4) of the face."""
    valid_box_px: npt.NDArray[np.float32]
    """(T, 4) the part of each frame that shows something."""
    tracker: str

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            AnymarkError: it cannot be written.
        """
        with atomic(path, "wb") as file:
            np.savez_compressed(
                file,
                frames=self.frames,
                xy_px=self.xy_px,
                visible=self.visible,
                box_px=self.box_px,
                valid_box_px=self.valid_box_px,
                tracker=np.array(self.tracker),
            )

    @classmethod
    def load(cls, path: Path) -> TrackedClip:
        """Read what `save` wrote.

        Raises:
            AnymarkError: the file is missing, damaged or something else.
        """
        with open_arrays(path, "a tracked clip") as data:
            arrays = {key: data[key] for key in cls.__dataclass_fields__}
            count, points = arrays["xy_px"].shape[:2]
        if arrays["frames"].shape[:1] != (count,) or arrays["visible"].shape != (count, points):
            raise AnymarkError(f"{path}: not a tracked clip (its frames and tracks are not of one number)")
        return cls(**{**arrays, "tracker": str(arrays["tracker"])})


def track_clip(
    frames: Iterable[npt.NDArray[np.uint8]],
    detector: Detector,
    network: DenseNetwork,
    tracker: PointTracker,
    name: str,
    points: int = 400,
) -> TrackedClip:
    """The largest head of a clip's first frame, through it: until it leaves the square about it, or the clip ends.

    Args:
        frames: (H, W, 3) each. network: tells head and hair from what is none. name: the tracker's.
        points: at most so many are followed.

    Raises:
        AnymarkError: no head, or fewer than `LEAST_TRACKS` points that last.
    """
    window: Window | None = None
    following: list[Window] | None = None
    cut, boxes, valid, masks = [], [], [], []
    for pixels in frames:
        heads = detector.encode(pixels) if following is None else detector.follow(pixels, following)
        if not heads:
            raise AnymarkError("no face in its first frame")
        head = heads[0]
        following = [head.next_window()]
        window = window or Window.from_box(head.box_px, _FACES)
        square = Crop(window.affine())
        box = (square.to_crop(head.box_px.reshape(2, 2)) + 1) * (_SIDE / 2)
        if (box < -_ROOM * _SIDE).any() or (box > (1 + _ROOM) * _SIDE).any():
            break
        (dense,) = dense_maps(network, open_photo(pixels), [head])
        along = (np.arange(_SIDE) + 0.5) * (2 / _SIDE) - 1
        masks.append(dense.at(square.to_image(np.stack(np.meshgrid(along, along), -1))).head)
        cut.append(crop(pixels, square, _SIDE))
        boxes.append(box.ravel())
        edges = np.array([[0, 0], pixels.shape[1::-1]], np.float64)
        valid.append(np.clip((square.to_crop(edges) + 1) * (_SIDE / 2), 0, _SIDE).ravel())
    if len(cut) < 2:
        raise AnymarkError("a face in one frame alone")
    start = spread_points(masks[0], points)
    xy, seen = tracker.track(cut, start)
    seen = without_outliers(xy, seen, masks)
    lasts = seen.sum(0) >= 2
    if lasts.sum() < LEAST_TRACKS:
        raise AnymarkError(f"{int(lasts.sum())} points that could be followed; at least {LEAST_TRACKS} are needed")
    box_px, valid_box_px = (np.stack(each).astype(np.float32) for each in (boxes, valid))
    return TrackedClip(np.stack(cut), xy[:, lasts].astype(np.float32), seen[:, lasts], box_px, valid_box_px, name)
