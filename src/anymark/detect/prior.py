"""What the query model knows of a head, as a map: the head that it found, drawn into the square that a dense model
reads. The dense model starts from it, and says how the pixels differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.detect.mesh import HeadMesh
from anymark.detect.raster import rasterise
from anymark.detect.window import Crop

Floats = npt.NDArray[np.float32]

CHANNELS = 4
"""Of a prior: u, v, w, and how far a pixel is beside the head, in sides of the square; 1 at most."""
STRIDE = 4
"""Pixels of the picture to one of its prior."""
MIDDLE = (0.5, 0.5, 0.5, 1.0)
"""What every pixel of a prior says where no head is known: the middle of the cube, far from everything."""

_CELLS_AT_ONCE = 1024  # bounds memory


def no_prior(side: int) -> Floats:
    """(4, side, side) the prior of a picture whose head nobody knows."""
    return np.broadcast_to(np.array(MIDDLE, np.float32)[:, None, None], (CHANNELS, side, side)).copy()


def prior_of(mesh: HeadMesh, square: Crop, side: int) -> Floats:
    """(4, side, side) the surface of a head, as its camera sees it, in a square of the photo.

    Beside the head a pixel has what the nearest one on it has: hair is named by what it hides or hangs by.
    """
    camera = mesh.camera
    depth_mm = camera.in_camera_mm(mesh.vertices_mm)[:, 2]
    cells = (square.to_crop(camera.project(mesh.vertices_mm)) + 1) * (side / 2)
    drawn = rasterise(cells, depth_mm, mesh.triangles, (side, side))
    on = drawn.triangle >= 0
    if not on.any():
        return no_prior(side)
    uvw = drawn.of_vertices(CanonicalHead.load().vertices_uvw(), mesh.triangles)
    away = _beside(uvw, on)
    return np.concatenate([uvw, np.minimum(away / side, 1)[..., None]], -1).transpose(2, 0, 1).astype(np.float32)


def _beside(uvw: Floats, on: npt.NDArray[np.bool_]) -> Floats:
    """Give pixels beside the head what the nearest one on it has; returns how far off that is, in pixels."""
    inner = np.pad(on, 1)
    edge = on & ~(inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:])
    theirs, ours = (np.argwhere(which).astype(np.float32) for which in (edge, ~on))
    away = np.zeros(on.shape, np.float32)
    for i in range(0, len(ours), _CELLS_AT_ONCE):
        some = ours[i : i + _CELLS_AT_ONCE]
        squared = (some**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * some @ theirs.T
        nearest = squared.argmin(1)
        at, of = some.astype(int).T, theirs[nearest].astype(int).T
        uvw[at[0], at[1]] = uvw[of[0], of[1]]
        away[at[0], at[1]] = np.sqrt(np.maximum(squared[np.arange(len(some)), nearest], 0))
    return away
