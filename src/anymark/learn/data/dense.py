"""Training batches of dense models: two views of each head, with where on it their pixels lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.canonical import CanonicalHead
from anymark.canonical.face_mesh import FACE_MESH_POINTS
from anymark.canonical.frame import CUBE_CENTRE_MM, CUBE_SIDE_MM, uvw_to_mm
from anymark.canonical.posed import points_on
from anymark.detect.prior import STRIDE, no_prior
from anymark.engine.samples import COARSE, NOTHING, QUANTUM, Sample, finished_shards, quantised, read_index, read_shards
from anymark.engine.tracked_clips import SUFFIX, TrackedClip
from anymark.errors import AnymarkError
from anymark.evaluate.photo_files import FACE_MESH_LAYOUT
from anymark.learn.data.appearance import AppearanceConfig, degrade, occlude
from anymark.learn.data.geometry import (
    GeometryConfig,
    identity,
    is_mirrored,
    nearby_windows,
    pixel_centres,
    sample_windows,
    to_photo,
    to_window,
)
from anymark.learn.data.landmarks import Views, draw_surroundings
from anymark.learn.data.priors import read_priors
from anymark.learn.models.embedder import nowhere

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


def parts_mirrored() -> Int[Tensor, " R"]:
    """Each region's name in a mirror."""
    names = list(CanonicalHead.load().part_names)
    if len(names) != HAIR:
        raise AssertionError("the head's parts are not those that regions count on")
    swapped = [n.replace("right", "*").replace("left", "right").replace("*", "left") for n in names]
    return torch.tensor([names.index(n) for n in swapped] + list(range(HAIR, REGIONS)))


@dataclass(frozen=True)
class DenseBatch:
    """2 B views of B heads: view i and view B + i show the same one."""

    image: Float[Tensor, "V 3 S S"]
    xy: Float[Tensor, "V K 2"]
    """K labelled places of each view, window coordinates."""
    uvw: Float[Tensor, "V K 3"]
    """What lies there; NaN where it is no head."""
    sd_mm: Float[Tensor, "V K"]
    """How far that may be off along an axis."""
    region: Int[Tensor, "V K"]
    """The head's part, HAIR, NO_HEAD, or UNKNOWN, for what says nothing: outside of the view or under a patch."""
    match: Float[Tensor, "B P 2 2"]
    """P vertices that both views show: where in the first, and in the second."""
    matched: Bool[Tensor, "B P"]
    """False where there are fewer."""
    prior: Float[Tensor, "V 4 h w"]
    """What the query model finds in each view, not quite where it is, or nothing."""


