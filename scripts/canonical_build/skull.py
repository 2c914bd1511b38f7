"""The bones before they are fitted: one half of the source, cut in skull and mandible, without teeth, and decimated.

The source is one closed surface, exactly symmetric, whose jaw hangs on at the teeth and the condyles. Half of it is
enough: what follows works on the subject's left, whose mirror image is the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from canonical_build.decimate import decimate

UNIT_MM = 15.2
"""About how many millimetres the source's unit is on our head; the fit finds the rest."""

MIDLINE = -0.0512356
"""x of the source's plane of symmetry."""

# Where to cut in the side view: curves (z, y) in the source's units
LOWER_GUM = np.array([(2.0, 2.95), (3.1, 2.9), (3.5, 2.72), (4.0, 2.48), (4.5, 2.28), (4.8, 2.18), (6.0, 2.1)])
UPPER_GUM = np.array([(2.0, 3.76), (3.2, 3.72), (4.5, 3.58), (5.0, 3.53), (6.0, 3.47)])
CONDYLE = np.array([(0.0, 5.7)])  # above it the condyle is grown together with its socket
BEHIND_TEETH = 2.9  # z, in the gap between the last molar and the ramus

DOME_MM = 3.0
"""How far the condyle, which is cut off flat, is rounded up into its socket."""

TRIANGLES = {"skull": 2700, "mandible": 1000}
"""How many triangles a half keeps, without lids."""

BONE, CAP = 0, 1
"""Labels of triangles: the source's surface, and the lids over what was cut."""


@dataclass(frozen=True)
class Half:
    """The left half of a bone; vertices on the midline have x = 0 exactly."""

    vertices: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3)
    label: np.ndarray  # (T,) BONE or CAP


def load_halves(assets: Path) -> dict[str, Half]:
    """Body -> the left half of its bone, roughly in millimetres, in the source's frame."""
    vertices, triangles = _read_obj(assets / "skull" / "skull.obj")
    vertices = (vertices - (MIDLINE, 0, 0)) * UNIT_MM
    vertices, triangles, is_left, _ = _split(vertices, triangles, vertices[:, 0])
    triangles = triangles[is_left]
    vertices[_border(triangles)[:, 0], 0] = 0.0
    above = []  # each curve
    for curve in (LOWER_GUM, UPPER_GUM, CONDYLE):
        height = vertices[:, 1] - UNIT_MM * np.interp(vertices[:, 2] / UNIT_MM, *curve.T)
        vertices, triangles, is_above, parent = _split(vertices, triangles, height)
        above = [mask[parent] for mask in above] + [is_above]
    teeth = above[0] & ~above[1] & (vertices[triangles][..., 2].mean(1) > BEHIND_TEETH * UNIT_MM)
    triangles, below = triangles[~teeth], ~above[2][~teeth]
    piece = _pieces(triangles[below])
    is_mandible = np.zeros(len(triangles), bool)
    is_mandible[below] = piece == piece[vertices[triangles[below], 1].mean(1).argmin()]
    halves = {}
    for body, bone in (("skull", triangles[~is_mandible]), ("mandible", triangles[is_mandible])):
        piece = _pieces(bone)
        bone = bone[piece == np.bincount(piece).argmax()]
        halves[body] = _closed(*_decimated(vertices, bone, TRIANGLES[body]))
    return halves


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = [line.split() for line in path.read_text().splitlines()]
    vertices = np.array([row[1:4] for row in rows if row[:1] == ["v"]], float)
    return vertices, np.array([[int(word) - 1 for word in row[1:4]] for row in rows if row[:1] == ["f"]])


