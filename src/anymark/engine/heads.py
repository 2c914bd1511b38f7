"""The canonical head on a rig: posed by coefficients, its eyes turned, ready to be drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.fit import Eye, Rig

Array = npt.NDArray[np.floating]

IRIS_MM = 5.9
"""Radius of an iris."""


def canonical_rig(rig: Rig, head: CanonicalHead) -> Rig:
    """A rig of ICT-FaceKit with the canonical head's vertices and triangles instead of its own."""
    ids = head.ict_vertices
    eyes = []
    for side in ("right", "left"):
        ball = head.vertices_of(f"{side} eye")
        iris = head.vertices_of(f"{side} iris")
        offset = head.vertices_mm[iris, :2] - head.vertices_mm[iris, :2].mean(0)
        radius = np.hypot(*offset.T)
        eyes.append(Eye(ball, iris[radius > 0.9 * radius.max()]))
    parts = {name: head.vertices_of(name) for name in head.part_names}
    shapes = rig.identity_mm[:, ids], rig.expression_mm[:, ids]
    return Rig(rig.neutral_mm[ids], *shapes, rig.expression_names, head.triangles, parts, {}, (eyes[0], eyes[1]))
