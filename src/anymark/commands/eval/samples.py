"""`anymark eval samples`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.samples import read_samples


@dataclass(kw_only=True)
class Samples(Evaluation):
    """Samples of `anymark data build`: all vertices of the head, by yaw and by part. NME over the outer corners of the
    eyes in 3D."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of the data set: one of held-out photos, to be fair."""

    def read(self) -> Benchmark:
        """See `read_samples`."""
        if self.calibrate:
            raise AnymarkError("samples are labelled with the head itself: --calibrate does not apply")
        return read_samples(self.shards)
