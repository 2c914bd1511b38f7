"""1. Track a point that was clicked, through a card that covers it; optical flow beside it.

    uv run --all-extras python examples/01_track_a_point.py

On your own clip: anymark track clip.mp4 --point mole=455,322 --draw seen.mp4
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from _clips import moving, save

from anymark import Detector, Layout
from anymark.apps.lock import LockedTracker
from anymark.apps.points import Click, pick
from anymark.video import Tracker

detector = Detector()
frames = list(moving())
(head, *_) = detector.encode(frames[0].pixels)
clicked = head.query([[-52.0, -5.0, 74.0], [0.0, -2.0, 121.0], [46.0, 62.0, 80.0]]).xy_px  # cheek, nose, brow
click = Click(head, clicked)
points = Layout("clicked", pick([click]).points_mm, names=("cheek", "nose", "brow"))

tracker = LockedTracker(lambda layout: Tracker(detector, layout, max_heads=1), points, [(click, frames[0].pixels)])
ours = [[found.landmarks.xy_px for found in tracker.step(frame)] for frame in frames]

grey = [cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY) for frame in frames]
flow = [clicked.astype(np.float32)]
for before, after in pairwise(grey):
    flow.append(cv2.calcOpticalFlowPyrLK(before, after, flow[-1], None, winSize=(21, 21), maxLevel=4)[0])

tiles = []
for i in (0, 13, 20, 27, 39):
    picture = frames[i].pixels.copy()
    for xy, colour in ((flow[i], (255, 70, 70)), *((xy, (60, 255, 110)) for xy in ours[i])):
        for x, y in xy:
            if 0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]:
                cv2.circle(picture, (round(float(x)), round(float(y))), 7, colour, 3)
    tiles.append(picture)
save("01_track_a_point", *tiles, height=300)  # green: anymark; red: Lucas-Kanade
