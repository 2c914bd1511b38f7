"""Edge collapse with quadric errors that keeps a subset of the vertices, and the borders between labels.

Vertices never move, so that whatever is known of a vertex of ICT-FaceKit (position under any expression, uv) stays true
of the small mesh. Written here because the usual libraries place new vertices and tear seams.
"""

from __future__ import annotations

import heapq

import numpy as np

Quadric = list[float]  # upper triangle of the symmetric 4x4 matrix, row by row


def _plane_quadrics(normals: np.ndarray, at: np.ndarray, weight: np.ndarray) -> np.ndarray:
    plane = np.c_[normals, -(normals * at).sum(1)]
    rows, columns = np.triu_indices(4)
    return plane[:, rows] * plane[:, columns] * weight[:, None]


def _error(q: Quadric, p: tuple[float, float, float]) -> float:
    x, y, z = p
    return (
        q[0] * x * x + q[4] * y * y + q[7] * z * z + q[9]
        + 2 * (q[1] * x * y + q[2] * x * z + q[3] * x + q[5] * y * z + q[6] * y + q[8] * z)
    )  # fmt: skip


def _normal(a: tuple, b: tuple, c: tuple) -> tuple[float, float, float]:
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


class _Mesh:
    """Triangles as lists, with the corners' uv indices, and each vertex's triangles."""

    def __init__(self, points: np.ndarray, triangles: np.ndarray, wedges: np.ndarray, labels: np.ndarray) -> None:
        self.points = [tuple(map(float, p)) for p in points]
        self.corners = [dict(zip(t, w, strict=True)) for t, w in zip(triangles.tolist(), wedges.tolist(), strict=True)]
        self.order = triangles.tolist()
        self.labels = labels.tolist()
        self.of_vertex: dict[int, set[int]] = {}
        for i, t in enumerate(self.order):
            for v in t:
                self.of_vertex.setdefault(v, set()).add(i)

    def neighbours(self, v: int) -> set[int]:
        return {u for i in self.of_vertex[v] for u in self.order[i]} - {v}

    def on_border(self, v: int) -> bool:
        return len(self.neighbours(v)) != len(self.of_vertex[v])

    def may_collapse(self, v: int, u: int) -> dict[int, int] | None:
        """The map of v's uv indices to u's if v may be moved onto u, else None."""
        shared = self.of_vertex[v] & self.of_vertex[u]
        if abs(self.points[v][0]) < 1e-9 < abs(self.points[u][0]):
            return None  # the midline stays on the midline
        if self.on_border(v) and len(shared) != 1:
            return None  # a border shrinks only along itself
        wedge = {self.corners[i][v]: self.corners[i][u] for i in shared}
        staying = self.of_vertex[v] - shared
        if any(self.corners[i][v] not in wedge for i in staying):
            return None  # v lies on a seam of the uv map, and u farther along it does not
        if {self.labels[i] for i in staying} - {self.labels[i] for i in shared}:
            return None  # the same for a border between labels
        apexes = {w for i in shared for w in self.order[i]} - {v, u}
        if (self.neighbours(v) & self.neighbours(u)) != apexes:
            return None  # would glue the surface to itself
        for i in staying:
            old = [self.points[w] for w in self.order[i]]
            new = [self.points[u if w == v else w] for w in self.order[i]]
            a, b = _normal(old[0], old[1], old[2]), _normal(new[0], new[1], new[2])
            aa, bb, ab = (sum(x * y for x, y in zip(p, q, strict=True)) for p, q in ((a, a), (b, b), (a, b)))
            if ab <= 0 or ab * ab < 0.2 * aa * bb:
                return None  # would fold, or turn a triangle by more than 63 degrees
            sides = sum((p - q) ** 2 for k in range(3) for p, q in zip(new[k], new[k - 1], strict=True))
            if bb < 0.006 * sides * sides:
                return None  # a sliver
        return wedge

    def collapse(self, v: int, u: int, wedge: dict[int, int]) -> None:
        for i in list(self.of_vertex[v]):
            corners = self.corners[i]
            if u in corners:
                for w in corners:
                    self.of_vertex[w].discard(i)
                self.order[i] = []
            else:
                corners[u] = wedge[corners.pop(v)]
                self.order[i] = [u if w == v else w for w in self.order[i]]
                self.of_vertex[u].add(i)
        del self.of_vertex[v]


