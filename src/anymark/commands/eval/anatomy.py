"""`anymark eval anatomy`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.engine.samples import read_index
from anymark.evaluate.rigid import anatomy_details, anatomy_errors
from anymark.evaluate.segmented import read_renders


@dataclass(kw_only=True)
class Anatomy(Measurement):
    """Skull, mandible, eyes, jaw opening and gaze against renders, whose own are known; the windows are known."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of the data set: one of held-out photos, to be fair."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.rigid`."""
        detector = self.detector()
        total = int(read_index(self.shards)["samples"])
        found = []
        for i, sample in enumerate(read_renders(self.shards, self.limit), 1):
            found.append(anatomy_errors(sample, detector))
            show_progress(i, min(self.limit or total, total))
        (table,) = anatomy_details(found)
        opening, gaze = table.rows["jaw opening, mm"]["mean"], table.rows["gaze, degrees"]["mean"]
        return Measured(
            what=f"anatomy, {self.shards.resolve().name}",
            details=(table,),
            last_line=f"jaw opening off by {opening:.1f} mm, gaze by {gaze:.1f} degrees (n={len(found)})",
        )
