"""How well a model knows what is seen of a head: its probabilities against what renders show.

Hidden is what the head itself hides, what glasses, masks, hands, hair and dress cover, and what lies outside of the
picture. All points of all samples are ranked together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.canonical.posed import points_on
from anymark.detect.landmarks import Landmarks
from anymark.engine.samples import Sample
from anymark.evaluate.benchmark import Array, Benchmark, Face
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, read_samples
from anymark.evaluate.score import Scores

BINS = 10
"""Of a reliability diagram, all as wide."""

THINGS = ("glasses", "mask", "hand")
"""What renders have before the face."""
_OCCLUDED, _BARE = "occluder", "no occluder"

PARTS = ("visible", "geometric", "learned")
"""What is ranked: `Landmarks.visible`, and the two factors that it is made of."""

_SETS = {"vertices": slice(-FACE_MESH_POINTS), "face": slice(-FACE_MESH_POINTS, None)}


@dataclass(frozen=True)
class Bin:
    """The points whose probability lies between two numbers."""

    low: float
    high: float
    count: int
    predicted: float
    """Mean probability; NaN if there are none."""
    observed: float
    """Share of them that is seen; NaN if there are none."""


def roc_auc(probability: npt.ArrayLike, seen: npt.ArrayLike) -> float:
    """Area under the ROC curve: how likely a seen point is ranked above a hidden one, equals counting half.

    NaN where all are seen or none is.

    Args:
        probability: (N,) anything that ranks the points.
        seen: (N,) of bool.
    """
    p, is_seen = np.asarray(probability), np.asarray(seen, bool)
    hidden, shown = np.sort(p[~is_seen]), np.sort(p[is_seen])
    if not len(hidden) or not len(shown):
        return math.nan
    below = np.searchsorted(hidden, shown, side="left") + np.searchsorted(hidden, shown, side="right")
    return float(below.mean() / 2 / len(hidden))


def reliability(probability: npt.ArrayLike, seen: npt.ArrayLike) -> tuple[Bin, ...]:
    """The reliability diagram of probabilities (N,) of being seen (N,): `BINS` bins, those without points too."""
    p, is_seen = np.asarray(probability, np.float64), np.asarray(seen, np.float64)
    which = np.minimum((p * BINS).astype(int), BINS - 1)
    count, predicted, observed = (np.bincount(which, weights, BINS) for weights in (None, p, is_seen))
    with np.errstate(invalid="ignore"):
        predicted, observed = predicted / count, observed / count
    return tuple(
        Bin(i / BINS, (i + 1) / BINS, int(count[i]), float(predicted[i]), float(observed[i])) for i in range(BINS)
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: mean over the points of |predicted - observed| of their bins."""
    some = [b for b in bins if b.count]
    return sum(b.count * abs(b.predicted - b.observed) for b in some) / sum(b.count for b in some)


def read_visibility(folder: Path) -> Benchmark:
    """Renders of `anymark data build`, and which of the head's vertices, then of the face's 468 points, are seen.

    Rows are what is before the face.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or photos, of which nobody said what is seen.
    """
    benchmark = read_samples(folder, _with_seen)
    drawn = {name for face in benchmark.faces for name in face.subsets}
    rows = {name: (name,) for name in (_BARE, _OCCLUDED, *THINGS) if name in drawn}
    asked = {
        "visible": lambda landmarks: landmarks.visible,
        "geometric": _geometric,
        "learned": lambda landmarks: landmarks.uncovered,
    }
    everything = {"all": benchmark.rows["all"]}
    return replace(benchmark, layout=_points(), rows=rows | everything, asked=asked)


def visibility_details(scores: Scores) -> tuple[Detail, ...]:
    """AUC of each part by what is before the face, and how far `Landmarks.visible` is from what it says."""
    auc: dict[str, dict[str, dict[str, float]]] = {name: {} for name in _SETS}
    found = np.isfinite(scores.nme)
    seen = scores.truth("visible") > 0
    for name, points in _SETS.items():
        for row in scores.benchmark.rows:
            of_row = scores.benchmark.row(row)
            of_row = of_row[found[of_row]]
            labels = seen[of_row, points].ravel()
            aucs = {part: roc_auc(scores.answers[part][of_row, points].ravel(), labels) for part in PARTS}
            auc[name][row] = {"n": len(of_row), **aucs}
    calibration = {name: calibration_error(bins) for name, bins in reliabilities(scores).items()}
    return (
        *(Detail(f"AUC of being seen, {name}, %", rows, percent=True) for name, rows in auc.items()),
        Detail(
            "expected calibration error of visible, %",
            {name: {"ECE": error} for name, error in calibration.items()},
            percent=True,
        ),
    )


def reliabilities(scores: Scores) -> dict[str, tuple[Bin, ...]]:
    """The reliability diagrams of `Landmarks.visible`, of all vertices and of the face's points."""
    found = np.isfinite(scores.nme)
    seen, said = scores.truth("visible")[found], scores.answers["visible"][found]
    return {name: reliability(said[:, points].ravel(), seen[:, points].ravel()) for name, points in _SETS.items()}


def _with_seen(sample: Sample, face: Face) -> Face:
    check_render(sample)
    face_seen = points_on(sample.visible[:, None].astype(np.float64), FACE_MESH_LAYOUT)[:FACE_MESH_POINTS, 0] > 0.5
    seen = np.concatenate([sample.visible, face_seen]).astype(np.float64)
    xy = np.concatenate([sample.xy_px, points_on(sample.xy_px, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS]])
    drawn = tuple(thing for thing in THINGS if thing in sample.record.get("things", ()))
    subsets = (_OCCLUDED, *drawn) if drawn else (_BARE,)
    return replace(face, points_px=xy.astype(np.float64), subsets=subsets, truth=dict.fromkeys(PARTS, seen))


def _geometric(landmarks: Landmarks) -> Array:
    """(N,) the probability that the head itself does not hide each point."""
    if landmarks.surface is None:
        return np.ones(len(landmarks))
    return landmarks.surface.visible(landmarks.layout.points_mm, landmarks.xyz_mm)


@cache
def _points() -> Layout:
    """The head's vertices, then the 468 points of the face."""
    face = load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS]
    return Layout("head and face", np.concatenate([load_layout(HEAD).points_mm, face]))
