"""Boxes [x0, y0, x1, y1]: what they must be, how far they overlap, and which to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]

SAME_FACE_IOU = 0.4
"""Boxes that overlap by more are one face."""


def check_box(box_xyxy: npt.ArrayLike) -> Array:
    """A box (4,) [x0, y0, x1, y1] in pixels as float64.

    Raises:
        AnymarkError: it is not four finite numbers with x0 < x1 and y0 < y1.
    """
    try:
        box = np.array(box_xyxy, np.float64)
    except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
        box = np.zeros(0)
    if box.shape != (4,) or not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
        given = box_xyxy.tolist() if isinstance(box_xyxy, np.ndarray) else box_xyxy
        raise AnymarkError(f"box {str(given)[:80]} is not [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
    return box


def check_boxes(boxes_xyxy: npt.ArrayLike) -> list[Array]:
    """Boxes (M, 4), M may be 0, as M of (4,).

    Raises:
        AnymarkError: they are not rows of boxes.
    """
    rows: Any = boxes_xyxy
    try:
        rows = list(rows)
    except TypeError:
        raise AnymarkError(f"boxes {str(boxes_xyxy)[:80]} are not rows of [x0, y0, x1, y1]") from None
    return [check_box(row) for row in rows]


def area(boxes: Array) -> Array:
    """(M,) area of boxes (M, 4)."""
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def iou(a: Array, b: Array) -> Array:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(sides, 0), axis=2)
    union = area(a)[:, None] + area(b) - common
    return common / np.maximum(union, 1e-12)


def suppress(boxes: Array, scores: npt.NDArray[np.floating[Any]], most_iou: float) -> list[int]:
    """Indices of the boxes (M, 4) to keep, best first: none overlaps a better one by more than `most_iou`."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = order[:1], order[1:]
        kept.append(int(best[0]))
        order = rest[iou(boxes[best], boxes[rest])[0] <= most_iou]
    return kept


def one_a_face(boxes: Array, scores: npt.NDArray[np.floating[Any]]) -> list[int]:
    """Indices of the boxes (M, 4) to keep, the best one of each face, largest first."""
    kept, size = suppress(boxes, scores, SAME_FACE_IOU), area(boxes)
    return sorted(kept, key=lambda i: -size[i])
