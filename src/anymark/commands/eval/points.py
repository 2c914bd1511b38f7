"""`anymark eval points`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.engine.samples import read_index
from anymark.evaluate.clicked import (
    FLOWS,
    by_anymark,
    by_flow,
    details,
    errors,
    picked,
    picking_detail,
    read_clips,
)


@dataclass(kw_only=True)
class Points(Measurement):
    """Points clicked in the first frame of rendered sequences and followed, against optical flow (anymark[data])."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of a data set of preset sequences: one of held-out photos, to be fair."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.clicked`."""
        detector = self.detector(self.locator)
        found, pickings = [], []
        done, total = 0, read_index(self.shards)["samples"]
        for clip in read_clips(self.shards):
            click, layout, how = picked(clip, detector)
            pickings.append(how)
            tracks = by_anymark(clip, detector, click, layout) | {which: by_flow(clip, which) for which in FLOWS}
            found.append(errors(clip, tracks))
            done += len(clip.frames)
            show_progress(done, total)
            if self.limit is not None and len(found) >= self.limit:
                break
        tables = details(found)
        medians = tables[0].rows
        flow = min(medians[which]["all"] for which in FLOWS)
        own = medians["anymark"]["all"]
        said = f"{own / flow:.2f} times that of the better flow"
        return Measured(
            what=f"clicked points, {self.shards.resolve().name}",
            details=(*tables, picking_detail(pickings)),
            last_line=f"median error {100 * own:.2f} %, {said} (n={len(found)})",
        )
