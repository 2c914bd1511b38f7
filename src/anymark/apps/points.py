"""Points of one's own: pixels that somebody clicked become canonical points, which any photo can be asked for.

Continuous Landmark Detection, section 4.2: a mole is pointed at in a frame, or in a few, and found in all the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.apps.head_pixels import HeadPixels
from anymark.apps.queries import NOISE, Array, View, least_squares
from anymark.canonical import CanonicalHead, Layout
from anymark.canonical.face_mesh import OUTER_EYES
from anymark.canonical.frame import into_cube
from anymark.detect.detector import Head
from anymark.errors import AnymarkError

OFF_SURFACE_MM = 2.0
"""How far a point is expected to lie off the surface; one view says nothing of its depth. On renders of training people
points end within 0.5 mm of it all the same, and less would keep some at the outline from where they were clicked."""

_ALONG_MM = 1e3  # along the surface it goes where it was seen
_LONGEST_MM = 8.0  # that a point moves in a round


@dataclass(frozen=True, eq=False)
class Click:
    """An encoded head and what was clicked on its photo."""

    head: Head
    xy_px: npt.NDArray[np.floating]
    """(N, 2) the same points in all clicks, pixels of the photo; NaN where a point was not clicked."""
    frame: int = 0
    """Index of the frame, in a clip."""


@dataclass(frozen=True, eq=False)
class Picked:
    """N points that were clicked."""

    points_mm: Array
    """(N, 3) on the canonical head."""
    off_head_px: Array
    """(N,) how far outside of the head they were clicked, the farthest of their clicks; 0 on the head."""
    off_head_mm: Array
    """(N,) the same at the head's distance."""
    uncovered: Array
    """(N,) 0..1, how likely they are seen where they were clicked, the least of it."""
    error_px: Array
    """(N,) how far from its clicks, or from the head's nearest place to them, each point is found, the mean."""


def pick(clicks: Sequence[Click], near_surface: bool = True, like: Layout | None = None) -> Picked:
    """The canonical points that the model finds where they were clicked.

    A first guess is what of the predicted head lies under the pixel; then query optimisation over all clicks of a
    point. A click beside the head counts as one on the nearest place that shows it.

    Args:
        clicks: At least one, all with as many points.
        near_surface: Keep points within about `OFF_SURFACE_MM` of the head's surface. Otherwise they may leave it as
            far as several views ask for, for beards, glasses or teeth behind the lips.
        like: The layout that the points will be asked together with, whose data set code moves them, too.

    Raises:
        ValueError: no clicks.
        AnymarkError: clicks differ in the number of points, one is infinite, or a point was never clicked.
    """
    if not clicks:
        raise ValueError("picking points needs at least one click")
    seen = _checked(clicks)
    guesses = [_under(click) for click in clicks]
    first = seen.argmax(0)  # the first click that has the point
    index = np.arange(seen.shape[1])
    start = np.stack([guess.points_mm for guess in guesses])[first, index]
    axes = np.stack([guess.axes for guess in guesses])[first, index]
    labels = [guess.xy_px for guess in guesses]
    if not near_surface:  # what stands out of the head may be seen beside it
        labels = [np.asarray(click.xy_px, np.float64) for click in clicks]
    views = [View(click.head, xy, eyes_px(click.head)) for click, xy in zip(clicks, labels, strict=True)]
    layout = Layout("clicked", start, **_code_of(like))

    def answers(by: Array) -> tuple[Array, Array]:
        points = start + np.einsum("nij,ni->nj", axes, by)
        found = [view.answers_and_slopes(layout, points) for view in views]
        residuals = np.stack([answer - view.labels for (answer, _), view in zip(found, views, strict=True)])
        return residuals, np.stack([np.einsum("nrj,nij->nri", slope, axes) for _, slope in found])

    off = OFF_SURFACE_MM if near_surface else _ALONG_MM
    by, _ = least_squares(answers, len(start), (NOISE / np.array([_ALONG_MM, _ALONG_MM, off])) ** 2, _LONGEST_MM)
    points = into_cube(start + np.einsum("nij,ni->nj", axes, by))
    found = replace(layout, points_mm=points)
    answers_px = [click.head.query(found).xy_px for click in clicks]
    apart = np.stack([np.linalg.norm(at - xy, axis=1) for at, xy in zip(answers_px, labels, strict=True)])
    off_px, off_mm = (np.nanmax([getattr(g, key) for g in guesses], axis=0) for key in ("off_px", "off_mm"))
    seen = np.nanmin([guess.uncovered for guess in guesses], axis=0)
    return Picked(points, off_px, off_mm, seen, np.nanmean(apart.astype(np.float64), axis=0))


