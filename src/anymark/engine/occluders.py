"""What stands before a face: glasses, masks, hands. Meshes in the head frame, so that they turn with the head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.canonical.meshes import joined
from anymark.engine.hands import read_hand
from anymark.fit.problem import exponential

Array = npt.NDArray[np.floating]

_TUBE_SIDES = 6


@dataclass(frozen=True, eq=False)
class Thing:
    """An object of one colour."""

    name: str
    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) head frame."""
    triangles: npt.NDArray[np.int32]
    """(T, 3)"""
    colour: npt.NDArray[np.float32]
    """(3,) linear."""
    opacity: float = 1.0
    """Of what is seen through it; less than 1 for lenses."""


def glasses(head: CanonicalHead, vertices_mm: Array, rng: np.random.Generator) -> list[Thing]:
    """Frames before the eyes of a posed head (V, 3), with temples to the ears and, for some, dark lenses."""
    eyes = [vertices_mm[head.vertices_of(f"{s} eye")].mean(0) for s in ("right", "left")]
    nose = vertices_mm[head.vertices_of("nose")]
    bridge = nose[nose[:, 1] > np.quantile(nose[:, 1], 0.8), 2].max()
    wide, tall = rng.uniform(22, 31), rng.uniform(15, 25)
    power, thick = rng.uniform(2, 6), rng.uniform(0.8, 3.0)
    front = max(float(bridge) + rng.uniform(1, 6), float(np.mean([e[2] for e in eyes])) + 22)
    drop = rng.uniform(-4, 3)
    colour = rng.uniform(0, 0.08, 3) if rng.random() < 0.7 else rng.uniform(0, 0.7, 3)
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    lens = np.stack([np.cos(angle), np.sin(angle)], 1)
    lens = np.sign(lens) * np.abs(lens) ** (2 / power) * (wide, tall)
    parts: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]] = []
    fills = []
    centres = [np.array([np.sign(e[0]) * max(abs(e[0]), wide + 4), e[1] + drop, front]) for e in eyes]
    for centre in centres:
        ring = np.hstack([lens, np.zeros((len(lens), 1))]) + centre
        ring[:, 2] -= ((ring[:, 0] / 60) ** 2) * 9  # frames curve round the face
        parts.append(tube(np.vstack([ring, ring[:1]]), thick))
        fan = np.array([[0, i, i + 1] for i in range(1, len(ring) - 1)], np.int32)
        fills.append((ring.astype(np.float32), fan))
    inner = [c + np.array([-np.sign(c[0]) * wide, 3.0, -1.0]) for c in centres]
    middle = np.mean(inner, 0) + np.array([0.0, 3.0, 2.0])
    parts.append(tube(np.stack([inner[0], middle, inner[1]]), thick))
    for side, centre in zip(("right", "left"), centres, strict=True):
        ear = vertices_mm[head.vertices_of(f"{side} ear")]
        hook = np.array([ear[:, 0].mean(), ear[:, 1].max() - 8, ear[:, 2].mean() + 5])
        out = np.sign(centre[0])
        start = centre + np.array([out * wide, 5.0, -(((centre[0] + out * wide) / 60) ** 2) * 9])
        outside = np.array([out * max(abs(hook[0]), abs(start[0]) + 2), hook[1], hook[2]])
        corner = start * (1, 1, 0.9) + np.array([2.0 * out, 0.0, 0.0])
        parts.append(tube(np.stack([start, corner, outside]), thick))
    vertices, triangles = joined(parts)
    things = [Thing("glasses", vertices, triangles, colour.astype(np.float32))]
    if rng.random() < 0.4:
        shade, through = joined(fills)
        dark = rng.uniform(0, 0.03, 3) if rng.random() < 0.7 else rng.uniform(0, 0.3, 3)
        things.append(Thing("lenses", shade, through, dark.astype(np.float32), float(rng.uniform(0.35, 1.0))))
    return things


