"""Data sets that dense models learn from: two pictures of each head, with where on it their pixels lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from anymark.canonical import CanonicalHead
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.frame import CUBE_SIDE_MM, uvw_to_mm
from anymark.canonical.posed import points_on
from anymark.detect.prior import no_prior
from anymark.engine.samples import COARSE, NOTHING, Sample, finished_shards, quantised, read_index, read_shards
from anymark.engine.tracked_clips import SUFFIX, TrackedClip
from anymark.errors import AnymarkError
from anymark.learn.data.priors import read_priors

HAIR, NO_HEAD, UNKNOWN = 12, 13, 255
"""Regions of a pixel beside the head's twelve parts."""
REGIONS = NO_HEAD + 1
"""How many there are."""

_VOXEL_MM = 8.0  # of the table that says how far labels of photos may be off


@dataclass(frozen=True)
class DenseSet:
    """N pictures of side S, labelled every `COARSE` pixels; V vertices of the canonical head."""

    source: str
    images: UInt8[Tensor, "N 3 S S"]
    places_q: Int[Tensor, "N H W 3"]
    """Canonical point of what a cell's middle shows, in steps of 1/`QUANTUM` mm; `NOTHING` where there is none."""
    region: UInt8[Tensor, "N H W"]
    """The head's part, HAIR, NO_HEAD, or UNKNOWN."""
    xy_px: Float[Tensor, "N V 2"]
    visible: Bool[Tensor, "N V"]
    box_px: Float[Tensor, "N 4"]
    """x0, y0, x1, y1 of the face's 468 points."""
    valid_box_px: Float[Tensor, "N 4"]
    """The part of each picture that shows something."""
    first: Int[Tensor, " G"]
    """Each head's pictures follow one another: where those of the G heads begin,"""
    count: Int[Tensor, " G"]
    """and how many they are."""
    spread_mm: Float[Tensor, "X Y Z"]
    """How far labels may be off along an axis, at places of the cube."""
    prior: Float[Tensor, "N 4 h w"]
    """The head that the query model finds in each picture; see `anymark.detect.prior`."""
    weight: float = 1.0

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> DenseSet:
        """The same in the memory of `device`."""
        return replace(self, **{k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)})


def load_dense(folder: Path, *, weight: float = 1.0, limit: int | None = None, priors: bool = True) -> DenseSet:
    """All samples of a data set of `anymark data build`.

    Args:
        priors: whether the query model is asked about each.

    Raises:
        AnymarkError: the folder holds no finished data set, or one of its shards is damaged.
    """
    count = int(read_index(folder)["samples"])
    count = count if limit is None else min(count, limit)
    arrays: dict[str, npt.NDArray[Any]] = {}
    heads: list[str] = []
    sd_mm: npt.NDArray[np.floating] | None = None
    for i, sample in zip(range(count), read_shards(finished_shards(folder)), strict=False):
        for key, value in _labels(sample).items():
            if key not in arrays:
                arrays[key] = np.empty((count, *value.shape), value.dtype)
            if value.shape != arrays[key].shape[1:]:
                raise AnymarkError(f"{folder}: pictures of different sizes")
            arrays[key][i] = value
        heads.append(_head_of(sample.key))
        sd_mm = sample.sd_mm if sample.sd_mm is not None else sd_mm
    if len(heads) < count:
        raise AnymarkError(f"{folder}: fewer samples than its index says")
    first = np.array([i for i in range(count) if i == 0 or heads[i] != heads[i - 1]])
    arrays["prior"] = read_priors(folder, arrays["images"], arrays["box_px"]) if priors else no_priors(count)
    return DenseSet(
        source=folder.name,
        first=torch.from_numpy(first),
        count=torch.from_numpy(np.diff(np.r_[first, count])),
        spread_mm=torch.from_numpy(spread_table(sd_mm)),
        weight=weight,
        **{key: torch.from_numpy(array) for key, array in arrays.items()},
    )


def no_priors(count: int) -> npt.NDArray[np.float16]:
    """(N, 4, 1, 1) of pictures about which nobody was asked."""
    return np.repeat(no_prior(1).astype(np.float16)[None], count, 0)


