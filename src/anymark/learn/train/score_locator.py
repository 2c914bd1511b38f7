"""How well a locator finds heads: recall, precision, box and eyes on photos, false alarms where there is no head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.detect.boxes import iou, suppress
from anymark.learn.data.heads import HeadPhotos, boxes_px
from anymark.learn.models.locator import best_cells

SCORED_SIZE = 320
"""Longest side of the images that a locator is scored on: the middle one of those that run time searches."""
THRESHOLD = 0.4
"""Of the metrics while training; an export chooses its own."""
LEAST_SCORE = 0.05
MATCH_IOU = 0.5


@dataclass(frozen=True)
class Detections:
    """Heads found in one image, best first, in its pixels."""

    score: Float[Tensor, " D"]
    geometry: Float[Tensor, "D 8"]


@torch.no_grad()
def detect(
    model: nn.Module, images: Float[Tensor, "B 3 H W"], threshold: float, most: int = 64, overlap: float = 0.4
) -> list[Detections]:
    """Heads in images in 0..1 whose sides are multiples of 32: local maxima, then greedy suppression."""
    logit, geometry = model(images)
    scores, cells = best_cells(logit.sigmoid(), most)
    found = []
    for score, cell, heads in zip(scores, cells, geometry.flatten(1, 2), strict=True):
        good = score > threshold
        score, heads = score[good], heads[cell[good]]
        keep = suppress(heads[:, :4].double().cpu().numpy(), score.cpu().numpy(), overlap)
        found.append(Detections(score[keep], heads[keep]))
    return found


def place(
    photo: UInt8[Tensor, "3 H W"], scale: float, canvas: UInt8[Tensor, "3 S S"] | None
) -> tuple[Float[Tensor, "3 S S"], float, float]:
    """A scaled photo in the middle of a square canvas (black: None), in 0..1, and where its corner lies."""
    _, height, width = photo.shape
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.interpolate(photo[None].float() / 255, size, mode="bilinear", antialias=True, align_corners=False)[0]
    out = torch.zeros(3, SCORED_SIZE, SCORED_SIZE, device=photo.device) if canvas is None else canvas.float() / 255
    small = small[:, :SCORED_SIZE, :SCORED_SIZE]
    top, left = (SCORED_SIZE - small.shape[1]) // 2, (SCORED_SIZE - small.shape[2]) // 2
    out[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return out, float(left), float(top)


@dataclass(frozen=True)
class Matches:
    """What became of the heads of some photos, and of what else was found; at any threshold above `LEAST_SCORE`."""

    score: Float[Tensor, " T"]
    """Of the best detection that overlaps each head by half; 0 where there is none."""
    overlap: Float[Tensor, " T"]
    eye_error: Float[Tensor, " T"]
    """Mean distance of the two eyes, in mean sides of the box."""
    wrong: Float[Tensor, " W"]
    """Scores of the detections that are nobody's."""

    def metrics(self, threshold: float) -> dict[str, float]:
        """Missed heads, wrong detections, overlap and eye error of what scores above a threshold."""
        found = self.score > threshold
        hits, wrong = int(found.sum()), int((self.wrong > threshold).sum())
        return {
            "missed %": 100 * (1 - hits / max(len(found), 1)),
            "precision %": 100 * hits / max(hits + wrong, 1),
            "IoU": float(self.overlap[found].mean()),
            "eyes, % of the box": 100 * float(self.eye_error[found].mean()),
        }


def match_photos(
    model: nn.Module,
    photos: HeadPhotos,
    *,
    face_px: float | None = None,
    backgrounds: UInt8[Tensor, "N 3 S S"] | None = None,
    batch: int = 16,
) -> Matches:
    """Locate the heads of photos.

    Args:
        face_px: shrink each photo until its first head has this longer side, on a background; None: until the photo's
            longest side is 320 pixels.
    """
    rows: list[tuple[float, float, float]] = []
    wrong: list[float] = []
    for start in range(0, len(photos), batch):
        images, truths = [], []
        for i in range(start, min(start + batch, len(photos))):
            photo, box = photos.images[i], boxes_px(photos.outlines_px[i])
            scale = SCORED_SIZE / max(photo.shape[1:])
            if face_px is not None:
                scale = min(scale, face_px / float((box[0, 2:] - box[0, :2]).max()))
            canvas = None if backgrounds is None else backgrounds[i % len(backgrounds)]
            image, left, top = place(photo, scale, canvas)
            images.append(image)
            shift = box.new_tensor([left, top] * 4)
            truths.append(torch.cat([box, photos.eyes_px[i].flatten(1)], 1) * scale + shift)
        for found, truth in zip(detect(model, torch.stack(images), LEAST_SCORE), truths, strict=True):
            common = iou(*(x[:, :4].double().cpu().numpy() for x in (truth, found.geometry)))
            free = torch.ones(len(found.score), dtype=torch.bool)
            for head, overlaps in zip(truth, common, strict=True):
                best = int(overlaps.argmax()) if len(overlaps) else 0
                if not len(overlaps) or float(overlaps[best]) < MATCH_IOU:
                    rows.append((0.0, 0.0, 0.0))
                    continue
                free[best] = False
                off = (found.geometry[best, 4:] - head[4:]).view(2, 2).norm(dim=-1).mean()
                side = (head[2:4] - head[:2]).mean()
                rows.append((float(found.score[best]), float(overlaps[best]), float(off / side)))
            wrong += found.score[free.to(found.score.device)].tolist()
    score, overlap, eye_error = torch.tensor(rows).view(-1, 3).T
    return Matches(score, overlap, eye_error, torch.tensor(wrong))


def choose_threshold(matches: Matches, missed: float = 0.005, low: float = 0.4, high: float = 0.5) -> float:
    """The highest threshold, within bounds, that misses no more than this share of the heads."""
    allowed = int(missed * len(matches.score))
    value = float(matches.score.sort().values[allowed]) if len(matches.score) else low
    return round(min(max(value - 0.005, low), high), 2)


def score_backgrounds(model: nn.Module, views: UInt8[Tensor, "N 3 S S"], threshold: float, batch: int = 16) -> float:
    """Heads found a picture where there are none."""
    parts = views.split(batch)
    return sum(len(d.score) for part in parts for d in detect(model, part.float() / 255, threshold)) / len(views)