def mask(head: CanonicalHead, vertices_mm: Array, normals: Array, rng: np.random.Generator) -> list[Thing]:
    """A cloth over nose, mouth and chin: the face's own surface there, moved outwards and smoothed."""
    top, bottom, side = rng.uniform(5, 25), -rng.uniform(85, 110), rng.uniform(50, 68)
    rest = head.vertices_mm
    covered = (rest[:, 1] < top) & (rest[:, 1] > bottom) & (np.abs(rest[:, 0]) < side) & (rest[:, 2] > 25)
    skin = head.triangles[head.triangles_of("face")]
    triangles = skin[covered[skin].all(1)]
    ids, triangles = np.unique(triangles, return_inverse=True)
    triangles = triangles.reshape(-1, 3).astype(np.int32)
    cloth = vertices_mm[ids].astype(np.float64)
    pairs = np.vstack([triangles[:, p] for p in ((0, 1), (1, 2), (2, 0))])
    degree = np.maximum(np.bincount(pairs.ravel(), minlength=len(ids)), 1)[:, None]
    for _ in range(12):  # hangs from its highest points rather than lie in every fold
        total = np.stack(
            [
                np.bincount(pairs[:, 0], cloth[pairs[:, 1], k], len(ids))
                + np.bincount(pairs[:, 1], cloth[pairs[:, 0], k], len(ids))
                for k in range(3)
            ],
            1,
        )
        smooth = total / degree
        cloth[:, 2] = np.maximum(0.5 * cloth[:, 2] + 0.5 * smooth[:, 2], cloth[:, 2] - 0.2)
    cloth = np.maximum(cloth * (0, 0, 1), vertices_mm[ids] * (0, 0, 1)) + cloth * (1, 1, 0)
    cloth += normals[ids] * rng.uniform(2.5, 5.0)
    colour = rng.choice([[0.55, 0.7, 0.8], [0.85, 0.85, 0.85], [0.02, 0.02, 0.02], rng.uniform(0, 0.8, 3).tolist()])
    return [Thing("mask", cloth.astype(np.float32), triangles, np.asarray(colour, np.float32))]


def load_hands(assets: Path) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
    """A left and a right hand at rest: vertices (V, 3), millimetres, and triangles (T, 3).

    Raises:
        AnymarkError: the hands' files are missing or of another kind.
    """
    found = [read_hand(assets / "hands" / f"{side}.glb") for side in ("left", "right")]
    return [(each.vertices_mm, each.triangles) for each in found]


def hand(assets: Path, vertices_mm: Array, skin: Array, rng: np.random.Generator) -> list[Thing]:
    """A hand before a posed head (V, 3), of the colour of its skin (3,).

    Raises:
        AnymarkError: the hands' files are missing or of another kind.
    """
    points, triangles = load_hands(assets)[int(rng.random() >= 0.5)]
    points = points - points.mean(0)
    points = points * (rng.uniform(170, 200) / float(np.ptp(points, axis=0).max()))
    turn = exponential(rng.normal(0, 1.2, (1, 3)))[0]
    low, high = np.quantile(vertices_mm, [0.15, 0.85], axis=0)
    place = rng.uniform(low, high)
    points = points @ turn.T
    front = float(np.quantile(vertices_mm[:, 2], 0.97))
    place[2] = front - points[:, 2].min() * rng.uniform(0.5, 1.0) + rng.uniform(0, 30)
    return [Thing("hand", (points + place).astype(np.float32), triangles, np.asarray(skin, np.float32))]


def tube(path_mm: Array, radius_mm: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Vertices and triangles of a round wire along points (N, 3)."""
    along = np.gradient(path_mm, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    up = np.where(np.abs(along[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    side = np.cross(along, up)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    other = np.cross(side, along)
    angle = np.linspace(0, 2 * np.pi, _TUBE_SIDES, endpoint=False)
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    vertices = (path_mm[:, None] + radius_mm * ring).reshape(-1, 3)
    i, j = (v.ravel() for v in np.meshgrid(np.arange(len(path_mm) - 1), np.arange(_TUBE_SIDES), indexing="ij"))
    a, b = i * _TUBE_SIDES + j, i * _TUBE_SIDES + (j + 1) % _TUBE_SIDES
    c, d = a + _TUBE_SIDES, b + _TUBE_SIDES
    return vertices.astype(np.float32), np.vstack([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)
