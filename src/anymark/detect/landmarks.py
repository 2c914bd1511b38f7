"""The result: where the points of one head are in a photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.detect.boxes import check_box
from anymark.detect.window import Window
from anymark.errors import AnymarkError


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The N points of a layout on one head of one photo.

    Raises:
        AnymarkError: shapes disagree, a number is not finite, or a sigma is negative.
    """

    layout: Layout
    """What was asked for: N canonical points."""
    xy_px: npt.NDArray[np.float32]
    """(N, 2) pixels of the photo, (0, 0) = outer corner of its top-left pixel."""
    sigma_px: npt.NDArray[np.float32]
    """(N,) expected error of each point: the standard deviation of x and of y in pixels."""
    box_px: npt.NDArray[np.float64]
    """(4,) [x0, y0, x1, y1] the face that these points were looked for in."""
    window: Window
    """The square that the network saw."""
    score: float
    """0..1, how sure the locator is that there is a face; 1 for boxes and windows of the caller's."""

    def __post_init__(self) -> None:
        xy, sigma = np.asarray(self.xy_px, np.float32), np.asarray(self.sigma_px, np.float32)
        n = len(self.layout)
        if xy.shape != (n, 2) or sigma.shape != (n,):
            raise AnymarkError(f"landmarks: {xy.shape} points and {sigma.shape} sigmas for a layout of {n}")
        if not (np.isfinite(xy).all() and np.isfinite(sigma).all() and (sigma >= 0).all() and np.isfinite(self.score)):
            raise AnymarkError(f"landmarks: layout {self.layout.name!r} has points that are not finite")
        object.__setattr__(self, "xy_px", xy)
        object.__setattr__(self, "sigma_px", sigma)
        object.__setattr__(self, "box_px", check_box(self.box_px))
        object.__setattr__(self, "score", float(self.score))

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
        """Plain numbers for JSON: score, box_px, window and points [[x, y, sigma], ...], rounded to 1/1000 pixel."""
        points = np.column_stack([self.xy_px, self.sigma_px]).astype(np.float64)
        return {
            "score": round(self.score, 4),
            "box_px": self.box_px.round(3).tolist(),
            "window": {
                "centre_px": self.window.centre_px.round(3).tolist(),
                "side_px": round(self.window.side_px, 3),
                "roll_rad": round(self.window.roll_rad, 6),
            },
            "points": points.round(3).tolist(),
        }
