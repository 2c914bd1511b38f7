"""`anymark eval photos`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark, shared_folder
from anymark.evaluate.photo_sets import read_photos


@dataclass(kw_only=True)
class Photos(Evaluation):
    """anymark's own photos, the face mesh's 468 points. NME over the outer corners of the eyes in 3D."""

    root: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of photo sets; ../shared/photos by default."""
    split: Literal["held-out", "train"] = "held-out"

    def read(self) -> Benchmark:
        """See `read_photos`."""
        return read_photos(shared_folder(self.root, "photos", "--root DIR"), self.split, self.calibrate)
