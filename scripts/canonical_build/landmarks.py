"""Landmark layouts named on MediaPipe's face mesh: mediapipe478, irises, ibug68, wflw98.

Where annotators click was judged from the usual mean shape of 68-point annotations (no file of it is here or was
read) and from the mean of MediaPipe's labels on 3,253 nearly frontal training photos, both scaled to the distance of
the outer eye corners. The inner 51 points below lie 0.9 % of it from the mean click on average, at most 1.9 %. The jaw
lies outside of MediaPipe's mesh, by 5 % of that distance at the ears, and is moved out.

A place is `{vertex: weight}` or one vertex. Only the subject's right half is written down; the mesh mirrors the rest.
"""

from __future__ import annotations

import numpy as np

from anymark.canonical import Layout
from canonical_build.rig import IRIS_FLIP, FaceMesh

Place = int | dict[int, float]

# Evenly spaced along the seen outline from 127, at the ear's upper root just below the eyes' corners, to the chin.
# 300-W's spacing is even to 4 %; the outline is measured on the mean photo, not on the head, where it bends back.
JAW_16: list[Place] = [
    127,
    {127: 0.37, 234: 0.63},
    {234: 0.74, 93: 0.26},
    {234: 0.12, 93: 0.88},
    {93: 0.54, 132: 0.46},
    {132: 0.97, 58: 0.03},
    {132: 0.43, 58: 0.57},
    {58: 0.88, 172: 0.12},
    {58: 0.27, 172: 0.73},
    {172: 0.58, 136: 0.42},
    {136: 0.85, 150: 0.15},
    {136: 0.15, 150: 0.85},
    {150: 0.28, 149: 0.72},
    {149: 0.38, 176: 0.62},
    {176: 0.51, 148: 0.49},
    {148: 0.71, 152: 0.29},
    152,
]

JAW_WIDER = 1.055
"""Annotators' outline runs along the ears, about 148 mm apart; MediaPipe's oval stays on the cheek bones, 140 mm."""

CHIN_LOWER_MM = 1.5
"""And theirs meets the neck a little below MediaPipe's chin."""

IBUG68_RIGHT: dict[int, Place] = {
    **{i: JAW_16[2 * i] for i in range(9)},
    # Brow: its upper edge. 17 lies 3 % farther out than MediaPipe's last brow point, 21 farther in than its first.
    17: {70: 0.29, 71: 0.31, 156: 0.40},
    18: 63,
    19: {105: 0.7, 66: 0.3},
    20: {66: 0.68, 107: 0.32},
    21: {107: 0.61, 55: 0.23, 9: 0.16},
    # Bridge: four evenly spaced points; the usual map 168, 197, 5, 4 is not even, its third is 5 % too low.
    27: {168: 0.92, 6: 0.08},
    28: {6: 0.38, 197: 0.62},
    29: {195: 0.72, 5: 0.28},
    30: {5: 0.23, 4: 0.77},
    # Under the nostrils, the outer ones where the wing meets the lip.
    31: {75: 0.65, 240: 0.35},
    32: {97: 0.9, 2: 0.1},
    33: 2,
    # Lids at 31 % and 67 % of the way from the outer to the inner corner, along the lids' edges.
    36: 33,
    37: {160: 0.65, 159: 0.35},
    38: {158: 0.79, 157: 0.21},
    39: {133: 0.6, 155: 0.4},  # MediaPipe's corner takes in the caruncle
    40: {153: 0.78, 145: 0.22},
    41: {144: 0.8, 163: 0.2},
    # Mouth: red of the lips outside, their edge towards the teeth inside.
    48: 61,
    49: {40: 0.27, 39: 0.73},
    50: 37,
    51: 0,
    57: 17,
    58: 84,
    59: {181: 0.6, 91: 0.4},
    60: {78: 0.6, 191: 0.2, 95: 0.2},  # 15 % inside of the outer corner, MediaPipe's 9 %
    61: 82,
    62: 13,
    66: 14,
    67: 87,
}

WFLW98_RIGHT: dict[int, Place] = {
    **dict(enumerate(JAW_16)),
    # Brow: tip, upper edge to the inner end, lower edge back.
    **{33 + i: IBUG68_RIGHT[17 + i] for i in range(4)},
    **{37: 107, 38: 55, 39: 65, 40: 52, 41: 53},
    **{51 + i: IBUG68_RIGHT[27 + i] for i in range(7)},
    # Eight points a lid contour, at quarters of the width.
    60: 33,
    61: 160,
    62: {159: 0.55, 158: 0.45},
    63: {158: 0.2, 157: 0.8},
    64: IBUG68_RIGHT[39],
    65: {153: 0.46, 154: 0.54},
    66: 145,
    67: {144: 0.3, 163: 0.7},
    **{76 + i: IBUG68_RIGHT[48 + i] for i in (0, 1, 2, 3, 9, 10, 11, 12, 13, 14, 18, 19)},
    96: 468,
}


def _pairs(text: str, size: int) -> np.ndarray:
    flip = np.arange(size)
    for pair in text.split():
        a, b = map(int, pair.split("-"))
        flip[[a, b]] = b, a
    return flip


