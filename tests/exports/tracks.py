"""A track in which nothing stays as it is: two heads that turn and talk, a lens and a principal point that change."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from anymark import Layout
from anymark.video import Track
from anymark.video.rows import row_dtype

SIZE = (640, 360)
FRAMES = 9
FOUND = {1: (0, 1, 2, 4, 7, 8), 2: (2, 4, 5)}
"""In which frames each head is found; frame 3 failed to decode."""

LAYOUT = Layout(
    "six",
    np.array([[30, 20, 60], [-30, 20, 60], [-20, -50, 70], [20, -50, 70], [0, 0, 100], [0, -20, 90]], float),
    names=("left eye", "right eye", "mouth, right", "mouth, left", "nose tip", "lip"),
    edges=np.array([[0, 1], [2, 3]]),
    triangles=np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]),
    flip=np.array([1, 0, 3, 2, 4, 5]),
    regions={"eyes": np.array([0, 1]), "mouth": np.array([2, 3, 5])},
)
NAMES = ("left_eye", "right_eye", "mouth_right", "mouth_left", "nose_tip", "lip")
"""Its points', as other programs take them."""
HIDDEN = (1, 4, 0)
"""Head, frame and point that is hidden."""


def track(video: str = "clip.mp4", layout: Layout = LAYOUT) -> Track:
    """Of a clip at 25 a second, or of pictures 1001.., without 1006, where `video` is a pattern."""
    rng = np.random.default_rng(0)
    rows = np.zeros(sum(map(len, FOUND.values())), row_dtype(len(layout)))
    places = sorted((frame, head) for head, frames in FOUND.items() for frame in frames)
    for row, (frame, head) in zip(rows, places, strict=True):
        xyz = (layout.points_mm + rng.normal(0, 3, layout.points_mm.shape)).astype(np.float32)
        row["frame"], row["head"], row["xyz_mm"] = frame, head, xyz
        row["focal_px"] = 900 + 40 * frame + 5 * head
        row["principal_px"] = (200 * head + 13.25 * frame, 150.5 + 7 * frame)
        row["R_camera_head"] = np.diag([1, -1, -1]) @ turn(0.1 * frame - 0.3, 0.07 * frame * head, 0.2 - 0.05 * frame)
        row["t_camera_head_mm"] = (20 - 10 * frame, 5 * frame, 900 + 30 * frame + 100 * head)
        row["xy_px"] = project(row)
        row["sigma_px"], row["visible"] = rng.uniform(0.5, 2, len(layout)), rng.uniform(0.6, 1, len(layout))
        if (head, frame) == HIDDEN[:2]:
            row["visible"][HIDDEN[2]] = 0.2
        row["box_px"], row["window"] = (10, 10, 90, 90), (50, 50, 100, 0)
        row["crop"] = ((50, 0, row["principal_px"][0]), (0, 50, row["principal_px"][1]))
        row["score"], row["unsureness"] = 1, 0.01
    pictures = "%" in video
    pts = np.array([1001, 1002, 1003, 1004, 1005, 1007, 1008, 1009, 1010]) if pictures else np.arange(FRAMES) * 512
    base = Fraction(1, 24) if pictures else Fraction(1, 12800)
    return Track(
        video=video,
        size_px=SIZE,
        time_base=base,
        layout=layout,
        smooth="none",
        pts=pts,
        time_s=pts * float(base),
        decoded=np.arange(FRAMES) != 3,
        rows=rows,
    )


def project(row: np.void) -> npt.NDArray[np.float64]:
    """As docs/conventions.md has it."""
    seen = row["xyz_mm"].astype(float) @ row["R_camera_head"].astype(float).T + row["t_camera_head_mm"]
    return row["principal_px"] + row["focal_px"] * seen[:, :2] / seen[:, 2:]


def turn(x: float, y: float, z: float) -> npt.NDArray[np.float64]:
    """A rotation about the three axes, one after another."""
    (a, b), (c, d), (e, f) = ((np.cos(angle), np.sin(angle)) for angle in (x, y, z))
    about_x = np.array([[1, 0, 0], [0, a, -b], [0, b, a]])
    about_y = np.array([[c, 0, d], [0, 1, 0], [-d, 0, c]])
    about_z = np.array([[e, -f, 0], [f, e, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
