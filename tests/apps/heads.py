"""Heads without a network: the canonical one before a camera."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead, Layout, load_layout
from anymark.canonical.files import HEAD
from anymark.canonical.frame import FACING
from anymark.detect.camera import Camera
from anymark.detect.landmarks import Landmarks
from anymark.detect.window import Crop, Window

SIZE = (240, 200)
FOCAL_PX, AWAY_MM = 700.0, 1000.0


def camera(yaw_deg: float = 0.0, shift_mm: tuple[float, float] = (0.0, 20.0)) -> Camera:
    """Looks at a head that is turned to its own left by a yaw."""
    cos, sin = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return Camera(FOCAL_PX, np.array(SIZE) / 2, FACING @ turn, np.array([*shift_mm, AWAY_MM]))


def landmarks(
    seen_by: Camera,
    layout: Layout | None = None,
    xyz_mm: npt.NDArray[np.floating] | None = None,
    uncovered: npt.ArrayLike = 1.0,
    sigma_px: float = 1.0,
) -> Landmarks:
    """Of every vertex, or of a layout, where the camera sees them; moved to `xyz_mm`, if that is given."""
    layout = load_layout(HEAD) if layout is None else layout
    xyz = layout.points_mm if xyz_mm is None else xyz_mm
    box = seen_by.project(CanonicalHead.load().vertices_mm)
    box = np.concatenate([box.min(0), box.max(0)])
    window = Window.from_box(box, 1.5)
    count = len(layout)
    return Landmarks(
        layout=layout,
        xy_px=seen_by.project(xyz).astype(np.float32),
        sigma_px=np.full(count, sigma_px, np.float32),
        xyz_mm=np.asarray(xyz, np.float32),
        uncovered=np.broadcast_to(np.asarray(uncovered, np.float32), (count,)),
        box_px=box,
        window=window,
        crop=Crop(window.affine()),
        camera=seen_by,
        score=1.0,
    )
