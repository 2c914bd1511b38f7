"""`anymark eval facesynthetics`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anymark.commands.eval.evaluation import Evaluation
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.face_synthetics import read_face_synthetics


@dataclass(kw_only=True)
class FaceSynthetics(Evaluation):
    """Face Synthetics, 70 points on renders. NME over the outer corners of the eyes."""

    root: Annotated[Path, arg(metavar="DIR")]
    """Folder that holds 000000.png, 000000_ldmks.txt, 000000_seg.png and so on."""
    first_centre: Annotated[float, arg(metavar="X")] = 0.0
    """What the labels call the centre of an image's first pixel; a note says what the segmentation says of it."""

    def read(self) -> Benchmark:
        """See `read_face_synthetics`."""
        return read_face_synthetics(self.root, self.calibrate, self.first_centre)