@dataclass(frozen=True)
class DenseSampler:
    """Draws training batches from data sets in the device's memory."""

    sets: Sequence[DenseSet]
    size: int
    """Side of the views, pixels."""
    window_scale: float
    """Side of the exact window over the longer side of the face's box."""
    places: int
    """K, at least half of them on the head."""
    matches: int
    apart: float
    """Least distance of matches in the first view, window sides: nearer ones count as the same point."""
    geometry: GeometryConfig
    appearance: AppearanceConfig
    backgrounds: UInt8[Tensor, "N 3 Z Z"] | None = None
    """Pictures without heads, to lie around others,"""
    empty: float = 0.0
    """and to be shown instead of this share of the heads."""
    blind: float = 0.0
    """Share of the views that have no prior."""
    loose: float = 0.0
    """How far priors are off, beside what they are by themselves: standard deviations of the log of their size, of
    their place in sides of the view and of their roll in radians."""

    @torch.no_grad()
    def draw(self, batch: int, generator: Generator) -> DenseBatch:
        """`batch` views of half as many heads; each head's set is picked by weight."""
        device, heads = self.sets[0].images.device, batch // 2
        weights = torch.tensor([s.weight for s in self.sets], device=device)
        which = torch.multinomial(weights, heads, replacement=True, generator=generator)
        counts = torch.bincount(which, minlength=len(self.sets)).tolist()
        parts = [self._draw_from(s, n, generator) for s, n in zip(self.sets, counts, strict=True) if n]

        def joined(key: str) -> Tensor:  # the first views of all heads, then the second ones
            return torch.cat([part[key].chunk(2)[k] for k in (0, 1) for part in parts])

        image, xy, uvw, region = joined("image"), joined("xy"), joined("uvw"), joined("region")
        prior = joined("prior")
        nothing = torch.rand(len(prior), 1, 1, 1, generator=generator, device=device) < self.blind
        prior = torch.where(nothing, nowhere(image), prior)
        match, matched = (torch.cat([part[key] for part in parts]) for key in ("match", "matched"))
        if self.backgrounds is not None:
            none = torch.rand(heads, generator=generator, device=device) < self.empty
            pick = torch.randint(len(self.backgrounds), (2 * int(none.sum()),), generator=generator, device=device)
            empty = self.backgrounds[pick].float() / 255
            both = none.repeat(2)
            image[both] = F.interpolate(empty, (self.size, self.size), mode="bilinear", align_corners=False)
            uvw[both], region[both], matched[none], prior[both] = torch.nan, NO_HEAD, False, nowhere(image)[both]
        image, covered = occlude(image, self.appearance, generator)
        image = degrade(image, self.appearance, generator).contiguous(memory_format=torch.channels_last)
        region = torch.where(_at(covered, xy), UNKNOWN, region)
        for k, half in enumerate(covered.chunk(2)):
            matched &= ~_at(half, match[:, :, k])
        return DenseBatch(image, xy, uvw, joined("sd_mm"), region, match, matched, prior)

    def _draw_from(self, data: DenseSet, heads: int, generator: Generator) -> dict[str, Tensor]:
        """The first views of some heads of one set, then the second ones."""
        device = data.images.device
        head = torch.randint(len(data.first), (heads,), generator=generator, device=device)
        start, count = data.first[head], data.count[head]
        chance = torch.rand(2, heads, generator=generator, device=device)
        one = (chance[0] * count).long().clamp(max=count - 1)
        step = 1 + (chance[1] * (count - 1)).long().clamp(max=(count - 2).clamp(min=0))
        index = torch.cat([start + one, start + (one + step) % count])  # another picture, or of one twice the same
        window = sample_windows(data.box_px[index], self.window_scale, self.geometry, generator)
        surroundings = draw_surroundings(2 * heads, self.backgrounds, generator, device)
        views = Views(data.images[index].float() / 255, window, data.valid_box_px[index], *surroundings)
        xy, cell = self._cells(data, index, window, generator)
        rows = torch.arange(2 * heads, device=device)[:, None]
        places_q, region = data.places_q[index].flatten(1, 2)[rows, cell], data.region[index].flatten(1)[rows, cell]
        region = torch.where((xy.abs() < 1).all(-1), region.long(), UNKNOWN)
        uvw = _uvw(places_q)
        sd_mm = _looked_up(data.spread_mm, uvw)
        mirrored = is_mirrored(window)[:, None]
        uvw[..., 0] = torch.where(mirrored, 1 - uvw[..., 0], uvw[..., 0])
        known = region < REGIONS
        swapped = parts_mirrored().to(device)[region.clamp(max=REGIONS - 1)]
        region = torch.where(known & mirrored, swapped, region)
        match, matched = self._matches(data, index, window, generator)
        near = nearby_windows(window, self.loose, self.loose, math.degrees(self.loose), generator)
        return {
            "image": views.cut(identity(2 * heads, window), self.size),
            "prior": self._priors(data.prior[index], near, data.images.shape[-1]),
            "xy": xy,
            "uvw": uvw,
            "sd_mm": sd_mm,
            "region": region,
            "match": match,
            "matched": matched,
        }

    def _priors(
        self, prior: Float[Tensor, "V 4 H W"], window: Float[Tensor, "V 2 3"], picture_px: int
    ) -> Float[Tensor, "V 4 h w"]:
        """The priors of pictures, as windows show them; a mirrored one names the other side."""
        side = self.size // STRIDE
        centres = pixel_centres(side, prior.device).flatten(0, 1)[None]
        grid = to_photo(centres, window).unflatten(1, (side, side)) * (2 / picture_px) - 1
        found = F.grid_sample(prior.float(), grid, padding_mode="border", align_corners=False)
        mirrored = is_mirrored(window)[:, None, None]
        u = torch.where(mirrored, 1 - found[:, 0], found[:, 0])
        sides = window[:, :, :2].det().abs().sqrt() * (2 / picture_px)
        away = (found[:, 3] / sides[:, None, None]).clamp(max=1)
        return torch.stack([u, found[:, 1], found[:, 2], away], 1)

    def _cells(
        self, data: DenseSet, index: Tensor, window: Float[Tensor, "V 2 3"], generator: Generator
    ) -> tuple[Float[Tensor, "V K 2"], Int[Tensor, "V K"]]:
        """Random cells of the label maps, half of them on the head: where their middles are, and their numbers."""
        rows, columns = data.region.shape[1:]
        flat = data.region[index].flatten(1)
        chance = torch.rand(flat.shape, generator=generator, device=flat.device)
        on_head = (chance + (flat < NO_HEAD).float()).topk(self.places // 2).indices
        anywhere = torch.randint(rows * columns, on_head.shape, generator=generator, device=flat.device)
        cell = torch.cat([on_head, anywhere], 1)
        px = torch.stack([cell % columns, cell // columns], -1) * float(COARSE) + COARSE / 2 + 0.5
        return to_window(px, window), cell

    def _matches(
        self, data: DenseSet, index: Tensor, window: Float[Tensor, "V 2 3"], generator: Generator
    ) -> tuple[Float[Tensor, "B P 2 2"], Bool[Tensor, "B P"]]:
        """Vertices that both views of a head show, thinned."""
        xy = to_window(data.xy_px[index], window)
        shown = data.visible[index] & (xy.abs() < 1).all(-1)
        (first, second), (one, other) = xy.chunk(2), shown.chunk(2)
        mirrored = is_mirrored(window)
        same = (mirrored[: len(first)] == mirrored[len(first) :])[:, None]
        # a mirrored view shows the other side: nothing of it is matched
        chance = torch.rand(one.shape, generator=generator, device=xy.device)
        score = torch.where(one & other & same, chance, -1.0)
        best = score.topk(min(2 * self.matches, score.shape[1]))
        pick = best.indices[..., None].expand(-1, -1, 2)
        match = torch.stack([first.gather(1, pick), second.gather(1, pick)], 2)
        matched = thinned(match[:, :, 0], best.values >= 0, 2 * self.apart)
        order = matched.float().topk(min(self.matches, matched.shape[1]), sorted=False).indices
        short = self.matches - order.shape[1]  # of a set with fewer points
        match = F.pad(match.gather(1, order[..., None, None].expand(-1, -1, 2, 2)), (0, 0, 0, 0, 0, short))
        return match, F.pad(matched.gather(1, order), (0, short))


def thinned(xy: Float[Tensor, "B P 2"], there: Bool[Tensor, "B P"], apart: float) -> Bool[Tensor, "B P"]:
    """Which of some points stay so that none lies near an earlier one that was there."""
    near = torch.cdist(xy, xy) < apart
    earlier = torch.ones_like(near[0]).tril(-1)
    return there & ~(near & earlier & there[:, None]).any(-1)


def _at(covered: Bool[Tensor, "B S S"], xy: Float[Tensor, "B K 2"]) -> Bool[Tensor, "B K"]:
    """Which places of windows lie under what was put over them."""
    found = F.grid_sample(covered[:, None].float(), xy[:, :, None], mode="nearest", align_corners=False)
    return found[:, 0, :, 0] > 0.5


def _uvw(places_q: Int[Tensor, "*N 3"]) -> Float[Tensor, "*N 3"]:
    """Steps of a label map -> the unit cube; NaN where there is none."""
    mm = places_q.float() / QUANTUM - torch.tensor(CUBE_CENTRE_MM, device=places_q.device)
    uvw = (mm / CUBE_SIDE_MM + 0.5).clamp(0, 1)
    return torch.where((places_q == NOTHING).any(-1, keepdim=True), torch.nan, uvw)


def _looked_up(table: Float[Tensor, "X Y Z"], uvw: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N"]:
    """The table's number at places of the unit cube; nought where these are NaN."""
    count = len(table)
    u, v, w = (uvw.nan_to_num() * count).long().clamp(0, count - 1).unbind(-1)
    return table[u, v, w]
