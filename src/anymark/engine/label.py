"""A photo -> its faces as square crops with the teacher's 478 points, as photo sets hold them.

The teacher looks at each face 8 times, at 4 small similarities of it, each also mirrored; the looks are undone and
averaged. What a look errs in its own way averages out, and what it shifts sideways cancels with its mirror image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS, OUTER_EYES
from anymark.canonical.frame import MIRROR
from anymark.detect.detector import Detector
from anymark.detect.image import Photo
from anymark.detect.locate import Box
from anymark.detect.window import Window, crop
from anymark.engine.teacher import Teacher
from anymark.photo_files import BAD_LABEL_SD

CROP_SCALE = 2.5
"""Sides of the face's box in a side of its crop, and of a look."""
CROP_PX = 384
"""The longest side of a crop."""
THUMB_PX = 16
"""Side of the picture that duplicates are found by."""

Array = npt.NDArray[np.float64]

_LOOK_PX = 384  # Face Mesh sees the face on 192 pixels, about 230 of these
_LOOKS = (
    (-9.0, 0.94, (0.024, -0.016)),
    (-3.0, 1.03, (-0.024, 0.024)),
    (3.0, 0.97, (-0.016, -0.024)),
    (9.0, 1.06, (0.016, 0.016)),
)
"""How each look lies to the face's window: degrees clockwise, size, and where its centre is, in half sides."""
_LEAST_LOOKS = 4
# Looks are 1 % of the inter-ocular distance off their median, and the furthest of eight twice as far as the usual one.
_MOST_OFF, _MOST_OFF_RATIO = 0.02, 2.5
_ELSEWHERE, _LARGER = 0.25, 1.6  # a teacher's face that is further off than this, in sides of the box, is another one
_GREY = 6.0  # mean difference of the channels, of 255, below which a photo has no colour
_QUALITY = 90
_THUMB_SCALE = 1.3


@dataclass(frozen=True, eq=False)
class Label:
    """What the teacher says of a face."""

    points_px: Array
    """(478, 3) pixels of the photo, and relative depth in the same unit, smaller is nearer."""
    sd: float
    """Standard deviation of a look along an axis, the mean over the points, a fraction of the inter-ocular distance."""
    looks: int
    """How many looks agreed."""


@dataclass(frozen=True)
class Skipped:
    """A face, or a photo, without a label."""

    reason: str
    detail: str = ""
    face: int = 0
    """Its number in the photo, from 1; 0 is the photo itself."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A labelled face, as a photo set holds it; pixels are the crop's."""

    webp: bytes
    landmarks_q64: npt.NDArray[np.int16]
    """(478, 3) in 64ths of a pixel."""
    label_sd: float
    views: int
    size: int
    """Side of the crop, pixels."""
    face_px: float
    """Side of the face's box in the photo, pixels of the photo."""
    grayscale: bool
    valid_box: npt.NDArray[np.float32]
    """(4,) x0, y0, x1, y1 of what lies inside the photo."""
    thumb: npt.NDArray[np.float32]
    """(256,) of length 1: the face alone on 16 x 16 grey pixels, less their mean; what duplicates are found by."""
    face: int
    """Its number in the photo, from 1."""


def find_faces(detector: Detector, photo: Photo) -> list[Box]:
    """The faces of a photo, largest first, upright or turned."""
    return [Box(head.box_px, head.score, head.window.roll_rad) for head in detector.encode(photo)]


def label_photo(
    photo: Photo, faces: Sequence[Box], teacher: Teacher, *, least_px: float = 0.0, one_face: bool = False
) -> tuple[list[Crop], list[Skipped]]:
    """Label the faces of a photo, and say why the others were not.

    Args:
        photo: The photo.
        faces: Its faces, largest first, pixels of the photo.
        teacher: Who labels them.
        least_px: Faces whose box has a shorter side are left out.
        one_face: Only the largest is labelled.
    """
    crops: list[Crop] = []
    skipped = [] if faces else [Skipped("no face")]
    for number, face in enumerate(faces, 1):
        side = _side(face.box_px)
        if one_face and number > 1:
            skipped.append(Skipped("not the largest", face=number))
        elif side < least_px:
            skipped.append(Skipped("small", f"{side:.0f} px", number))
        else:
            label = label_face(photo, face, teacher)
            if isinstance(label, Label):
                crops.append(cut(photo, label, number))
            else:
                skipped.append(Skipped(label.reason, label.detail, number))
    return crops, skipped


def label_face(photo: Photo, face: Box, teacher: Teacher) -> Label | Skipped:
    """The teacher's points of one face, or why there are none."""
    flip = load_layout(FACE_MESH_LAYOUT).flip
    assert flip is not None
    around = Window.from_box(face.box_px, CROP_SCALE, face.roll_rad)
    looks, mirrored = [], []
    for degrees, scale, shift in _LOOKS:
        centre = np.asarray(around.to_image(np.array(shift)), np.float64)
        window = Window(centre, around.side_px * scale, around.roll_rad + math.radians(degrees))
        view = crop(photo.pixels, window.scaled(1 / photo.shrink), _LOOK_PX)
        for mirror in (False, True):
            points = teacher.points(np.ascontiguousarray(view[:, ::-1] if mirror else view))
            if points is None:
                continue
            if mirror:
                points = points[flip] * MIRROR + (_LOOK_PX, 0, 0)
            xy = window.to_image(points[:, :2] * (2 / _LOOK_PX) - 1)
            looks.append(np.column_stack([xy, points[:, 2] * (window.side_px / _LOOK_PX)]))
            mirrored.append(mirror)
    if len(looks) < _LEAST_LOOKS:
        return Skipped("unknown to the teacher", f"{len(looks)} of {2 * len(_LOOKS)} looks found a face")
    label = average(np.array(looks), np.array(mirrored))
    if isinstance(label, Label) and _elsewhere(label, face):
        return Skipped("another face", "the teacher's is not where it was looked for")
    return label


