"""Photos of heads for the locator: whole photos and crops, each head with its outline and eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.canonical.face_mesh import EYE_CORNERS, FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.errors import AnymarkError
from anymark.learn.data.photos import PhotoSet
from anymark.photo_files import PhotoTar, read_npz

WHOLE = "whole"
"""Name of the folder of whole photos; a recipe's source `whole-congress` is the part of it that congress gave."""
FACES = "faces.npz"
OUTLINE_POINTS = 32
SAME_PHOTO = 0.9
"""Thumbnails of two heads that correlate more than this may be one photo (all known pairs do; 6 % of others do)."""
VALIDATION_SHARE = 0.05


@dataclass(frozen=True)
class HeadPhotos:
    """N photos of any sizes; the n-th shows F_n heads."""

    images: Sequence[Tensor]
    """uint8 (3, H, W) each."""
    outlines_px: Sequence[Tensor]
    """(F, 32, 2): points whose box, under any affine map, is the box of the face's 468 points."""
    eyes_px: Sequence[Tensor]
    """(F, 2, 2): centres of the subject's right and left eye."""

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: Sequence[int]) -> HeadPhotos:
        """The photos of these indices, in this order."""
        return HeadPhotos(*([x[i] for i in index] for x in (self.images, self.outlines_px, self.eyes_px)))

    def to(self, device: torch.device) -> HeadPhotos:
        """The same photos in the memory of `device`."""
        return HeadPhotos(*([t.to(device) for t in x] for x in (self.images, self.outlines_px, self.eyes_px)))


def boxes_px(outline_px: Float[Tensor, "*F P 2"]) -> Float[Tensor, "*F 4"]:
    """x0, y0, x1, y1 of outlines."""
    return torch.cat([outline_px.amin(-2), outline_px.amax(-2)], -1)


def ellipse_outline(box_px: Float[Tensor, "F 4"]) -> Float[Tensor, "F 32 2"]:
    """The outline of a face of which only the box is known: when it rolls, its box grows as an ellipse's does."""
    angle = torch.arange(OUTLINE_POINTS) * (2 * torch.pi / OUTLINE_POINTS)
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    low, high = box_px[:, None, :2], box_px[:, None, 2:]
    return (low + high) / 2 + circle * (high - low) / 2


def extreme_points(points_px: Float[Tensor, "N P 2"]) -> Float[Tensor, "N 32 2"]:
    """Of each face's points the farthest in each of 32 directions."""
    angle = torch.arange(OUTLINE_POINTS) * (2 * torch.pi / OUTLINE_POINTS)
    reach = points_px @ torch.stack([angle.cos(), angle.sin()])
    return points_px.gather(1, reach.argmax(1)[..., None].expand(-1, -1, 2))


def heads_of_crops(crops: PhotoSet) -> HeadPhotos:
    """The crops of one source, cut to the part that lies inside the photo.

    Raises:
        AnymarkError: their labels are not of the face mesh, where outlines and eyes come from.
    """
    if crops.layout != FACE_MESH_LAYOUT:
        raise AnymarkError(f"{crops.source}: of {crops.layout}; the locator learns from {FACE_MESH_LAYOUT} alone")
    left_top = crops.valid_box_px[:, :2].ceil()
    right_bottom = crops.valid_box_px[:, 2:].floor()
    face = crops.points_px[:, :FACE_MESH_POINTS] - left_top[:, None]
    eyes = torch.stack([face[:, list(pair)].mean(1) for pair in EYE_CORNERS], 1)
    outline = extreme_points(face)
    images = [
        image[:, int(y0) : int(y1), int(x0) : int(x1)]
        for image, (x0, y0), (x1, y1) in zip(crops.images, left_top.tolist(), right_bottom.tolist(), strict=True)
    ]
    return HeadPhotos(images, [o[None] for o in outline], [e[None] for e in eyes])


def load_whole(root: Path) -> tuple[tuple[str, ...], HeadPhotos]:
    """All whole photos and their names.

    Raises:
        AnymarkError: a file is missing or not what it should be.
    """
    folder = root / WHOLE
    path = folder / FACES
    labels = read_npz(path, ("name", "photo", "box", "eyes"))
    names, photo = tuple(str(n) for n in labels["name"]), labels["photo"]
    for key in ("box", "eyes"):
        if labels[key].shape != (len(photo), 4):
            raise AnymarkError(f"{path}: {key} {labels[key].shape}, expected ({len(photo)}, 4)")
    outline = ellipse_outline(torch.from_numpy(labels["box"]))
    eyes = torch.from_numpy(labels["eyes"]).view(-1, 2, 2)
    tar = PhotoTar(folder / "photos.tar", names)
    images = [torch.from_numpy(tar.pixels(n).transpose(2, 0, 1).copy()) for n in names]
    faces = [np.flatnonzero(photo == i) for i in range(len(names))]
    return names, HeadPhotos(images, [outline[f] for f in faces], [eyes[f] for f in faces])


@torch.no_grad()
def thumbnails(photos: HeadPhotos, side: int = 24) -> Float[Tensor, "N D"]:
    """Each photo's first head with its surroundings: small, grey, of mean 0 and length 1; products are correlations."""
    out = []
    for image, outline in zip(photos.images, photos.outlines_px, strict=True):
        x0, y0, x1, y1 = boxes_px(outline[0]).tolist()
        half = round(1.2 * max(x1 - x0, y1 - y0))
        left, top = round((x0 + x1) / 2) - half, round((y0 + y1) / 2) - half
        right, bottom = left + 2 * half, top + 2 * half
        inside = image[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)].float().mean(0, keepdim=True)
        beyond = (max(-left, 0), max(right - image.shape[2], 0), max(-top, 0), max(bottom - image.shape[1], 0))
        out.append(F.adaptive_avg_pool2d(F.pad(inside, beyond), side).flatten(1))
    grey = torch.cat(out)
    grey = grey - grey.mean(1, keepdim=True)
    return grey / grey.norm(dim=1, keepdim=True).clamp(min=1e-6)


def looks_like_any(heads: Float[Tensor, "N D"], others: Float[Tensor, "M D"], least: float = SAME_PHOTO) -> Tensor:
    """(N,) bool: which heads may be the same photo as one of the others."""
    if len(others) == 0:
        return torch.zeros(len(heads), dtype=torch.bool)
    return (heads @ others.T).amax(1) > least


def validation_choice(count: int, share: float = VALIDATION_SHARE, seed: int = 0) -> Tensor:
    """(N,) bool: the same random share every time."""
    return torch.rand(count, generator=Generator().manual_seed(seed)) < share
