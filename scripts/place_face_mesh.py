# /// script
# requires-python = ">=3.11"
# dependencies = ["anymark", "scipy>=1.14"]
# [tool.uv.sources]
# anymark = { path = "..", editable = true }
# ///
"""Find where MediaPipe's 468 points lie on ICT-FaceKit, from what its labels say of photos.

A registration of the two neutral meshes is off by centimetres at the temples and jaw, and fits then look down by ten
degrees: ears come to lie 18 mm too high. So the points are placed by fits of many photos: each slides on the rig's skin
to where the labels are on average, and the mean identity of all is that of the rig. What labels of the face alone
cannot tell, how the head behind it is inclined, comes from ears marked by hand (face_mesh/ears.csv: the highest and
lowest points of ears of photos of split "train", in pixels of their crops).

Usage:
    uv run scripts/place_face_mesh.py --shared ../shared
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from scipy.spatial import cKDTree

from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.face_mesh import CLOSING, FACE_MESH_POINTS, FACE_OVAL
from anymark.canonical.head import closest_on_surface
from anymark.engine.fits import LEAST_EYES_PX, eye_distance, label_weights
from anymark.engine.heads import canonical_rig
from anymark.fit import Fit, Points, Rig, fit
from anymark.photo_files import read_labels
from build_canonical import ROOT, save_arrays
from canonical_build.rig import mirror_partners, read_face_model

SKIN = ("face", "head")
EAR_BEHIND_MM = 95.0
"""From the points that turn a fit to the ears."""
OUTLIER_MM = 6.0
"""Labels that are off by more count for less."""
MOUTH_OPEN = 0.6
"""Weight of jawOpen while points slide."""
STAY = 0.05
"""Weight of a point's last place against what one label says, for the direction that photos do not show."""
ENOUGH_MM = 0.1


@dataclass(frozen=True)
class Args:
    shared: Path = Path("../shared")
    """Folder that holds assets/ and photos/."""
    photos: int = 120
    """Of each set."""
    rounds: int = 8
    """At most so many."""
    out: Path = ROOT / "src" / "anymark" / "fit" / "data" / "face_mesh.npz"


@dataclass(frozen=True)
class Labelled:
    """Labels of photos."""

    points_px: np.ndarray  # (N, 468, 2)
    depth_px: np.ndarray  # (N, 468)

    def fit(self, rig: Rig, points: Points) -> Fit:
        pairs = np.array(CLOSING)
        return fit(rig, points, self.points_px, weights=label_weights(), depth_px=self.depth_px, pairs=pairs)


@dataclass(frozen=True)
class Ears:
    """Ends of ears marked by hand."""

    labelled: Labelled
    photo: np.ndarray  # (M,) into the labels
    left: np.ndarray  # (M,) bool
    top: np.ndarray  # (M,) bool
    marks_px: np.ndarray  # (M, 2)

    def too_low_mm(self, head: Rig, ears: np.ndarray, found: Fit) -> np.ndarray:
        """(M,) how far below the marks the rig's ears, vertices (2, E), end."""
        projected = found.project(head.vertices_mm(found.identity, found.expression))
        down = -found.R_camera_head[:, :2, 1]
        down /= np.linalg.norm(down, axis=1, keepdims=True)
        px_per_mm = found.camera.focal_px / found.t_camera_head_mm[:, 2]
        out = np.empty(len(self.photo))
        for m, i in enumerate(self.photo):
            height = projected[i, ears[int(self.left[m])]] @ down[i]
            end = height.min() if self.top[m] else height.max()
            out[m] = (end - self.marks_px[m] @ down[i]) / px_per_mm[i]
        return out


def read_photos(folder: Path, count: int) -> Labelled:
    """Training photos with good labels, as many of each set."""
    points, depths = [], []
    for path in sorted(folder.glob("*/labels.npz")):
        labels = read_labels(path.parent)
        good = labels.chosen("train", good=True)
        good = good[eye_distance(labels)[good] > 3 * LEAST_EYES_PX]
        good = good[np.linspace(0, len(good) - 1, min(count, len(good))).round().astype(int)]
        points.append(labels.points_px[good, :FACE_MESH_POINTS])
        depths.append(labels.depth_px[good, :FACE_MESH_POINTS])
    return Labelled(np.concatenate(points), np.concatenate(depths))


