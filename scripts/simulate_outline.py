"""How much it brings that points may slide: simulated annotators put the jaw on the outline of the face as it is seen.

The heads are those that were fitted to photos, in their poses; the model answers with the true points and noise. The
17 points of ibug68's jaw are marked on the outline of the face, spread evenly from ear to ear, the 51 others where the
layout has them, all with noise of the same size. A layout is calibrated on some heads and scored on all others.

Usage:
    uv run scripts/simulate_outline.py --photos runs/data/photos
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tyro
from scipy.spatial import ConvexHull, cKDTree

from anymark.apps import calibrate
from anymark.apps.queries import View
from anymark.canonical import CanonicalHead, Layout, load_layout
from anymark.canonical.posed import points_on
from anymark.detect.camera import Camera
from anymark.engine.samples import Sample, finished_shards, read_shards

JAW = 17
CHIN, BRIDGE = 8, 27
OUTER_EYES = (36, 45)
BROW_MM = 45.0
"""The outline of the face is that of its skin below this height."""
NEIGHBOURS = 10


@dataclass(frozen=True)
class Args:
    photos: Path = Path("runs/data/photos")
    """A folder of `anymark data build` whose heads are fitted."""
    heads: int = 400
    most_yaw_deg: float = 40.0
    noise: float = 0.02
    """Of labels and of answers along an axis, over the distance of the outer corners of the eyes."""
    counts: tuple[int, ...] = (5, 10, 20, 100)
    """Annotated heads."""
    repeats: int = 3


class SimulatedHead:
    """A fitted head that answers as a model would that is right but for noise."""

    def __init__(self, sample: Sample, noise_px: np.ndarray) -> None:
        head = CanonicalHead.load()
        pose = np.array(sample.record["R_camera_head"]), np.array(sample.record["t_camera_head_mm"])
        self.camera = Camera(sample.record["focal_px"], np.array(sample.record["principal_px"]), *pose)
        self.vertices_mm = sample.vertices_mm.astype(np.float64)
        self.tree, self.moved_mm = cKDTree(head.vertices_mm), self.vertices_mm - head.vertices_mm
        self.noise_px = noise_px

    def query(self, layout: Layout) -> SimpleNamespace:
        """Points move with the vertices about them; those of one landmark, asked in a row, have the same noise."""
        points = layout.seen_from(self.camera.seen_from).points_mm.astype(np.float64)
        apart, near = self.tree.query(points, k=NEIGHBOURS)
        weights = 1 / np.maximum(apart, 1e-3) ** 2
        weights /= weights.sum(1, keepdims=True)
        xyz = points + np.einsum("nk,nkd->nd", weights, self.moved_mm[near])
        noise = np.repeat(self.noise_px, len(points) // len(self.noise_px), 0)
        return SimpleNamespace(xyz_mm=xyz, xy_px=self.camera.project(xyz) + noise)


def labels_on(head: SimulatedHead, skin: np.ndarray) -> np.ndarray:
    """(68, 2) where an annotator without noise would put ibug68."""
    labels = head.camera.project(points_on(head.vertices_mm, "ibug68"))
    up = labels[BRIDGE] - labels[CHIN]
    up /= np.linalg.norm(up)
    axes = np.stack([np.array([-up[1], up[0]]), up], 1)  # the face's own right and up, in the picture
    upright, outline = labels @ axes, head.camera.project(head.vertices_mm[skin]) @ axes
    outline = outline[ConvexHull(outline).vertices]
    along = np.linspace(0, 1, 200, endpoint=False)[:, None, None]
    outline = (outline + along * (np.roll(outline, -1, 0) - outline)).reshape(-1, 2)
    level = upright[[0, JAW - 1], 1].mean()
    middle = np.array([upright[CHIN, 0], level])
    below = outline[outline[:, 1] < level]
    onwards = np.sign(upright[JAW - 1, 0] - upright[0, 0])
    below = below[np.argsort(onwards * np.arctan2(*(below - middle).T[::-1]))]
    way = np.append(0, np.cumsum(np.linalg.norm(np.diff(below, axis=0), axis=1)))
    even = np.linspace(0, way[-1], JAW)
    upright[:JAW] = np.stack([np.interp(even, way, below[:, k]) for k in range(2)], 1)
    return upright @ axes.T


def main(args: Args) -> None:
    layout = load_layout("ibug68")
    layout = Layout("ibug68", layout.points_mm)
    rng = np.random.default_rng(0)
    head = CanonicalHead.load()
    skin = head.vertices_of("face")
    skin = skin[head.vertices_mm[skin, 1] < BROW_MM]
    shards = finished_shards(args.photos)
    views, truths = [], []
    for sample in read_shards(shards[:: max(1, len(shards) // 9)]):
        simulated = SimulatedHead(sample, np.zeros((68, 2)))
        if abs(simulated.camera.yaw_pitch_roll_deg[0]) < args.most_yaw_deg and len(views) < args.heads:
            truth = labels_on(simulated, skin)
            length = float(np.linalg.norm(truth[OUTER_EYES[0]] - truth[OUTER_EYES[1]]))
            simulated.noise_px = rng.normal(0, args.noise * length, (68, 2))
            labels = truth + rng.normal(0, args.noise * length, (68, 2))
            views.append(View(simulated, labels, length))
            truths.append(truth)
    print(f"{len(views)} heads; error of 68 points on heads that were not annotated, %")
    for count in args.counts:
        rows = []
        for _ in range(args.repeats):
            order = rng.permutation(len(views))
            chosen, others = [views[i] for i in order[:count]], order[count:]
            stiff = min(
                (calibrate.fit_points(chosen, layout, p) for p in calibrate.PRIORS_MM), key=lambda f: f.error_left_out
            )
            found = calibrate.calibrate(chosen, layout, "simulated").layout
            errors = [
                np.mean(
                    [
                        np.linalg.norm(views[i].answers(each) - truths[i] / views[i].length_px, axis=1).mean()
                        for i in others
                    ]
                )
                for each in (layout, stiff.layout, found)
            ]
            rows.append([*errors, found.slides_mm is not None])
        shipped, fixed, sliding, slid = np.mean(rows, 0)
        print(
            f"{count:4d} annotated: {100 * shipped:.2f} as shipped, {100 * fixed:.2f} points that stay, "
            f"{100 * sliding:.2f} as calibrated ({slid:.0%} slide)"
        )


if __name__ == "__main__":
    main(tyro.cli(Args))
