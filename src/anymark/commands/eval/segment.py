"""`anymark eval segment`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.apps.partition import Partition
from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.engine.samples import read_index
from anymark.evaluate.segmented import counted, read_renders, segment_details


@dataclass(kw_only=True)
class Segment(Measurement):
    """The twelve regions of face parsing against the part maps of renders; the windows are known."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of the data set: one of held-out photos, to be fair."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.segmented`."""
        detector, partition = self.detector(), Partition.of_regions()
        total = int(read_index(self.shards)["samples"])
        counts = []
        for i, sample in enumerate(read_renders(self.shards, self.limit), 1):
            counts.append(counted(sample, partition, detector))
            show_progress(i, min(self.limit or total, total))
        (table,) = segment_details(partition, counts)
        mean = table.rows["mean"]["IoU"]
        return Measured(
            what=f"segmentation, {self.shards.resolve().name}",
            details=(table,),
            last_line=f"mean IoU {mean:.3f} over {len(partition.names)} regions (n={len(counts)})",
        )
