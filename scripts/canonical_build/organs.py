"""Layouts of eyes, ears and teeth, on the compact head."""

from __future__ import annotations

import numpy as np

from anymark.canonical import CanonicalHead, Layout
from canonical_build.landmarks import IRIS_NAMES, loop, open_line
from canonical_build.rig import IRIS_FLIP, FaceMesh

# The left ear in the side view, (z, y) in mm; each point is the outermost one of the ear there.
_EAR: dict[str, list[tuple[float, float]]] = {
    "helix": [(6, 13), (8.5, 19), (8, 25), (5.5, 30.5), (1, 34.3), (-3.5, 34.8), (-8.5, 32), (-12.3, 28), (-14.6, 23.5),
              (-15.3, 18), (-14.7, 12), (-13, 6), (-10, 0), (-6.5, -6), (-2.5, -11), (2, -14.5)],
    "lobe": [(6.5, -17), (11, -18.5), (14.5, -18), (17, -17)],
    "lobe centre": [(13.5, -12)],
    "antihelix": [(-4, 26), (-7, 20), (-7, 14), (-6, 8), (-4, 3), (-0.5, -1), (4, -2.8)],
    "antitragus": [(9, -3.6)],
    "intertragic notch": [(13, -3)],
    "tragus": [(12.9, 4), (11, 9.5)],
    "concha": [(1, 6)],
}  # fmt: skip

_RIGHT_LIDS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
"""MediaPipe's lid contour: outer corner, upper lid, inner corner, lower lid."""

_GLOBE_RING_MM = 9.0
"""Radius, about the eyeball's axis, of the ring of points on the white of the eye."""


