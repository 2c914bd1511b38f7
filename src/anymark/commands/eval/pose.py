"""`anymark eval pose`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from anymark.commands.eval.measurement import Measured, Measurement, of_faces
from anymark.evaluate.cameras import all_camera_errors, camera_details, read_cameras


@dataclass(kw_only=True)
class Pose(Measurement):
    """Head pose, focal length and distance against renders of `anymark data build`, by yaw; the windows are known."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of the data set: one of held-out photos, to be fair."""

    def measure(self) -> Measured:
        """See `read_cameras` and `camera_details`."""
        scores = self.scores(read_cameras(self.shards))
        errors = all_camera_errors(scores)
        rotation, focal = np.nanmean(errors["rotation"]), np.nanmedian(np.abs(errors["focal"]))
        return Measured(
            what=f"pose, {scores.benchmark.name}",
            details=camera_details(scores),
            last_line=f"pose {rotation:.2f} degrees, focal length {100 * focal:.2f} % (n={len(scores.nme)})",
            further={"faces": of_faces(scores, errors)},
            notes=(*scores.benchmark.notes, *scores.notes),
        )
