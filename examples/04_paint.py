"""4. Paint: a picture on the head's texture coordinates, in the photo's light, through a clip.

    uv run --all-extras python examples/04_paint.py

On your own files: anymark layout template paint-over-me.png
                   anymark paint photo.jpg clip.mp4 --picture tattoo.png --alpha --st
"""

from __future__ import annotations

import numpy as np
from _clips import astronaut, moving, save
from PIL import Image, ImageDraw

from anymark import Detector
from anymark.apps.paint import composited, paint
from anymark.apps.uv import UvPicture
from anymark.video import Tracker

tattoo = Image.new("RGBA", (1024, 1024))
pen = ImageDraw.Draw(tattoo)
for radius in range(20, 100, 16):  # the subject's left cheek
    pen.ellipse((710 - radius, 470 - radius, 710 + radius, 470 + radius), outline=(15, 40, 110, 235), width=6)
for k in range(4):  # war paint on the right one
    pen.line((180, 430 + 28 * k, 390, 415 + 28 * k), fill=(150, 20, 30, 220), width=12)
pen.polygon([(512, 150), (540, 210), (512, 270), (484, 210)], fill=(235, 180, 40, 230))
picture = UvPicture(np.asarray(tattoo))

detector = Detector()
photo = astronaut()
(head,) = detector.encode(photo)
still = composited(photo, [paint(photo, head.query("head"), picture)])
tracker = Tracker(detector, "head", max_heads=1)
tiles = []
for frame in moving(card=False):
    heads = [found.landmarks for found in tracker.step(frame)]
    if frame.index in (8, 20, 32):
        tiles.append(composited(frame.pixels, [paint(frame.pixels, each, picture) for each in heads]))
save("04_paint", np.asarray(tattoo.convert("RGB")), still[20:400, 290:670], *tiles, height=300)
