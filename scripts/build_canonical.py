"""Build the canonical head and every shipped layout from ICT-FaceKit and MediaPipe.

Usage:
    uv run scripts/build_canonical.py --assets ../shared/assets
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

JAW_OPEN = 0.3
"""Weight of ICT-FaceKit's jawOpen in the rest pose: lips 10 mm and the rows of teeth 1 mm apart."""

IRIS_RADIUS_MM = 6.0
"""Radius of MediaPipe's iris ring."""


@dataclass(frozen=True)
class Rig:
    """ICT-FaceKit in its own topology, in the canonical frame."""

    rest_mm: np.ndarray  # (V, 3) neutral with the jaw a little open
    quads: np.ndarray  # (F, 4) vertex ids, -1 in the last column of a triangle
    material: np.ndarray  # (F,) material names
    ibug68: np.ndarray  # (68,) vertex ids
    left_iris: np.ndarray  # vertex ids of the disc of the subject's left iris


def load_rig(assets: Path) -> Rig:
    data = np.load(assets / "ict_facekit" / "ict_facekit_light.npz")
    names = [str(n) for n in data["expression_names"]]

    def expression(name: str) -> np.ndarray:
        i = names.index(name)
        return data["expression_q"][i].astype(np.float64) * float(data["expression_scale"][i])

    rest_mm = 10.0 * (data["neutral"].astype(np.float64) + JAW_OPEN * expression("jawOpen"))
    left_iris = np.flatnonzero(np.abs(expression("PupilDilate_L")).sum(1) > 1e-4)
    return Rig(rest_mm, data["faces"], data["material"], data["ibug68_vertices"], left_iris)


def iris_points(rig: Rig, side: str) -> np.ndarray:
    """(5, 3) mm: the centre of the iris, then its ring towards +x, +y, -x and -y, as MediaPipe orders it."""
    disc = rig.rest_mm[rig.left_iris] * (1 if side == "left" else (-1, 1, 1))  # the neutral rig is symmetric
    centre = (disc.min(0) + disc.max(0)) / 2
    ring = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)], float) * IRIS_RADIUS_MM
    return np.vstack([centre, np.c_[centre[:2] + ring, np.full(4, disc[:, 2].min())]])


def mediapipe478(rig: Rig, assets: Path) -> np.ndarray:
    """(478, 3) mm: the face mesh on the rest pose, then the irises, subject's right first."""
    on_ict = np.load(assets / "mediapipe" / "mediapipe468_on_ict.npz")
    face = np.einsum("nk,nkd->nd", on_ict["barycentric"].astype(np.float64), rig.rest_mm[on_ict["triangle"]])
    return np.vstack([face, iris_points(rig, "right"), iris_points(rig, "left")])


def mediapipe_triangles(assets: Path) -> np.ndarray:
    lines = (assets / "mediapipe" / "canonical_face_model.obj").read_text().splitlines()
    faces = [[int(word.split("/")[0]) - 1 for word in line.split()[1:]] for line in lines if line.startswith("f ")]
    return np.array(faces, np.int32)


if __name__ == "__main__":
    import sys

    assets = Path(sys.argv[1])
    rig = load_rig(assets)
    p = mediapipe478(rig, assets)
    out = Path(__file__).parents[1] / "src/anymark/canonical/data"
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "mediapipe478.npz", points_mm=p.astype(np.float32), triangles=mediapipe_triangles(assets))
    print(p[[468, 469, 470, 471, 472, 473, 474, 13, 14]], json.dumps(p.min(0).tolist()))
