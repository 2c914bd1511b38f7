"""7. Texture: what a photo shows of the head, on its texture coordinates, and the head in it from the side.

    uv run --all-extras python examples/07_texture.py

On your own files: anymark texture photo.jpg clip.mp4 --texture head.png
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from _clips import astronaut, save

from anymark import Camera, Detector
from anymark.apps.head_pixels import HeadPixels
from anymark.apps.texture import TextureMaker
from anymark.apps.uv import UvPicture

photo = astronaut()
(head,) = Detector().encode(photo)
maker = TextureMaker(1024, tiles=6)
maker.add(photo, head.query("head"))
texture = maker.texture()

alpha = np.full((*texture.rgb.shape[:2], 1), 255, np.uint8)
picture = UvPicture(np.concatenate([texture.rgb, alpha], 2))
views = []
for yaw in np.radians([-35.0, 0.0, 35.0]):
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, -1, 0], [np.sin(yaw), 0, -np.cos(yaw)]])
    camera = Camera(1400.0, np.array([180.0, 180.0]), turn, np.array([0.0, 0, 1500.0]))
    shown = head.query("head")
    turned = replace(shown, camera=camera, xy_px=camera.project(shown.xyz_mm).astype(np.float32))
    pixels = HeadPixels.of(turned, (360, 360), 2)
    view = np.full((360, 360, 3), 235, np.uint8)
    x0, y0, x1, y1 = pixels.box_px
    colour = pixels.averaged(picture.smooth(pixels.raster))
    view[y0:y1, x0:x1] = np.rint(255 * colour[..., :3] + 235 * (1 - colour[..., 3:]))
    views.append(view)
save(
    "07_texture",
    texture.rgb[:, :2048],
    np.asarray(texture.confidence_picture().convert("RGB"))[:, :1024],
    *views,
    height=300,
)
