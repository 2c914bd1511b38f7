"""`anymark eval pairs`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.detect.dense import DENSE, DenseNetwork
from anymark.detect.model import Model
from anymark.engine.samples import read_index
from anymark.errors import AnymarkError


@dataclass(kw_only=True)
class Pairs(Measurement):
    """Points carried from one view of a head to another, against renders that know where they are: the dense model and
    simpler ways."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of a data set of preset pairs: one of held-out photos, to be fair."""
    dense: Annotated[str, arg(metavar="NAME|DIR")] = DENSE
    """Dense model."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.correspondence`."""
        from anymark.evaluate.carriers import carriers  # needs OpenCV and scipy
        from anymark.evaluate.correspondence import carried_between, pair_details, read_pairs

        network, detector = DenseNetwork(Model(self.dense, "dense", threads=self.threads)), self.detector()
        who, missing = carriers(mediapipe=False)
        total = int(read_index(self.shards)["samples"]) // 2
        every = 1 if self.limit is None else max(1, total // self.limit)
        found = []
        for i, (first, second) in enumerate(read_pairs(self.shards)):
            if i % every:
                continue
            carried = carried_between(first, second, detector, network, who, seed=i)
            if carried is not None:
                found.append(carried)
            show_progress(i, total)
            if len(found) == self.limit:
                break
        if not found:
            raise AnymarkError(f"{self.shards}: no pair of views shares enough of a head")
        table, by_turn = pair_details(found)
        ours = table.rows["dense"]
        return Measured(
            what=f"pairs, {self.shards.resolve().name}, dense model {self.dense}",
            details=(table, by_turn),
            last_line=f"PCK@0.05 {ours['PCK@0.05 %']:.2f} %, MAE {ours['MAE px']:.2f} px (n={len(found)})",
            notes=tuple(missing),
        )
