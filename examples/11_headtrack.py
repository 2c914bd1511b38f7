"""11. Head tracking: a rig fitted to the dense map of each frame of a clip.

    uv run --all-extras python examples/11_headtrack.py

On your own clips: anymark headtrack clip.mp4 --rig RIG
"""

from __future__ import annotations

import numpy as np
from _clips import save
from _heads import SIDE, Studio

from anymark import CanonicalHead, Dense
from anymark.apps.headtrack import track_head
from anymark.apps.look import over, shaded
from anymark.apps.rigs import RigOnHead
from anymark.fit import Rig

studio = Studio()
yaws = np.linspace(-25, 25, 9)
cameras = [studio.camera(yaw) for yaw in yaws]
frames = [studio.picture(camera) for camera in cameras]
dense = Dense()
maps = [dense.encode(frame)[0] for frame in frames]

# a toy rig: the canonical head, wider or narrower, longer or shorter, with a chin that goes down
head = CanonicalHead.load()
vertices = head.vertices_mm.astype(np.float64)
identity = np.stack([vertices * [0.05, 0, 0], vertices * [0, 0.05, 0], vertices * [0, 0, 0.05]])
chin = np.exp(-((vertices - [0, -75, 95]) ** 2).sum(1) / (2 * 35**2))[:, None] * [0, -12, -4]
rig = RigOnHead(Rig(vertices, identity, chin[None], ("jawOpen",), head.triangles), vertices)

found = track_head(maps, rig, cameras[0].focal_px, np.full(2, SIDE / 2))
turned = [R @ c.R_camera_head.T for R, c in zip(found.R_world_head, cameras, strict=True)]
angles = np.degrees([np.arccos(np.clip((np.trace(t) - 1) / 2, -1, 1)) for t in turned])
print(f"residual {found.residual_px.mean():.2f} px, pose off by {angles.mean():.1f} degrees")

tiles = []
for i in (0, 2, 4, 6, 8):
    camera_mm = found.vertices_mm(rig.rig, i) @ found.R_world_head[i].T + found.t_world_head_mm[i]
    xy = SIDE / 2 + cameras[i].focal_px * camera_mm[:, :2] / camera_mm[:, 2:]
    drawn = shaded(camera_mm, head.triangles, xy, (SIDE, SIDE), np.tile((0.75, 0.78, 0.85), (len(head.triangles), 1)))
    tiles.append(np.vstack([frames[i], over(frames[i], drawn, 0.75)]))
save("11_headtrack", *tiles, height=420)
