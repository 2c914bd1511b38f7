"""Fit the bones into the canonical head: a similarity, then a smooth warp, both symmetric.

The warp is the mean of a Gaussian process, given where some places lie (teeth, orbits, joint, midline) and how thick
soft tissue is over others. Thickness is about the mean of adults, quoted from memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix, eye_array
from scipy.spatial import cKDTree

from anymark.canonical import CanonicalHead
from anymark.canonical.head import SKIN
from canonical_build.head import TOOTH_NAMES
from canonical_build.skull import CAP, UNIT_MM, Half

ROUNDS, SETTLED, CAUTION = 60, 20, 1.15
"""Rounds of fitting; when to settle which walls of the orbit give way; how much more each holds on to the last."""

LEAST_MM, LEAST_SD_MM, NEAR_MM = 3.0, 0.15, 8.0
"""Depth that bone is pushed below, more than the 1.5 mm that are promised; how firmly; and how near to the skin."""

SCALES = {"skull": ((60.0, 8.0), (25.0, 5.0), (12.0, 1.5)), "mandible": ((70.0, 12.0), (35.0, 4.0))}
"""Lengths over which the warp varies, and how far it moves: standard deviations, mm."""

STRETCH = 0.1
"""How much the warp may stretch or shear the whole: standard deviation of its linear coefficients."""

EYE_MM, ORBIT_MM, ORBIT_SD_MM = (31.3, 36.1, 80.2), 16.5, 0.5
"""Centre of the left eyeball, of radius 14.4 mm; how far the orbit's walls are pushed from there, and how firmly."""

NECK_MM = 9.5
"""From a tooth's biting edge to the bone that holds it."""

WALL_MM, GUM_SD_MM = 1.0, 0.8
"""How thick bone is beside a tooth there, and how exactly it should lie so."""

ARCH_MM = (0.0, 0.0, 60.0)
"""A place amid the teeth, which they face away from; its height does not matter."""

JOINT_MM = 3.0
"""Between condyle and socket."""

THICK_SD_MM = 0.7
"""How exactly tissue should be as thick as in the table."""


@dataclass(frozen=True)
class Place:
    """A named place of a bone."""

    at: tuple[float, float, float]
    """Where to look for it on the source, in its units."""
    towards: tuple[float, float, float] | None = None
    """If given, it is the farthest point in this direction within `within_mm`, in the source's frame."""
    within_mm: float = 9.0


# x = 0: midline; the others are the left ones
PLACES: dict[str, dict[str, Place]] = {
    "skull": {
        "nasion": Place((0, 7.67, 5.99)),
        "glabella": Place((0, 8.4, 6.1), (0, 0, 1)),
        "rhinion": Place((0, 6.58, 6.48), (0, 0, 1), 5),
        "nasal spine": Place((0, 4.66, 5.95)),
        "subspinale": Place((0, 4.15, 5.77)),
        "prosthion": Place((0, 3.5, 5.78), (0, -1, 1), 5),
        "vertex": Place((0, 13.9, 0), (0, 1, 0), 60),
        "opisthocranion": Place((0, 9.0, -5.62), (0, 0, -1), 30),
        "orbitale": Place((2.32, 6.12, 4.84)),
        "supraorbitale": Place((1.71, 8.55, 5.64)),
        "ectoconchion": Place((3.32, 7.0, 4.08)),
        "maxillofrontale": Place((0.53, 7.43, 5.58)),
        "frontotemporale": Place((3.22, 8.73, 4.09)),
        "zygion": Place((4.34, 6.0, 2.0), (1, 0, 0), 8),
        "zygomaxillare": Place((2.4, 4.63, 3.9), (0, -1, 0), 5),
        "alare": Place((0.8, 5.07, 5.35)),
        "euryon": Place((4.27, 9.4, -0.9), (1, 0, 0), 30),
        "porion": Place((3.85, 6.1, -0.06)),
        "mastoidale": Place((3.07, 4.75, -0.97), (0, -1, 0)),
    },
    "mandible": {
        "infradentale": Place((0, 2.12, 5.28), (0, 1, 1), 5),
        "supramentale": Place((0, 1.4, 5.13)),
        "pogonion": Place((0, 0.4, 5.4), (0, 0, 1), 6),
        "menton": Place((0, 0.0, 5.06), (0, -1, 0), 6),
        "gonion": Place((3.15, 1.68, 1.1), (0.3, -1, -1), 12),
        "condylion": Place((3.4, 5.9, 0.65), (0, 1, 0)),
        "condyle, outer pole": Place((3.85, 5.65, 0.6), (1, 0, 0)),
        "mandibular notch": Place((3.05, 4.56, 1.62)),
        "coronion": Place((2.7, 5.28, 2.43), (0, 1, 0)),
    },
}

