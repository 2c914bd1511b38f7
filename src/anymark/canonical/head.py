"""The canonical head: a small surface mesh in named parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from anymark.canonical.frame import mm_to_uvw
from anymark.canonical.layout import Layout
from anymark.errors import AnymarkError

SKIN = ("face", "right ear", "left ear", "scalp", "neck")
"""The parts that make up the head's outer skin, without the shoulders."""

_POINTS_AT_ONCE = 512  # bounds memory


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """N points on the head's surface."""

    points_mm: npt.NDArray[np.float64]
    """(N, 3) head frame, millimetres."""
    triangles: npt.NDArray[np.int32]
    """(N,) the triangle that each point lies on."""
    barycentric: npt.NDArray[np.float64]
    """(N, 3) weights of that triangle's corners; they sum to 1."""


@dataclass(frozen=True, eq=False)
class CanonicalHead:
    """A surface of V vertices and T triangles in the head frame, mouth a little open. Its arrays are read-only.

    The skin is one piece without cracks; eyeballs, teeth, and gums with the tongue are pieces of their own. Left and
    right are exact mirror images.
    """

    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) head frame, millimetres."""
    triangles: npt.NDArray[np.int32]
    """(T, 3) vertex ids, counter-clockwise seen from outside."""
    part: npt.NDArray[np.int16]
    """(T,) index into `part_names`."""
    part_names: tuple[str, ...]
    uv: npt.NDArray[np.float32]
    """(T, 3, 2) texture coordinates of the triangles' corners, v up. Tiles of width 1 along u: 0 face and ears,
    1 back of the head, 2 gums and tongue, 3 teeth, 4 left eye, 5 right eye."""
    flip: npt.NDArray[np.int32]
    """(V,) each vertex's mirror image; one on the midline names itself."""
    ict_vertices: npt.NDArray[np.int32]
    """(V,) the vertex of ICT-FaceKit that each vertex is."""
    regions: Mapping[str, npt.NDArray[np.int32]]
    """Name -> ascending triangle ids: every part under its own name, and nose, upper lip, left cheek, left iris, ...
    Regions that are not parts do not overlap one another."""

    @staticmethod
    def load() -> CanonicalHead:
        """The shipped head; read once."""
        return _load()

    def triangles_of(self, *names: str) -> npt.NDArray[np.int32]:
        """Ascending ids of the triangles in any of the regions.

        Raises:
            AnymarkError: there is no region of that name.
        """
        for name in names:
            if name not in self.regions:
                raise AnymarkError(f"no region named {name!r}; there are {', '.join(self.regions)}")
        return np.unique(np.concatenate([self.regions[name] for name in names])).astype(np.int32)

    def vertices_of(self, *names: str) -> npt.NDArray[np.int32]:
        """Ascending ids of the vertices of any of the regions; those on a border are of all that meet there.

        Raises:
            AnymarkError: there is no region of that name.
        """
        return np.unique(self.triangles[self.triangles_of(*names)]).astype(np.int32)

    def areas_mm2(self) -> npt.NDArray[np.float64]:
        """(T,) area of each triangle in square millimetres."""
        a, b, c = np.moveaxis(self.vertices_mm[self.triangles].astype(np.float64), 1, 0)
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2

    def vertices_uvw(self) -> npt.NDArray[np.float64]:
        """(V, 3) vertices in the unit cube."""
        return mm_to_uvw(self.vertices_mm)

    def layout(self) -> Layout:
        """Every vertex of the head as a point: what data sets of whole heads are labelled with."""
        ids = {name: np.unique(self.triangles[triangles]) for name, triangles in self.regions.items()}
        return Layout("head", self.vertices_mm, triangles=self.triangles, flip=self.flip, regions=ids)

    def sample(self, n: int, regions: tuple[str, ...] = SKIN) -> SurfacePoints:
        """n points spread evenly by area over some regions; the same n gives the same points every time.

        Raises:
            AnymarkError: n is below 1, or there is no region of that name.
        """
        if n < 1:
            raise AnymarkError(f"cannot sample {n} points")
        ids = self.triangles_of(*regions)
        along = np.cumsum(self.areas_mm2()[ids])
        index = np.arange(n)
        pick = np.minimum(np.searchsorted(along, (index + 0.5) / n * along[-1]), len(ids) - 1)
        # Roberts' R2 sequence covers the unit square evenly; the square root maps it to triangles evenly
        first, second = np.modf((0.5 + np.outer((0.7548776662466927, 0.5698402909980532), index)) % 1.0)[0]
        root = np.sqrt(first)
        weights = np.stack([1 - root, root * (1 - second), root * second], axis=1)
        return self._at(ids[pick], weights)

    def closest_point(self, points_mm: npt.ArrayLike) -> SurfacePoints:
        """For each of the points (N, 3), in mm, the nearest one of the surface."""
        return self._at(*closest_on_surface(self.vertices_mm, self.triangles, points_mm))

    def _at(self, ids: npt.NDArray[np.int32], weights: npt.NDArray[np.float64]) -> SurfacePoints:
        corners = self.vertices_mm[self.triangles[ids]].astype(np.float64)
        return SurfacePoints(np.einsum("nk,nkd->nd", weights, corners), ids.astype(np.int32), weights)


