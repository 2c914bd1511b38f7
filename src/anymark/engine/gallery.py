"""Contact sheets of samples: the picture, its visible points, its parts and its canonical colours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.canonical import CanonicalHead, mm_to_uvw
from anymark.engine.samples import Sample, read_shards

Pixels = npt.NDArray[np.uint8]

_PALETTE = np.random.default_rng(4).integers(60, 256, (32, 3)).astype(np.uint8)
_DRAWN = 3  # every so-manieth vertex


def contact_sheet(shards: Sequence[Path], count: int, columns: int = 4, tile: int = 192) -> Pixels:
    """(H, W, 3) RGB: `count` samples spread over the shards, each as picture, points, parts and canonical colours.

    Raises:
        AnymarkError: a shard cannot be read, or there are no samples.
    """
    each = -(-count // max(1, len(shards)))
    samples = [sample for shard in shards for sample in islice(_spread(shard, each), each)][:count]
    rows = [np.hstack([_panels(s, tile) for s in samples[i : i + columns]]) for i in range(0, len(samples), columns)]
    if not rows:
        return np.zeros((tile, 4 * tile * columns, 3), np.uint8)
    width = rows[0].shape[1]
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _spread(shard: Path, count: int) -> list[Sample]:
    samples = list(read_shards([shard]))
    index = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int) if samples else []
    return [samples[i] for i in index]


def _panels(sample: Sample, tile: int) -> Pixels:
    scale = tile / sample.image.shape[0]
    picture = np.asarray(Image.fromarray(sample.image).resize((tile, tile), Image.Resampling.LANCZOS), np.uint8)
    head = CanonicalHead.load()
    vertex_part = np.zeros(len(head.vertices_mm), np.int64)
    vertex_part[head.triangles.ravel()] = np.repeat(head.part, 3)
    points = (picture * 0.6).astype(np.uint8)
    for i in range(0, len(sample.xy_px), _DRAWN):
        x, y = sample.xy_px[i] * scale
        if 0 <= x < tile and 0 <= y < tile and sample.visible[i]:
            colour = tuple(int(c) for c in _PALETTE[vertex_part[i]])
            points[int(y), int(x)] = colour
    part = cv2.resize(sample.part, (tile, tile), interpolation=cv2.INTER_NEAREST)
    parts = np.where((np.asarray(part) >= 0)[..., None], _PALETTE[np.maximum(part, 0)], picture // 3)
    uvw = mm_to_uvw(sample.canonical_mm)
    colours = np.where(np.isnan(uvw), 0, np.clip((uvw - 0.2) / 0.6, 0, 1) * 255).astype(np.uint8)
    canonical = np.asarray(cv2.resize(colours, (tile, tile), interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.hstack([picture, points, parts.astype(np.uint8), canonical])