# Where some of them lie in the head: mm, and the standard deviation of that
TARGETS: dict[str, dict[str, tuple[tuple[float, float, float], float]]] = {
    "skull": {
        "nasion": ((0, 46, 100.3), 1.5),
        "glabella": ((0, 57, 102.2), 1.5),
        "rhinion": ((0, 22.2, 114.6), 2),
        "nasal spine": ((0, -8.5, 103.5), 2),
        "alare": ((12, -2, 95), 2),
        "supraorbitale": ((28.5, 54.5, 91.5), 1.5),
        "orbitale": ((31.5, 18.5, 85.5), 1.5),
        "ectoconchion": ((51.0, 36, 76.5), 1.5),
        "maxillofrontale": ((12.0, 40, 91), 1.5),
        "porion": ((61, 9, 9), 3),
    },
    "mandible": {"infradentale": ((0, -54.3, 96), 1.5)},
}

SOCKET_OF_JAW = (52.0, 9.0, 23.0)
"""Where the joint lies: the axis about which ICT-FaceKit's lower teeth turn passes 5 mm below."""

# How thick soft tissue is: over named places, and others in the source's units
THICK_MM: dict[str, dict[tuple[float, float, float] | str, float]] = {
    "skull": {
        "nasion": 6.5, "glabella": 5.5, "rhinion": 3, "vertex": 5.5, "opisthocranion": 7, "orbitale": 6.5,
        "supraorbitale": 7, "frontotemporale": 5.5, "zygion": 7.5, "zygomaxillare": 13, "ectoconchion": 6, "euryon": 7,
        (0, 10.5, 5.75): 5, (1.7, 10.2, 5.4): 5, (2.8, 10, 4.7): 5, (0, 12, 4.5): 5.5, (1.7, 12, 3.9): 5.5,
        (3, 11.4, 2.9): 5.5, (0, 13.5, 2): 5.5, (2.2, 13, 0.5): 5.5, (3.6, 11, 0): 6, (0, 13, -2.8): 5.5,
        (2.3, 12.3, -2.5): 5.5, (0, 11.5, -4.5): 6, (2.8, 10.5, -3.8): 6, (2.5, 8.5, -4.8): 7, (4, 8.3, -2.4): 7,
        (0, 7, -5.3): 8, (3.4, 5.9, 3.5): 7, (3.9, 5.6, 3.1): 7, (3.9, 10, 2): 8,
    },
    "mandible": {
        "supramentale": 11, "pogonion": 10.5, "menton": 7, "gonion": 9,
        (0, 0.1, 5.28): 8.5, (1.5, 0.6, 4.9): 9, (2, 0.5, 4.2): 8, (2.6, 0.95, 3.2): 9,
        (3.3, 3.2, 1.8): 16, (2.9, 1.6, 2.8): 14,
    },
}  # fmt: skip