def _hit(head: CanonicalHead, region: str, start: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The farthest point, along a ray, of a region of the surface.

    Raises:
        ValueError: the ray misses it.
    """
    corners = head.vertices_mm[head.triangles[head.triangles_of(region)]].astype(float)
    a, b, c = np.moveaxis(corners, 1, 0)
    ab, ac = b - a, c - a
    h = np.cross(direction, ac)
    det = (ab * h).sum(1)
    ok = np.abs(det) > 1e-9
    inverse = np.where(ok, 1 / np.where(ok, det, 1), 0)
    s = start - a
    u = inverse * (s * h).sum(1)
    q = np.cross(s, ab)
    v = inverse * (q @ direction)
    t = inverse * (q * ac).sum(1)
    ok &= (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
    if not ok.any():
        raise ValueError(f"no point of the {region} at {start.round(1)}")
    return start + t[ok].max() * direction


def ears(head: CanonicalHead) -> Layout:
    points, names, edges, groups = [], [], [], {}
    for part, places in _EAR.items():
        first = len(points)
        groups[part] = np.arange(first, first + len(places))
        for k, (z, y) in enumerate(places, 1):
            points.append(_hit(head, "left ear", np.array([0.0, y, z]), np.array([1.0, 0, 0])))
            names.append(part if len(places) == 1 else f"{part} {k}")
        edges += open_line(first, first + len(places) - 1)
    n = len(points)
    edges.append((int(groups["helix"][-1]), int(groups["lobe"][0])))
    left = np.array(points)
    regions = {"right ear": np.arange(n), "left ear": np.arange(n) + n}
    for side, shift in (("right", 0), ("left", n)):
        regions |= {f"{side} {name}": ids + shift for name, ids in groups.items() if len(ids) > 1}
    return Layout(
        "ears",
        np.vstack([left * (-1, 1, 1), left]),
        names=tuple(f"{side} {name}" for side in ("right", "left") for name in names),
        edges=np.vstack([edges, np.array(edges) + n]),
        flip=np.r_[np.arange(n) + n, np.arange(n)],
        regions=regions,
    )


def eyes(mesh: FaceMesh, head: CanonicalHead) -> Layout:
    """Per eye: 16 points of the lids' edges, 5 of the iris, 8 of the white of the eye."""
    lids = {"right": np.array(_RIGHT_LIDS), "left": mesh.flip[list(_RIGHT_LIDS)]}
    ball = head.vertices_mm[head.triangles[head.triangles_of("left eye")]].reshape(-1, 3)
    axis = (ball.min(0) + ball.max(0)) / 2
    angle = np.arange(8) * np.pi / 4
    ring = [
        _hit(head, "left eye", axis + _GLOBE_RING_MM * np.array([np.cos(a), np.sin(a), 0]), np.array([0, 0, 1.0]))
        for a in angle
    ]
    white = {"left": np.array(ring), "right": np.array(ring) * (-1, 1, 1)}
    iris = {"right": mesh.points_mm[468:473], "left": mesh.points_mm[473:478]}
    points = np.vstack([np.vstack([mesh.points_mm[lids[s]], iris[s], white[s]]) for s in ("right", "left")])
    n = len(points) // 2
    within = np.r_[np.arange(16), 16 + IRIS_FLIP[:5] - 5, 21 + np.arange(8)]  # both white rings start at their outside
    names = [
        *(f"lid {k}" for k in range(1, 17)),
        *(f"iris {name}" for name in IRIS_NAMES),
        *(f"white {k}" for k in range(1, 9)),
    ]
    groups = {"lids": np.arange(16), "iris": np.arange(16, 21), "white": np.arange(21, 29)}
    edges = np.array([*loop(0, 15), *loop(17, 20), *loop(21, 28)])
    regions = {
        f"{side} {name}": ids + shift for side, shift in (("right", 0), ("left", n)) for name, ids in groups.items()
    }
    return Layout(
        "eyes",
        points,
        names=tuple(f"{side} {name}" for side in ("right", "left") for name in names),
        edges=np.vstack([edges, edges + n]),
        flip=np.r_[within + n, within],
        regions=regions,
    )


def teeth(head: CanonicalHead) -> Layout:
    """Two points a tooth: the middle of its biting edge or surface, and the middle of the crown's face."""
    places: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    tooth_names = [name for name in head.regions if name.split()[0] in ("upper", "lower") and len(name.split()) > 2]
    for row in ("upper", "lower"):
        left = [name for name in tooth_names if name.startswith(f"{row} left")]
        corners = {name: head.vertices_mm[np.unique(head.triangles[head.regions[name]])].astype(float) for name in left}
        centres = np.array([corners[name].mean(0) for name in left])
        arch = np.vstack([centres, centres[::-1] * (-1, 1, 1)])  # once round, from the last left to the last right
        for k, name in enumerate(left):
            along = arch[k + 1] - arch[max(k - 1, 0)]
            outward = np.array([along[2], 0.0, -along[0]])
            outward *= np.sign(outward @ (centres[k] - (0, centres[k, 1], 60.0))) / np.linalg.norm(outward)
            heights = corners[name][:, 1] * (1 if row == "lower" else -1)
            crown = corners[name][heights > heights.max() - 2.0]
            bite = crown.mean(0)
            bite[1] = (heights.max() - 0.5) * (1 if row == "lower" else -1)
            bite = head.closest_point(bite).points_mm[0]
            middle = centres[k].copy()
            middle[1] = bite[1] + (4.5 if row == "upper" else -4.0)
            places[name] = bite, _hit(head, name, middle, outward)
    names, points, flip = [], [], []
    for name in tooth_names:
        left = name.replace(" right ", " left ")
        sign = (1, 1, 1) if name == left else (-1, 1, 1)
        other = left.replace(" left ", " right ") if name == left else left
        for k, what in enumerate(("edge", "face")):
            names.append(f"{name}, {what}")
            points.append(places[left][k] * sign)
            flip.append(2 * tooth_names.index(other) + k)
    regions = {
        f"{row} teeth": np.flatnonzero([name.startswith(row) for name in names]) for row in ("upper", "lower")
    } | {name: np.array([2 * k, 2 * k + 1]) for k, name in enumerate(tooth_names)}
    edges = [(2 * k, 2 * k + 1) for k in range(len(tooth_names))]
    return Layout(
        "teeth", np.array(points), names=tuple(names), edges=np.array(edges), flip=np.array(flip), regions=regions
    )
