"""The labels of what the renderer saw: a picture and its head become a sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.canonical.meshes import vertex_normals
from anymark.engine.lens import Lens
from anymark.engine.pixels import look
from anymark.engine.render import Buffers, visible
from anymark.engine.repose import Shot
from anymark.engine.samples import COARSE, Sample

Array = npt.NDArray[np.floating]


def labelled(
    key: str,
    image: npt.NDArray[np.uint8],
    head: CanonicalHead,
    shot: Shot,
    bones_mm: Array,
    buffers: Buffers,
    places_mm: Array,
    record: dict[str, Any],
    *,
    xy_px: Array | None = None,
    sd_mm: Array | None = None,
    occluded: npt.NDArray[np.bool_] | None = None,
    lens: Lens | None = None,
) -> Sample:
    """A square picture (S, S, 3) with the labels of the head that a shot shows.

    Args:
        bones_mm: (B, 3) inside of the head, under the shot's expression.
        buffers: of the head alone, through a pinhole.
        places_mm: (S, S, 3) canonical points of what is seen, through the same; NaN where it is neither head nor hair.
        record: what else the sample's JSON file says.
        xy_px: (V, 2) where the vertices are in the picture; None: at their projections.
        sd_mm: (V,) how far these may be off; None: exact.
        occluded: (S, S) where something lies over the head.
        lens: what image and labels are to be seen through.
    """
    size = len(image)
    placed = shot.vertices_mm @ shot.R_camera_head.T + shot.t_camera_head_mm
    xy = shot.focal_px * placed[:, :2] / placed[:, 2:] + shot.principal_px if xy_px is None else xy_px
    placed = placed.astype(np.float32)
    seen = visible(buffers, placed, vertex_normals(placed, head.triangles))
    if occluded is not None:
        column, row = (np.clip(xy[:, k].astype(int), 0, size - 1) for k in (0, 1))
        seen &= ~occluded[row, column]
    cells = _cells(size, lens)
    camera = {
        "focal_px": float(shot.focal_px),
        "principal_px": [float(v) for v in shot.principal_px],
        "R_camera_head": [[float(v) for v in line] for line in shot.R_camera_head],
        "t_camera_head_mm": [float(v) for v in shot.t_camera_head_mm],
    }
    canonical, part = buffers.canonical_mm[cells], buffers.part[cells]
    covered = np.zeros(part.shape, bool) if occluded is None else occluded[cells]
    said = {**record, **camera}
    places = np.asarray(places_mm, np.float32)[cells]
    sample = Sample(key, image, shot.vertices_mm, bones_mm, xy, seen, canonical, part, covered, places, said, sd_mm)
    return sample if lens is None else _seen_through(lens, sample)


def _cells(size: int, lens: Lens | None) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of a pinhole's picture that the coarse maps hold, each (size / 4, size / 4)."""
    middles = np.arange(size)[COARSE // 2 :: COARSE]
    if lens is None:
        rows, columns = np.meshgrid(middles, middles, indexing="ij")
        return rows, columns
    at = np.clip(lens.grid()[np.ix_(middles, middles)].astype(int), 0, size - 1)
    return at[..., 1], at[..., 0]


def _seen_through(lens: Lens, sample: Sample) -> Sample:
    """A pinhole's picture and points as a lens shows them."""
    xy = lens.distort(sample.xy_px)
    return replace(
        sample,
        image=np.clip(look(sample.image, lens.grid()) + 0.5, 0, 255).astype(np.uint8),
        xy_px=xy,
        visible=sample.visible & (xy >= 0).all(1) & (xy <= lens.size).all(1),
        record={**sample.record, "distortion_k": lens.k},
    )