def load_tracks(folder: Path, *, weight: float = 1.0, priors: bool = True) -> DenseSet:
    """The clips that `anymark data tracks` wrote: matches alone, and no word on where they are on the head.

    Args:
        priors: whether the query model is asked about each picture.

    Raises:
        AnymarkError: there are none, or one is damaged.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise AnymarkError(f"{folder}: no clips of anymark data tracks")
    clips = [TrackedClip.load(path) for path in paths]
    side = clips[0].frames.shape[1]
    if any(clip.frames.shape[1:] != (side, side, 3) for clip in clips):
        raise AnymarkError(f"{folder}: clips of different sizes")
    most = max(clip.xy_px.shape[1] for clip in clips)
    counts = np.array([len(clip.frames) for clip in clips])
    cells = (int(counts.sum()), side // COARSE, side // COARSE)

    def padded(clip: TrackedClip, key: str) -> npt.NDArray[Any]:
        array = getattr(clip, key)
        return np.pad(array, [(0, 0), (0, most - array.shape[1]), *[(0, 0)] * (array.ndim - 2)])

    def joined(key: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(clip, key) for clip in clips]))

    images, box_px = joined("frames").permute(0, 3, 1, 2).contiguous(), joined("box_px")
    prior = read_priors(folder, images.numpy(), box_px.numpy()) if priors else no_priors(len(images))
    return DenseSet(
        source=folder.name,
        images=images,
        places_q=torch.full((*cells, 3), NOTHING, dtype=torch.int16),
        region=torch.full(cells, UNKNOWN, dtype=torch.uint8),
        xy_px=torch.from_numpy(np.concatenate([padded(clip, "xy_px") for clip in clips])),
        visible=torch.from_numpy(np.concatenate([padded(clip, "visible") for clip in clips])),
        box_px=box_px,
        valid_box_px=joined("valid_box_px"),
        first=torch.from_numpy(np.cumsum(counts) - counts),
        count=torch.from_numpy(counts),
        spread_mm=torch.from_numpy(spread_table(None)),
        prior=torch.from_numpy(prior),
        weight=weight,
    )


def _head_of(key: str) -> str:
    """What the views of one head in one scene have in common: keys of pairs end in -a or -b, frames in their number."""
    stem, _, last = key.rpartition("-")
    return stem if last in ("a", "b") or (len(last) == 3 and last.isdigit()) else key


def _labels(sample: Sample) -> dict[str, npt.NDArray[Any]]:
    """One row of each of a set's tensors."""
    face = points_on(sample.xy_px, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS]
    valid = np.array(sample.record.get("valid_box_px", (0, 0, *sample.image.shape[1::-1])), np.float32)
    seen = np.isfinite(sample.places_mm).all(-1)
    skin = (sample.part >= 0) & ~sample.covered
    region = np.where(seen, np.where(skin, sample.part, HAIR), NO_HEAD).astype(np.uint8)
    rows, columns = (np.arange(n) * COARSE + COARSE / 2 + 0.5 for n in region.shape)
    across, down = (columns > valid[0]) & (columns < valid[2]), (rows > valid[1]) & (rows < valid[3])
    region[~(down[:, None] & across)] = UNKNOWN
    places = np.nan_to_num(quantised(sample.places_mm), nan=NOTHING).astype(np.int16)
    places[region >= NO_HEAD] = NOTHING
    return {
        "images": sample.image.transpose(2, 0, 1),
        "places_q": places,
        "region": region,
        "xy_px": sample.xy_px.astype(np.float32),
        "visible": sample.visible,
        "box_px": np.concatenate([face.min(0), face.max(0)]).astype(np.float32),
        "valid_box_px": valid,
    }


def spread_table(sd_mm: npt.NDArray[np.floating] | None) -> npt.NDArray[np.float32]:
    """(X, Y, Z) over the cube: that of the nearest vertex, and half of the way to it; nought of renders."""
    count = int(CUBE_SIDE_MM / _VOXEL_MM)
    if sd_mm is None:
        return np.zeros((count, count, count), np.float32)
    from scipy.spatial import KDTree

    middles = (np.stack(np.meshgrid(*3 * [np.arange(count)], indexing="ij"), -1) + 0.5) / count
    away, nearest = KDTree(CanonicalHead.load().vertices_mm).query(uvw_to_mm(middles))
    return (np.asarray(sd_mm)[nearest] + 0.5 * np.maximum(away - _VOXEL_MM, 0)).astype(np.float32)
