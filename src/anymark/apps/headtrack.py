"""Monocular head tracking: a rig's pose, identity and expressions fitted to the dense map of each frame
(DenseMarks), without drawing anything: the map says in which pixel each point of the rig is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anymark.apps.capture import Capture, CaptureSettings, View, capture
from anymark.apps.correspond import Finder
from anymark.apps.rigs import RigOnHead
from anymark.canonical import Layout, load_layout
from anymark.detect.dense import LEAST_HEAD, DenseMap
from anymark.fit import Points

Floats = npt.NDArray[np.floating]

LAYOUT = "dense-5k"
"""The points of the head that are looked for."""

NEAR_MM = 6.0
"""A point that nothing in the map lies nearer to is hidden."""


def seen_in(dense: DenseMap | None, layout: Layout) -> tuple[Floats, Floats]:
    """Where a map shows the points of a layout: (L, 2) pixels, and (L,) sigmas in pixels, infinite for those that it
    does not show. Without a map, or a head in it, NaN."""
    count = len(layout)
    if dense is None or not (dense.head > LEAST_HEAD).any():
        return np.full((count, 2), np.nan), np.full(count, np.inf)
    found = Finder(dense)(layout.points_mm)
    shown = found.near(NEAR_MM)
    jacobian = dense.gradient(found.xy_px)
    mm_per_px = np.sqrt(np.linalg.eigvalsh(np.einsum("nki,nkj->nij", jacobian, jacobian)).clip(min=1e-6)[:, 0])
    if shown.any():  # where the map jumps from one surface to another, nothing is surer than elsewhere
        mm_per_px = np.minimum(mm_per_px, np.median(mm_per_px[shown]))
    sigma = np.hypot(found.sigma_mm, found.gap_mm) / mm_per_px
    return found.xy_px, np.where(shown, sigma, np.inf)


def view_of(maps: Sequence[DenseMap | None], layout: Layout, focal_px: float, principal_px: npt.ArrayLike) -> View:
    """What one camera, with one lens, saw of a layout in T frames, by their maps; None where there is no head."""
    seen = [seen_in(dense, layout) for dense in maps]
    xy, sigma = (np.stack(each) for each in zip(*seen, strict=True))
    return View.alone(xy, sigma, focal_px, principal_px)


def tracked_points(rig: RigOnHead) -> tuple[Points, Layout]:
    """What a rig is tracked by: the points of `LAYOUT` that lie on it, on the rig and on the canonical head.

    Raises:
        AnymarkError: none does.
    """
    layout = load_layout(LAYOUT)
    points, on = rig.points_of(layout)
    return points, Layout("tracked", layout.points_mm[on])


def track_head(
    maps: Sequence[DenseMap | None],
    rig: RigOnHead,
    focal_px: float,
    principal_px: npt.ArrayLike,
    settings: CaptureSettings | None = None,
) -> Capture:
    """A rig through T frames of a clip.

    Args:
        maps: of each frame; None where there is no head.
        rig: on the canonical head.
        focal_px: of the clip. principal_px: (2,) where its optical axis is.

    Raises:
        AnymarkError: nothing of the layout lies on the rig, or no frame shows the head.
    """
    points, asked = tracked_points(rig)
    return capture(rig.rig, points, [view_of(maps, asked, focal_px, principal_px)], settings)
