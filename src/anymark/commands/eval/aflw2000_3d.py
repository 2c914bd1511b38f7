"""`anymark eval aflw2000-3d`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.aflw2000_3d import pose_details, read_aflw2000_3d
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores


@dataclass(kw_only=True)
class Aflw20003d(Evaluation):
    """AFLW2000-3D, 68 points on 2,000 faces by yaw. NME over the root of the area of the points' box; pose."""

    root: Annotated[Path, arg(metavar="DIR")]
    """Folder that holds image00002.jpg, image00002.mat and so on."""

    def read(self) -> Benchmark:
        """See `read_aflw2000_3d`."""
        return read_aflw2000_3d(self.root, self.calibrate)

    def details(self, scores: Scores, threshold: float) -> tuple[Detail, ...]:
        """See `pose_details`."""
        return pose_details(scores)
