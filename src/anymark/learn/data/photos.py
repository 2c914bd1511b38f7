"""Labelled crops of heads: the reader of `photos/NAME/{crops.tar,labels.npz}`."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from anymark.canonical.face_mesh import FACE_MESH_POINTS
from anymark.errors import AnymarkError
from anymark.evaluate.photo_sets import BAD_LABEL_SD, SPLIT_CODE, Split

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
"""What a model card says of each source."""


@dataclass(frozen=True)
class PhotoSet:
    """N square crops of one source with one layout's points, all resized to one side S.

    A set brings its own layout: `layout` names it, and `points_px` has one row a point of it.
    """

    source: str
    layout: str
    names: tuple[str, ...]
    images: UInt8[Tensor, "N 3 S S"]
    points_px: Float[Tensor, "N P 2"]
    """x right, y down, (0, 0) = outer corner of the top-left pixel."""
    depth_px: Float[Tensor, "N P"]
    """Relative depth in the same unit, smaller is nearer."""
    box_px: Float[Tensor, "N 4"]
    """x0, y0, x1, y1 of the face: the box of the 468 points of MediaPipe's face mesh."""
    valid_box_px: Float[Tensor, "N 4"]
    """x0, y0, x1, y1 of the part of each crop that lies inside its photo."""
    label_sd: Float[Tensor, " N"]
    """Spread of the teacher's looks, a fraction of the inter-ocular distance; NaN where it looked once."""

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: Int[np.ndarray, " M"] | Sequence[int]) -> PhotoSet:
        """The photos of these indices, in this order."""
        index = np.asarray(index)
        return PhotoSet(
            self.source,
            self.layout,
            tuple(self.names[i] for i in index),
            *(
                getattr(self, key)[torch.from_numpy(index)]
                for key in ("images", "points_px", "depth_px", "box_px", "valid_box_px", "label_sd")
            ),
        )


def photos_root(root: Path | None) -> Path:
    """The folder of photo sets: `root`, else `photos` beside $ANYMARK_ASSETS, else ../shared/photos.

    Raises:
        AnymarkError: no such folder.
    """
    if root is None:
        assets = os.environ.get("ANYMARK_ASSETS")
        root = Path(assets).parent / "photos" if assets else Path("../shared/photos")
    if not root.is_dir():
        raise AnymarkError(f"{root}: no such folder of photo sets (give --photos DIR)")
    return root


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
    folder = root / source
    try:
        with (folder / "labels.npz").open("rb") as file, np.load(file) as npz:
            labels = {key: npz[key] for key in npz.files}
        names = tuple(str(n) for n in labels["name"])
        landmarks = labels["landmarks_q64"].astype(np.float32) / 64.0
        chosen = np.flatnonzero(labels["split"] == SPLIT_CODE[split])
        scale = side / labels["size"].astype(np.float32)
        images = _decode(folder / "crops.tar", names, side, cache)
    except (OSError, KeyError, ValueError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise AnymarkError(f"{folder}: not a photo set ({error})") from error
    label_sd = np.where(labels["label_sd"] < 0, np.nan, labels["label_sd"]).astype(np.float32)
    if split == "train":
        chosen = chosen[~(label_sd[chosen] > BAD_LABEL_SD)]
    if limit is not None and limit < len(chosen):
        chosen = chosen[np.linspace(0, len(chosen) - 1, limit).round().astype(int)]
    landmarks = landmarks[chosen] * scale[chosen, None, None]
    face = landmarks[:, :FACE_MESH_POINTS, :2]
    return PhotoSet(
        source=source,
        layout="mediapipe478",
        names=tuple(names[i] for i in chosen),
        images=torch.from_numpy(np.ascontiguousarray(images[chosen])),
        points_px=torch.from_numpy(np.ascontiguousarray(landmarks[..., :2])),
        depth_px=torch.from_numpy(np.ascontiguousarray(landmarks[..., 2])),
        box_px=torch.from_numpy(np.hstack([face.min(1), face.max(1)])),
        valid_box_px=torch.from_numpy(labels["valid_box"][chosen].astype(np.float32) * scale[chosen, None]),
        label_sd=torch.from_numpy(label_sd[chosen]),
    )


def _decode(tar_path: Path, names: tuple[str, ...], side: int, cache: Path | None) -> UInt8[np.ndarray, "N 3 S S"]:
    """All crops of a tar as one array, in the order of `names`; kept in `cache` for the next run."""
    cached = cache and cache / f"{tar_path.parent.name}-{side}-{tar_path.stat().st_size}.npy"
    if cached and cached.exists():
        return np.load(cached, mmap_mode="r")
    with tarfile.open(tar_path) as tar:
        files = {Path(m.name).stem: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]

    def decode(name: str) -> np.ndarray:
        image = Image.open(io.BytesIO(files[Path(name).stem])).convert("RGB")
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        return np.asarray(image).transpose(2, 0, 1)

    images = np.empty((len(names), 3, side, side), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, image in enumerate(pool.map(decode, names)):
            images[i] = image
    if cached:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}.tmp.npy")
        np.save(partial, images)
        partial.replace(cached)
    return images
