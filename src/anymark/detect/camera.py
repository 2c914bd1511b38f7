"""The camera of a head: its pose and a pinhole lens.

Camera frame: x right, y down, z forward, millimetres. A head that looks into the camera has R_camera_head = FACING.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical.frame import FACING
from anymark.detect.window import Crop
from anymark.errors import AnymarkError

VECTOR = 13
"""Numbers of a crop's camera: R_camera_head row by row, t_camera_head_mm, focal length in half sides of the crop."""

_ORTHONORMAL = 1e-3
_FARTHEST_OFF_AXIS = math.sqrt(2)  # tangent; beyond 55 degrees a plane's stretch has no inverse
_ROUNDS = 30


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera and the head before it: p_px = principal + focal * (X, Y) / Z of R_camera_head @ p_mm + t.

    Raises:
        AnymarkError: a number is not finite, the focal length is not positive, or R_camera_head is no rotation.
    """

    focal_px: float
    principal_px: npt.NDArray[np.float64]
    """(2,) where the optical axis meets the photo, pixels."""
    R_camera_head: npt.NDArray[np.float64]
    """(3, 3) rotation, head frame -> camera frame."""
    t_camera_head_mm: npt.NDArray[np.float64]
    """(3,) the head frame's origin in the camera frame."""

    def __post_init__(self) -> None:
        for key, shape in (("principal_px", (2,)), ("R_camera_head", (3, 3)), ("t_camera_head_mm", (3,))):
            object.__setattr__(self, key, _numbers(key, getattr(self, key), shape))
        object.__setattr__(self, "focal_px", float(_numbers("focal_px", self.focal_px, ())))
        if not self.focal_px > 0:
            raise AnymarkError(f"camera: focal_px must be above 0, not {self.focal_px:g}")
        rotation = self.R_camera_head
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > _ORTHONORMAL or np.linalg.det(rotation) < 0:
            raise AnymarkError(f"camera: R_camera_head {rotation.round(4).tolist()} is no rotation")

    @classmethod
    def of_crop(cls, vector: npt.NDArray[np.floating], crop: Crop) -> Camera:
        """A crop's camera (13,), see `VECTOR`, as one of the photo: its principal point is the crop's middle.

        It sees every point where the crop's camera does if the crop is a square, and nearly so otherwise.
        """
        cos, sin = math.cos(crop.roll_rad), math.sin(crop.roll_rad)
        roll = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        rotation, place = vector[:9].reshape(3, 3).astype(np.float64), vector[9:12].astype(np.float64)
        return cls(float(vector[12]) * crop.side_px / 2, crop.centre_px, roll @ rotation, roll @ place)

    def in_camera_mm(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Head frame (..., 3) -> camera frame (..., 3)."""
        return np.asarray(points_mm, np.float64) @ self.R_camera_head.T + self.t_camera_head_mm

    def project(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Points (..., 3) of the head frame, before the camera -> pixels (..., 2)."""
        seen = self.in_camera_mm(points_mm)
        return self.principal_px + self.focal_px * seen[..., :2] / seen[..., 2:]

    def onto(self, points_mm: npt.ArrayLike, xy_px: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Points (..., 3) of the head frame, each moved across the line of sight so that it projects onto its pixel
        (..., 2)."""
        depth = self.in_camera_mm(points_mm)[..., 2:]
        across = (np.asarray(xy_px, np.float64) - self.principal_px) * depth / self.focal_px
        return (np.concatenate([across, depth], -1) - self.t_camera_head_mm) @ self.R_camera_head

    def about(self, principal_px: npt.ArrayLike) -> Camera:
        """The same head seen by a camera whose principal point lies elsewhere, such as in the middle of the photo.

        The head is turned by the ray between the two points, and the focal length made less, as what is off the axis is
        drawn out: so what lies at this camera's principal point stays where it is, and keeps its size. Points farther
        from it move a little, by the tilt between the two cameras' planes.
        """
        offset = self.principal_px - _numbers("principal_px", principal_px, (2,))
        k = float(np.hypot(*offset)) / self.focal_px
        tangent = 0.0  # of the angle between the rays: tangent / (1 + tangent^2)^(3/4) = k
        for _ in range(_ROUNDS):
            tangent = min(k * (1 + tangent**2) ** 0.75, _FARTHEST_OFF_AXIS)
        focal = self.focal_px * (1 + tangent**2) ** -0.75
        turn = _turn_to(np.append(offset / focal, 1.0))
        principal = self.principal_px - offset
        return Camera(focal, principal, turn @ self.R_camera_head, turn @ self.t_camera_head_mm)

    @property
    def seen_from(self) -> npt.NDArray[np.float64]:
        """(3,) the side that the head is seen from: the unit vector in its frame from its origin to the camera."""
        back = -self.R_camera_head.T @ self.t_camera_head_mm
        return back / max(float(np.linalg.norm(back)), 1e-12)

    @property
    def yaw_pitch_roll_deg(self) -> tuple[float, float, float]:
        """Which way the head is turned: yaw > 0 to the subject's own left, pitch > 0 up, roll > 0 clockwise on screen.

        R_camera_head = FACING @ z(-roll) @ x(-pitch) @ y(yaw); pitch is within a quarter of a turn.
        """
        head = FACING @ self.R_camera_head
        yaw = math.atan2(-head[2, 0], head[2, 2])
        pitch = -math.asin(min(max(head[2, 1], -1.0), 1.0))
        roll = -math.atan2(-head[0, 1], head[1, 1])
        return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, rounded: pixels and millimetres to 1/1000."""
        return {
            "focal_px": round(self.focal_px, 3),
            "principal_px": self.principal_px.round(3).tolist(),
            "R_camera_head": self.R_camera_head.round(6).tolist(),
            "t_camera_head_mm": self.t_camera_head_mm.round(3).tolist(),
        }


def nearest_rotation(matrices: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The rotations (..., 3, 3) that lie nearest to matrices, such as means of rotations."""
    u, _, v = np.linalg.svd(matrices)
    u[..., 2] *= np.linalg.det(u @ v)[..., None]  # no reflection
    return np.asarray(u @ v, np.float64)


def _numbers(what: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
        array = np.array(np.nan)
    if array.shape != shape or not np.isfinite(array).all():
        raise AnymarkError(f"camera: {what} must be {shape or 'a number'}, finite, not {str(value)[:80]}")
    return array


def _turn_to(ray: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(3, 3) the smallest rotation that takes the optical axis to a ray (3,) that looks forward."""
    x, y, z = ray / np.linalg.norm(ray)
    k = 1 / (1 + z)
    return np.array([[1 - x * x * k, -x * y * k, x], [-x * y * k, 1 - y * y * k, y], [-x, -y, z]])
