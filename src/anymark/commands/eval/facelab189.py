"""`anymark eval facelab189`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.photo_sets import read_facelab189
from anymark.files import shared_folder


@dataclass(kw_only=True)
class Facelab189(Evaluation):
    """Face Research Lab London, 189 points of face, ears, hair and neck; 10 photos to calibrate on, 92 to score."""

    root: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder that holds points.npz and neutral/; ../shared/benchmarks/facelab189 by default."""

    def read(self) -> Benchmark:
        """See `read_facelab189`."""
        return read_facelab189(shared_folder(self.root, "benchmarks/facelab189", "--root DIR"), self.calibrate)
