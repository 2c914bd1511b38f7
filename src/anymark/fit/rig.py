"""Rigs: a neutral head that identity and expression shapes deform linearly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.arrays import read_arrays
from anymark.errors import AnymarkError

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.integer]

ICT_EXPRESSIONS = 53
"""Of the shapes of ICT-FaceKit Light: the ARKit-like ones; the two after them widen the pupils."""

# Vertices of ICT-FaceKit by part (its README); the ranges follow one another.
_ICT_PARTS = {
    "face": 9409,
    "head": 11248,
    "mouth socket": 13294,
    "left eye socket": 13678,
    "right eye socket": 14062,
    "gums and tongue": 17039,
    "upper teeth": 19247,
    "lower teeth": 21451,
    "left eyeball": 23021,
    "right eyeball": 24591,
    "eye details": 26719,
}


@dataclass(frozen=True, eq=False)
class Points:
    """L points that ride on a rig's surface.

    Raises:
        AnymarkError: shapes disagree.
    """

    vertices: Index
    """(L, 3) vertex ids."""
    barycentric: Array
    """(L, 3) their weights; they sum to 1."""

    def __post_init__(self) -> None:
        vertices, weights = np.asarray(self.vertices, np.int32), np.asarray(self.barycentric, np.float64)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or weights.shape != vertices.shape:
            raise AnymarkError(f"rig points: {vertices.shape} vertices and {weights.shape} weights, expected (L, 3)")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "barycentric", weights)

    @staticmethod
    def of_vertices(ids: npt.ArrayLike) -> Points:
        """The vertices (L,) themselves."""
        index = np.asarray(ids, np.int32)
        return Points(np.repeat(index[:, None], 3, 1), np.tile([1.0, 0.0, 0.0], (len(index), 1)))

    def on(self, vertices: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """(..., V, 3) vertices -> (..., L, 3) points."""
        weights = self.barycentric.astype(vertices.dtype)
        return np.einsum("lk,...lkd->...ld", weights, vertices[..., self.vertices, :])

    def __len__(self) -> int:
        return len(self.vertices)


@dataclass(frozen=True, eq=False)
class Eye:
    """An eyeball: a sphere that turns about its centre."""

    vertices: Index
    """(E,) ids of all that turns."""
    iris: Index
    """(R,) ids of the rim of the iris; their mean is its centre."""

    def centre_mm(self, vertices_mm: Array) -> Array:
        """(..., V, 3) vertices -> (..., 3) the middle of the eyeball, which it turns about."""
        ball = vertices_mm[..., self.vertices, :]
        return (ball.min(-2) + ball.max(-2)) / 2


@dataclass(frozen=True, eq=False)
class Rig:
    """V vertices, I identity and E expression shapes, in the head frame and millimetres. Its arrays are read-only.

    Raises:
        AnymarkError: shapes disagree, a number is not finite or an index is out of range.
    """

    neutral_mm: Array
    """(V, 3)"""
    identity_mm: Array
    """(I, V, 3) offsets for a coefficient of 1; coefficients of people are about N(0, 1)."""
    expression_mm: Array
    """(E, V, 3) offsets for a coefficient of 1; coefficients lie in [0, 1]."""
    expression_names: tuple[str, ...]
    triangles: Index
    """(T, 3) vertex ids, counter-clockwise seen from outside."""
    parts: Mapping[str, Index] = field(default_factory=dict)
    """Name -> vertex ids."""
    landmarks: Mapping[str, Points] = field(default_factory=dict)
    """Name of a set of landmarks -> where they lie."""
    eyes: tuple[Eye, Eye] | None = None
    """The subject's right and left, or None."""

    def __post_init__(self) -> None:
        neutral = np.asarray(self.neutral_mm, np.float32)
        count = len(neutral)
        if neutral.ndim != 2 or neutral.shape[1] != 3 or count == 0:
            raise AnymarkError(f"rig: the neutral must be (V, 3), not {neutral.shape}")
        for key, number in (("identity_mm", None), ("expression_mm", len(self.expression_names))):
            shapes = np.asarray(getattr(self, key), np.float32)
            wanted = (len(shapes) if number is None else number, count, 3)
            if shapes.shape != wanted:
                raise AnymarkError(f"rig: {key} must be {wanted}, not {shapes.shape}")
            if not np.isfinite(shapes).all():
                raise AnymarkError(f"rig: {key} is not finite")
            object.__setattr__(self, key, shapes)
        if not np.isfinite(neutral).all():
            raise AnymarkError("rig: the neutral is not finite")
        triangles = np.asarray(self.triangles, np.int32)
        if triangles.ndim != 2 or triangles.shape[1] != 3:
            raise AnymarkError(f"rig: triangles must be (T, 3), not {triangles.shape}")
        indices = {"triangles": triangles, **self.parts, **{k: p.vertices for k, p in self.landmarks.items()}}
        for side, eye in zip(("right", "left"), self.eyes or (), strict=False):
            indices |= {f"the {side} eye": eye.vertices, f"the {side} iris": eye.iris}
        for name, index in indices.items():
            if np.size(index) and not 0 <= np.min(index) <= np.max(index) < count:
                raise AnymarkError(f"rig: {name} has a vertex outside 0..{count - 1}")
        object.__setattr__(self, "neutral_mm", neutral)
        object.__setattr__(self, "triangles", triangles)
        for array in (neutral, self.identity_mm, self.expression_mm, triangles):
            array.setflags(write=False)

    @staticmethod
    def load_ict(assets: Path) -> Rig:
        """ICT-FaceKit Light with MediaPipe's 468 points and iBUG's 68 on it.

        Args:
            assets: folder that holds ict_facekit/.

        Raises:
            AnymarkError: a file is missing or not what it should be.
        """
        data = read_arrays(assets / "ict_facekit" / "ict_facekit_light.npz", "a rig")
        try:
            shapes = {
                kind: 10.0 * data[f"{kind}_q"].astype(np.float32) * data[f"{kind}_scale"][:, None, None]
                for kind in ("identity", "expression")
            }
            dilate = [*data["expression_names"]].index("PupilDilate_L")
            quads = data["faces"]
            triangles = np.vstack([quads[:, :3], quads[quads[:, 3] >= 0][:, [0, 2, 3]]])
            ends = [0, *_ICT_PARTS.values()]
            parts = {name: np.arange(*ends[i : i + 2], dtype=np.int32) for i, name in enumerate(_ICT_PARTS)}
            neutral = 10.0 * data["neutral"].astype(np.float32)
            left, right = parts["left eyeball"], parts["right eyeball"]  # vertex by vertex mirror images
            disc = np.flatnonzero(np.abs(shapes["expression"][dilate]).sum(1) > 1e-3)
            rim = _rim(neutral, disc)
            eyes = Eye(right, rim - left[0] + right[0]), Eye(left, rim)
            return Rig(
                neutral,
                shapes["identity"],
                shapes["expression"][:ICT_EXPRESSIONS],
                tuple(str(n) for n in data["expression_names"][:ICT_EXPRESSIONS]),
                triangles,
                parts,
                {
                    "mediapipe468": face_mesh_on_ict(),
                    "ibug68": Points.of_vertices(data["ibug68_vertices"]),
                },
                eyes,
            )
        except (KeyError, ValueError, IndexError) as error:
            raise AnymarkError(f"{assets}: not the rig of ICT-FaceKit ({error})") from None

    def vertices_mm(self, identity: npt.ArrayLike, expression: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Coefficients (..., I) and (..., E) -> vertices (..., V, 3) in the head frame."""
        moved = _sum(identity, self.identity_mm) + _sum(expression, self.expression_mm)
        return (self.neutral_mm + moved).astype(np.float32)

    def linear(self, points: Points) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Points on the neutral head (L, 3), and their shapes (I + E, L, 3): identity first."""
        shapes = np.concatenate([points.on(self.identity_mm), points.on(self.expression_mm)])
        return points.on(self.neutral_mm), shapes

    def only(self, ids: Index) -> Rig:
        """The same rig with these vertices (V',) alone, in this order, without triangles, parts, landmarks and eyes."""
        none = np.zeros((0, 3), np.int32)
        shapes = self.identity_mm[:, ids], self.expression_mm[:, ids]
        return Rig(self.neutral_mm[ids], *shapes, self.expression_names, none)


def face_mesh_on_ict() -> Points:
    """Where MediaPipe's 468 points lie on ICT-FaceKit (scripts/place_face_mesh.py)."""
    with (resources.files("anymark.fit") / "data" / "face_mesh.npz").open("rb") as file, np.load(file) as data:
        return Points(data["vertices"], data["barycentric"])


def _sum(coefficients: npt.ArrayLike, shapes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    weights = np.asarray(coefficients, np.float32)
    flat = weights @ shapes.reshape(len(shapes), shapes.shape[1] * shapes.shape[2])  # there may be none
    return flat.reshape(*weights.shape[:-1], *shapes.shape[1:])


def _rim(neutral_mm: npt.NDArray[np.float32], iris: Index) -> Index:
    """The vertices of an iris that lie farthest from its axis."""
    offset = neutral_mm[iris, :2] - neutral_mm[iris, :2].mean(0)
    radius = np.hypot(*offset.T)
    return iris[radius > 0.95 * radius.max()]
