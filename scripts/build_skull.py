# /// script
# requires-python = ">=3.11"
# dependencies = ["anymark", "scipy>=1.14"]
# [tool.uv.sources]
# anymark = { path = "..", editable = true }
# ///
"""Build the skull inside the canonical head, and the layouts skull and mandible. Run build_canonical.py first.

Usage:
    uv run scripts/build_skull.py --assets ../shared/assets
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from scipy.spatial import cKDTree

from anymark.canonical import CanonicalHead, Layout
from build_canonical import ROOT, save_arrays, save_layout
from canonical_build.dense import CANDIDATES, NORMAL_MM, equal_cells, middle
from canonical_build.skull import BONE, Half, load_halves
from canonical_build.skull_fit import PLACES, Place, fit, located, surface

SIZES = {"skull": 500, "mandible": 300}
"""Points of the layouts, named ones included."""

APART_MM = 4.0
"""Distance that other points keep from named ones and, half of it, from the midline."""

SEEN = 0.2
"""A point is on the outside if it is seen from that part of all directions but those from below."""


@dataclass(frozen=True)
class Args:
    assets: Path = Path(os.environ.get("ANYMARK_ASSETS", ROOT.parent / "shared" / "assets"))
    """Folder that holds the folder skull."""
    out: Path = ROOT / "src" / "anymark" / "canonical" / "data"
    """Folder to write to."""


def whole(half: Half) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a half and its mirror image."""
    off = np.flatnonzero(half.vertices[:, 0] != 0)
    image = np.arange(len(half.vertices))
    image[off] = len(image) + np.arange(len(off))
    vertices = np.vstack([half.vertices, half.vertices[off] * (-1, 1, 1)])
    return vertices, np.vstack([half.triangles, image[half.triangles][:, [0, 2, 1]]])


def outside(points: np.ndarray, normals: np.ndarray, hiders: np.ndarray) -> np.ndarray:
    """(N,) whether points are seen from outside past dense points (M, 3) of all bones."""
    count, pixel, slack = 100, 2.0, 3.0
    turn, height = np.pi * (1 + 5**0.5) * np.arange(count), 1 - (2 * np.arange(count) + 1) / count
    views = np.c_[np.cos(turn) * np.sqrt(1 - height**2), height, np.sin(turn) * np.sqrt(1 - height**2)]
    views = views[height > -0.6]
    seen = np.zeros(len(points))
    for view in views:
        right = np.cross((0, 1, 0), view)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(view, right)], axis=1)
        every = np.floor(np.vstack([hiders, points]) @ axes / pixel).astype(int)
        every -= every.min(0)
        cell = every @ (1, every[:, 0].max() + 1)
        nearest = np.full(cell.max() + 1, -np.inf)
        np.maximum.at(nearest, cell[: len(hiders)], hiders @ view)
        seen += (points @ view > nearest[cell[len(hiders) :]] - slack) & (normals @ view > 0)
    return seen > SEEN * len(views)


def spread(points: np.ndarray, normals: np.ndarray, count: int) -> np.ndarray:
    """(count, 3) of many points, evenly spread over their surface, from above to below."""
    feature = np.c_[points, NORMAL_MM * normals]
    chosen = np.array([middle(feature, cell) for cell in equal_cells(feature, count)])
    for _ in range(30):
        _, owner = cKDTree(feature[chosen]).query(feature)
        chosen = np.array([middle(feature, np.flatnonzero(owner == k)) for k in range(count)])
    return points[chosen[np.argsort(-points[chosen, 1], kind="stable")]]


def landmark(place: Place, source: Half, half: Half, head: CanonicalHead) -> np.ndarray:
    """(3,) where a place of the source's left half lies on the fitted one."""
    v, at = half.vertices, located(source, place, head) @ half.vertices
    if place.at[0] == 0:
        at[0] = 0.0
    if place.towards is None:
        return at
    near = (np.linalg.norm(v - at, axis=1) < place.within_mm) & ((v[:, 0] == 0) | (place.at[0] > 0))
    return v[near][(v[near] @ place.towards).argmax()]


