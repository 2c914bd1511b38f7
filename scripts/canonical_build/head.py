"""The compact head: the subject's left half of ICT-FaceKit, decimated part by part, and its mirror image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from canonical_build.decimate import decimate
from canonical_build.parts import PARTS, face_regions, region_names, skin_part
from canonical_build.rig import FaceMesh, Rig, mirror_partners

TRIANGLES = {"skin": 2900, "mouth": 400, "tooth": 44, "eye": 300}
"""How many triangles the left half keeps; teeth are counted one by one."""

WEIGHT = {
    "upper lip": 6.0,
    "lower lip": 6.0,
    "eyelids": 6.0,
    "nose": 2.5,
    "brow": 2.0,
    "iris": 9.0,
    "pupil": 9.0,
    "left ear": 1.2,
    "face": 1.5,
    "scalp": 0.5,
    "neck": 0.4,
    "shoulders": 0.1,
}
"""How much an error counts, by region or else by part; 1 if not named."""

GUM_CHARTS, TONGUE_CHARTS = {0, 1, 2, 3, 4}, {8, 10}
"""Charts of the mouth's uv map, in order; the others line the throat and are left out."""

CROWN_MM = 9.0
"""How much of a tooth shows; the root below needs few triangles."""

TOOTH_NAMES = ("third molar", "second molar", "first molar", "second premolar", "first premolar", "canine",
               "lateral incisor", "central incisor")  # fmt: skip


@dataclass(frozen=True)
class Surface:
    """A piece of ICT-FaceKit as triangles, whole or only its left half."""

    triangles: np.ndarray  # (T, 3) vertex ids
    wedges: np.ndarray  # (T, 3) uv ids
    labels: np.ndarray  # (T,) indices into a list of (part, region or None)

    def __getitem__(self, keep: np.ndarray) -> Surface:
        return Surface(self.triangles[keep], self.wedges[keep], self.labels[keep])


@dataclass(frozen=True)
class CompactHead:
    """The arrays of head.npz."""

    vertices_mm: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3)
    part: np.ndarray  # (T,) indices into PARTS
    uv: np.ndarray  # (T, 3, 2)
    flip: np.ndarray  # (V,)
    ict_vertices: np.ndarray  # (V,)
    regions: dict[str, np.ndarray]


def surface_of(quads: np.ndarray, faces_uv: np.ndarray, labels: np.ndarray) -> Surface:
    """Cut quads in two along the diagonal from their first corner."""
    two = quads[:, 3] >= 0
    return Surface(
        np.vstack([quads[:, :3], quads[two][:, [0, 2, 3]]]),
        np.vstack([faces_uv[:, :3], faces_uv[two][:, [0, 2, 3]]]),
        np.r_[labels, labels[two]],
    )


def charts(ids: np.ndarray) -> np.ndarray:
    """(F,) number of the connected piece that each face (F, 4) lies in, -1 in the last column of triangles."""
    ids = np.where(ids < 0, ids[:, :1], ids)
    edges = np.vstack([ids[:, [k, (k + 1) % 4]] for k in range(4)])
    size = ids.max() + 1
    _, piece = connected_components(coo_matrix((np.ones(len(edges)), edges.T), (size, size)), directed=False)
    return np.unique(piece[ids[:, 0]], return_inverse=True)[1]


