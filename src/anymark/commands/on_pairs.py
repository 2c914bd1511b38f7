"""What commands that hold photos of heads against one another have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from tyro.conf import arg

from anymark.commands.said import complain
from anymark.detect.dense import DENSE, DenseMap
from anymark.detect.detector import Detector
from anymark.detect.embed import Dense
from anymark.detect.image import load_image
from anymark.errors import AnymarkError

Pixels = npt.NDArray[np.uint8]

LEAST_SHARE = 0.01
"""Of a map: what shows less of a head shows none."""


@dataclass(kw_only=True)
class WithDense:
    """The models of commands that work with dense maps."""

    dense: Annotated[str, arg(metavar="NAME|DIR")] = DENSE
    """Dense model."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model, which says where the heads are."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def load(self) -> Dense:
        """Loaded and verified.

        Raises:
            AnymarkError: a bad model.
        """
        dense = Dense(self.dense, Detector(self.model, self.locator))
        dense.load()
        return dense


def largest_head(dense: Dense, path: Path) -> tuple[Pixels, DenseMap]:
    """A photo, and the map of its largest head.

    Raises:
        AnymarkError: the photo cannot be read, or shows no head.
    """
    pixels = load_image(path)
    found = dense.encode(pixels)
    if len(found) > 1:
        x, y = found[0].crop.centre_px
        complain(f"{path}: {len(found)} heads; the largest counts, about {x:.0f},{y:.0f} px")
    if found[0].share < LEAST_SHARE:
        raise AnymarkError(f"{path}: no head in it")
    return pixels, found[0]


def beside(first: Pixels, second: Pixels) -> tuple[Pixels, float, float]:
    """Two pictures side by side, the second made as high as the first; where it begins, and its scale."""
    from PIL import Image

    scale = first.shape[0] / second.shape[0]
    width = max(1, round(second.shape[1] * scale))
    fitted = np.asarray(Image.fromarray(second).resize((width, first.shape[0]), Image.Resampling.LANCZOS))
    return np.hstack([first, fitted]), float(first.shape[1]), scale