def layout_of(body: str, sources: dict[str, Half], halves: dict[str, Half], head: CanonicalHead) -> Layout:
    """Named points, then others spread evenly over the outside: the right ones, then their mirror images."""
    half, places, names = halves[body], [], []
    for name, place in PLACES[body].items():
        at = landmark(place, sources[body], half, head)
        names += [name] if place.at[0] == 0 else [f"right {name}", f"left {name}"]
        places += [at] if place.at[0] == 0 else [at * (-1, 1, 1), at]
    count = (SIZES[body] - len(names)) // 2
    bone = surface(head, half.vertices, half.triangles, bone=np.flatnonzero(half.label == BONE))
    samples = bone.sample(CANDIDATES * SIZES[body], ("bone",))
    a, b, c = np.moveaxis(half.vertices[half.triangles[samples.triangles]], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    bodies = [whole(every) for every in halves.values()]
    hiders = [surface(head, v, t, all=np.arange(len(t))).sample(100_000, ("all",)).points_mm for v, t in bodies]
    use = outside(samples.points_mm, normals, np.vstack(hiders))
    use &= (cKDTree(places).query(samples.points_mm)[0] > APART_MM) & (samples.points_mm[:, 0] > APART_MM / 2)
    left = spread(samples.points_mm[use], normals[use], count)
    points = np.vstack([places, left * (-1, 1, 1), left])
    names += [f"{side} {body} {k}" for side in ("right", "left") for k in range(1, count + 1)]
    flip = np.array([names.index(_other_side(name)) for name in names])
    regions = {"landmarks": np.arange(len(places))}
    if body == "skull":
        ear, brow = (points[names.index(name)] for name in ("left porion", "glabella"))
        rise = (brow - ear)[1] / (brow - ear)[2]
        above = points[:, 1] >= ear[1] + rise * (points[:, 2] - ear[2]) - 1e-6
        regions |= {"vault": np.flatnonzero(above), "face": np.flatnonzero(~above & (points[:, 2] > ear[2]))}
    else:
        ramus = points[:, 2] < points[names.index("left coronion"), 2] + 1e-6
        for side, is_side in (("right", points[:, 0] < 0), ("left", points[:, 0] > 0)):
            regions[f"{side} ramus"] = np.flatnonzero(ramus & is_side)
        regions["body"] = np.flatnonzero(~ramus)
    return Layout(body, points, names=tuple(names), flip=flip, regions=regions)


def _other_side(name: str) -> str:
    return name.replace("left", "@").replace("right", "left").replace("@", "right")


def main(args: Args) -> None:
    """Build everything; the same inputs give the same arrays."""
    if not (args.assets / "skull").is_dir():
        raise SystemExit(f"{args.assets} has no folder skull; pass --assets or set ANYMARK_ASSETS")
    head = CanonicalHead.load()
    sources = load_halves(args.assets)
    # rounded, so that what is chosen below does not hang on the last bits
    halves = {body: replace(sources[body], vertices=np.round(v, 2)) for body, v in fit(sources, head).items()}
    bodies = {body: whole(half) for body, half in halves.items()}
    first = np.cumsum([0, *(len(vertices) for vertices, _ in bodies.values())])
    arrays = {
        "vertices_mm": np.vstack([vertices for vertices, _ in bodies.values()]).astype(np.float32),
        "triangles": np.vstack([t + n for (_, t), n in zip(bodies.values(), first, strict=False)]).astype(np.int32),
        "body": np.repeat(np.arange(len(bodies)), np.diff(first)).astype(np.int16),
        "body_names": np.array(list(bodies)),
    }
    save_arrays(args.out / "skull.npz", arrays)
    for body, (vertices, triangles) in bodies.items():
        layout = layout_of(body, sources, halves, head)
        save_layout(args.out / "layouts", layout)
        print(f"{body}: {len(vertices)} vertices, {len(triangles)} triangles; layout of {len(layout)} points")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
