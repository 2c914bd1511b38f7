"""Pictures of an evaluation: a sheet of its best and worst photos, the curve of its errors, reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from anymark.apps.sheet import Tile, contact_sheet
from anymark.detect.image import open_photo
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.evaluate.metrics import cumulative
from anymark.evaluate.score import Scores
from anymark.evaluate.visibility import Bin, calibration_error
from anymark.files import atomic

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

SHEET = 24
"""Photos on a sheet: half of them the best, half the worst."""


def sheet(scores: Scores) -> Image.Image:
    """24 faces, the best first and the worst (missed ones) last: labels in red, found points in green."""
    order = np.argsort(scores.nme, kind="stable")
    half = SHEET // 2
    chosen = order if len(order) <= SHEET else np.concatenate([order[:half], order[-half:]])
    return contact_sheet(_tile(scores, int(i)) for i in chosen)


def write_ced(path: Path, scores: Scores, threshold: float) -> None:
    """The cumulative error distribution of each row of the table as a PNG file.

    Raises:
        AnymarkError: the file cannot be written.
    """
    figure, canvas = blank_figure((6, 4.5))
    axes = figure.subplots()
    at = np.linspace(0, threshold, 401)
    for row in scores.benchmark.rows:
        errors = scores.nme[scores.benchmark.row(row)]
        axes.plot(100 * at, 100 * cumulative(errors, at), label=f"{row} (n={len(errors)})")
    axes.set(xlim=(0, 100 * threshold), ylim=(0, 100), title=scores.benchmark.name)
    axes.set_xlabel(f"NME, % of {scores.benchmark.normalisers[0]}")
    axes.set_ylabel("share of the faces, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with atomic(path, "wb") as file:
        canvas.print_png(file)


def write_reliability(path: Path, diagrams: Mapping[str, Sequence[Bin]], title: str) -> None:
    """Reliability diagrams as a PNG file: predicted against observed, and how many points each bin has.

    Raises:
        AnymarkError: the file cannot be written.
    """
    figure, canvas = blank_figure((5, 6))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    above.plot([0, 100], [0, 100], color="grey", linewidth=1, linestyle="--", label="calibrated")
    for i, (name, bins) in enumerate(diagrams.items()):
        some = [b for b in bins if b.count]
        error = 100 * calibration_error(bins)
        label = f"{name} (ECE {error:.1f} %)"
        above.plot([100 * b.predicted for b in some], [100 * b.observed for b in some], marker="o", label=label)
        total, width = sum(b.count for b in bins), 100 / len(bins) / (len(diagrams) + 1)
        left = [100 * b.low + (i + 0.5) * width for b in bins]
        below.bar(left, [100 * b.count / total for b in bins], width, align="edge")
    above.set(xlim=(0, 100), ylim=(0, 100), title=title)
    above.set_ylabel("observed: share that is seen, %")
    above.legend(loc="upper left")
    below.set_xlabel("predicted: probability of being seen, %")
    below.set_ylabel("points, %")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    with atomic(path, "wb") as file:
        canvas.print_png(file)


def blank_figure(size: tuple[float, float]) -> tuple[Figure, FigureCanvasAgg]:
    """A figure of so many inches that no window shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, FigureCanvasAgg(figure)


def _tile(scores: Scores, i: int) -> Tile:
    face, error = scores.benchmark.faces[i], scores.nme[i]
    try:
        photo = open_photo(face.load())
    except AnymarkError:
        photo = None
    caption = f"{100 * error:.2f} %" if np.isfinite(error) else "missed"
    window = Window.from_box(face.box_px, 1.4)
    return Tile(f"{caption}  {face.name}", photo, window, face.points_px, scores.found_px[i])
