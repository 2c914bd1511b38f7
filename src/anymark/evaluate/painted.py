"""How well marker models find points that nobody painted: against sets whose points are known (`anymark data markers`),
beside the template alone, the blobs of pictures that are marked, and the query model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from anymark.canonical import load_layout
from anymark.detect.detector import Detector
from anymark.detect.files import photos
from anymark.detect.image import load_image
from anymark.detect.markers import MarkerDetector
from anymark.detect.template import Template
from anymark.detect.window import Window
from anymark.engine.marker_sets import FACE_SCALE, Truth, read_truth
from anymark.engine.marks import LINES, PAINTED
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]
Ids = npt.NDArray[np.intp]
Finder = Callable[[npt.NDArray[np.uint8]], Array]
"""A picture (S, S, 3) -> points (N, 2) in -1..1; NaN for those that are not found."""

BLOB = 0.02
"""Standard deviation of a dot, in sides of the picture."""
NEAR = 0.12
"""Half sides: a blob that is farther from a mark is another's."""
_FAINTEST = 0.25  # of the strongest blob


def read_known(folder: Path, limit: int | None = None) -> tuple[list[npt.NDArray[np.uint8]], Truth]:
    """Pictures, and what they show.

    Args:
        limit: the first so many.

    Raises:
        AnymarkError: no such folder, or it does not go with its truth.
    """
    if not folder.is_dir():
        raise AnymarkError(f"{folder}: no such folder")
    pictures = [load_image(path) for path in photos(str(folder))]
    truth = read_truth(folder)
    if len(truth.points) != len(pictures):
        raise AnymarkError(f"{folder}: {len(pictures)} pictures, and truth of {len(truth.points)}")
    return pictures[:limit], Truth(truth.points[:limit], truth.visible[:limit], truth.take[:limit])


def by_markers(detector: MarkerDetector) -> Finder:
    """The marker model."""
    return lambda pixels: detector.encode(pixels)[0].points.astype(np.float64)


def by_template(template: Template) -> Finder:
    """The template, wherever it is."""
    return lambda pixels: template.points.astype(np.float64)


def by_query(detector: Detector) -> Finder:
    """The query model with the layout of marked faces, in the square that faces are framed in."""
    layout = load_layout(LINES)

    def find(pixels: npt.NDArray[np.uint8]) -> Array:
        side = len(pixels)
        square = Window(np.full(2, side / 2), side * detector.landmarker.window_scale / FACE_SCALE)
        (head,) = detector.encode(pixels, [square])
        return head.query(layout).xy_px[PAINTED].astype(np.float64) * (2 / side) - 1

    return find


def nearest_blobs(pixels: npt.NDArray[np.uint8], truth: Array) -> Array:
    """What the best blob detector could say of a marked picture: the blob of paint nearest to each mark, if it is near.

    Paint is what is bluer than the skin; blobs are maxima of the difference of two Gaussians, to a fraction of a pixel.
    """
    side = len(pixels)
    blue = pixels[..., 2].astype(np.float32) - pixels[..., 0]
    sd = BLOB * side
    response = np.asarray(cv2.GaussianBlur(blue, (0, 0), sd) - cv2.GaussianBlur(blue, (0, 0), 1.6 * sd), np.float32)
    peak = (response == cv2.dilate(response, np.ones((3, 3)))) & (response > _FAINTEST * response.max())
    peak[[0, -1]] = peak[:, [0, -1]] = False
    rows, columns = np.nonzero(peak)
    out = np.full(truth.shape, np.nan)
    if not len(rows):
        return out
    at = np.column_stack([_fine(response, rows, columns, 1), _fine(response, rows, columns, 0)])
    blobs = (at + 0.5) * (2 / side) - 1
    away = np.linalg.norm(truth[:, None] - blobs, axis=-1)
    near = away.min(1) < NEAR
    out[near] = blobs[away.argmin(1)[near]]
    return out


def _fine(response: npt.NDArray[np.float32], rows: Ids, columns: Ids, axis: int) -> Array:
    """A parabola's top through three pixels along an axis."""
    step = (1, 0) if axis == 0 else (0, 1)
    before, here, after = (response[rows + k * step[0], columns + k * step[1]] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    off = np.where(np.abs(bend) > 1e-9, (before - after) / (2 * np.where(bend == 0, 1, bend)), 0)
    return np.asarray((rows if axis == 0 else columns) + np.clip(off, -0.5, 0.5), np.float64)


def errors(found: Sequence[Array], truth: Truth, size: float) -> dict[str, float]:
    """Mean and median distance of what is seen, over the template's size, in %, and how much of it was found."""
    away = np.linalg.norm(np.stack(found) - truth.points, axis=-1)[truth.visible] / size
    there = away[np.isfinite(away)]
    if not len(there):
        return {"mean %": np.nan, "median %": np.nan, "found %": 0.0}
    share = 100 * len(there) / max(1, len(away))
    return {"mean %": 100 * float(there.mean()), "median %": 100 * float(np.median(there)), "found %": share}


def jitter(found: Sequence[Array], truth: Truth, size: float) -> float:
    """Root mean square, over points that are seen in two frames of a take one after the other, of how much their error
    changes from one to the next; over the template's size, in %."""
    change = np.linalg.norm(np.diff(np.stack(found) - truth.points, axis=0), axis=-1)
    same = (truth.take[1:] == truth.take[:-1])[:, None]
    change = change[truth.visible[1:] & truth.visible[:-1] & same]
    change = change[np.isfinite(change)]
    return 100 * float(np.sqrt((change**2).mean())) / size if len(change) else float("nan")
