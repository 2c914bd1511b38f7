"""10. Stereo: a head from three pictures of calibrated cameras, as a coloured cloud of points.

    uv run --all-extras python examples/10_stereo.py

On your own photos: anymark stereo a.jpg b.jpg c.jpg --cameras cameras.json --out head.ply
"""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

import numpy as np
from _clips import save
from _heads import SIDE, Studio

from anymark import Dense
from anymark.apps.stereo import reconstruct

studio = Studio()
cameras = [studio.camera(yaw) for yaw in (-18.0, 0.0, 18.0)]
photos = [studio.picture(camera) for camera in cameras]
dense = Dense()
maps = [dense.encode(photo)[0] for photo in photos]
cloud = reconstruct(maps, cameras, photos)
path = Path(tempfile.mkdtemp()) / "head.ply"
cloud.save(path)
away = np.linalg.norm(cloud.points_mm[:, None] - studio.vertices_mm[None, ::4], axis=-1).min(1)
print(f"{path.name}: {len(cloud)} points, median {np.median(away):.1f} mm from the head's own vertices")


def seen_from(yaw_deg: float) -> np.ndarray:
    """The cloud, each point four pixels wide."""
    camera = studio.camera(yaw_deg)
    depth = camera.in_camera_mm(cloud.points_mm)[:, 2]
    out = np.full((SIDE, SIDE, 3), 30, np.uint8)
    order = np.argsort(-depth)
    column, row = np.floor(camera.project(cloud.points_mm[order])).astype(int).T
    inside = (column > 0) & (row > 0) & (column < SIDE - 3) & (row < SIDE - 3)
    for x, y in product(range(4), range(4)):
        out[row[inside] + y, column[inside] + x] = cloud.colours[order][inside]
    return out


save("10_stereo", *photos, seen_from(0.0), seen_from(45.0), height=260)
