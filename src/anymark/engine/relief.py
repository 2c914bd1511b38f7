"""A relief of what surrounds a head in its photo: hair, neck, dress, as a sheet in depth that turns with the head."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from anymark.engine.mesh import Mesh
from anymark.engine.texture import Source

Array = npt.NDArray[np.floating]

_STEP = 5  # photo pixels between the sheet's vertices
_BEHIND_MM = 6.0  # the sheet lies so far behind the head where both are
_FALL = 0.55  # millimetres back for each one away from the head's outline: hair curves round it
_FALL_BODY = 0.2  # the same below the chin


@dataclass(frozen=True, eq=False)
class Sheet:
    """A grid over a photo, in the photo's camera."""

    points_camera_mm: npt.NDArray[np.float32]
    """(N, 3)"""
    triangles: npt.NDArray[np.int32]
    """(T, 3)"""
    xy_px: npt.NDArray[np.float32]
    """(N, 2) the photo's pixel that each vertex shows."""
    alpha: npt.NDArray[np.float32]
    """(H, W) 0..1 of the photo's pixels: the person without the head itself."""

    def mesh(self, points_camera_mm: Array) -> Mesh:
        """The sheet, its vertices moved; its `canonical_mm` are the photo's pixels (x, y, 0)."""
        places = np.hstack([self.xy_px, np.zeros((len(self.xy_px), 1), np.float32)])
        return Mesh(points_camera_mm, self.triangles, places)


def sheet_of(source: Source, chin_px: float) -> Sheet:
    """The relief of a photo.

    Args:
        chin_px: the row of the chin; below it lie neck and shoulders, which curve away less than hair.
    """
    head = np.isfinite(source.depth_mm)
    height, width = head.shape
    inverse = (~head).astype(np.uint8)
    distance, labels = cv2.distanceTransformWithLabels(inverse, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = np.asarray(labels, np.int64)
    nearest = np.zeros(int(labels.max()) + 1, np.float32)
    nearest[labels[head]] = source.depth_mm[head]
    depth = nearest[labels]
    away_mm = distance * depth / source.focal_px
    rows = np.arange(height, dtype=np.float32)[:, None]
    below = np.clip((rows - chin_px) / (0.1 * height), 0, 1)
    depth = depth + away_mm * (_FALL + (_FALL_BODY - _FALL) * below) + _BEHIND_MM
    depth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 3.0)
    ys, xs = (np.unique(np.r_[np.arange(0, n, _STEP), n]) for n in (height, width))
    x, y = (v.ravel().astype(np.float32) for v in np.meshgrid(xs, ys))
    z = depth[np.minimum(y, height - 1).astype(int), np.minimum(x, width - 1).astype(int)]
    points = np.stack([(x - source.principal_px[0]) * z, (y - source.principal_px[1]) * z, z * source.focal_px], 1)
    points /= source.focal_px
    columns = len(xs)
    i, j = (v.ravel() for v in np.meshgrid(np.arange(len(ys) - 1), np.arange(columns - 1), indexing="ij"))
    a = i * columns + j
    triangles = np.vstack([np.stack(t, 1) for t in ((a, a + columns, a + 1), (a + 1, a + columns, a + columns + 1))])
    inner = cv2.erode(head.astype(np.uint8), np.ones((7, 7), np.uint8))
    alpha = source.matte * (1 - cv2.GaussianBlur(inner.astype(np.float32), (0, 0), 1.5))
    return Sheet(points.astype(np.float32), triangles.astype(np.int32), np.stack([x, y], 1), alpha.astype(np.float32))
