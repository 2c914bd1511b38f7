"""mmSolver for Maya: its "UV track" files, version 3.

Versions 4 and 5 add one camera with a lens whose middle stays where it is; each of our rows has its own, so that there
is none to give.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anymark.exports.conventions import normalised
from anymark.exports.shot import Shot
from anymark.files import write_json

VERSION = 3


def write_uv(path: Path, shot: Shot) -> None:
    """A marker for each head and point, on the frames in which the point is seen; one that never is, is left out.

    Weights are the probability that the point is seen, times the median sigma of the markers over its own where that is
    the larger one. The position in 3D is the median of the head's, in its frame, in centimetres as Maya has them.

    Raises:
        AnymarkError: the file cannot be written.
    """
    usual = float(np.median(shot.track.rows["sigma_px"]))
    points: list[dict[str, Any]] = []
    for head in shot.track.ids:
        rows = shot.track.head(head)
        numbers = shot.frames[rows["frame"]].tolist()
        positions = normalised(rows["xy_px"].astype(np.float64), shot.track.size_px).round(8)
        unsure = np.maximum(rows["sigma_px"].astype(np.float64), 1e-6)
        weights = (rows["visible"] * np.minimum(1, max(usual, 1e-6) / unsure)).round(4)
        places_cm = np.median(rows["xyz_mm"].astype(np.float64), 0) / 10
        for i, name in enumerate(shot.point_names):
            seen = np.flatnonzero(shot.seen(rows, i)[rows["frame"]]).tolist()
            if not seen:
                continue
            points.append(
                {
                    "name": f"head{head}_{name}",
                    "id": len(points),
                    "set_name": f"head{head}",
                    "per_frame": [
                        {
                            "frame": numbers[row],
                            "pos": positions[row, i].tolist(),
                            "pos_dist": positions[row, i].tolist(),  # of the plate as it is, whatever its lens does
                            "weight": float(weights[row, i]),
                        }
                        for row in seen
                    ],
                    "3d": dict(zip("xyz", places_cm[i].round(5).tolist(), strict=True))
                    | {f"{k}_lock": False for k in "xyz"},
                }
            )
    write_json(path, {"version": VERSION, "num_points": len(points), "is_undistorted": None, "points": points})
