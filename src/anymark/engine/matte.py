"""Who is in the foreground of a portrait: graph cuts (Rother et al. 2004) started from the fitted head."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 160  # pixels of the longer side that it works at
_ROUNDS = 3


def person_matte(
    photo: npt.NDArray[np.uint8], head: npt.NDArray[np.bool_], valid_box_px: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """(H, W) 0..1: 1 on the person with hair and shoulders, soft along the outline; 0 on padding.

    Args:
        photo: (H, W, 3) RGB.
        head: (H, W) where the fitted head is.
        valid_box_px: (4,) the part of the photo that is no padding.
    """
    out = np.zeros(head.shape, np.float32)
    (x0, y0), (x1, y1) = np.ceil(valid_box_px[:2]).astype(int), np.floor(valid_box_px[2:]).astype(int)
    inside = slice(max(y0, 0), max(y1, 0)), slice(max(x0, 0), max(x1, 0))
    if head[inside].sum() > 50:
        out[inside] = _cut(photo[inside], head[inside].astype(np.uint8))
    return out


def _cut(photo: npt.NDArray[np.uint8], head: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    height, width = head.shape
    factor = min(1.0, _SIDE / max(height, width))
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    small = cv2.resize(photo[..., ::-1], size, interpolation=cv2.INTER_AREA)
    labels = _guess(np.asarray(cv2.resize(head, size, interpolation=cv2.INTER_NEAREST), np.uint8))
    known = (labels == cv2.GC_BGD) | (labels == cv2.GC_PR_BGD)
    if known.sum() < 20:
        return np.ones((height, width), np.float32)
    core = labels == cv2.GC_FGD
    cv2.setRNGSeed(0)  # its colour models start from random ones
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, labels, (0, 0, 1, 1), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(person)
    person = np.isin(pieces, np.unique(pieces[core & (person > 0)])).astype(np.float32)  # what hangs on to the head
    soft = cv2.resize(cv2.GaussianBlur(person, (0, 0), 0.8), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(soft * 1.6 - 0.3, 0, 1).astype(np.float32)


def _guess(head: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """GrabCut's labels to start from: the head is the person, hair and body may be, the rims of the picture are not."""
    height, width = head.shape
    rows, columns = np.nonzero(head)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    tall, wide = bottom - top + 1, right - left + 1
    labels = np.full(head.shape, cv2.GC_PR_BGD, np.uint8)
    labels[cv2.dilate(head, _disc(0.10 * tall)) > 0] = cv2.GC_PR_FGD
    chin, middle = int(top + 0.8 * tall), (left + right) // 2
    body, trunk = np.zeros_like(head), np.zeros_like(head)
    shoulders = [(left, chin), (right, chin), (middle + int(1.6 * wide), height), (middle - int(1.6 * wide), height)]
    cv2.fillPoly(body, [np.array(shoulders, np.int32)], 1)
    cv2.fillPoly(trunk, [np.array([(left, chin), (right, chin), (right, height), (left, height)], np.int32)], 1)
    labels[(body > 0) & (labels == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
    far = cv2.dilate(head, _disc(0.45 * tall)) == 0
    labels[far & (body == 0)] = cv2.GC_BGD
    rim = max(2, width // 40)  # a portrait's sides and top, down to the chin, where the head is not
    edge = np.zeros(head.shape, bool)
    edge[:chin, :rim] = edge[:chin, -rim:] = edge[:rim] = True
    labels[edge & (cv2.dilate(head, _disc(0.12 * tall)) == 0)] = cv2.GC_BGD
    labels[cv2.erode(head, _disc(0.05 * tall)) > 0] = cv2.GC_FGD
    labels[(trunk > 0) & (rows.mean() + 0.55 * tall < np.arange(height)[:, None])] = cv2.GC_FGD
    return labels


def _disc(radius: float) -> npt.NDArray[np.uint8]:
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
