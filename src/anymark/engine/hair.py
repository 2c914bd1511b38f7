"""Hair as a cap over the scalp: a surface of its own above the skull, so that heads are not skull-shaped from aside."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from anymark.canonical.meshes import vertex_normals
from anymark.engine.pixels import Floats, sample
from anymark.engine.texture import Atlas, Source

Array = npt.NDArray[np.floating]

MOST_MM = 60.0
"""Of hair above the skull."""
USUAL_MM = 16.0
"""Where a photo does not show how much."""

_RISE_MM = 28.0  # from the hairline to where the cap has its full height
_STEP_MM = 4.0
_TOP = 0.35  # height of the upward normals from which the hair of a photo is measured
_ASIDE = 0.5  # cosine to the line of sight, of normals along which a photo shows how high the hair is


class Cap:
    """The part of an atlas's head that hair grows on."""

    def __init__(self, atlas: Atlas) -> None:
        head = atlas.head
        self._part = head.part_names.index("scalp")
        scalp = head.part[atlas.triangles] == self._part
        self.triangles = head.triangles[atlas.triangles[scalp]]
        """(T, 3) ids of the head's vertices."""
        self.uv = atlas.uv[scalp]
        self.head = head
        self.ids = np.unique(self.triangles)

    @cached_property
    def rise(self) -> npt.NDArray[np.float32]:
        """(V,) from 0 at the hairline to 1; 0 off the scalp."""
        places = self.head.vertices_mm
        rim = np.intersect1d(self.ids, self.head.triangles[self.head.part != self._part])
        distance = np.linalg.norm(places[self.ids, None] - places[rim], axis=-1).min(1) / _RISE_MM
        t = np.clip(distance, 0, 1)
        out = np.zeros(len(places), np.float32)
        out[self.ids] = t * t * (3 - 2 * t)
        return out

    def raised(self, vertices_mm: Array, thickness_mm: float) -> npt.NDArray[np.float32]:
        """The head's vertices (V, 3), head frame, with those of the scalp lifted: uneven, as hair is."""
        height = thickness_mm * self.rise * self.waves
        return (vertices_mm + vertex_normals(vertices_mm, self.head.triangles) * height[:, None]).astype(np.float32)

    @cached_property
    def waves(self) -> npt.NDArray[np.float32]:
        """(V,) about 1: neighbours alike, the same for all heads."""
        rng = np.random.default_rng(0)
        turns = (self.head.vertices_mm / 100) @ rng.normal(0, 2.5, (3, 4)) + rng.uniform(0, 2 * np.pi, 4)
        return (1 + 0.35 * np.sin(turns).mean(1)).astype(np.float32)

    def measure(self, source: Source) -> float | None:
        """How high the hair stands above the skull in a photo, millimetres, from where the person ends; None where the
        photo ends before."""
        at, normals = source.vertices_camera_mm[self.ids], source.normals[self.ids]
        towards = -at / np.linalg.norm(at, axis=1, keepdims=True)
        chosen = (np.abs((normals * towards).sum(1)) < _ASIDE) & (normals[:, 1] < -_TOP) & (self.rise[self.ids] > 0.5)
        steps = np.arange(_STEP_MM, MOST_MM + _STEP_MM, _STEP_MM)
        points = at[chosen] + steps[:, None, None] * normals[chosen]
        xy = source.principal_px + source.focal_px * points[..., :2] / points[..., 2:]
        x0, y0, x1, y1 = source.valid_box_px
        inside = (xy[..., 0] > x0) & (xy[..., 0] < x1) & (xy[..., 1] > y0) & (xy[..., 1] < y1)
        matte: Floats = sample(source.matte, xy.reshape(-1, 2)).reshape(inside.shape)
        total = inside.sum(1)
        covered = (matte * inside).sum(1) / np.maximum(total, 1) > 0.5
        shown = total >= 0.3 * max(1, int(chosen.sum()))
        ends = np.flatnonzero(~covered | ~shown)
        if len(ends) == 0:
            return MOST_MM
        return float(steps[ends[0]] - _STEP_MM) if shown[ends[0]] else None
