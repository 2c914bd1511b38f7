"""Eyeballs turned so that their irises lie where they were seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.fit.problem import exponential
from anymark.fit.rig import Rig
from anymark.fit.solve import Fit

Array = npt.NDArray[np.floating]

FARTHEST_RAD = np.radians(40.0)
"""Eyes turn no further."""


def aim_eyes(rig: Rig, fit: Fit, vertices_mm: Array, irises_px: npt.ArrayLike) -> Array:
    """The rotation of each eyeball that brings the middle of its iris onto a pixel.

    The middle of the iris moves on a sphere about that of the eyeball; it is put where the pixel's ray enters the
    sphere, or nearest to it.

    Args:
        vertices_mm: (B, V, 3) the fitted heads' vertices, their eyes straight ahead.
        irises_px: (B, 2, 2) middle of the subject's right iris, then of the left; NaN leaves an eye straight.

    Returns:
        (B, 2, 3, 3) R_head_eye; the identity is straight ahead.

    Raises:
        AnymarkError: the rig has no eyes, or shapes disagree.
    """
    irises = np.asarray(irises_px, np.float64)
    if rig.eyes is None:
        raise AnymarkError("this rig has no eyes")
    if irises.shape != (len(fit), 2, 2):
        raise AnymarkError(f"irises must be ({len(fit)}, 2, 2), not {irises.shape}")
    rays = (irises - fit.camera.principal_px[:, None]) / fit.camera.focal_px[:, None, None]
    rays = np.concatenate([rays, np.ones((len(fit), 2, 1))], 2) @ fit.R_camera_head  # rows times R = R^T times columns
    origin = -np.einsum("bji,bj->bi", fit.R_camera_head, fit.t_camera_head_mm)  # the camera in the head frame
    turns = np.tile(np.eye(3), (len(fit), 2, 1, 1))
    for side, eye in enumerate(rig.eyes):
        centre = eye.centre_mm(vertices_mm).astype(np.float64)
        rest = vertices_mm[:, eye.iris].mean(1) - centre
        radius = np.linalg.norm(rest, axis=1)
        ray = rays[:, side] / np.linalg.norm(rays[:, side], axis=1, keepdims=True)
        along = ((centre - origin) * ray).sum(1)
        nearest = origin + along[:, None] * ray - centre
        off = np.linalg.norm(nearest, axis=1)
        back = np.sqrt(np.maximum(radius**2 - off**2, 0.0))
        to = nearest * np.minimum(1.0, radius / np.maximum(off, 1e-9))[:, None] - back[:, None] * ray
        turns[:, side] = turn_between(rest, to)
    turns[~np.isfinite(turns).all((2, 3))] = np.eye(3)
    return turns


def turn_between(start: Array, end: Array, most_rad: float = FARTHEST_RAD) -> Array:
    """The smallest rotations (B, 3, 3) from directions (B, 3) towards others, by `most_rad` at most."""
    a = start / np.linalg.norm(start, axis=1, keepdims=True)
    b = end / np.linalg.norm(end, axis=1, keepdims=True)
    cross, cos = np.cross(a, b), (a * b).sum(1)
    sin = np.linalg.norm(cross, axis=1)
    angle = np.minimum(np.arctan2(sin, cos), most_rad)
    return exponential(cross * (angle / np.maximum(sin, 1e-12))[:, None])


def turned_eyes(rig: Rig, vertices_mm: Array, turns: Array) -> Array:
    """Vertices (B, V, 3) with their eyeballs turned by (B, 2, 3, 3)."""
    out = vertices_mm.copy()
    for side, eye in enumerate(rig.eyes or ()):
        centre = eye.centre_mm(vertices_mm)[:, None]
        ball = vertices_mm[:, eye.vertices] - centre
        out[:, eye.vertices] = ball @ turns[:, side].swapaxes(1, 2).astype(ball.dtype) + centre
    return out
