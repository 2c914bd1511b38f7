"""Placement guides: a layout's points, numbered and large, for whoever puts dots onto a face."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from anymark.apps.look import over, shaded
from anymark.canonical import CanonicalHead, Layout
from anymark.canonical.frame import FACING
from anymark.detect.camera import Camera
from anymark.detect.landmarks import Landmarks
from anymark.detect.visibility import Surface
from anymark.detect.window import Window, crop

SIDE_PX = 1000
"""Of the square that a face is drawn in."""

VIEWS_DEG = (45.0, 0.0, -45.0)
"""Yaw of the canonical head in the drawing of three views, from left to right."""

_FACE_SCALE = 1.7  # side of the square over that of the face's box
_AWAY_MM, _LENS = 1500.0, 5.1  # of the drawing's camera, and its focal length in sides of the picture
_SKIN = (0.86, 0.78, 0.72)
_DOT, _RIM, _INK = (230, 40, 60), (255, 255, 255), (20, 20, 20)
_SEEN = 0.5


def guide_on_photo(photo: npt.NDArray[np.uint8], landmarks: Landmarks) -> Image.Image:
    """The points that are seen on the face of a photo (H, W, 3), enlarged."""
    side = _FACE_SCALE * float((landmarks.box_px[2:] - landmarks.box_px[:2]).max())
    window = Window(landmarks.box_px.reshape(2, 2).mean(0), side, landmarks.window.roll_rad)
    image = Image.fromarray(crop(photo, window, SIDE_PX))
    places = (window.to_window(landmarks.xy_px.astype(np.float64)) + 1) * SIDE_PX / 2
    _number(image, places, landmarks.visible >= _SEEN, landmarks.layout)
    return image


def guide_on_head(layout: Layout) -> Image.Image:
    """The points on the canonical head, from three sides."""
    head = CanonicalHead.load()
    sheet = Image.new("RGB", (SIDE_PX * len(VIEWS_DEG), SIDE_PX), (245, 245, 245))
    for i, yaw in enumerate(VIEWS_DEG):
        cos, sin = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
        turn = FACING @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        camera = Camera(_LENS * SIDE_PX, np.full(2, SIDE_PX / 2), turn, np.array([0, -15, _AWAY_MM]))
        colours = np.tile(_SKIN, (len(head.triangles), 1))
        seen = camera.in_camera_mm(head.vertices_mm)
        drawn = shaded(seen, head.triangles, camera.project(head.vertices_mm), (SIDE_PX, SIDE_PX), colours)
        tile = Image.fromarray(over(np.full((SIDE_PX, SIDE_PX, 3), 245, np.uint8), drawn))
        shown = Surface(lambda: head.vertices_mm, camera).visible(layout.points_mm, layout.points_mm)
        _number(tile, camera.project(layout.points_mm), shown >= _SEEN, layout)
        sheet.paste(tile, (i * SIDE_PX, 0))
    return sheet


def _number(image: Image.Image, places: npt.NDArray[np.floating], shown: npt.NDArray[np.bool_], layout: Layout) -> None:
    """Dots with their names, or their numbers from 0, beside them; Pillow counts pixel centres."""
    pen = ImageDraw.Draw(image)
    apart = SIDE_PX / max(np.sqrt(len(layout)), 4)
    radius = float(np.clip(0.08 * apart, 3, 11))
    font = ImageFont.load_default(size=float(np.clip(0.2 * apart, 11, 30)))
    names = layout.names or [""] * len(layout)
    for i, ((x, y), name) in enumerate(zip((places - 0.5).tolist(), names, strict=True)):
        if shown[i]:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), _DOT, _RIM, 2)
            pen.text((x + 1.5 * radius, y), name or str(i), _INK, font, "lm", stroke_width=2, stroke_fill=_RIM)
