"""Dense maps that are exact: what a camera sees of the canonical head, drawn by the rasteriser."""

from __future__ import annotations

import numpy as np

from anymark.canonical import CanonicalHead
from anymark.detect.camera import Camera
from anymark.detect.dense import DenseMap
from anymark.detect.raster import rasterise
from anymark.detect.window import Crop, Window

SIGMA_MM = 1.0


def exact_map(
    camera: Camera,
    size_px: tuple[int, int],
    side: int = 128,
    square: Window | None = None,
    vertices_mm: np.ndarray | None = None,
) -> DenseMap:
    """The map of a square, the largest in the middle of the photo unless another is given.

    Args:
        vertices_mm: (V, 3) of this very head; the canonical one's unless given.
    """
    head = CanonicalHead.load()
    width, height = size_px
    square = square or Window(np.array([width / 2, height / 2]), float(min(size_px)))
    crop = Crop(square.affine())
    own = head.vertices_mm if vertices_mm is None else vertices_mm
    seen = camera.in_camera_mm(own)
    xy = (crop.to_crop(camera.project(own)) + 1) * (side / 2)
    drawn = rasterise(xy, seen[:, 2], head.triangles, (side, side))
    points = drawn.of_vertices(head.vertices_mm, head.triangles)
    shown = (drawn.triangle >= 0).astype(np.float32)
    return DenseMap(points, shown, np.full((side, side), SIGMA_MM, np.float32), crop, size_px)


def turned_camera(yaw_deg: float, focal_px: float = 700.0, away_mm: float = 900.0, middle: float = 128.0) -> Camera:
    """A camera that looks at a head which is turned by so much."""
    angle = np.radians(yaw_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return Camera(focal_px, np.full(2, middle), np.diag([1.0, -1.0, -1.0]) @ turn, np.array([0.0, 0.0, away_mm]))
