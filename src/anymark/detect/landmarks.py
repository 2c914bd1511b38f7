"""The result: where the points of one head are in a photo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.detect.boxes import check_box
from anymark.detect.camera import Camera
from anymark.detect.visibility import Surface
from anymark.detect.window import Crop, Window
from anymark.errors import AnymarkError


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The N points of a layout on one head of one photo.

    Raises:
        AnymarkError: shapes disagree, a number is not finite, a sigma is negative or a probability outside of 0..1.
    """

    layout: Layout
    """What was asked for: N canonical points, slid to where they lie on a head that is seen from this side."""
    xy_px: npt.NDArray[np.float32]
    """(N, 2) pixels of the photo, (0, 0) = outer corner of its top-left pixel."""
    sigma_px: npt.NDArray[np.float32]
    """(N,) expected error of each point: the standard deviation of x and of y in pixels."""
    xyz_mm: npt.NDArray[np.float32]
    """(N, 3) the points on this very head, in its frame, millimetres."""
    uncovered: npt.NDArray[np.float32]
    """(N,) 0..1, how likely each point is seen as far as the network can tell, which knows of hands and hair."""
    box_px: npt.NDArray[np.float64]
    """(4,) [x0, y0, x1, y1] the face that was found."""
    window: Window
    """The rough square that it was found in."""
    crop: Crop
    """What the network saw."""
    camera: Camera
    """Pose and focal length; the principal point is the crop's middle."""
    score: float
    """0..1, how sure the locator is that there is a face; 1 for boxes and windows of the caller's."""
    surface: Surface | None = None
    """The head's own surface, which hides what lies behind it; None: it hides nothing."""

    def __post_init__(self) -> None:
        n = len(self.layout)
        for key, shape in (("xy_px", (n, 2)), ("sigma_px", (n,)), ("xyz_mm", (n, 3)), ("uncovered", (n,))):
            array = np.asarray(getattr(self, key), np.float32)
            if array.shape != shape:
                raise AnymarkError(f"landmarks: {key} is {array.shape} for a layout of {n} points")
            if not np.isfinite(array).all():
                raise AnymarkError(f"landmarks: layout {self.layout.name!r}: {key} is not finite")
            object.__setattr__(self, key, array)
        if (self.sigma_px < 0).any() or (self.uncovered < 0).any() or (self.uncovered > 1).any():
            raise AnymarkError(f"landmarks: layout {self.layout.name!r}: a sigma below 0 or a probability outside 0..1")
        object.__setattr__(self, "box_px", check_box(self.box_px))
        if not np.isfinite(self.score):
            raise AnymarkError(f"landmarks: score {self.score} is not finite")
        object.__setattr__(self, "score", float(self.score))

    @cached_property
    def visible(self) -> npt.NDArray[np.float32]:
        """(N,) the probability that each point is seen: not covered, and not hidden by the head itself.

        Worked out when it is first asked for, a few milliseconds a head.
        """
        if self.surface is None:
            return self.uncovered
        return self.uncovered * self.surface.visible(self.layout.points_mm, self.xyz_mm).astype(np.float32)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: without the surface, which holds on to the model; `visible` stays as it is."""
        return {**self.__dict__, "visible": self.visible, "surface": None}

    def __repr__(self) -> str:
        where = self.box_px.round(1).tolist()
        return f"Landmarks({self.layout.name!r}, {len(self)} points, box_px={where}, score={self.score:.2f})"

    def __len__(self) -> int:
        return len(self.xy_px)

    @property
    def bounding_box(self) -> npt.NDArray[np.float32]:
        """(4,) [x0, y0, x1, y1] the smallest upright box about all points, in pixels."""
        return np.concatenate([self.xy_px.min(0), self.xy_px.max(0)])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, rounded.

        Points are [x, y, sigma, visible]; pixels are rounded to 1/1000, visible and millimetres to 1/100.
        """
        points = np.column_stack([self.xy_px, self.sigma_px]).astype(np.float64).round(3)
        visible, xyz_mm = (array.astype(np.float64).round(2) for array in (self.visible, self.xyz_mm))
        return {
            "score": round(self.score, 4),
            "box_px": self.box_px.round(3).tolist(),
            "window": {
                "centre_px": self.window.centre_px.round(3).tolist(),
                "side_px": round(self.window.side_px, 3),
                "roll_rad": round(self.window.roll_rad, 6),
            },
            "crop": self.crop.affine.round(4).tolist(),
            "camera": self.camera.to_dict(),
            "points": np.column_stack([points, visible]).tolist(),
            "xyz_mm": xyz_mm.tolist(),
        }