class Warp:
    """Mirror-symmetric displacements, a Gaussian process at some centres: linear in coefficients of variance 1."""

    def __init__(self, points: np.ndarray, centres: np.ndarray, scales: tuple) -> None:
        self.origin = np.array([0, *points[:, 1:].mean(0)])
        self.centres, self.scales = centres, scales
        self.odd, self.even = (self._whitened(points, sign) for sign in (-1, 1))
        local = (points - self.origin) * STRETCH
        self.odd = np.c_[local[:, :1], self.odd]
        self.even = np.c_[local[:, 1:], np.full(len(points), 10.0), self.even]

    @property
    def size(self) -> int:
        return self.odd.shape[1] + 2 * self.even.shape[1]

    def moves(self, x: np.ndarray) -> np.ndarray:
        """(N, 3) how far each point moves."""
        n, m = self.odd.shape[1], self.even.shape[1]
        return np.stack([self.odd @ x[:n], self.even @ x[n : n + m], self.even @ x[n + m :]], axis=1)

    def _whitened(self, points: np.ndarray, sign: int) -> np.ndarray:
        own = self._kernel(self.centres, sign) + 1e-4 * np.eye(len(self.centres))
        return np.linalg.solve(np.linalg.cholesky(own), self._kernel(points, sign).T).T

    def _kernel(self, points: np.ndarray, sign: int) -> np.ndarray:
        total = np.zeros((len(points), len(self.centres)))
        for mirror, factor in ((1, 1), (-1, sign)):
            distance2 = ((points[:, None] - self.centres * (mirror, 1, 1)) ** 2).sum(-1)
            total += factor * sum(sd**2 * np.exp(-distance2 / (2 * length**2)) for length, sd in self.scales)
        return total


def surface(head: CanonicalHead, vertices: np.ndarray, triangles: np.ndarray, **regions: np.ndarray) -> CanonicalHead:
    """Another mesh in the clothes of the head, which knows how to sample and how to find the nearest point."""
    return replace(head, vertices_mm=vertices.astype(np.float32), triangles=triangles.astype(np.int32), regions=regions)


def located(half: Half, place: Place, head: CanonicalHead) -> np.ndarray:
    """(V,) weights of the vertices that make up a place."""
    v, at = half.vertices, np.array(place.at) * UNIT_MM
    weights = np.zeros(len(v))
    if place.towards is None:
        found = surface(head, v, half.triangles).closest_point(at)
        weights[half.triangles[found.triangles[0]]] = found.barycentric[0]
    else:
        near = (np.linalg.norm(v - at, axis=1) < place.within_mm) & ((v[:, 0] == 0) | (at[0] > 0))
        weights[np.flatnonzero(near)[(v[near] @ place.towards).argmax()]] = 1
    return weights


def fit(halves: dict[str, Half], head: CanonicalHead) -> dict[str, np.ndarray]:
    """Body -> where the vertices of its left half lie in the canonical head, mm."""
    fitted: dict[str, np.ndarray] = {}
    for body, row in (("skull", "upper"), ("mandible", "lower")):
        half = halves[body]
        gums, joint = _cuts(half)
        weights = [np.isin(np.arange(len(half.vertices)), joint) / len(joint)]
        targets, sd = [SOCKET_OF_JAW], [1.5]
        if body == "mandible":
            targets = [fitted["skull"][_cuts(halves["skull"])[1]].mean(0) - (0, JOINT_MM, 0)]
        for name, (mm, sd_mm) in TARGETS[body].items():
            weights.append(located(half, PLACES[body][name], head))
            targets.append(mm)
            sd.append(sd_mm)
        named = len(sd)  # enough for a similarity
        for ids, curve in zip(gums, _necks(head, row), strict=True):
            weights += list(np.eye(len(half.vertices))[ids])
            targets += list(_spread_along(curve, half.vertices[ids]))
            sd += [GUM_SD_MM] * len(ids)
        places = csr_matrix(np.array(weights)), np.array(targets, float), np.array(sd)
        base = _similarity(*(values[:named] for values in places), half.vertices)
        known = [PLACES[body][at] if isinstance(at, str) else Place(at) for at in THICK_MM[body]]
        thick = csr_matrix(np.array([located(half, place, head) for place in known]))
        fitted[body] = _warped(base, half, SCALES[body], places, (thick, np.array(list(THICK_MM[body].values()))), head)
    return fitted