class _Labels:
    """Numbers for (part, region) pairs."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str | None]] = []

    def __call__(self, part: str, region: str | None = None) -> int:
        if (part, region) not in self.pairs:
            self.pairs.append((part, region))
        return self.pairs.index((part, region))


def build_head(rig: Rig, mesh: FaceMesh, assets: Path) -> CompactHead:
    with np.load(assets / "ict_facekit" / "ict_facekit_light.npz") as data:
        faces_uv, uv = data["faces_uv"], data["uv"].astype(np.float64)
    points, partner = rig.rest_mm.copy(), np.full(len(rig.rest_mm), -1)
    labels = _Labels()
    halves = []  # decimated pieces of the left half
    uv_partner: dict[tuple[int, int], int] = {}

    def use(keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Faces of a symmetric set's left half, after noting the mirror images of its vertices and uv."""
        quads, corners_uv = rig.quads[keep], faces_uv[keep]
        ids = np.unique(quads[quads >= 0])
        partner[ids] = ids[mirror_partners(rig.rest_mm[ids])]
        points[ids[partner[ids] == ids], 0] = 0.0  # the midline exactly
        of_face = {}
        for quad, w in zip(quads.tolist(), corners_uv.tolist(), strict=True):
            of_face[frozenset(quad)] = dict(zip(quad, w, strict=True))
        for quad, w in zip(quads.tolist(), corners_uv.tolist(), strict=True):
            image = of_face[frozenset(int(partner[v]) if v >= 0 else -1 for v in quad)]
            uv_partner.update({(v, t): image[int(partner[v])] for v, t in zip(quad, w, strict=True) if v >= 0})
        centre = points[np.where(quads < 0, quads[:, :1], quads)].mean(1)
        left = centre[:, 0] > 0
        return quads[left], corners_uv[left]

    def reduce(piece: Surface, target: int, weight: np.ndarray | None = None) -> None:
        if weight is None:
            of_label = np.array([WEIGHT.get(region or part, WEIGHT.get(part, 1.0)) for part, region in labels.pairs])
            weight = of_label[piece.labels]
        halves.append(Surface(*decimate(points, piece.triangles, piece.wedges, piece.labels, target, weight)))

    # The outer skin. The back head's material also covers the sockets, whose vertices come after the skin's.
    skin = np.isin(rig.material, ("M_Face", "M_BackHead")) & (rig.quads.max(1) < 11248)
    quads, corners_uv = use(skin)
    centre = points[np.where(quads < 0, quads[:, :1], quads)].mean(1)
    ring = points[np.where(quads < 0, quads[:, [2]], quads)]
    normal = np.cross(ring[:, 2] - ring[:, 0], ring[:, 3] - ring[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    face_material = (rig.material[skin] == "M_Face")[_left_of(rig, skin, points)]
    part = skin_part(centre, normal, face_material)
    label = np.array([labels(PARTS[p]) for p in part])
    for name, hit in face_regions(centre, normal, mesh).items():
        label[hit & (part == PARTS.index("face"))] = labels("face", name)
    reduce(surface_of(quads, corners_uv, label), TRIANGLES["skin"])

    # Gums and tongue are one piece; what lines the throat goes.
    mouth = rig.material == "M_GumsTongue"
    chart = charts(faces_uv[mouth])
    mouth[np.flatnonzero(mouth)[~np.isin(chart, list(GUM_CHARTS | TONGUE_CHARTS))]] = False
    kept = chart[np.isin(chart, list(GUM_CHARTS | TONGUE_CHARTS))][_left_of(rig, mouth, points)]
    label = np.array([labels("tongue" if c in TONGUE_CHARTS else "gums") for c in kept])
    reduce(surface_of(*use(mouth), label), TRIANGLES["mouth"])

    teeth = rig.material == "M_Teeth"
    quads, corners_uv = use(teeth)
    piece = charts(quads)
    for k in range(16):  # upper then lower, from the back to the middle, as ICT lists them
        name = f"{'upper' if k < 8 else 'lower'} {{}} {TOOTH_NAMES[k % 8]}"
        one = piece == k
        label = np.full(one.sum(), labels("upper teeth" if k < 8 else "lower teeth", name))
        tooth = surface_of(quads[one], corners_uv[one], label)
        height = points[tooth.triangles][..., 1].mean(1) * (-1 if k < 8 else 1)
        crown = height > height.max() - CROWN_MM
        reduce(tooth, TRIANGLES["tooth"], np.where(crown, 1.0, 0.03))

    # The eyeball is the inner shell, which carries the iris; the outer one is the film of tears.
    eyes = np.isin(rig.material, ("M_IrisLeft", "M_IrisRight"))
    quads, corners_uv = use(eyes)
    # ICT's pupil is a pit down to the back of the eyeball: the disc of the iris keeps it apart from the white
    disc = np.isin(quads, rig.left_iris).all(1)
    rest = np.flatnonzero(~disc)
    piece = charts(quads[rest])
    white = piece[points[quads[rest]].mean(1)[:, 0].argmax()]
    pit = np.zeros(len(quads), bool)
    pit[rest[piece != white]] = True
    quads, corners_uv, disc = quads[~pit], corners_uv[~pit], disc[~pit]
    label = np.where(disc, labels("left eye", "iris"), labels("left eye"))
    ball = surface_of(quads, corners_uv, label)
    pupil = _lid(ball, labels("left eye", "pupil"))
    reduce(_joined([ball, pupil]), TRIANGLES["eye"])

    tile = np.zeros(len(labels.pairs))
    tile[[i for i, (name, _) in enumerate(labels.pairs) if name == "left eye"]] = 4  # tiles 0 to 3 are ICT's own
    return _mirrored(points, partner, _joined(halves), labels.pairs, uv, uv_partner, tile)


def _left_of(rig: Rig, keep: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(F,) which of the kept faces lie on the left half."""
    quads = rig.quads[keep]
    return points[np.where(quads < 0, quads[:, :1], quads)].mean(1)[:, 0] > 0


def _lid(open_ball: Surface, label: int) -> Surface:
    """A fan of triangles that closes the one hole of a surface."""
    edges = {}
    for triangle, wedges in zip(open_ball.triangles.tolist(), open_ball.wedges.tolist(), strict=True):
        for k in range(3):
            edges[triangle[k], triangle[k - 2]] = wedges[k]
    rim = {b: (a, edges[a, b]) for a, b in edges if (b, a) not in edges}  # backwards, which faces the fan outwards
    ring = [min(rim)]
    while len(ring) < len(rim):
        ring.append(rim[ring[-1]][0])
    if rim[ring[-1]][0] != ring[0]:
        raise ValueError("the surface has more than one hole")
    uv_of = dict(rim.values())
    fan = np.array([(ring[0], ring[k], ring[k + 1]) for k in range(1, len(ring) - 1)])
    return Surface(fan, np.array([[uv_of[v] for v in row] for row in fan.tolist()]), np.full(len(fan), label))


def _joined(pieces: list[Surface]) -> Surface:
    return Surface(
        np.vstack([p.triangles for p in pieces]),
        np.vstack([p.wedges for p in pieces]),
        np.concatenate([p.labels for p in pieces]),
    )


def _mirrored(
    points: np.ndarray,
    partner: np.ndarray,
    half: Surface,
    pairs: list[tuple[str, str | None]],
    uv: np.ndarray,
    uv_partner: dict[tuple[int, int], int],
    tile: np.ndarray,
) -> CompactHead:
    """Both halves as one mesh, welded along the midline; right before left where a part or region has sides."""
    left_ids, left = np.unique(half.triangles, return_inverse=True)
    left = left.reshape(-1, 3)
    off = partner[left_ids] != left_ids
    image = np.arange(len(left_ids))
    image[off] = len(left_ids) + np.arange(off.sum())
    vertices = np.vstack([points[left_ids], points[left_ids][off] * (-1, 1, 1)])
    flip = np.r_[image, np.flatnonzero(off)]
    turned = [0, 2, 1]  # a mirror image turns triangles inside out
    right_wedges = np.array(
        [[uv_partner[v, w] for v, w in zip(*row, strict=True)] for row in zip(half.triangles, half.wedges, strict=True)]
    )
    shift = np.c_[tile[half.labels], np.zeros(len(left))][:, None]
    right_shift = shift + np.where(shift > 0, 1, 0) * (1, 0)
    part_of = {name: i for i, name in enumerate(PARTS)}
    part_left = np.array([part_of[pairs[i][0]] for i in half.labels])
    part_right = np.array([part_of[pairs[i][0].replace("left", "right")] for i in half.labels])
    part = np.r_[part_right, part_left]
    regions: dict[str, list[np.ndarray]] = {}
    for i, (_, region) in enumerate(pairs):
        if region is not None:
            for name, ids in zip(region_names(region), _both_halves(half.labels == i), strict=True):
                regions.setdefault(name, []).append(ids)
    by_part = {name: np.flatnonzero(part == i) for i, name in enumerate(PARTS)}
    return CompactHead(
        vertices,
        np.vstack([image[left][:, turned], left]),
        part,
        np.concatenate([(uv[right_wedges] + right_shift)[:, turned], uv[half.wedges] + shift]),
        flip,
        np.r_[left_ids, partner[left_ids][off]],
        by_part | {name: np.concatenate(ids) for name, ids in regions.items()},
    )


def _both_halves(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangle ids on the right half, which comes first, and on the left."""
    return np.flatnonzero(mask), np.flatnonzero(mask) + len(mask)