def average(looks: Array, mirrored: npt.NDArray[np.bool_]) -> Label | Skipped:
    """The looks that agree as one label; the mirrored ones weigh as much as the others, however many there are.

    Args:
        looks: (L, 478, 3) pixels of the photo.
        mirrored: (L,) which of them saw the mirrored photo.
    """
    eyes = np.median(looks[:, OUTER_EYES, :2], axis=0)
    inter_ocular = max(float(np.linalg.norm(eyes[1] - eyes[0])), 1e-9)
    off = np.linalg.norm(looks[..., :2] - np.median(looks[..., :2], axis=0), axis=-1).mean(1) / inter_ocular
    agree = off <= max(_MOST_OFF, _MOST_OFF_RATIO * float(np.median(off)))
    halves = looks[agree & ~mirrored], looks[agree & mirrored]
    if agree.sum() < _LEAST_LOOKS or not all(map(len, halves)):
        return Skipped("looks disagree", f"{agree.sum()} of {len(looks)} agree")
    points = (halves[0].mean(0) + halves[1].mean(0)) / 2
    deviations = looks[agree][..., :2] - points[:, :2]
    sd = float(np.sqrt((deviations**2).mean((0, 2))).mean()) / inter_ocular
    if sd > BAD_LABEL_SD:
        return Skipped("looks disagree", f"spread {100 * sd:.1f} % of the inter-ocular distance")
    return Label(points, sd, int(agree.sum()))


def cut(photo: Photo, label: Label, number: int) -> Crop:
    """The crop of a labelled face; `number` is the face's in the photo."""
    face = label.points_px[:FACE_MESH_POINTS, :2]
    low, high = face.min(0), face.max(0)
    side = float((high - low).max())
    window = Window((low + high) / 2, CROP_SCALE * side)
    size = max(1, min(CROP_PX, math.floor(window.side_px / photo.shrink)))  # never enlarged
    pixels = _cropped(photo, window, size)
    corner, scale = window.corners_px()[0], size / window.side_px
    points = (label.points_px - (*corner, 0)) * scale
    photo_box = (np.array([0, 0, *photo.full_size_px]) - np.tile(corner, 2)) * scale
    valid = np.clip(photo_box, 0, size).astype(np.float32)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "WEBP", quality=_QUALITY)
    return Crop(
        webp=encoded.getvalue(),
        landmarks_q64=np.rint(points * 64).astype(np.int16),
        label_sd=label.sd,
        views=label.looks,
        size=size,
        face_px=side,
        grayscale=_is_grey(pixels, valid),
        valid_box=valid,
        thumb=_thumb(photo, Window(window.centre_px, _THUMB_SCALE * side)),
        face=number,
    )


def _cropped(photo: Photo, window: Window, size: int) -> npt.NDArray[np.uint8]:
    """`crop`, of the photo with enough black about it: a window that lies inside is resampled best."""
    window = window.scaled(1 / photo.shrink)
    if window.side_px > 4 * size:  # makes no difference any more, and the black would take memory
        return crop(photo.pixels, window, size)
    corners = window.corners_px()
    low, high = np.floor(corners.min(0)).astype(int) - 1, np.ceil(corners.max(0)).astype(int) + 1
    region = np.zeros((high[1] - low[1], high[0] - low[0], 3), np.uint8)
    height, width = photo.pixels.shape[:2]
    x0, y0, x1, y1 = max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)
    if x0 < x1 and y0 < y1:
        region[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]] = photo.pixels[y0:y1, x0:x1]
    return crop(region, Window(window.centre_px - low, window.side_px), size)


def _thumb(photo: Photo, window: Window) -> npt.NDArray[np.float32]:
    grey = _cropped(photo, window, THUMB_PX).astype(np.float32).mean(2).ravel()
    grey -= grey.mean()
    return grey / max(float(np.linalg.norm(grey)), 1e-6)


def _is_grey(pixels: npt.NDArray[np.uint8], valid: npt.NDArray[np.float32]) -> bool:
    x0, y0, x1, y1 = (round(float(value)) for value in valid)
    inside = pixels[y0:y1, x0:x1]
    return inside.size > 0 and float(np.ptp(inside, axis=2).mean()) < _GREY


def _elsewhere(label: Label, face: Box) -> bool:
    points = label.points_px[:FACE_MESH_POINTS, :2]
    low, high = points.min(0), points.max(0)
    centre, side = (face.box_px[:2] + face.box_px[2:]) / 2, _side(face.box_px)
    off = float(np.linalg.norm((low + high) / 2 - centre)) / side
    ratio = float((high - low).max()) / side
    return off > _ELSEWHERE or not 1 / _LARGER < ratio < _LARGER


def _side(box: Array) -> float:
    return float((box[2:] - box[:2]).max())
