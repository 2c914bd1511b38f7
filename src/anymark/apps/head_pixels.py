"""What of a head each pixel of its photo shows: the predicted head, drawn in its camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.detect.landmarks import Landmarks
from anymark.detect.raster import Raster, rasterise
from anymark.errors import AnymarkError

Floats = npt.NDArray[np.float32]

MOST_SAMPLES = 100_000_000
"""Places that are looked at in one drawing; bounds memory."""


@dataclass(frozen=True, eq=False)
class HeadPixels:
    """A box of a photo about one head, each of its pixels looked at in `factor` x `factor` places."""

    box_px: tuple[int, int, int, int]
    """x0, y0, x1, y1: the first column and row, and the first ones beyond."""
    factor: int
    raster: Raster
    """(H * factor, W * factor) which of the canonical head's triangles is seen; H and W are the box's."""
    uncovered: Floats
    """(H * factor, W * factor) how likely nothing, such as a hand or hair, lies over it; 0 where there is no head."""

    @classmethod
    def of(
        cls,
        landmarks: Landmarks,
        size_px: tuple[int, int],
        factor: int = 1,
        within: bool = True,
        about: npt.NDArray[np.integer] | None = None,
        margin_px: float = 0.0,
    ) -> HeadPixels:
        """Draw a head.

        Args:
            landmarks: Of the layout "head", every vertex of the canonical head.
            size_px: (width, height) of the photo.
            factor: Places that each pixel is looked at in, along a side.
            within: Only what lies in the photo; False draws all of the head.
            about: Triangles that the box is to be about; None: all.
            margin_px: How much wider the box is on each side.

        Raises:
            AnymarkError: landmarks of another layout, or the head is too large to be drawn.
        """
        head = CanonicalHead.load()
        check_head(landmarks)
        depth = landmarks.camera.in_camera_mm(landmarks.xyz_mm)[:, 2]
        xy = landmarks.xy_px.astype(np.float64)
        boxed = xy if about is None else xy[head.triangles[about].ravel()]
        if not len(boxed):
            boxed = np.zeros((1, 2))
        low, high = np.floor(boxed.min(0) - margin_px), np.ceil(boxed.max(0) + margin_px)
        if within:
            low, high = np.clip(low, 0, size_px), np.clip(high, 0, size_px)
        if np.prod(high - low) * factor**2 > MOST_SAMPLES:
            raise AnymarkError(f"a head of {high[0] - low[0]:.0f} x {high[1] - low[1]:.0f} pixels is too large to draw")
        x0, y0, x1, y1 = (int(v) for v in (*low, *high))
        raster = rasterise((xy - low) * factor, depth, head.triangles, ((x1 - x0) * factor, (y1 - y0) * factor))
        return cls((x0, y0, x1, y1), factor, raster, raster.of_vertices(_uncovered(landmarks), head.triangles))

    def nearest(self, xy_px: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
        """For points (N, 2) of the photo the row and column (N,) of the nearest place that shows the head, and how far
        that is, in pixels; 0 within the place itself.

        Raises:
            AnymarkError: the head is nowhere in the box.
        """
        rows, columns = np.nonzero(self.raster.triangle >= 0)
        if not len(rows):
            raise AnymarkError("nothing of the head is seen")
        at = (np.asarray(xy_px, np.float64) - self.box_px[:2]) * self.factor
        height, width = self.raster.triangle.shape
        found = np.empty((len(at), 2), np.intp)
        off = np.zeros(len(at), np.float32)
        for i, (x, y) in enumerate(at):
            row, column = int(np.floor(y)), int(np.floor(x))
            if not (0 <= row < height and 0 <= column < width and self.raster.triangle[row, column] >= 0):
                distance = np.hypot(rows + 0.5 - y, columns + 0.5 - x)
                best = int(distance.argmin())
                row, column, off[i] = rows[best], columns[best], distance[best] / self.factor
            found[i] = row, column
        return found[:, 0], found[:, 1], off

    def averaged(self, samples: npt.NDArray[np.floating]) -> Floats:
        """(H * factor, W * factor, ...) of the places -> (H, W, ...) their means over each pixel."""
        if self.factor == 1:
            return samples.astype(np.float32)
        height, width = (side // self.factor for side in samples.shape[:2])
        blocks = samples.reshape(height, self.factor, width, self.factor, *samples.shape[2:])
        return blocks.mean((1, 3), dtype=np.float32)


def _uncovered(landmarks: Landmarks) -> Floats:
    """(V,) how likely nothing but the head itself lies over each vertex. Teeth and eyes are mostly behind lips and
    lids, and that is what the model says of them; of whether something else covers them, lips and lids tell."""
    out = landmarks.uncovered.copy()
    for inner, outer in _within():
        out[inner] = np.median(landmarks.uncovered[outer])
    return out


@cache
def _within() -> tuple[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]], ...]:
    """Vertices of the parts within openings of the skin, and those of the skin about each."""
    head = CanonicalHead.load()
    parts = [(("upper teeth", "lower teeth", "gums", "tongue"), ("upper lip", "lower lip"))]
    parts += [((f"{side} eye",), (f"{side} eyelids",)) for side in ("right", "left")]
    return tuple((head.vertices_of(*inner), head.vertices_of(*outer)) for inner, outer in parts)


def check_head(landmarks: Landmarks) -> None:
    """That landmarks are every vertex of the canonical head.

    Raises:
        AnymarkError: they are not.
    """
    head = CanonicalHead.load()
    if not np.array_equal(landmarks.layout.points_mm, head.vertices_mm):
        raise AnymarkError(f"this needs the layout 'head', not {landmarks.layout.name!r}")
