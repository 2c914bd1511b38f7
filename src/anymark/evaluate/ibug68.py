"""What benchmarks with the 68 iBUG points share: the eyes, and regions."""

from __future__ import annotations

import numpy as np

POINTS = 68
OUTER_EYES = (36, 45)
EYES = (list(range(36, 42)), list(range(42, 48)))
REGIONS = {
    name: np.arange(*ends, dtype=np.int32)
    for name, ends in {"jaw": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}.items()
}

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
