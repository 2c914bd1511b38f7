"""What benchmarks with the 68 iBUG points share: .pts files, the eyes, and regions."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import first_centre_to_px

POINTS = 68
OUTER_EYES = (36, 45)
EYES = (list(range(36, 42)), list(range(42, 48)))
REGIONS = {
    name: np.arange(*ends, dtype=np.int32)
    for name, ends in {"jaw": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}.items()
}

FIRST_CENTRE = 1.0
"""What a .pts file calls the centre of the first pixel."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def read_pts(path: Path, count: int = POINTS) -> npt.NDArray[np.float64]:
    """Points (N, 2) of a .pts file, in anymark's pixels: (0, 0) is the outer corner of the top-left pixel.

    A header (`version`, `n_points`, braces) may be there or not; numbers may be parted by any blanks or a comma.

    Raises:
        AnymarkError: the file cannot be read, a line is not two finite numbers, or there are not `count` of them.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({error.strerror})") from None
    points: list[tuple[float, float]] = []
    for number, line in enumerate(text.replace("{", "\n").replace("}", "\n").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or re.match(r"(version|n_points)\b", words[0]):
            continue
        try:
            x, y = (float(word) for word in words)
        except ValueError:
            raise AnymarkError(f"{path}: line {number} is not a point: {line.strip()[:40]!r}") from None
        points.append((x, y))
    declared = re.search(r"n_points\s*:?\s*(\d+)", text)
    if declared and int(declared[1]) != len(points):
        raise AnymarkError(f"{path}: {len(points)} points, its header says {declared[1]}")
    if len(points) != count:
        raise AnymarkError(f"{path}: {len(points)} points, expected {count}")
    array = np.array(points, np.float64)
    if not np.isfinite(array).all():
        raise AnymarkError(f"{path}: a point is not finite")
    return first_centre_to_px(array, FIRST_CENTRE)