def _warped(
    base: np.ndarray, half: Half, scales: tuple, places: tuple, thick: tuple, head: CanonicalHead
) -> np.ndarray:
    """Vertices after the warp.

    Args:
        base: (V, 3) before it.
        half: their triangles.
        scales: a row of SCALES.
        places: combinations of vertices (R, V), where they should lie (R, 3) and how exactly (R,), mm.
        thick: combinations of vertices (R, V), and how deep under the skin they should lie (R,), mm.
        head: the head.
    """
    (weights, targets, sd), (deep, depth) = places, thick
    warp, skin, own = Warp(base, base[_centres(base)], scales), _Skin(head), eye_array(len(base), format="csr")
    bone = np.unique(half.triangles[half.label != CAP])
    facing = _normals(base, half.triangles)[bone]
    wall, away = np.zeros(0, int), np.zeros((0, 3))
    x, points = np.zeros(warp.size), base
    for turn in range(ROUNDS):
        rows = [(weights, np.tile(axis, (len(sd), 1)), targets @ axis, sd) for axis in np.eye(3)]
        _, inward, at_skin = skin.nearest(deep @ points)
        rows.append((deep, inward, at_skin + depth, np.full(len(depth), THICK_SD_MM)))
        distance, inward, at_skin = skin.nearest(points[bone])
        # sets in softly: what starts abruptly goes on and off for ever
        shallow = np.clip(LEAST_MM + at_skin - (points[bone] * inward).sum(1), 0, 1)
        shallow[((facing * inward).sum(1) > -0.2) | (distance > NEAR_MM)] = 0
        use = shallow > 0
        rows.append((own[bone[use]], inward[use], at_skin[use] + LEAST_MM, LEAST_SD_MM / shallow[use]))
        if turn == SETTLED:  # the same walls keep out of the eye's way from here on
            distance = np.linalg.norm(points - EYE_MM, axis=1)
            wall = np.flatnonzero(distance < ORBIT_MM)
            away = (points[wall] - EYE_MM) / distance[wall, None]
        rows.append((own[wall], away, away @ EYE_MM + ORBIT_MM, np.full(len(wall), ORBIT_SD_MM)))
        x = _solved(base, warp, rows, x, CAUTION**turn)
        points = base + warp.moves(x)
    return points


def _solved(base: np.ndarray, warp: Warp, rows: list[tuple], start: np.ndarray, caution: float) -> np.ndarray:
    """Coefficients for which combinations of vertices (R, V), along directions (R, 3), have values (R,) but for sd."""
    left, right = [], []
    for places, along, value, sd in rows:
        odd, even = places @ warp.odd, places @ warp.even
        row = np.hstack([along[:, :1] * odd, along[:, 1:2] * even, along[:, 2:] * even])
        left.append(row / sd[:, None])
        right.append((value - ((places @ base) * along).sum(1)) / sd)
    a, b = np.vstack(left), np.concatenate(right)
    # the nearest point of the skin, and so the equations, hold only near to where one stands: small steps
    return np.linalg.solve(a.T @ a + (1 + caution) * np.eye(len(start)), a.T @ b + caution * start)


def _similarity(weights: csr_matrix, targets: np.ndarray, sd: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Vertices turned about the x axis, scaled and shifted so that combinations of them come near to targets."""
    (_, y, z), one, nought = (weights @ vertices).T, np.ones(len(sd)), np.zeros(len(sd))
    a = np.vstack([np.stack([y, -z, one, nought], 1), np.stack([z, y, nought, one], 1)]) / np.r_[sd, sd][:, None]
    c, s, up, forward = np.linalg.lstsq(a, np.r_[targets[:, 1] / sd, targets[:, 2] / sd], rcond=None)[0]
    return vertices @ np.array([(np.hypot(c, s), 0, 0), (0, c, s), (0, -s, c)]) + (0, up, forward)


def _centres(points: np.ndarray, count: int = 220) -> np.ndarray:
    """Indices of points far from one another."""
    chosen, distance = [0], np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals."""
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], np.cross(b - a, c - a))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


