"""Labelled crops of heads in memory: photo sets (`anymark.photo_files`) as tensors of one size."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.canonical.posed import points_on, yaw_deg
from anymark.detect.detector import face_box
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.files import atomic
from anymark.photo_files import CROPS, PhotoLabels, PhotoTar, Split, read_labels
from anymark.spread import spread

DATA_CARDS = {
    "faker": {"what": "AI-made portraits", "licence": "CC0"},
    "sfhq": {"what": "synthetic faces", "licence": "MIT, (c) David Beniaguev"},
    "sfhq_t2i": {"what": "synthetic people, text to image", "licence": "MIT, (c) David Beniaguev"},
    "congress": {"what": "official portraits", "licence": "public domain (US Government Publishing Office)"},
    "voteview": {
        "what": "portraits of US legislators 1789-2025",
        "licence": "largely public domain or government sources",
    },
}
"""What a model card says of each of our own sources, where the recipe says that they are these (`learn.cards`)."""


TENSORS = (
    "images",
    "points_px",
    "depth_px",
    "box_px",
    "valid_box_px",
    "label_sd",
    "point_sd_px",
    "points_mm",
    "visible",
    "camera",
    "further_px",
    "further_mm",
)


@dataclass(frozen=True)
class PhotoSet:
    """N square crops of one source with one layout's points, all resized to one side S.

    A set brings its own layout, and `points_px` has one row a point of it.
    """

    source: str
    layout: str
    """What `load_layout` reads: a shipped layout's name, or a file's path."""
    names: tuple[str, ...]
    images: UInt8[Tensor, "N 3 S S"]
    points_px: Float[Tensor, "N P 2"]
    """x right, y down, (0, 0) = outer corner of the top-left pixel."""
    depth_px: Float[Tensor, "N P"]
    """Relative depth in the same unit, smaller is nearer; NaN where unknown."""
    box_px: Float[Tensor, "N 4"]
    """x0, y0, x1, y1 of the face."""
    valid_box_px: Float[Tensor, "N 4"]
    """x0, y0, x1, y1 of the part of each crop that lies inside its photo."""
    label_sd: Float[Tensor, " N"]
    """Spread of the teacher's looks, a fraction of the inter-ocular distance; NaN where it looked once."""
    point_sd_px: Float[Tensor, "N P"]
    """Standard deviation of each point's label along an axis, where it is known; else 0."""
    points_mm: Float[Tensor, "N P 3"]
    """Where each point of this head lies, in the head frame; NaN where unknown."""
    visible: Float[Tensor, "N P"]
    """1 where the photo shows it, 0 where it is hidden; NaN where unknown."""
    camera: Float[Tensor, "N 15"]
    """R_camera_head row by row, t_camera_head_mm, focal length and principal point in pixels; NaN where unknown."""
    further_px: Float[Tensor, "N M 3"]
    """Labels of the points of `further` layouts, and their standard deviations; most sets have none."""
    further_mm: Float[Tensor, "N M 3"]
    """The same in the head frame."""
    further: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: Int[np.ndarray, " M"] | Sequence[int]) -> PhotoSet:
        """The photos of these indices, in this order."""
        index = np.asarray(index)
        tensors = {key: getattr(self, key)[torch.from_numpy(index)] for key in TENSORS}
        return replace(self, names=tuple(self.names[i] for i in index), **tensors)


