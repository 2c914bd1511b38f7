"""6. Capture: a rig fitted to 5,000 landmarks of a clip, its weights frame by frame.

    uv run --all-extras python examples/06_capture.py [RIG]

RIG is an .npz or a folder of .obj shapes, such as ICT-FaceKit's (github.com/ICT-VGL/ICT-FaceKit, MIT). Without one, a
toy rig is made of the canonical head: identities and expressions that are smooth bumps.

On your own clips: anymark capture clip.mp4 --rig RIG --layout dense-5k
"""

from __future__ import annotations

import sys

import numpy as np
from _clips import moving, save

from anymark import CanonicalHead, Detector, Layout, load_layout
from anymark.apps.capture import View, capture
from anymark.apps.look import over, shaded
from anymark.apps.rigs import RigOnHead, load_rig
from anymark.fit import Rig
from anymark.video import Tracker


def toy() -> RigOnHead:
    """Sixty identities, and a few expressions, each a bump of a region of the canonical head."""
    head = CanonicalHead.load()
    vertices = head.vertices_mm.astype(np.float64)
    rng = np.random.default_rng(0)

    def bump(middle: np.ndarray, wide: float, by: np.ndarray) -> np.ndarray:
        return np.exp(-((vertices - middle) ** 2).sum(1) / (2 * wide**2))[:, None] * by

    places = head.sample(60, ("face", "neck", "scalp")).points_mm
    identity = [bump(place, 35, rng.normal(0, 3, 3)) for place in places]
    regions = {"jawOpen": "chin", "browUp_L": "left brow", "browUp_R": "right brow", "smile": "upper lip"}
    middles = [vertices[np.unique(head.triangles[head.regions[name]])].mean(0) for name in regions.values()]
    moves = np.array([[0, -12, -4], [0, 6, 0], [0, 6, 0], [0, 3, -2]], float)
    expression = [bump(middle, 18, move) for middle, move in zip(middles, moves, strict=True)]
    rig = Rig(vertices, np.stack(identity), np.stack(expression), tuple(regions), head.triangles)
    return RigOnHead(rig, vertices)


on = load_rig(sys.argv[1]) if len(sys.argv) > 1 else toy()
layout = load_layout("dense-5k")
points, index = on.points_of(layout)
tracker = Tracker(Detector(), Layout("captured", layout.points_mm[index]), max_heads=1)
frames = list(moving(card=False))
seen = [tracker.step(frame)[0].landmarks for frame in frames]
middle = np.array(frames[0].pixels.shape[1::-1]) / 2
focal = float(np.median([each.camera.about(middle).focal_px for each in seen]))
view = View.alone(np.stack([s.xy_px for s in seen]), np.stack([s.sigma_px for s in seen]), focal, middle)
found = capture(on.rig, points, [view])
print(f"residual {found.residual_px.mean():.2f} px over {len(frames)} frames")

tiles = []
for i in (0, 10, 20, 30):
    camera = found.vertices_mm(on.rig, i) @ found.R_world_head[i].T + found.t_world_head_mm[i]
    xy = middle + focal * camera[:, :2] / camera[:, 2:]
    size = frames[i].pixels.shape[1::-1]
    drawn = shaded(camera, on.rig.triangles, xy, size, np.tile((0.75, 0.78, 0.85), (len(on.rig.triangles), 1)))
    tiles.append(over(frames[i].pixels, drawn, 0.85))
save("06_capture", *tiles, height=300)
