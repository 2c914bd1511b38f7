"""`anymark eval photos`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.photo_groups import by_tone, by_yaw
from anymark.evaluate.photo_sets import read_photos
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores
from anymark.files import shared_folder


@dataclass(kw_only=True)
class Photos(Evaluation):
    """anymark's own photos, the face mesh's 468 points. NME over the outer corners of the eyes in 3D."""

    root: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of photo sets; ../shared/photos by default."""
    split: Literal["held-out", "train"] = "held-out"

    def read(self) -> Benchmark:
        """See `read_photos`."""
        return read_photos(shared_folder(self.root, "photos", "--root DIR"), self.split, self.calibrate)

    def details(self, scores: Scores, threshold: float) -> tuple[Detail, ...]:
        """Errors by yaw and by skin tone; age is on no label."""
        return by_yaw(scores), by_tone(scores)