def closest_on_surface(
    vertices_mm: npt.NDArray[np.floating], triangles: npt.NDArray[np.integer], points_mm: npt.ArrayLike
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """For each of the points (N, 3) the nearest one of a mesh (V, 3), (T, 3): its triangle (N,), and the weights (N, 3)
    of that triangle's corners."""
    points = np.asarray(points_mm, np.float64).reshape(-1, 3)
    corners = vertices_mm[triangles].astype(np.float64)
    centres = corners.mean(1)
    radii = np.linalg.norm(corners - centres[:, None], axis=2).max(1)
    ids, weights = np.empty(len(points), np.int32), np.empty((len(points), 3))
    for start in range(0, len(points), _POINTS_AT_ONCE):
        chunk = points[start : start + _POINTS_AT_ONCE]
        distance = np.sqrt(np.maximum((chunk**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * chunk @ centres.T, 0))
        # a triangle farther off than the nearest centre cannot hold the nearest point; 1e-3 mm for rounding
        point, triangle = np.nonzero(distance - radii <= distance.min(1, keepdims=True) + 1e-3)
        barycentric, distance2 = closest_on_triangles(chunk[point], *np.moveaxis(corners[triangle], 1, 0))
        order = np.lexsort((distance2, point))
        best = order[np.searchsorted(point[order], np.arange(len(chunk)))]
        ids[start : start + len(chunk)] = triangle[best]
        weights[start : start + len(chunk)] = barycentric[best]
    return ids, weights


@lru_cache(maxsize=1)
def _load() -> CanonicalHead:
    with (resources.files("anymark.canonical") / "data" / "head.npz").open("rb") as file, np.load(file) as data:
        arrays = {key: data[key] for key in data.files}
    for array in arrays.values():
        array.setflags(write=False)
    regions = {key.removeprefix("region/"): arrays.pop(key) for key in list(arrays) if key.startswith("region/")}
    part_names = tuple(arrays.pop("part_names").tolist())
    return CanonicalHead(**arrays, part_names=part_names, regions=regions)


def closest_on_triangles(
    points: npt.NDArray[np.float64],
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    c: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For each pair (P), the corners' weights (P, 3) at the triangle's nearest point, and the squared distance (P,)."""
    ab, ac, bc, ap = b - a, c - a, c - b, points - a

    def dot(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.einsum("nd,nd->n", u, v)

    def along(offset: npt.NDArray[np.float64], edge: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.clip(dot(offset, edge) / np.maximum(dot(edge, edge), 1e-30), 0, 1)

    d00, d01, d11, d20, d21 = dot(ab, ab), dot(ab, ac), dot(ac, ac), dot(ap, ab), dot(ap, ac)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.minimum(np.minimum(v, w), 1 - v - w) >= 0
    # outside of the triangle, the nearest point lies on one of the three edges
    s, t, r = along(ap, ab), along(ap, ac), along(points - b, bc)
    nought = np.zeros_like(s)
    choices = np.stack(
        [
            np.stack([1 - v - w, v, w], 1),
            np.stack([1 - s, s, nought], 1),
            np.stack([1 - t, nought, t], 1),
            np.stack([nought, 1 - r, r], 1),
        ]
    )
    offset = choices[..., 1:2] * ab + choices[..., 2:3] * ac - ap
    distance2 = (offset**2).sum(-1)
    distance2[0, ~inside] = np.inf
    best = distance2.argmin(0)
    index = np.arange(len(points))
    return choices[best, index], distance2[best, index]
