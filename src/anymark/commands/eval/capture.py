"""`anymark eval capture`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from anymark.apps.rigs import ict_on_head
from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.engine.samples import read_index
from anymark.evaluate.captured import capture_details, capture_rate, captured_errors, read_shots
from anymark.files import shared_folder
from anymark.fit import Rig


@dataclass(kw_only=True)
class Capture(Measurement):
    """ICT-FaceKit captured from 68, 500 and 50,000 landmarks of rendered performances, from one and three cameras."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of a data set of preset sequences with three cameras: one of held-out photos, to be fair."""
    assets: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder that holds ict_facekit/; ../shared/assets by default, or $ANYMARK_ASSETS."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.captured`."""
        rig = ict_on_head(Rig.load_ict(shared_folder(self.assets, "assets", "--assets DIR")))
        detector = self.detector()
        found = []
        done, total = 0, read_index(self.shards)["samples"]
        rate = np.nan
        for shot in read_shots(self.shards):
            if not found:
                rate = capture_rate(shot, rig, detector)
            found.append(captured_errors(shot, rig, detector))
            done += sum(map(len, shot.cameras))
            show_progress(done, total)
            if self.limit is not None and len(found) >= self.limit:
                break
        (table,) = capture_details(found)
        means = [row["mean"] for row in table.rows.values()]
        return Measured(
            what=f"capture, {self.shards.resolve().name}",
            details=(table,),
            last_line=f"{means[0]:.2f} to {means[-1]:.2f} mm; 50k at {rate:.1f} frames a second (n={len(found)})",
            further={"frames a second": rate},
        )