def _split(
    vertices: np.ndarray, triangles: np.ndarray, height: np.ndarray, near: float = 0.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut triangles along height 0; a vertex as near as that counts as lying on it, which avoids slivers.

    Returns:
        Vertices, triangles, which of them lie above, and the triangle that each was cut from.
    """
    side = np.where(np.abs(height) < near, 0, np.sign(height)).astype(int)
    sides = side[triangles]
    crossing = (sides.min(1) < 0) & (sides.max(1) > 0)
    points, new, parent = list(vertices), [], []
    of_edge: dict[tuple[int, int], int] = {}

    def between(a: int, b: int) -> int:
        a, b = min(a, b), max(a, b)
        if (a, b) not in of_edge:
            t = height[a] / (height[a] - height[b])
            of_edge[a, b] = len(points)
            points.append(vertices[a] + t * (vertices[b] - vertices[a]))
        return of_edge[a, b]

    for i in np.flatnonzero(crossing).tolist():
        a, b, c = triangles[i].tolist()
        while side[a] == 0 or ((side[a] == side[b] or side[a] == side[c]) and 0 not in sides[i]):
            a, b, c = b, c, a  # until a is alone on its side, or b or c lies on the cut
        if side[b] == 0:
            cut = [(a, b, between(c, a)), (b, c, between(c, a))]
        elif side[c] == 0:
            cut = [(a, between(a, b), c), (between(a, b), b, c)]
        else:
            ab, ca = between(a, b), between(c, a)
            cut = [(a, ab, ca), (ab, b, c), (ab, c, ca)]
        new += cut
        parent += [i] * len(cut)
    kept = np.flatnonzero(~crossing)
    side = np.r_[side, np.zeros(len(points) - len(vertices), int)]
    triangles = np.vstack([triangles[kept], np.reshape(new, (-1, 3)).astype(int)])
    return np.array(points), triangles, side[triangles].sum(1) > 0, np.r_[kept, np.array(parent, int)]


def _pieces(triangles: np.ndarray) -> np.ndarray:
    """(T,) number of the connected piece that each triangle lies in."""
    edges = np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    size = triangles.max() + 1
    _, piece = connected_components(coo_matrix((np.ones(len(edges)), edges.T), (size, size)), directed=False)
    return np.unique(piece[triangles[:, 0]], return_inverse=True)[1]


def _border(triangles: np.ndarray) -> np.ndarray:
    """(E, 2) edges without a neighbour, in the direction of their triangles."""
    edges = np.vstack([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    known = set(map(tuple, edges.tolist()))
    return np.array([edge for edge in edges.tolist() if (edge[1], edge[0]) not in known])


def _decimated(vertices: np.ndarray, triangles: np.ndarray, target: int) -> tuple[np.ndarray, np.ndarray]:
    even = np.ones(len(triangles))
    triangles, _, _ = decimate(vertices, triangles, triangles, np.zeros(len(triangles), int), target, even)
    ids, triangles = np.unique(triangles, return_inverse=True)
    return vertices[ids], triangles.reshape(-1, 3)


def _closed(vertices: np.ndarray, triangles: np.ndarray) -> Half:
    """A half with lids on its holes, except for its open side at x = 0."""
    border = _border(triangles)
    on_midline = (vertices[border, 0] == 0).all(1)
    after = {b: a for a, b in border[~on_midline].tolist()}  # backwards: a lid faces out of its hole
    lids = []
    while after:
        start = min(set(after) - set(after.values()), default=-1)
        if start >= 0:  # the gum: from the midline round to it; the lid's edge runs straight along it
            ring = [start]
            while ring[-1] in after:
                ring.append(after.pop(ring[-1]))
            lids += _ears_cut(vertices, ring)
        else:  # the condyle or its socket
            ring = [min(after)]
            while after[ring[-1]] != ring[0]:
                ring.append(after.pop(ring[-1]))
            del after[ring[-1]]
            vertices, dome = _dome(vertices, ring)
            lids += dome
    label = np.r_[np.full(len(triangles), BONE), np.full(len(lids), CAP)]
    return Half(vertices, np.vstack([triangles, lids]), label)


def _dome(vertices: np.ndarray, ring: list[int]) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Vertices with those of a dome over a ring, and the dome's triangles."""
    n, first = len(ring), len(vertices)
    centre = vertices[ring].mean(0)
    up = np.array([0, DOME_MM, 0])
    inner = centre + 0.6 * (vertices[ring] - centre) + 0.8 * up
    triangles = []
    for k in range(n):
        a, b, c, d = ring[k], ring[(k + 1) % n], first + k, first + (k + 1) % n
        triangles += [(a, b, c), (b, d, c), (c, d, first + n)]
    return np.vstack([vertices, inner, centre + up]), triangles


def _ears_cut(vertices: np.ndarray, ring: list[int]) -> list[tuple[int, int, int]]:
    """Triangles of a polygon that is simple in the view from above, the best shaped first."""
    at = {v: complex(vertices[v, 2], vertices[v, 0]) for v in ring}

    def cross(a: int, b: int, c: int) -> float:
        return ((at[b] - at[a]).conjugate() * (at[c] - at[a])).imag

    turn = np.sign(sum((at[a].conjugate() * at[b]).imag for a, b in zip(ring, ring[1:] + ring[:1], strict=True)))
    ring, triangles = list(ring), []
    while len(ring) > 3:
        best, ear = -np.inf, -1
        for k, b in enumerate(ring):
            a, c = ring[k - 1], ring[(k + 1) % len(ring)]
            area = turn * cross(a, b, c)
            quality = area / max(abs(at[b] - at[a]) ** 2 + abs(at[c] - at[b]) ** 2 + abs(at[a] - at[c]) ** 2, 1e-12)
            if area < 0 or quality <= best:
                continue
            if all(min(turn * cross(*edge, p) for edge in ((a, b), (b, c), (c, a))) < 0 for p in {*ring} - {a, b, c}):
                best, ear = quality, k
        triangles.append((ring[ear - 1], ring[ear], ring[(ear + 1) % len(ring)]))
        del ring[ear]
    return [*triangles, (ring[0], ring[1], ring[2])]
