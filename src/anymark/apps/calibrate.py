"""Layouts that learn from annotated photos where annotators put their points.

What is fitted, as `anymark.apps.queries` does it, is

- the points, each by itself, on the skin or off it: query optimisation (Continuous Landmark Detection, section 4.2);
- with them, if the photos ask for it, how they slide as the head turns (`Layout.slides_mm`);
- or the data set code, the few numbers by which the model's deformer moves all points together.

How well a layout does on photos that it did not learn from is told by leaving out each head in turn: not by as many
fits, but by one step of Newton's without that head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from anymark.apps.queries import NOISE, View, least_squares, lengths
from anymark.canonical import Layout, load_layout
from anymark.canonical.frame import into_cube
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]
Moving = Literal["points", "code", "both"]

PRIORS_MM = (15.0, 5.0, 2.0)
"""How far points may be expected to move, standard deviations; the one is taken that serves heads left out best. The
first lets the photos decide all but what they do not show, the depth of a point that was seen from one side alone; the
last makes the most of two or three photos where the layout nearly fits."""

SLIDE_MM = 7.0
"""How far a point is expected to slide on a head that turns into profile. With it, simulated annotators who follow the
outline of the face are met better from ten photos on, and no worse with five."""

LEAST_GAIN = 0.01
"""Of the error of heads left out: what lowers it by less does not help. Points slide only if that does."""

CANDIDATES = ("mediapipe478", "dense-5k")
"""Layouts whose points a layout that is made from scratch starts from."""

CODE_STEP = 0.05
"""A step of the numbers of a data set code, which are about 1."""

_LONGEST_MM, _LONGEST_CODE = 8.0, 1.0  # that a point, or a code, moves in a round


@dataclass(frozen=True, eq=False)
class Fit:
    """A layout that was fitted to heads."""

    layout: Layout
    left_out: Array
    """(V, N, 2) residuals on each head of a layout that was fitted to the others alone; NaN where there is no label."""

    @property
    def error_left_out(self) -> float:
        """Mean distance to the labels of heads left out."""
        return float(np.nanmean(lengths(self.left_out)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """A layout that was fitted to V annotated heads, and how well it explains their N labels each.

    Errors are distances of answers to labels, fractions of the heads' lengths; NaN where a point is not labelled.
    """

    layout: Layout
    before: Array
    """(V, N) errors at the start."""
    after: Array
    """(V, N) at the end."""
    left_out: Array
    """(V, N) of each head by what the others alone say: what to expect on other photos, or a little less, as the best
    of four fits was chosen by it."""
    moved_mm: Array
    """(N,) how far the answers moved, in the head frame; the mean over the heads."""

    @property
    def errors(self) -> tuple[float, float, float]:
        """Means of `before`, `after` and `left_out`."""
        before, after, left_out = (float(np.nanmean(each)) for each in (self.before, self.after, self.left_out))
        return before, after, left_out


def calibrate(views: Sequence[View], layout: Layout | None, name: str, move: Moving = "points") -> Calibration:
    """Fit a layout to annotated heads.

    Args:
        views: annotated heads, at least one.
        layout: where to start; None starts each point from the nearest of the shipped dense layouts' points.
        name: what the labels are called; the result is named after it where no layout is given.
        move: the points, the layout's data set code, or first the code and then the points.

    Raises:
        ValueError: no views.
        AnymarkError: labels and layout differ in the number of points, a label is infinite, a point that no layout
            places is labelled nowhere, or an answer of the networks is not finite.
    """
    if not views:
        raise ValueError("calibration needs at least one annotated head")
    count = len(views[0].labels_px)
    if layout is not None and len(layout) != count:
        raise AnymarkError(f"layout {layout.name!r} has {len(layout)} points, {name} labels {count}")
    if layout is None:
        layout = first_guess(views, name)
    fit = _best_points(views, layout) if move == "points" else fit_code(views, layout)
    if move == "both":
        fit = _best_points(views, fit.layout)
    found = replace(fit.layout, name=f"{layout.name}-calibrated")
    moved = [lengths(view.head.query(found).xyz_mm - view.head.query(layout).xyz_mm) for view in views]
    return Calibration(
        layout=found,
        before=np.stack([lengths(view.answers(layout) - view.labels) for view in views]),
        after=np.stack([lengths(view.answers(found) - view.labels) for view in views]),
        left_out=lengths(fit.left_out),
        moved_mm=np.mean(moved, axis=0),
    )


def _best_points(views: Sequence[View], layout: Layout) -> Fit:
    """The fit of points that serves heads left out best; of a single head the first, as nothing tells them apart."""
    if len(views) == 1:
        return fit_points(views, layout)
    fits = {prior_mm: fit_points(views, layout, prior_mm) for prior_mm in PRIORS_MM}
    prior_mm, fit = min(fits.items(), key=lambda item: item[1].error_left_out)
    sliding = fit_points(views, layout, prior_mm, slide=True)
    return sliding if sliding.error_left_out < (1 - LEAST_GAIN) * fit.error_left_out else fit


def fit_points(views: Sequence[View], layout: Layout, prior_mm: float = PRIORS_MM[0], slide: bool = False) -> Fit:
    """Move the points of a layout so that the model finds them where the labels are.

    Args:
        views: annotated heads, at least one.
        layout: where to start, of as many points as there are labels.
        prior_mm: how far a point is expected to move, the standard deviation.
        slide: let them slide with the side that heads are seen from, too.

    Raises:
        ValueError: labels and points differ in number.
        AnymarkError: a label is infinite.
    """
    _check(views, len(layout))
    start = layout.points_mm.astype(np.float64)
    slides = np.zeros((len(start), 2, 3)) if layout.slides_mm is None else layout.slides_mm.astype(np.float64)
    towards = np.stack([view.head.camera.seen_from[:2] for view in views])

    def moved_by(by: Array) -> tuple[Array, Array]:
        return into_cube(start + by[:, :3]), slides + by[:, 3:].reshape(-1, 2, 3) if slide else slides

    def answers(by: Array) -> tuple[Array, Array]:
        points, sliding = moved_by(by)
        residuals, slopes = [], []
        for view, direction in zip(views, towards, strict=True):
            places = points + np.einsum("nkd,k->nd", sliding, direction)
            found, slope = view.answers_and_slopes(layout, places)
            residuals.append(found - view.labels)
            slopes.append(np.concatenate([slope, direction[0] * slope, direction[1] * slope], 2) if slide else slope)
        return np.stack(residuals), np.stack(slopes)

    spread = np.repeat([prior_mm, SLIDE_MM, SLIDE_MM], 3) if slide else np.repeat(prior_mm, 3)
    by, left_out = least_squares(answers, len(start), (NOISE / spread) ** 2, _LONGEST_MM)
    points, sliding = moved_by(by)
    return Fit(replace(layout, points_mm=points, slides_mm=sliding if sliding.any() else None), left_out)


def fit_code(views: Sequence[View], layout: Layout) -> Fit:
    """Change the data set code of a layout so that the model finds its points where the labels are.

    It starts from the layout's own code; it is expected to differ from it as the model's codes do from one another.

    Raises:
        ValueError: labels and points differ in number.
        AnymarkError: a label is infinite.
    """
    _check(views, len(layout))
    landmarker = views[0].head.landmarker
    start = landmarker.data_set_code(layout).astype(np.float64)
    known = np.array([code for code in landmarker.codes.values() if code.any()], np.float64)
    spread = np.full(len(start), np.sqrt((known**2).mean()) if len(known) else 1.0)

    def answers(by: Array) -> tuple[Array, Array]:
        steps = np.vstack([np.zeros(len(start)), np.eye(len(start)), -np.eye(len(start))])
        layouts = [replace(layout, code=tuple(code), model=None) for code in start + by + CODE_STEP * steps]
        # one code after the other, as the landmarker keeps the queries of few layouts
        found = np.array([[(view.answers(each) - view.labels).ravel() for view in views] for each in layouts])
        forth, back = found[1 : 1 + len(start)], found[1 + len(start) :]
        return found[0][:, None], np.moveaxis((forth - back) / (2 * CODE_STEP), 0, 2)[:, None]

    by, left_out = least_squares(answers, 1, (NOISE / spread) ** 2, _LONGEST_CODE)
    fitted = replace(layout, code=tuple(start + by[0]), model=landmarker.name)
    return Fit(fitted, left_out.reshape(len(views), -1, 2))


def first_guess(views: Sequence[View], name: str) -> Layout:
    """A layout of this name for labels that no layout is known for: each point where the nearest of `CANDIDATES` is.

    Raises:
        ValueError: views that differ in the number of their labels.
        AnymarkError: a label is infinite, or a point is labelled on no head.
    """
    return Layout(name, nearest_points(views, np.vstack([load_layout(each).points_mm for each in CANDIDATES])))


def nearest_points(views: Sequence[View], candidates_mm: npt.ArrayLike) -> Array:
    """(N, 3) for each label the candidate (M, 3) whose answers lie nearest to it, over all views: a first guess.

    Raises:
        ValueError: views that differ in the number of their labels.
        AnymarkError: a label is infinite, or a point is labelled on no head.
    """
    candidates = np.asarray(candidates_mm, np.float64)
    count = len(views[0].labels_px)
    _check(views, count)
    cost, labelled = np.zeros((count, len(candidates))), np.zeros(count, bool)
    for view in views:
        found = view.head.query(candidates).xy_px
        here = np.isfinite(view.labels_px).all(1)
        apart = (view.labels_px[here, None] - found[None]) / view.length_px
        cost[here] += (apart**2).sum(2)
        labelled |= here
    if not labelled.all():
        raise AnymarkError(f"calibration: point {np.flatnonzero(~labelled)[0]} is labelled on no head")
    return candidates[cost.argmin(1)]


def _check(views: Sequence[View], count: int) -> None:
    counts = {len(view.labels_px) for view in views}
    if counts != {count}:
        raise ValueError(f"calibration: labels of {sorted(counts)} points for a layout of {count}")
    for i, view in enumerate(views):
        wrong = np.flatnonzero(np.isinf(view.labels_px).any(1))
        if len(wrong):
            raise AnymarkError(f"calibration: head {i}: the label of point {wrong[0]} is not finite")