class _Skin:
    """The outer skin's left half, as points."""

    def __init__(self, head: CanonicalHead) -> None:
        a, b, c = np.moveaxis(head.vertices_mm[head.triangles].astype(float), 1, 0)
        # bone may lie before the backs of lids and lips, where inwards is forwards
        back = (np.cross(b - a, c - a)[:, 2] < 0) & (((a + b + c) / 3)[:, 2] > 80)
        back[head.triangles_of("upper lip", "lower lip")] = True
        outer = np.setdiff1d(head.triangles_of(*SKIN), np.flatnonzero(back))
        samples = surface(head, head.vertices_mm, head.triangles, outer=outer).sample(150_000, ("outer",))
        left = samples.points_mm[:, 0] > -5
        self.points = samples.points_mm[left]
        corners = _normals(head.vertices_mm.astype(float), head.triangles)[head.triangles[samples.triangles[left]]]
        inward = -np.einsum("nk,nkd->nd", samples.barycentric[left], corners)
        self.inward = inward / np.linalg.norm(inward, axis=1, keepdims=True)
        self.tree = cKDTree(self.points)

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far the skin is (N,), which way is inwards there (N, 3), and where along that it lies (N,)."""
        distance, i = self.tree.query(points)
        return distance, self.inward[i], (self.points[i] * self.inward[i]).sum(1)


def _cuts(half: Half) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Vertices around the lids: the gum's outer and inner edge, both from the front to the back; the joint's."""
    cap = half.triangles[half.label == CAP]
    edges = np.vstack([cap[:, [k, (k + 1) % 3]] for k in range(3)]).tolist()
    known = {(a, b) for a, b in edges}
    after = {a: b for a, b in edges if (b, a) not in known and (half.vertices[[a, b], 0] > 0).any()}
    start = next(iter(set(after) - set(after.values())))
    ring = [start]
    while ring[-1] in after:
        ring.append(after.pop(ring[-1]))
    back = int(half.vertices[ring, 2].argmin())
    sides = np.array(ring[: back + 1]), np.array(ring[back:][::-1])
    outer, inner = sorted(sides, key=lambda ids: -half.vertices[ids[0], 2])
    return (outer, inner), np.array(sorted(after))


def _necks(head: CanonicalHead, row: str) -> tuple[np.ndarray, np.ndarray]:
    """The rig's teeth where bone begins: curves along their outer and inner faces from the midline to the back."""
    outer, inner = [], []
    for name in reversed(TOOTH_NAMES):
        triangles = head.triangles[head.regions[f"{row} left {name}"]]
        corners = head.vertices_mm[triangles].astype(float)
        height = corners[..., 1].min() + NECK_MM if row == "upper" else corners[..., 1].max() - NECK_MM
        ends, others = corners.reshape(-1, 3), np.roll(corners, 1, axis=1).reshape(-1, 3)
        crosses = (ends[:, 1] < height) != (others[:, 1] < height)
        t = (height - ends[crosses, 1]) / (others[crosses, 1] - ends[crosses, 1])
        ring = ends[crosses] + t[:, None] * (others[crosses] - ends[crosses])
        outward = ring.mean(0) - ARCH_MM
        outward[1] = 0
        outward /= np.linalg.norm(outward)
        outer.append(ring[(ring @ outward).argmax()] + WALL_MM * outward)
        inner.append(ring[(ring @ outward).argmin()] - WALL_MM * outward)
    end = ring[ring[:, 2].argmin()] - (0, 0, WALL_MM)
    return tuple(np.vstack([side[0] * (0, 1, 1), side, end]) for side in (outer, inner))


def _spread_along(curve: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points of a curve as far along it, in parts of the whole, as others along their own."""
    at, want = (np.r_[0, np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))] for p in (curve, points))
    return np.stack([np.interp(want / want[-1], at / at[-1], curve[:, k]) for k in range(3)], axis=1)
