"""Several looks at one head: crops a little apart, each of them mirrored too, and what they say together.

What a network says of a head wanders with the picture's pixels and noise, and leans to one side; the mean of several
looks does so less. Their crops lie evenly about one, so that to the first order the mean is about that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anymark.canonical import Layout
from anymark.canonical.frame import MIRROR
from anymark.detect.camera import Camera, nearest_rotation
from anymark.detect.landmarker import Answer, Floats, Landmarker
from anymark.detect.window import Crop, Window

LOOKS = (1, 2, 4, 8)
"""How many there may be."""

_SHIFT = 0.02  # in sides of the crop
_APART = {1: ((0, 0),), 2: ((1, 0), (-1, 0)), 4: ((1, 1), (-1, 1), (1, -1), (-1, -1))}
"""Crops -> how each is shifted in x and y. They sum to 0, and mirrored they are the same."""


@dataclass(frozen=True, eq=False)
class Look:
    """What the network made of one crop of a head."""

    code: Floats
    """(K, 5) or (D,)."""
    camera_vector: Floats
    """(13,) its camera; see `anymark.detect.camera.VECTOR`."""
    crop: Crop
    """What it saw, pixels of the photo."""
    mirrored: bool
    """Whether it saw that mirrored, left for right."""

    @cached_property
    def camera(self) -> Camera:
        """Of the photo, not mirrored."""
        vector = self.camera_vector
        if self.mirrored:
            rotation = MIRROR[:, None] * vector[:9].reshape(3, 3) * MIRROR
            vector = np.concatenate([rotation.ravel(), MIRROR * vector[9:12], vector[12:]])
        return Camera.of_crop(vector, self.crop)


def crops_about(crop: Crop, looks: int) -> list[Crop]:
    """The crops of so many looks, half as many where each is mirrored too."""
    shifts = _APART[max(1, looks // 2)]
    return [crop.part([[1, 0, 2 * _SHIFT * x], [0, 1, 2 * _SHIFT * y]]) for x, y in shifts]


def read(landmarker: Landmarker, looks: Sequence[Look], camera: Camera, crop: Crop, layout: Layout) -> Answer:
    """What looks at one head say of a layout together, in coordinates of the crop that they lie about; points in 3D are
    where its camera, `camera_of`, sees them there. Sigma is calibrated for one look: for several, a little too large.

    Raises:
        AnymarkError: as `Landmarker.landmarks`.
    """
    answers = (landmarker.landmarks(look.code, look.camera_vector, layout, look.mirrored) for look in looks)
    if len(looks) == 1:
        return next(answers)
    n, size = len(layout), np.float32(len(looks))
    xy, sigma, uncovered, xyz_mm = (np.zeros((n, *shape), np.float32) for shape in ((2,), (), (), (3,)))
    canonical_mm = layout.points_mm
    for look, answer in zip(looks, answers, strict=True):  # sums: there may be millions of points
        xy += (answer.xy + crop.to_crop(look.crop.centre_px)) / size  # crops are shifted alone
        sigma += answer.sigma / size
        uncovered += answer.uncovered / size
        xyz_mm += answer.xyz_mm / size
        canonical_mm = answer.canonical_mm
    square = Window(crop.centre_px, crop.side_px, crop.roll_rad)  # that the camera is of
    return Answer(xy, sigma, uncovered, camera.onto(xyz_mm, square.to_image(xy)).astype(np.float32), canonical_mm)


def camera_of(looks: Sequence[Look], crop: Crop) -> Camera:
    """The camera of looks at one head together: its principal point is the middle of the crop that they lie about."""
    if len(looks) == 1:
        return looks[0].camera
    cameras = [look.camera.about(crop.centre_px) for look in looks]
    rotation = nearest_rotation(np.mean([camera.R_camera_head for camera in cameras], 0))
    focal_px = float(np.exp(np.mean([np.log(camera.focal_px) for camera in cameras])))
    # how large and where a head appears is better known than how far off it is
    place = np.mean([camera.t_camera_head_mm / camera.focal_px for camera in cameras], 0)
    return Camera(focal_px, crop.centre_px, rotation, place * focal_px)