def load_photos(
    root: Path, source: str, side: int, split: Split, *, cache: Path | None = None, limit: int | None = None
) -> PhotoSet:
    """Read one source, resized to `side` pixels.

    Args:
        root: folder of photo sets.
        source: name of a folder in it.
        side: side S of the crops in memory. Labels scale with the pixels.
        split: held-out photos and their near-duplicates never come with "train".
        cache: folder where decoded pixels are kept between runs, memory-mapped.
        limit: at most so many photos, spread evenly.

    Raises:
        AnymarkError: a file is missing or not what it should be.
    """
    labels = read_labels(root / source)
    images = _decode(root / source / CROPS, labels, side, cache)
    chosen = labels.chosen(split, good=split != "held-out")
    if limit is not None and limit < len(chosen):
        chosen = chosen[spread(len(chosen), limit)]
    scale = (side / labels.size_px[chosen, None]).astype(np.float32)
    return PhotoSet(
        source=source,
        layout=labels.layout,
        names=tuple(labels.names[i] for i in chosen),
        images=torch.from_numpy(np.ascontiguousarray(images[chosen])),
        points_px=torch.from_numpy(labels.points_px[chosen] * scale[:, None]),
        depth_px=torch.from_numpy(labels.depth_px[chosen] * scale),
        box_px=torch.from_numpy(labels.box_px[chosen] * scale),
        valid_box_px=torch.from_numpy(labels.valid_box_px[chosen] * scale),
        label_sd=torch.from_numpy(labels.label_sd[chosen]),
        point_sd_px=torch.zeros(1, 1).expand(labels.points_px[chosen].shape[:2]),
        points_mm=torch.full((1, 1, 1), math.nan).expand(*labels.points_px[chosen].shape[:2], 3),
        visible=torch.full((1, 1), math.nan).expand(labels.points_px[chosen].shape[:2]),
        camera=torch.full((1, 1), math.nan).expand(len(chosen), 15),
        further_px=torch.zeros(len(chosen), 0, 3),
        further_mm=torch.zeros(len(chosen), 0, 3),
    )


def face_meshes(photos: PhotoSet) -> Float[np.ndarray, "N 478 3"] | None:
    """The points of each face in pixels, and their depth; None where the labels do not hold the face mesh."""
    if photos.layout not in (FACE_MESH_LAYOUT, HEAD):
        return None
    points = np.concatenate([photos.points_px.numpy(), photos.depth_px[..., None].numpy()], -1)
    return points if photos.layout == FACE_MESH_LAYOUT else points_on(points, FACE_MESH_LAYOUT)


def yaws_deg(photos: PhotoSet, faces: Float[np.ndarray, "N 478 3"] | None) -> Float[np.ndarray, " N"]:
    """How far each face is turned to its own left; 0 where the labels do not tell.

    Args:
        faces: what `face_meshes` gives.
    """
    if faces is None:
        return np.zeros(len(photos))
    return np.array([yaw_deg(face[:FACE_MESH_POINTS].astype(np.float64)) for face in faces])


def upright_squares(photos: PhotoSet, faces: Float[np.ndarray, "N 478 3"] | None) -> Float[np.ndarray, "N 2 3"]:
    """Maps from coordinates [-1, 1]^2 of the square about each face, turned as the face is, to pixels: where run time
    looks for a head that it has just seen. A layout that does not hold the face mesh knows no turn.

    Args:
        faces: what `face_meshes` gives.
    """
    boxes = [(box, 0.0) for box in photos.box_px.numpy()]
    if faces is not None:
        boxes = [face_box(face[:, :2].astype(np.float64)) for face in faces]
    return np.array([Window.from_box(box, 1.0, roll).affine() for box, roll in boxes], np.float32).reshape(-1, 2, 3)


def _decode(tar: Path, labels: PhotoLabels, side: int, cache: Path | None) -> UInt8[np.ndarray, "N 3 S S"]:
    """All crops of a tar as one array, in the labels' order; kept in `cache` for the next run."""
    photos = PhotoTar(tar, labels.names)
    stat = tar.stat()
    key = hashlib.sha256(repr((stat.st_size, stat.st_mtime_ns, labels.names)).encode()).hexdigest()[:16]
    cached = cache and cache / f"{tar.parent.name}-{side}-{key}.npy"
    if cached and cached.exists():
        return np.load(cached, mmap_mode="r")
    if cached:
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AnymarkError(f"{cache}: decoded photos cannot be kept there ({error.strerror})") from None

    def decode(i: int) -> np.ndarray:
        pixels, size = photos.pixels(labels.names[i]), int(labels.size_px[i])
        if pixels.shape != (size, size, 3):
            found = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
            raise AnymarkError(f"{tar}: {labels.names[i]} has {found}, its labels are of {size} x {size}")
        if size != side:
            pixels = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))
        return pixels.transpose(2, 0, 1)

    images = np.empty((len(labels.names), 3, side, side), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, image in enumerate(pool.map(decode, range(len(images)))):
            images[i] = image
    if cached:
        with atomic(cached, "wb") as file:
            np.save(file, images)
    return images