IBUG68_FLIP = _pairs(
    " ".join([f"{i}-{16 - i}" for i in range(8)] + [f"{17 + i}-{26 - i}" for i in range(5)])
    + " 31-35 32-34 36-45 37-44 38-43 39-42 40-47 41-46 48-54 49-53 50-52 61-63 60-64 67-65 58-56 59-55",
    68,
)
WFLW98_FLIP = _pairs(
    " ".join([f"{i}-{32 - i}" for i in range(16)])
    + " 33-46 34-45 35-44 36-43 37-42 38-50 39-49 40-48 41-47 60-72 61-71 62-70 63-69 64-68 65-75 66-74 67-73"
    " 55-59 56-58 76-82 77-81 78-80 87-83 86-84 88-92 89-91 95-93 96-97",
    98,
)

IBUG68_REGIONS = {
    "jaw": range(17),
    "right brow": range(17, 22),
    "left brow": range(22, 27),
    "nose": range(27, 36),
    "right eye": range(36, 42),
    "left eye": range(42, 48),
    "outer lips": range(48, 60),
    "inner lips": range(60, 68),
}
WFLW98_REGIONS = {
    "jaw": range(33),
    "right brow": range(33, 42),
    "left brow": range(42, 51),
    "nose": range(51, 60),
    "right eye": range(60, 68),
    "left eye": range(68, 76),
    "outer lips": range(76, 88),
    "inner lips": range(88, 96),
    "irises": range(96, 98),
}


def open_line(first: int, last: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(first, last)]


def loop(first: int, last: int) -> list[tuple[int, int]]:
    return [*open_line(first, last), (last, first)]


IBUG68_EDGES = [
    *open_line(0, 16),
    *open_line(17, 21),
    *open_line(22, 26),
    *open_line(27, 30),
    *open_line(31, 35),
    *loop(36, 41),
    *loop(42, 47),
    *loop(48, 59),
    *loop(60, 67),
]
WFLW98_EDGES = [
    *open_line(0, 32),
    *loop(33, 41),
    *loop(42, 50),
    *open_line(51, 54),
    *open_line(55, 59),
    *loop(60, 67),
    *loop(68, 75),
    *loop(76, 87),
    *loop(88, 95),
]


def _placed(mesh: FaceMesh, right: dict[int, Place], flip: np.ndarray) -> np.ndarray:
    """Positions of the places on the right half and of their mirror images on the left."""
    points = np.full((len(flip), 3), np.nan)
    for i, place in right.items():
        weights = {place: 1.0} if isinstance(place, int) else place
        vertices, w = np.array(list(weights)), np.array(list(weights.values()))
        points[i] = w @ mesh.points_mm[vertices] / w.sum()
        if flip[i] != i:
            points[flip[i]] = w @ mesh.points_mm[mesh.flip[vertices]] / w.sum()
    if not np.isfinite(points).all():
        raise ValueError(f"no place for points {np.flatnonzero(np.isnan(points[:, 0]))}")
    return points


def _outline(points: np.ndarray) -> np.ndarray:
    """MediaPipe's jaw points, moved to where annotators see the outline."""
    lower = np.clip(-points[:, 1] - 60, 0, 20) / 20  # grows over the last 20 mm above the chin
    return points * [JAW_WIDER, 1, 1] - lower[:, None] * [0, CHIN_LOWER_MM, 0]


def ibug68(mesh: FaceMesh) -> Layout:
    points = _placed(mesh, IBUG68_RIGHT, IBUG68_FLIP)
    points[:17] = _outline(points[:17])
    return Layout("ibug68", points, edges=np.array(IBUG68_EDGES), flip=IBUG68_FLIP, regions=_index(IBUG68_REGIONS))


def wflw98(mesh: FaceMesh) -> Layout:
    points = _placed(mesh, WFLW98_RIGHT, WFLW98_FLIP)
    points[:33] = _outline(points[:33])
    return Layout("wflw98", points, edges=np.array(WFLW98_EDGES), flip=WFLW98_FLIP, regions=_index(WFLW98_REGIONS))


def _index(regions: dict[str, range]) -> dict[str, np.ndarray]:
    return {name: np.array(ids) for name, ids in regions.items()}


def mediapipe478(mesh: FaceMesh) -> Layout:
    names = {
        "lips": "LIPS",
        "left eye": "LEFT_EYE",
        "left brow": "LEFT_EYEBROW",
        "right eye": "RIGHT_EYE",
        "right brow": "RIGHT_EYEBROW",
        "face oval": "FACE_OVAL",
        "nose": "NOSE",
    }
    regions = {name: np.unique(mesh.connections[f"FACEMESH_{table}"]) for name, table in names.items()}
    regions |= {"right iris": np.arange(468, 473), "left iris": np.arange(473, 478)}
    edges = np.vstack([mesh.connections["FACEMESH_CONTOURS"], loop(469, 472), loop(474, 477)])
    return Layout(
        "mediapipe478", mesh.points_mm, edges=edges, flip=mesh.flip, triangles=mesh.triangles, regions=regions
    )


IRIS_NAMES = ("centre", "left edge", "top", "right edge", "bottom")


def irises(mesh: FaceMesh) -> Layout:
    return Layout(
        "irises",
        mesh.points_mm[468:],
        names=tuple(f"{side} iris {name}" for side in ("right", "left") for name in IRIS_NAMES),
        edges=np.array([*loop(1, 4), *loop(6, 9)]),
        flip=IRIS_FLIP,
        regions={"right iris": np.arange(5), "left iris": np.arange(5, 10)},
    )
