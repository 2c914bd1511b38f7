"""Training batches of dense models: two views of each head, with where on it their pixels lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.canonical import CanonicalHead
from anymark.canonical.frame import CUBE_CENTRE_MM, CUBE_SIDE_MM
from anymark.detect.prior import STRIDE
from anymark.engine.samples import COARSE, NOTHING, QUANTUM
from anymark.learn.data.appearance import AppearanceConfig, degrade, occlude
from anymark.learn.data.dense_sets import HAIR, NO_HEAD, REGIONS, UNKNOWN, DenseSet
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
from anymark.learn.data.views import Views, draw_surroundings
from anymark.learn.models.embedder import nowhere


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
