"""Heads of known shape before known cameras, in a real person's skin: shipped models take them for photos."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import skimage.data

from anymark import CanonicalHead, Detector
from anymark.apps.texture import TextureMaker
from anymark.apps.uv import TILES, UvPicture
from anymark.detect.camera import Camera
from anymark.detect.raster import rasterise

SAMPLES = 2
"""Places along a side that each pixel is looked at in."""
GREY = 0.4
"""Of the background."""


@lru_cache(maxsize=1)
def skin() -> UvPicture:
    """The astronaut's."""
    photo = skimage.data.astronaut()
    (head, *_) = Detector(threads=1).encode(photo)
    maker = TextureMaker(256, TILES)
    maker.add(photo, head.query("head"))
    rgb = maker.texture().rgb
    return UvPicture(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]))


def portrait(camera: Camera, side: int = 256, vertices_mm: np.ndarray | None = None) -> np.ndarray:
    """(side, side, 3) what a camera sees of the canonical head, or of one with other vertices (V, 3)."""
    head = CanonicalHead.load()
    own = head.vertices_mm if vertices_mm is None else vertices_mm
    depth = camera.in_camera_mm(own)[:, 2]
    drawn = rasterise(SAMPLES * camera.project(own), depth, head.triangles, (SAMPLES * side,) * 2)
    rgba = skin().smooth(drawn).reshape(side, SAMPLES, side, SAMPLES, 4).mean((1, 3))
    return np.rint(255 * (rgba[..., :3] + GREY * (1 - rgba[..., 3:]))).astype(np.uint8)
