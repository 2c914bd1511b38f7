"""`anymark eval cofw68`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.cofw68 import occlusion_details, read_cofw68
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores


@dataclass(kw_only=True)
class Cofw68(Evaluation):
    """COFW-68, 68 points on 507 occluded faces. NME over the middles of the eyes; of visible points; occlusion."""

    root: Annotated[Path, arg(metavar="DIR")]
    """Folder that holds COFW_test_color.mat and test_annotations, or folders with them."""

    def read(self) -> Benchmark:
        """See `read_cofw68`."""
        return read_cofw68(self.root, self.calibrate)

    def details(self, scores: Scores, threshold: float) -> tuple[Detail, ...]:
        """See `occlusion_details`."""
        return occlusion_details(scores, threshold)
