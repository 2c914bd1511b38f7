"""`anymark eval markers`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.engine.samples import read_index
from anymark.errors import AnymarkError
from anymark.evaluate.marked import carried_errors, marked_details, read_people


@dataclass(kw_only=True)
class Markers(Measurement):
    """Dots annotated on one picture of a person and found in another one; the windows are known."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of a data set with two samples a photo, such as of preset helmet: one of held-out photos, to be fair."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.marked`."""
        detector = self.detector()
        found = []
        total = read_index(self.shards)["samples"] // 2
        for i, (first, second) in enumerate(read_people(self.shards)):
            found.append(carried_errors(first, second, detector, seed=i))
            show_progress(len(found), total)
            if self.limit is not None and len(found) >= self.limit:
                break
        if not found:
            raise AnymarkError(f"{self.shards}: no two samples of a head")
        (table,) = marked_details(found)
        return Measured(
            what=f"markers, {self.shards.resolve().name}",
            details=(table,),
            last_line=f"median error {100 * table.rows['picked']['median']:.2f} % (n={len(found)})",
        )
