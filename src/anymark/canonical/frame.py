"""The canonical frame: where every point of anymark's head is named.

Right-handed, millimetres, +x = the subject's left, +y up, +z out of the face. The origin is that of ICT-FaceKit's
neutral head, about between the ears. One fixed affine map takes the head, with a margin for hair, to the unit cube
`uvw`. This module is the only one that knows the numbers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CUBE_CENTRE_MM = (0.0, -20.0, 20.0)
"""The point of the head frame that maps to the middle of the unit cube."""

CUBE_SIDE_MM = 400.0
"""Side of the unit cube in millimetres; the same along all axes, so that `uvw` keeps angles."""

FACING = np.diag([1.0, -1.0, -1.0])
"""R_camera_head of a head that looks into the camera: x right, y down, z forward against x left, y up, z out."""

MIRROR = np.array([-1.0, 1.0, 1.0])
"""Times a point: its image on the other side of the head, which is symmetric."""


def mm_to_uvw(points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Head frame in millimetres (..., 3) -> unit cube (..., 3). The head lies inside [0, 1]."""
    return (np.asarray(points_mm, np.float64) - CUBE_CENTRE_MM) / CUBE_SIDE_MM + 0.5


def uvw_to_mm(points_uvw: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Unit cube (..., 3) -> head frame in millimetres (..., 3); the inverse of `mm_to_uvw`."""
    return (np.asarray(points_uvw, np.float64) - 0.5) * CUBE_SIDE_MM + CUBE_CENTRE_MM


def into_cube(points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Head frame in millimetres (..., 3) -> the nearest points in the unit cube: no others can be asked for."""
    return uvw_to_mm(np.clip(mm_to_uvw(points_mm), 0, 1))