@dataclass(frozen=True, eq=False)
class _Guess:
    """What lies under N pixels; NaN where there is no pixel."""

    xy_px: Array
    """(N, 2) the pixels; those beside the head are taken to the nearest one that shows it."""
    points_mm: Array
    """(N, 3)"""
    axes: Array
    """(N, 3, 3) rows: two directions along the surface, and the one out of it."""
    off_px: Array
    """(N,) distance to the nearest pixel that shows the head."""
    off_mm: Array
    """(N,) the same at the head's distance."""
    uncovered: Array
    """(N,) 0..1, how likely it is seen."""


def _under(click: Click) -> _Guess:
    """Where the predicted head is under each pixel."""
    head, landmarks = CanonicalHead.load(), click.head.query("head")
    pixels = HeadPixels.of(landmarks, click.head.image_size_px, within=False)
    xy = np.array(click.xy_px, np.float64)
    here = np.flatnonzero(np.isfinite(xy).all(1))
    row, column, off = pixels.nearest(xy[here])
    beside = np.flatnonzero(off > 0)
    xy[here[beside]] = np.column_stack([column, row])[beside] + 0.5 + pixels.box_px[:2]
    corners = head.triangles[pixels.raster.triangle[row, column]]
    weights = pixels.raster.weights[row, column].astype(np.float64)
    vertices = head.vertices_mm[corners].astype(np.float64)
    a, b, c = np.moveaxis(vertices, 1, 0)
    along, out = (
        v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (b - a, np.cross(b - a, c - a))
    )
    mm_per_px = landmarks.camera.t_camera_head_mm[2] / landmarks.camera.focal_px
    guess = _Guess(
        xy_px=xy,
        points_mm=np.full((len(xy), 3), np.nan),
        axes=np.full((len(xy), 3, 3), np.nan),
        off_px=np.full(len(xy), np.nan),
        off_mm=np.full(len(xy), np.nan),
        uncovered=np.full(len(xy), np.nan),
    )
    guess.points_mm[here] = np.einsum("nk,nkd->nd", weights, vertices)
    guess.axes[here] = np.stack([along, np.cross(out, along), out], 1)
    guess.off_px[here], guess.off_mm[here] = off, off * mm_per_px
    guess.uncovered[here] = pixels.uncovered[row, column]
    return guess


def _code_of(layout: Layout | None) -> dict[str, Any]:
    """Whose annotators' points a layout's are, as its arguments."""
    return {} if layout is None else {"code": layout.code, "model": layout.model}


def _checked(clicks: Sequence[Click]) -> npt.NDArray[np.bool_]:
    """(C, N) which click has which point."""
    shapes = {np.shape(click.xy_px) for click in clicks}
    if len(shapes) > 1 or any(len(shape) != 2 or shape[1] != 2 or shape[0] == 0 for shape in shapes):
        raise AnymarkError(f"clicks must all be (N, 2) pixels, not {', '.join(map(str, sorted(shapes)))}")
    xy = np.stack([np.asarray(click.xy_px, np.float64) for click in clicks])
    if np.isinf(xy).any():
        raise AnymarkError(f"point {np.flatnonzero(np.isinf(xy).any((0, 2)))[0]}: a click must be finite")
    seen: npt.NDArray[np.bool_] = np.isfinite(xy[..., 0]) & np.isfinite(xy[..., 1])
    if not seen.any(0).all():
        raise AnymarkError(f"point {np.flatnonzero(~seen.any(0))[0]} was never clicked")
    return seen


def eyes_px(head: Head) -> float:
    """Distance of the outer corners of the eyes in 3D, in pixels at the head's distance."""
    right, left = head.face.xyz_mm[list(OUTER_EYES)]
    return float(np.linalg.norm(right - left)) * head.camera.focal_px / float(head.camera.t_camera_head_mm[2])
