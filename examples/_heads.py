"""The astronaut's head in 3D, textured from her photo and seen by known cameras: what stands in for a studio."""

from __future__ import annotations

import numpy as np
from _clips import astronaut

from anymark import Camera, CanonicalHead, Detector, load_layout
from anymark.apps.texture import TextureMaker
from anymark.detect.raster import rasterise

SIDE = 512


class Studio:
    """A head, and pictures of it."""

    def __init__(self) -> None:
        photo = astronaut(1024)
        (head, *_) = Detector().encode(photo)
        maker = TextureMaker(512, 2)
        maker.add(photo, head.query(load_layout("head")))
        self.vertices_mm = head.vertices_mm
        self.texture = np.asarray(maker.texture().picture().convert("RGB"))

    def camera(self, yaw_deg: float, focal_px: float = 1300.0, away_mm: float = 900.0) -> Camera:
        """One that stands aside by so much and looks at the head; the head's frame is the world."""
        cos, sin = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
        turn = np.diag([1.0, -1.0, -1.0]) @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        return Camera(focal_px, np.full(2, SIDE / 2), turn, np.array([0.0, 0.0, away_mm]))

    def picture(self, camera: Camera, grey: int = 96) -> np.ndarray:
        """(SIDE, SIDE, 3) what it sees."""
        head = CanonicalHead.load()
        seen, xy = camera.in_camera_mm(self.vertices_mm), camera.project(self.vertices_mm)
        drawn = rasterise(xy, seen[:, 2], head.triangles, (SIDE, SIDE))
        uv = drawn.of_corners(head.uv)
        rows, columns = self.texture.shape[:2]
        tiles = columns // rows
        column = np.clip((uv[..., 0] / tiles * columns).astype(int), 0, columns - 1)
        row = np.clip(((1 - uv[..., 1]) * rows).astype(int), 0, rows - 1)
        out = np.full((SIDE, SIDE, 3), grey, np.uint8)
        shown = drawn.triangle >= 0
        out[shown] = self.texture[row[shown], column[shown]]
        return out
