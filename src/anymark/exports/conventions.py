"""What other programs call pixels, axes, rotations and lenses; ours are those of docs/conventions.md.

Ours: pixels from the outer corner of the top-left pixel, y down; camera x right, y down, z forward; millimetres.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

Y_UP = np.diag([1.0, -1.0, -1.0])
"""Our camera's axes -> x right, y up, z backward, as cameras of USD, Blender and OpenGL have it."""

Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""Our camera's axes -> a world in which z is up and the camera looks along y, as Blender's front view does."""

FILM_BACK_MM = 36.0
"""Width that the picture has on the film; any would do, as only its ratio to the focal length shows."""


class Lens(NamedTuple):
    """A pinhole as programs with a film back have it, of R rows; all in millimetres on the film."""

    focal_mm: Array
    """(R,)"""
    right_mm: Array
    """(R,) how far the film's middle lies right of the optical axis, as one looks through the camera."""
    up_mm: Array
    """(R,) how far it lies above."""


def lens(focal_px: Array, principal_px: Array, size_px: tuple[int, int]) -> Lens:
    """A lens before a film back as wide as `FILM_BACK_MM`.

    Args:
        focal_px: (R,)
        principal_px: (R, 2)
        size_px: Width and height of the picture.
    """
    mm_per_px = FILM_BACK_MM / size_px[0]
    right, down = (np.array(size_px) / 2 - principal_px).T * mm_per_px
    return Lens(focal_px * mm_per_px, right, -down)


def from_bottom(xy_px: Array, height: int) -> Array:
    """Pixels (..., 2) -> from the outer corner of the bottom-left pixel, y up: Nuke."""
    return np.stack([xy_px[..., 0], height - xy_px[..., 1]], -1)


def normalised(xy_px: Array, size_px: tuple[int, int]) -> Array:
    """Pixels (..., 2) -> 0..1 from the picture's bottom-left corner to its top-right one: mmSolver."""
    return from_bottom(xy_px, size_px[1]) / np.array(size_px)


def centred(xy_px: Array, first: int) -> Array:
    """Pixels (..., 2) -> where whole numbers are pixel centres, (first, first) that of the top-left one.

    First is 0 with OpenCV, 1 in .pts files of 300-W.
    """
    return xy_px + (first - 0.5)


def quaternions(rotations: Array) -> Array:
    """Rotations (R, 3, 3) -> (R, 4) unit quaternions w, x, y, z; from row to row they do not jump to their negatives.

    The largest of the four is worked out first, so that half turns, at which w is 0, are as good as any.
    """
    m = np.asarray(rotations, np.float64)
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    x, y, z = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    products = np.stack(  # 4 q q^T
        [
            np.stack([1 + xx + yy + zz, x, y, z], 1),
            np.stack([x, 1 + xx - yy - zz, xy, xz], 1),
            np.stack([y, xy, 1 - xx + yy - zz, yz], 1),
            np.stack([z, xz, yz, 1 - xx - yy + zz], 1),
        ],
        1,
    )
    largest = np.argmax(np.diagonal(products, axis1=1, axis2=2), 1)
    found = products[np.arange(len(m)), largest]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    if len(found):
        found[0] *= 1 if found[0, 0] >= 0 else -1
    turned_over = np.where((found[1:] * found[:-1]).sum(1) < 0, -1.0, 1.0)
    found[1:] *= np.cumprod(turned_over)[:, None]
    return found


def rotation_vectors(rotations: Array) -> Array:
    """Rotations (R, 3, 3) -> (R, 3) axes times angles in radians, 0 to pi, as OpenCV's Rodrigues has them."""
    q = quaternions(rotations)
    q *= np.where(q[:, :1] < 0, -1.0, 1.0)
    sine = np.linalg.norm(q[:, 1:], axis=1)
    angle = 2 * np.arctan2(sine, q[:, 0])
    return q[:, 1:] * (angle / np.maximum(sine, 1e-300))[:, None]


def plain(value: float, digits: int = 4) -> str:
    """A number without exponent, nor zeros at its end: formats of text lines do not all read 1e-05."""
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
