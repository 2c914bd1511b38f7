"""How well heads are segmented: the usual twelve classes of face parsing against the part maps of renders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anymark.apps.partition import Partition
from anymark.apps.segment import INNER_LIPS, segment
from anymark.canonical import CanonicalHead
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT
from anymark.canonical.head import closest_on_surface
from anymark.canonical.posed import points_on
from anymark.detect.detector import Detector
from anymark.engine.samples import COARSE, Sample, finished_shards, read_index, read_shards
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, true_window
from anymark.spread import spread

Labels = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Counted:
    """Pixels of R regions: those of both, and those of either."""

    both: npt.NDArray[np.int64]
    """(R,)"""
    either: npt.NDArray[np.int64]
    """(R,)"""


def true_labels(sample: Sample, partition: Partition) -> Labels:
    """(S / 4, S / 4) the region that a render shows in the middle of each of its cells, -1 for none: nothing where
    something covers the head.

    The maps say which canonical point is seen, on which part; the region is that of its triangle. Between the lips,
    where there is nothing of the head, it is the gap.
    """
    head = CanonicalHead.load()
    assert partition.of_triangles is not None
    out = np.full(sample.part.shape, -1, np.int16)
    for part in range(len(head.part_names)):
        here = (sample.part == part) & ~sample.covered & np.isfinite(sample.canonical_mm).all(2)
        if here.any():
            triangles = np.flatnonzero(head.part == part)
            ids, _ = closest_on_surface(head.vertices_mm, head.triangles[triangles], sample.canonical_mm[here])
            out[here] = partition.of_triangles[triangles[ids]]
    if partition.gap >= 0:
        edge = points_on(sample.xy_px.astype(np.float64), FACE_MESH_LAYOUT)[INNER_LIPS, :]
        lips = Image.new("1", sample.part.shape[::-1])
        # the middle of a cell's only pixel lies at 2.5 of its 4
        ImageDraw.Draw(lips).polygon([tuple(xy) for xy in ((edge - 2.5) / COARSE).tolist()], fill=1)
        out[(sample.part < 0) & ~sample.covered & np.asarray(lips)] = partition.gap
    return out


def read_renders(folder: Path, limit: int | None = None) -> Iterator[Sample]:
    """The renders of a data set, or so many of them, spread evenly.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or photos.
    """
    total = int(read_index(folder)["samples"])
    wanted = set(spread(total, limit or total).tolist())
    for i, sample in enumerate(read_shards(finished_shards(folder))):
        if i in wanted:
            check_render(sample)
            yield sample


def counted(sample: Sample, partition: Partition, detector: Detector) -> Counted:
    """What is right and wrong in one render; the window is about the true face."""
    (head,) = detector.encode(sample.image, [true_window(sample, detector)])
    size = sample.image.shape[1], sample.image.shape[0]
    found = segment([head.query("head")], size, partition).labels[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    true = true_labels(sample, partition)
    regions = np.arange(len(partition.names))[:, None, None]
    mine, theirs = found == regions, true == regions
    return Counted((mine & theirs).sum((1, 2)), (mine | theirs).sum((1, 2)))


def segment_details(partition: Partition, counts: Sequence[Counted]) -> tuple[Detail, ...]:
    """Intersection over union of each region, of all pixels of all renders together, and their mean."""
    both, either = (np.sum([getattr(each, key) for each in counts], axis=0) for key in ("both", "either"))
    rates = both / np.maximum(either, 1)
    rows = {name: {"IoU": float(rate)} for name, rate in zip(partition.names, rates, strict=True)}
    rows["mean"] = {"IoU": float(rates.mean())}
    return (Detail(f"{len(counts)} renders, %", rows, percent=True),)
