"""`anymark eval sigma`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import arg

from anymark.commands.eval.measurement import Measured, Measurement, of_faces
from anymark.evaluate.photo_sets import read_photos
from anymark.evaluate.sigma import errors_over_sigma, normalised_error, sigma_details
from anymark.files import shared_folder


@dataclass(kw_only=True)
class Sigma(Measurement):
    """Whether sigma says how large errors are, on anymark's own photos: 1 is right, above, errors are larger."""

    root: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder of photo sets; ../shared/photos by default."""
    split: Literal["held-out", "train"] = "held-out"

    def measure(self) -> Measured:
        """See `sigma_details`."""
        scores = self.scores(read_photos(shared_folder(self.root, "photos", "--root DIR"), self.split))
        over_sigma, found = errors_over_sigma(scores), np.isfinite(scores.nme)
        photos = np.array([normalised_error(photo[None]) for photo in over_sigma])
        missed = int((~found).sum())
        return Measured(
            what=f"sigma, {scores.benchmark.name}",
            details=sigma_details(scores),
            last_line=f"normalised error {normalised_error(over_sigma[found]):.3f} (n={len(found)}, missed={missed})",
            further={"faces": of_faces(scores, {"normalised error": photos})},
            notes=(*scores.benchmark.notes, *scores.notes),
        )
