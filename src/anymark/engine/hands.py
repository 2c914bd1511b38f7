"""A hand that moves: the skinned hands of assets/hands, posed within what joints allow."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical.meshes import vertex_normals
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_BONES = {
    "thumb": ("metacarpal", "phalanx-proximal", "phalanx-distal", "tip"),
    **{
        finger: ("metacarpal", "phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip")
        for finger in ("index", "middle", "ring", "pinky")
    },
}
LIMITS_DEG = {
    "thumb": (((-5, 25), (-15, 20)), ((-5, 45), (-5, 5)), ((-10, 60), (0, 0))),
    **{
        finger: (((0, 6), (0, 0)), ((-15, 75), (-14, 14)), ((0, 90), (0, 0)), ((0, 55), (0, 0)))
        for finger in ("index", "middle", "ring", "pinky")
    },
}
"""Of each joint of a finger, from the wrist outwards: how far it bends, and how far it spreads."""
_TO_MM = 1000.0


@dataclass(frozen=True, eq=False)
class Hand:
    """A hand at rest, in millimetres: x, y and z as in its file."""

    vertices_mm: Floats
    """(V, 3)"""
    triangles: npt.NDArray[np.int32]
    """(T, 3) counter-clockwise seen from outside."""
    names: tuple[str, ...]
    """J joints: the wrist, then each finger's outwards."""
    parents: npt.NDArray[np.int64]
    """(J,) of each joint; -1 of the wrist."""
    joints_mm: Array
    """(J, 3)"""
    turns: Array
    """(J, 3, 3) their frames: -z to the tip, +y to the back of the hand, about x they bend."""
    weights: Floats
    """(V, J)"""

    def posed(self, bend_rad: Array, spread_rad: Array) -> tuple[Floats, Array]:
        """Vertices (V, 3) and joints (J, 3), for how far each joint (J,) is bent and spread; the wrist stays."""
        count = len(self.names)
        turns, places = np.empty((count, 3, 3)), np.empty((count, 3))
        for j, parent in enumerate(self.parents):
            if parent < 0:
                turns[j], places[j] = self.turns[j], self.joints_mm[j]
                continue
            back = turns[parent] @ self.turns[parent].T
            places[j] = places[parent] + back @ (self.joints_mm[j] - self.joints_mm[parent])
            turns[j] = back @ self.turns[j] @ _about(1, spread_rad[j]) @ _about(0, bend_rad[j])
        move = turns @ self.turns.transpose(0, 2, 1)
        shift = places - np.einsum("jab,jb->ja", move, self.joints_mm)
        carried = np.einsum("jab,vb->vja", move, self.vertices_mm.astype(np.float64)) + shift
        return np.einsum("vj,vja->va", self.weights, carried).astype(np.float32), places

    def any_pose(self, rng: np.random.Generator, strength: float = 1.0) -> tuple[Floats, Array]:
        """A pose within the limits: fingers bend together, about, and the last joint with the one before it."""
        bend, spread = np.zeros(len(self.names)), np.zeros(len(self.names))
        fist = rng.beta(1.2, 2.5) * strength
        for finger in FINGERS:
            own = np.clip(fist + rng.normal(0, 0.15) * strength, 0, 1)
            for bone, ((low, high), (left, right)) in zip(_BONES[finger], LIMITS_DEG[finger], strict=False):
                j = self.names.index(f"{finger} {bone}")
                share = np.clip(own + rng.normal(0, 0.08) * strength, 0, 1)
                bend[j] = low * (1 - share) * strength + high * share
                middle, half = (left + right) / 2, (right - left) / 2
                spread[j] = middle + half * np.clip(rng.normal(0, 0.5) * strength, -1, 1)
        # a joint bends towards the palm: about -x of its frame
        return self.posed(np.radians(-bend), np.radians(spread))

    @property
    def towards_back(self) -> Array:
        """(3, 3) hand frame -> that of a camera that looks at its back, fingers up."""
        back, along = self.turns[0][:, 1], -self.turns[0][:, 2]
        return np.stack([np.cross(along, back), -along, -back])

    @cached_property
    def landmarks(self) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Names (N,), vertices (N,) and lines (L, 2) of what is painted on a hand that lies flat, seen from above: a
        dot over the wrist and over each joint, joined along the fingers."""
        up = self.turns[0][:, 1]
        normals = vertex_normals(self.vertices_mm, self.triangles)
        ids, lines = [], []
        for j, at in enumerate(self.joints_mm):
            to = self.vertices_mm - at
            aside = np.linalg.norm(to - (to @ up)[:, None] * up, axis=1)
            outer = (to @ up > 0) & (normals @ up > 0.3)
            ids.append(int(np.argmin(np.where(outer, aside, np.inf))))
            if self.parents[j] >= 0:
                lines.append((int(self.parents[j]), j))
        return self.names, np.array(ids), np.array(lines, np.int32)


@cache
def read_hand(path: Path) -> Hand:
    """A hand of WebXR's input profiles, with its 25 joints.

    Raises:
        AnymarkError: the file is missing or of another kind.
    """
    try:
        data = path.read_bytes()
        length = struct.unpack_from("<I", data, 12)[0]
        scene = json.loads(data[20 : 20 + length])
        read = _Reader(data, 20 + length + 8, scene)
        primitive, skin = scene["meshes"][0]["primitives"][0], scene["skins"][0]
        attributes = primitive["attributes"]
        vertices = read(attributes["POSITION"]).astype(np.float64) * _TO_MM
        rest = np.linalg.inv(read(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64))
        found = [str(scene["nodes"][i]["name"]) for i in skin["joints"]]
        names, parents = _tree()
        order = [found.index(_in_file(name)) for name in names]
        weights = np.zeros((len(vertices), len(found)), np.float32)
        which, share = read(attributes["JOINTS_0"]), read(attributes["WEIGHTS_0"])
        np.add.at(weights, (np.arange(len(vertices))[:, None], which), share)
        weights = weights[:, order] / np.maximum(weights[:, order].sum(1, keepdims=True), 1e-9)
        turns = rest[order, :3, :3] / np.linalg.norm(rest[order, :3, :3], axis=1, keepdims=True)
        triangles = read(primitive["indices"]).reshape(-1, 3).astype(np.int32)
        joints = np.asarray(rest[order, :3, 3] * _TO_MM, np.float64)
    except (OSError, ValueError, KeyError, IndexError, struct.error, np.linalg.LinAlgError) as error:
        raise AnymarkError(f"{path}: not a readable hand ({error})") from None
    return Hand(vertices.astype(np.float32), triangles, names, parents, joints, turns, weights)


class _Reader:
    """Accessors of a .glb file."""

    def __init__(self, data: bytes, start: int, scene: dict[str, Any]) -> None:
        self._data, self._start, self._scene = data, start, scene

    def __call__(self, index: int) -> npt.NDArray[Any]:
        accessor = self._scene["accessors"][index]
        place = self._scene["bufferViews"][accessor["bufferView"]]
        offset = self._start + place.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        kind = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
        return np.frombuffer(self._data, kind, accessor["count"] * width, offset).reshape(-1, width).copy()


def _in_file(name: str) -> str:
    finger, _, bone = name.partition(" ")
    return f"{finger}-finger-{bone}" if finger in FINGERS[1:] else name.replace(" ", "-")


def _tree() -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    names, parents = ["wrist"], [-1]
    for finger in FINGERS:
        for i, bone in enumerate(_BONES[finger]):
            parents.append(len(names) - 1 if i else 0)
            names.append(f"{finger} {bone}")
    return tuple(names), np.array(parents)


def _about(axis: int, angle: float) -> Array:
    """(3, 3) a rotation about x, y or z."""
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[i, i], out[i, j], out[j, i], out[j, j] = cos, -sin, sin, cos
    return out