def read_ears(folder: Path) -> Ears:
    with (Path(__file__).parent / "face_mesh" / "ears.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = sorted({(row["set"], row["photo"]) for row in rows})
    labels = {name: read_labels(folder / name) for name in {name for name, _ in names}}
    where = [(labels[name], labels[name].names.index(photo)) for name, photo in names]
    return Ears(
        Labelled(
            np.stack([of.points_px[i, :FACE_MESH_POINTS] for of, i in where]),
            np.stack([of.depth_px[i, :FACE_MESH_POINTS] for of, i in where]),
        ),
        np.array([names.index((row["set"], row["photo"])) for row in rows]),
        np.array([row["ear"] == "left" for row in rows]),
        np.array([row["end"] == "top" for row in rows]),
        np.array([[row["x_px"], row["y_px"]] for row in rows], float),
    )


def inclined(found: Fit, angle: float) -> Fit:
    """Heads turned about their own x axis, forwards, by an angle in radians, and of the mean identity of the rig."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    identity = found.identity - found.identity.mean(0)
    return replace(found, R_camera_head=found.R_camera_head @ turn, identity=identity)


def offsets_mm(rig: Rig, points: Points, found: Fit, labels_px: np.ndarray) -> np.ndarray:
    """(468, 3) by how much the points must move in the head frame, for the labels of all photos at once."""
    on_rig = found.to_camera(points.on(rig.vertices_mm(found.identity, found.expression)).astype(float))
    away = found.t_camera_head_mm[:, 2, None, None]
    seen = (labels_px - found.camera.principal_px[:, None]) / found.camera.focal_px[:, None, None] * away
    shown = on_rig[..., :2] / on_rig[..., 2:] * away
    # each head's place and size follow its labels anew
    inner = np.setdiff1d(np.arange(FACE_MESH_POINTS), FACE_OVAL)
    seen_mean, shown_mean = seen[:, inner].mean(1, keepdims=True), shown[:, inner].mean(1, keepdims=True)
    seen, shown = seen - seen_mean, shown - shown_mean
    scale = (seen * shown)[:, inner].sum((1, 2)) / (shown[:, inner] ** 2).sum((1, 2))
    off = seen / scale[:, None, None] - shown
    trust = 1 / (1 + (np.linalg.norm(off, axis=-1) / OUTLIER_MM) ** 2)
    across = found.R_camera_head[:, :2]
    normal = np.einsum("bl,bij,bik->ljk", trust, across, across) + STAY * len(found) * np.eye(3)
    return np.linalg.solve(normal, np.einsum("bl,bij,bli->lj", trust, across, off)[..., None])[..., 0]


def main(args: Args) -> None:
    """Place the points and save their triangles' corners (468, 3) and barycentric weights (468, 3)."""
    rig, head = Rig.load_ict(args.shared / "assets"), CanonicalHead.load()
    skin = rig.triangles[np.isin(rig.triangles, np.concatenate([rig.parts[name] for name in SKIN])).all(1)]
    with np.load(args.shared / "assets" / "mediapipe" / "mediapipe468_on_ict.npz") as data:
        points = Points(data["triangle"], data["barycentric"])
    model, _ = read_face_model(args.shared / "assets")
    flip = mirror_partners(model)

    # with the mouth open no point of a lip can slip over to the other
    parted = rig.neutral_mm + MOUTH_OPEN * rig.expression_mm[rig.expression_names.index("jawOpen")]

    def closest(points_mm: np.ndarray) -> Points:
        triangle, weights = closest_on_surface(parted, skin, points_mm)
        return Points(skin[triangle], weights)

    photos, ears = read_photos(args.shared / "photos", args.photos), read_ears(args.shared / "photos")
    posed = canonical_rig(rig, head)
    at_ears = cKDTree(head.vertices_mm).query(load_layout("ears").points_mm)[1].reshape(2, -1)
    for step in range(args.rounds):
        found = photos.fit(rig, points)
        good = np.flatnonzero(found.converged)
        off = ears.too_low_mm(posed, at_ears, ears.labelled.fit(rig, points))
        px_per_mm = (found.camera.focal_px / found.t_camera_head_mm[:, 2])[good]
        left_over = np.median(found.residual_px[good] / px_per_mm)
        print(
            f"round {step}: {len(good)} of {len(found)} photos, left over {left_over:.2f} mm; "
            f"ears {np.median(off):.1f} mm too low, spread {off.std():.1f} mm",
            flush=True,
        )
        found = inclined(found[good], np.arctan2(np.median(off), EAR_BEHIND_MM))
        move = offsets_mm(rig, points, found, photos.points_px[good])
        move = (move + move[flip] * (-1, 1, 1)) / 2
        old = points.on(parted)
        points = closest(old + move)
        on_right = points.on(parted)
        on_right[flip == np.arange(FACE_MESH_POINTS), 0] = 0
        points = closest(np.where(model[:, :1] > 0, on_right[flip] * (-1, 1, 1), on_right))
        if np.linalg.norm(points.on(parted) - old, axis=1).mean() < ENOUGH_MM:
            break
    save_arrays(args.out, {"vertices": points.vertices, "barycentric": points.barycentric.astype(np.float32)})


if __name__ == "__main__":
    main(tyro.cli(Args))
