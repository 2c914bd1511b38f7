"""Place the layout facelab189 by query optimisation on the ten annotated faces that are never scored.

The points of the Face Research Lab London Set are known in photos only: they lie on the canonical head where the
shipped model answers them best. Build it again when that model changes.

Usage:
    uv run scripts/build_facelab189.py --root ../shared/benchmarks/facelab189
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from scipy.optimize import linear_sum_assignment

from anymark import Detector
from anymark.apps.calibrate import first_guess, fit_points
from anymark.evaluate.photo_sets import FACELAB_ANNOTATED, FACELAB_EYES, read_facelab189
from anymark.evaluate.score import views_of
from build_canonical import ROOT, save_layout


@dataclass(frozen=True)
class Args:
    root: Path = Path("../shared/benchmarks/facelab189")
    """Folder that holds points.npz and neutral/."""
    model: str = "small"


def mirror_partners(points_px: np.ndarray) -> np.ndarray:
    """(N,) index of each point's mirror image, from (K, N, 2) annotated frontal faces."""
    right, left = (points_px[:, i] for i in FACELAB_EYES)
    along = left - right
    length = np.linalg.norm(along, axis=1)[:, None]
    x_axis, centre = along / length, (left + right) / 2
    y_axis = np.stack([-x_axis[:, 1], x_axis[:, 0]], 1)
    from_centre = (points_px - centre[:, None]) / length[:, None]
    mean = np.stack([(from_centre * axis[:, None]).sum(-1).mean(0) for axis in (x_axis, y_axis)], 1)
    distance = np.linalg.norm(mean[:, None] - mean[None] * (-1, 1), axis=-1)
    return linear_sum_assignment(distance + distance.T)[1]


def main(args: Args) -> None:
    benchmark = read_facelab189(args.root, FACELAB_ANNOTATED)
    views, _ = views_of(Detector(args.model), benchmark.calibration, benchmark.normalisers[0], "gt")
    flip = mirror_partners(np.stack([view.labels_px for view in views]))
    fit = fit_points(views, first_guess(views, "facelab189"))
    points = (fit.layout.points_mm + fit.layout.points_mm[flip] * np.float32((-1, 1, 1))) / 2
    layout = replace(fit.layout, points_mm=points, flip=flip, regions=benchmark.regions)
    save_layout(ROOT / "src/anymark/canonical/data/layouts", layout)
    print(f"{len(views)} faces, each left out in turn: {100 * fit.error_left_out:.2f} % of the eyes' distance")


if __name__ == "__main__":
    main(tyro.cli(Args))
