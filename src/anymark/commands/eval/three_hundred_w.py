"""`anymark eval 300w`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.three_hundred_w import read_300w


@dataclass(kw_only=True)
class ThreeHundredW(Evaluation):
    """300-W, 68 points: common 554 faces, challenging 135, full both. NME over the outer corners of the eyes."""

    root: Annotated[Path, arg(metavar="DIR")]
    """Folder that holds helen/testset, lfpw/testset, ibug and, for --calibrate, helen/trainset, lfpw/trainset, afw."""
    subset: Literal["common", "challenging", "full"] = "full"

    def read(self) -> Benchmark:
        """See `read_300w`."""
        return read_300w(self.root, self.subset, self.calibrate)
