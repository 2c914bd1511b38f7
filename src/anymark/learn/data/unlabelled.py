"""Photos without any label, for dense models: the round trip learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from anymark.detect.detector import Detector
from anymark.detect.files import photos
from anymark.detect.image import open_photo
from anymark.detect.window import Crop, Window, cut
from anymark.engine.samples import COARSE, NOTHING
from anymark.errors import AnymarkError
from anymark.learn.data.dense_sets import UNKNOWN, DenseSet, no_priors, spread_table
from anymark.learn.data.priors import QUERY, ask

SIDE_PX = 256
"""Of the squares that are kept."""
ROOM = 1.3
"""Their side over that of the dense model's window, which moves in training."""


def load_unlabelled(folder: Path, *, window_scale: float, weight: float = 1.0, priors: bool = True) -> DenseSet:
    """The largest head of each photo of a folder; photos in which none is found are left out.

    Args:
        window_scale: side of the dense model's window over the longer side of the face's box.
        priors: whether the query model is asked about each.

    Raises:
        AnymarkError: no such folder, a photo that cannot be read, or no head in any.
    """
    detector = Detector(QUERY, looks=1)
    squares, boxes, valid = [], [], []
    for path in photos(str(folder)):
        photo = open_photo(path)
        heads = detector.encode(photo)
        if not heads:
            continue
        square = Window.from_box(heads[0].box_px, ROOM * window_scale)
        inside = Crop(square.affine())
        corners = np.array([[0, 0], photo.full_size_px]), heads[0].box_px.reshape(2, 2)
        shown, box = ((inside.to_crop(np.asarray(each, np.float64)) + 1) * (SIDE_PX / 2) for each in corners)
        squares.append(cut(photo, [square], SIDE_PX)[0].transpose(2, 0, 1))
        boxes.append(box.ravel())
        valid.append(np.clip(shown, 0, SIDE_PX).ravel())
    if not squares:
        raise AnymarkError(f"{folder}: no head in any of its photos")
    images, box_px, count = np.stack(squares), np.stack(boxes).astype(np.float32), len(squares)
    cells = (count, SIDE_PX // COARSE, SIDE_PX // COARSE)
    return DenseSet(
        source=folder.name,
        images=torch.from_numpy(images),
        places_q=torch.full((*cells, 3), NOTHING, dtype=torch.int16),
        region=torch.full(cells, UNKNOWN, dtype=torch.uint8),
        xy_px=torch.zeros(count, 1, 2),
        visible=torch.zeros(count, 1, dtype=torch.bool),
        box_px=torch.from_numpy(box_px),
        valid_box_px=torch.from_numpy(np.stack(valid).astype(np.float32)),
        first=torch.arange(count),
        count=torch.ones(count, dtype=torch.long),
        spread_mm=torch.from_numpy(spread_table(None)),
        prior=torch.from_numpy(ask(images, box_px, folder.name) if priors else no_priors(count)),
        weight=weight,
    )