def decimate(
    points: np.ndarray, triangles: np.ndarray, wedges: np.ndarray, labels: np.ndarray, target: int, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collapse edges, cheapest first, until `target` triangles are left or none may go.

    Args:
        points: (V, 3) mm; those with x = 0 stay on the midline.
        triangles: (T, 3) vertex ids.
        wedges: (T, 3) uv indices of the corners; differing ones at a vertex make a seam.
        labels: (T,) anything; borders between labels keep their course.
        target: number of triangles.
        weight: (T,) how much an error at a triangle counts.

    Returns:
        Triangles (K, 3), their corners' uv indices (K, 3) and labels (K,).
    """
    mesh = _Mesh(points, triangles, wedges, labels)
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1) / 2
    normals /= np.maximum(2 * areas, 1e-12)[:, None]
    quadrics = np.zeros((len(points), 10))
    for k in range(3):
        np.add.at(quadrics, triangles[:, k], _plane_quadrics(normals, corners[:, 0], areas * weight / 3))
    label_of_edge = _all_edges(triangles, labels)
    for k in range(3):  # borders of the surface and between labels: a plane upright on the edge holds its course
        a, b = triangles[:, k], triangles[:, (k + 1) % 3]
        edge = points[b] - points[a]
        across = np.cross(edge, normals)
        across /= np.maximum(np.linalg.norm(across, axis=1), 1e-12)[:, None]
        beyond = [label_of_edge.get((int(end), int(start)), -1) for start, end in zip(a, b, strict=True)]
        held = np.array(beyond) != labels
        upright = _plane_quadrics(across, points[a], held * (edge**2).sum(1) * weight)
        for end in (a, b):
            np.add.at(quadrics, end, upright / 2)

    q: list[Quadric] = quadrics.tolist()
    version = [0] * len(points)
    heap: list[tuple[float, int, int, int, int]] = []

    def push(v: int, u: int) -> None:
        length = sum((a - b) ** 2 for a, b in zip(mesh.points[v], mesh.points[u], strict=True))
        both = [a + b for a, b in zip(q[v], q[u], strict=True)]
        # without the length, flat patches collapse into fans
        heapq.heappush(heap, (_error(both, mesh.points[u]) + 1e-3 * length, v, u, version[v], version[u]))

    for v in sorted(mesh.of_vertex):
        for u in sorted(mesh.neighbours(v)):
            push(v, u)
    left = len(triangles)
    while left > target and heap:
        _, v, u, version_v, version_u = heapq.heappop(heap)
        if v not in mesh.of_vertex or u not in mesh.of_vertex or (version[v], version[u]) != (version_v, version_u):
            continue
        wedge = mesh.may_collapse(v, u)
        if wedge is None:
            continue
        left -= len(mesh.of_vertex[v] & mesh.of_vertex[u])
        mesh.collapse(v, u, wedge)
        q[u] = [a + b for a, b in zip(q[u], q[v], strict=True)]
        version[u] += 1
        for w in sorted(mesh.neighbours(u)):
            push(u, w)
            push(w, u)
    kept = [i for i, t in enumerate(mesh.order) if t]
    return (
        np.array([mesh.order[i] for i in kept]),
        np.array([[mesh.corners[i][v] for v in mesh.order[i]] for i in kept]),
        np.array([mesh.labels[i] for i in kept]),
    )


def _all_edges(triangles: np.ndarray, labels: np.ndarray) -> dict[tuple[int, int], int]:
    edges = {}
    for k in range(3):
        for a, b, label in zip(triangles[:, k], triangles[:, (k + 1) % 3], labels, strict=True):
            edges[int(a), int(b)] = int(label)
    return edges
