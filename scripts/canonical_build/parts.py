"""Which part and region of the head each triangle of ICT-FaceKit belongs to.

Skin is cut by outlines: parts in the side view (z, y), regions of the face in the front view by rows of MediaPipe
vertices, all drawn for one side and mirrored.
"""

from __future__ import annotations

import numpy as np

from canonical_build.rig import FaceMesh

PARTS = (
    "face", "right ear", "left ear", "scalp", "neck", "shoulders",
    "right eye", "left eye", "upper teeth", "lower teeth", "gums", "tongue",
)  # fmt: skip

_EAR = [(5, 37), (-10, 36), (-20, 18), (-16, 0), (-7, -13), (5, -20), (13, -22), (17, -21), (19, -17), (16, -8),
        (17, 0), (14, 8), (14, 14), (13, 22), (11, 30), (9, 35)]  # fmt: skip
_HAIRLINE = [(120, 106), (88, 106), (78, 98), (66, 88), (58, 72), (50, 60), (38, 52), (22, 44), (10, 36), (5, 0),
             (0, -22), (-26, -18), (-38, -40), (-70, -48), (-140, -48), (-140, 170), (120, 170)]  # fmt: skip
_NECK = [(-140, -48), (-70, -48), (-38, -40), (-26, -18), (0, -22), (14, -26), (22, -48), (38, -70), (60, -91),
         (100, -131), (120, -240), (-140, -240)]  # fmt: skip

# Right half, by MediaPipe's vertices or (x, y) in mm; the first match wins.
# fmt: off
_FACE_REGIONS: dict[str, list[int | tuple[int, int]]] = {
    "lips": [(0, -43), 0, 37, 39, 40, 185, 61, 146, 91, 181, 84, 17],
    "eyelids": [226, 31, 228, 229, 230, 231, 232, 233, 244, 189, 221, 222, 223, 224, 225, 113],
    "brow": [70, 63, 105, 66, 107, 55, 65, 52, 53, 46],
    "nose": [168, 193, 245, 188, 174, 217, 126, 129, 98, 97, 2, (0, 0)],
    "chin": [18, 83, 182, 194, 32, 140, 176, 148, (-11, -96), (0, -96)],
    "forehead": [(0, 140), (-80, 140), 54, 21, 70, 63, 105, 66, 107, 9],
    "cheek": [35, 31, 228, 229, 230, 231, 232, 121, 47, 126, 129, 206, 216, 212, 214, 192, 215, 132, (-95, -31),
              (-95, 20), 127, 34],
    "temple": [(-95, 20), 127, 34, 35, 226, 113, 225, 46, 70, 71, 21, 54, (-80, 140), (-95, 140)],
    "jaw": [(-95, -31), 132, 215, 192, 214, 212, 202, 204, 194, 32, 140, 176, 148, (-11, -96), (0, -96), (0, -120),
            (-95, -120)],
}
# fmt: on
_TWO_SIDED = {"eyelids", "brow", "cheek", "temple"}


def inside(xy: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """(N,) whether each of the points (N, 2) lies inside the closed outline (K, 2): even-odd rule."""
    a, b = outline, np.roll(outline, -1, axis=0)
    x, y = xy[:, :1], xy[:, 1:]
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    rise = np.where(a[:, 1] == b[:, 1], 1.0, b[:, 1] - a[:, 1])
    at = a[:, 0] + (y - a[:, 1]) / rise * (b[:, 0] - a[:, 0])
    return (crosses & (x < at)).sum(1) % 2 == 1


def skin_part(centres: np.ndarray, normals: np.ndarray, is_face_material: np.ndarray) -> np.ndarray:
    """(T,) part of each skin triangle of the subject's left half, by its centre (T, 3)."""
    side = centres[:, [2, 1]]
    part = np.full(len(centres), PARTS.index("face"))
    part[inside(side, np.array(_NECK, float))] = PARTS.index("neck")
    part[side[:, 1] < -145 + 0.39 * (45 - side[:, 0])] = PARTS.index("shoulders")
    part[inside(side, np.array(_HAIRLINE, float))] = PARTS.index("scalp")
    # behind the auricle lies the head, of the other material and facing outwards
    ear = (is_face_material | (normals[:, 0] < 0.3)) & inside(side, np.array(_EAR, float)) & (centres[:, 0] > 60)
    part[ear] = PARTS.index("left ear")
    return part


def face_regions(centres: np.ndarray, normals: np.ndarray, mesh: FaceMesh) -> dict[str, np.ndarray]:
    """Region name without its side -> (T,) mask over face triangles of the subject's left half; none overlap."""
    free = np.ones(len(centres), bool)
    found = {}
    for name, rows in _FACE_REGIONS.items():
        outline = np.array([mesh.points_mm[row, :2] if isinstance(row, int) else row for row in rows], float)
        hit = free & inside(centres[:, :2] * (-1, 1), outline) & (centres[:, 2] > 5)
        if name in _TWO_SIDED:
            hit &= normals[:, 2] > -0.5  # not what lies behind, such as the hidden side of a lid
        found[name] = hit
        free &= ~hit
    lips = found.pop("lips")
    line = np.interp(np.abs(centres[:, 0]), *_mouth_line(mesh))
    found["upper lip"] = lips & (centres[:, 1] > line)
    found["lower lip"] = lips & (centres[:, 1] <= line)
    return found


def _mouth_line(mesh: FaceMesh) -> tuple[np.ndarray, np.ndarray]:
    """Half way between the inner lips, from the middle to the corner: |x| and y."""
    upper, lower = mesh.points_mm[[13, 82, 81, 80, 191, 78, 61]], mesh.points_mm[[14, 87, 178, 88, 95, 78, 61]]
    middle = (upper + lower) / 2
    return np.abs(middle[:, 0]), middle[:, 1]


def region_names(name: str) -> tuple[str, str]:
    """The names of a region on the subject's right and left: one and the same if it crosses the midline."""
    if "{}" in name:
        return name.format("right"), name.format("left")
    return (f"right {name}", f"left {name}") if name in _TWO_SIDED | {"iris", "pupil"} else (name, name)
