"""ICT-FaceKit and MediaPipe's face mesh, in the canonical frame."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anymark.fit.rig import face_mesh_on_ict

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
    left_iris: np.ndarray  # vertex ids of the disc of the subject's left iris


def load_rig(assets: Path) -> Rig:
    data = np.load(assets / "ict_facekit" / "ict_facekit_light.npz")
    names = [str(n) for n in data["expression_names"]]

    def expression(name: str) -> np.ndarray:
        i = names.index(name)
        return data["expression_q"][i].astype(np.float64) * float(data["expression_scale"][i])

    rest_mm = 10.0 * (data["neutral"].astype(np.float64) + JAW_OPEN * expression("jawOpen"))
    left_iris = np.flatnonzero(np.abs(expression("PupilDilate_L")).sum(1) > 1e-4)
    return Rig(rest_mm, data["faces"], data["material"], left_iris)


def iris_points(rig: Rig, side: str) -> np.ndarray:
    """(5, 3) mm: the centre of the iris, then its ring towards +x, +y, -x and -y, as MediaPipe orders it."""
    disc = rig.rest_mm[rig.left_iris] * (1 if side == "left" else (-1, 1, 1))  # the neutral rig is symmetric
    centre = (disc.min(0) + disc.max(0)) / 2
    ring = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)], float) * IRIS_RADIUS_MM
    return np.vstack([centre, np.c_[centre[:2] + ring, np.full(4, disc[:, 2].min())]])


IRIS_FLIP = np.array([5, 8, 7, 6, 9, 0, 3, 2, 1, 4])
"""Mirror images of the ten iris points: both rings start at +x, so +x of one is -x of the other."""


# MediaPipe's vertices around the three openings of the face
RIGHT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_LIDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)


@dataclass(frozen=True)
class FaceMesh:
    """MediaPipe's face mesh on the rest pose, then the irises, subject's right first."""

    points_mm: np.ndarray  # (478, 3)
    triangles: np.ndarray  # (T, 3) of the first 468, the openings of eyes and mouth left out
    flip: np.ndarray  # (478,)
    connections: dict[str, np.ndarray]  # MediaPipe's edge tables, (E, 2) each


def read_face_model(assets: Path) -> tuple[np.ndarray, np.ndarray]:
    """MediaPipe's own canonical face: vertices (468, 3) and triangles (T, 3)."""
    lines = (assets / "mediapipe" / "canonical_face_model.obj").read_text().splitlines()
    faces = [[int(word.split("/")[0]) - 1 for word in line.split()[1:]] for line in lines if line.startswith("f ")]
    return np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float), np.array(faces, np.int32)


def load_face_mesh(rig: Rig, assets: Path) -> FaceMesh:
    face = face_mesh_on_ict().on(rig.rest_mm)
    model, faces = read_face_model(assets)
    # MediaPipe's own model is exactly symmetric; on the rest pose the lips nearly touch and neighbours could mix
    flip = mirror_partners(model)
    tables = json.loads((assets / "mediapipe" / "connections.json").read_text())
    # MediaPipe's triangles also close the eyes and the mouth, where there is no skin to lie on
    closes = [np.isin(faces, rim).all(1) for rim in (RIGHT_LIDS, LEFT_LIDS, INNER_LIPS)]
    return FaceMesh(
        np.vstack([face, iris_points(rig, "right"), iris_points(rig, "left")]),
        faces[~np.any(closes, 0)],
        np.r_[flip, 468 + IRIS_FLIP],
        {name: np.array(pairs) for name, pairs in tables.items() if name.startswith("FACEMESH_")},
    )


def mirror_partners(points: np.ndarray) -> np.ndarray:
    """(N,) index of each point's mirror image across x = 0.

    Raises:
        ValueError: the points are not symmetric.
    """
    from scipy.spatial import cKDTree

    _, partner = cKDTree(points).query(points * (-1, 1, 1))
    if not np.array_equal(partner[partner], np.arange(len(points))):
        raise ValueError("the points are not symmetric about x = 0")
    return partner
