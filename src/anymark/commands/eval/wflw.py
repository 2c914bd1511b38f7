"""`anymark eval wflw`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.wflw import read_wflw


@dataclass(kw_only=True)
class Wflw(Evaluation):
    """WFLW, 98 points: 2,500 test faces and their six subsets. NME over the outer corners of the eyes."""

    root: Annotated[Path, arg(metavar="DIR")]
    """Folder that holds WFLW_images and WFLW_annotations."""
    first_centre: Annotated[float, arg(metavar="X")] = 0.0
    """What the labels call the centre of an image's first pixel."""

    def read(self) -> Benchmark:
        """See `read_wflw`."""
        return read_wflw(self.root, self.calibrate, self.first_centre)
