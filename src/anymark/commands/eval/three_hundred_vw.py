"""`anymark eval 300vw`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores
from anymark.evaluate.three_hundred_vw import flicker_details, read_300vw


@dataclass(kw_only=True)
class ThreeHundredVW(Evaluation):
    """300-VW, 68 points on every frame of 64 test videos, by category. NME over the outer corners of the eyes; NMF.

    Each frame is scored by itself, as a photo.
    """

    root: Annotated[Path, arg(metavar="DIR")]
    """Folder that holds 114/vid.avi, 114/annot/000001.pts and so on."""
    category: Literal["1", "2", "3", "all"] = "all"

    def read(self) -> Benchmark:
        """See `read_300vw`."""
        return read_300vw(self.root, self.category, self.calibrate)

    def details(self, scores: Scores, threshold: float) -> tuple[Detail, ...]:
        """See `flicker_details`."""
        return flicker_details(scores)
