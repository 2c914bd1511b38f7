"""Query optimisation: canonical points moved until the model finds them where they were seen (Continuous Landmark
Detection, section 4.2).

The networks stay as they are, and no gradient of theirs is needed: differences through `Head.query`, and damped least
squares (Levenberg-Marquardt).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.canonical.frame import into_cube
from anymark.detect.detector import Head

Array = npt.NDArray[np.float64]

NOISE = 0.03
"""Expected distance of a label to the answer, as a fraction of the face's length: what priors are weighed by."""

STENCIL = np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
"""(7, 3) where a point is asked, millimetres: itself, then a step forth and a step back along each axis."""

_ROUNDS = 40
_LEAST_FALL = 1e-3  # of its cost: all is done when a round promises each point less


@dataclass(frozen=True, eq=False)
class View:
    """An encoded head and where somebody put points on it."""

    head: Head
    labels_px: Array
    """(N, 2) in the pixels of the head's photo; NaN where a point is not labelled."""
    length_px: float
    """The unit of errors on this head, such as the distance of its eyes."""

    @property
    def labels(self) -> Array:
        """(N, 2) in lengths of the head."""
        return self.labels_px / self.length_px

    def answers(self, layout: Layout) -> Array:
        """(N, 2) where the model finds the points of a layout, in lengths of the head."""
        return self.head.query(layout).xy_px.astype(np.float64) / self.length_px

    def answers_and_slopes(self, layout: Layout, points_mm: Array) -> tuple[Array, Array]:
        """(N, 2) where the model finds points (N, 3), in lengths of the head, and (N, 2, 3) how that changes with each
        millimetre.

        Args:
            layout: Whose data set code the points are asked with.
            points_mm: Those outside of the cube about the head are taken into it.
        """
        asked = into_cube(into_cube(points_mm)[:, None] + STENCIL)
        steps = np.einsum("nij,ij->ni", asked[:, 1:4] - asked[:, 4:], np.eye(3))  # shorter at the cube's faces
        found = self.answers(Layout("asked", asked.reshape(-1, 3), code=layout.code, model=layout.model))
        found = found.reshape(len(points_mm), len(STENCIL), 2)
        return found[:, 0], ((found[:, 1:4] - found[:, 4:]) / steps[..., None]).swapaxes(1, 2)


def least_squares(
    answers: Callable[[Array], tuple[Array, Array]], count: int, weight: Array, longest: float
) -> tuple[Array, Array]:
    """Levenberg-Marquardt on `count` unknowns (P,) at once, each with residuals of its own.

    Args:
        answers: Of where the unknowns are (count, P): residuals (V, count, R) on each of V heads, NaN where there is no
            label, and their derivatives (V, count, R, P).
        count: Of the unknowns.
        weight: (P,) of the square of each number of an unknown, which is expected to be near 0, against that of a
            residual.
        longest: That an unknown moves in one round.

    Returns:
        Where the unknowns are best (count, P), and the residuals (V, count, R) on each head left out: by one step of
        Newton's without that head, which is exact where answers are linear in what is fitted.
    """

    def ask(at: Array) -> tuple[Array, Array, Array]:
        residual, slope = answers(at)
        slope[np.isnan(residual)] = 0
        return residual, slope, np.nansum(residual**2, (0, 2)) + (weight * at**2).sum(1)

    at = np.zeros((count, len(weight)))
    residual, slope, cost = ask(at)
    damping = np.full(count, 1e-3)
    for _ in range(_ROUNDS):
        normal = np.einsum("vbri,vbrj->bij", slope, slope) + np.diag(weight)
        gradient = np.einsum("vbri,vbr->bi", slope, np.nan_to_num(residual)) + weight * at
        scale = np.maximum(np.trace(normal, axis1=1, axis2=2) / len(weight), 1e-12)
        damped = normal + (damping * scale)[:, None, None] * np.eye(len(weight))
        move = -np.linalg.solve(damped, gradient[..., None])[..., 0]
        if (-(gradient * move).sum(1) <= _LEAST_FALL * cost).all():
            break
        trial = at + move * np.minimum(1, longest / np.maximum(lengths(move), 1e-12))[:, None]
        new_residual, new_slope, new_cost = ask(trial)
        better = new_cost <= cost
        at[better] = trial[better]
        residual[:, better], slope[:, better] = new_residual[:, better], new_slope[:, better]
        cost = np.where(better, new_cost, cost)
        damping = np.where(better, np.maximum(damping / 4, 1e-6), np.minimum(damping * 8, 1e6))
    normal = np.einsum("vbri,vbrj->bij", slope, slope) + np.diag(weight)
    others = normal - np.einsum("vbri,vbrj->vbij", slope, slope)
    step = np.linalg.solve(others, np.einsum("vbri,vbr->vbi", slope, np.nan_to_num(residual))[..., None])[..., 0]
    return at, residual + np.einsum("vbri,vbi->vbr", slope, step)


def lengths(vectors: npt.NDArray[np.floating]) -> Array:
    """(...) the lengths of vectors (..., D)."""
    return np.linalg.norm(vectors.astype(np.float64), axis=-1)
