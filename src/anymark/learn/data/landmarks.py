"""Training batches of the landmark detector: windows, canonical queries and their landmarks, many data sets mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from anymark.canonical import load_layout
from anymark.canonical.kriging import extension_weights
from anymark.canonical.layout import Layout
from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig, degrade
from anymark.learn.data.geometry import GeometryConfig, cut_windows, is_mirrored, sample_windows, to_window
from anymark.learn.data.photos import TENSORS, PhotoSet

TRIANGLE_REACH = 1.4
"""Queries are drawn from triangles so many times as large as the layout's, about the same centres. What lies outside of
them is extrapolated: it carries the learned function a few millimetres past the layout's rim, and off its surface."""


@dataclass(frozen=True)
class Batch:
    """B windows with Q queries each; where a data set has fewer points, `mask` is False."""

    image: Float[Tensor, "B 3 S S"]
    queries_mm: Float[Tensor, "B Q 3"]
    target: Float[Tensor, "B Q 3"]
    """The queries' landmarks in the window's [-1, 1], and how far these may be off along an axis, in the same unit."""
    mask: Bool[Tensor, "B Q"]


@dataclass(frozen=True)
class LandmarkSet:
    """One data set on its device: photos, and the canonical points that its labels stand for."""

    photos: PhotoSet
    points_mm: Float[Tensor, "P 3"]
    flip: Int[Tensor, " P"] | None
    triangles: Int[Tensor, "T 3"] | None
    further_mm: Float[Tensor, "M 3"]
    """More canonical points: those of `photos.further`, or such without labels of their own,"""
    further_weights: Float[Tensor, "M P"] | None
    """and how these follow from the labelled ones."""
    further_flip: Int[Tensor, " M"] | None
    weight: float

    @staticmethod
    def create(
        photos: PhotoSet,
        layout: Layout,
        weight: float,
        device: torch.device,
        further_mm: Float[np.ndarray, "M 3"] | None = None,
    ) -> LandmarkSet:
        """Pair photos with the layout of their labels and move both to `device`.

        Args:
            further_mm: more canonical points to learn, from weak labels (`anymark.canonical.kriging`), where the photos
                have none.

        Raises:
            AnymarkError: the labels have another number of points than the layout, or it spans too little of the head
                for further points to follow it.
        """
        count = photos.points_px.shape[1]
        if count != len(layout):
            raise AnymarkError(f"{photos.source}: {count} labels, {len(layout)} points in the layout")
        further_flip = further_weights = None
        if photos.further:
            inside = [load_layout(name) for name in photos.further]
            further_mm, further_flip = np.concatenate([x.points_mm for x in inside]), _flips(inside)
        elif further_mm is None:
            further_mm = np.zeros((0, 3), np.float32)
        elif np.linalg.matrix_rank(layout.points_mm - layout.points_mm.mean(0)) < 3:
            raise AnymarkError(f"{photos.source}: its layout's points lie in one plane: data.extend cannot follow them")
        else:
            further_weights = extension_weights(layout.points_mm, further_mm)
        triangles = layout.triangles
        return LandmarkSet(
            replace(photos, **{key: getattr(photos, key).to(device) for key in TENSORS}),
            torch.tensor(layout.points_mm, device=device),
            None if layout.flip is None else torch.tensor(layout.flip, device=device).long(),
            torch.tensor(triangles, device=device).long() if triangles is not None and len(triangles) else None,
            torch.tensor(further_mm, device=device).float(),
            None if further_weights is None else torch.from_numpy(further_weights).to(device),
            None if further_flip is None else torch.from_numpy(further_flip).to(device),
            weight,
        )

    def guessed(self, points: Float[Tensor, "B P C"]) -> Float[Tensor, "B M C"]:
        """The further points, as they follow from the labelled ones."""
        assert self.further_weights is not None
        # one product for all: fewer bytes to move than the picked weights of each sample
        flat = self.further_weights @ points.transpose(0, 1).flatten(1)
        return flat.unflatten(1, (len(points), -1)).transpose(0, 1)

    def draw_queries(
        self, points: Float[Tensor, "B P C"], further: Float[Tensor, "B M C"], count: int, generator: Generator
    ) -> tuple[Float[Tensor, "B Q 3"], Float[Tensor, "B Q C"], Bool[Tensor, "B Q"]]:
        """A random subset of each sample's points, a quarter of it on triangles, a quarter of the further points.

        Points on triangles are what makes the learned function smooth between the labelled points. What the points
        carry is carried on linearly: places, and how far these may be off.
        """
        n, available = points.shape[:2]
        device = points.device
        inside = 0 if self.triangles is None else count // 4
        more = 0 if further.shape[1] == 0 else count // 4
        corners = min(count - inside - more, available)
        pick = torch.rand(n, available, generator=generator, device=device).topk(corners).indices
        queries, target = [self.points_mm[pick]], [points.gather(1, pick[..., None].expand(-1, -1, points.shape[2]))]
        if self.triangles is not None:
            which = torch.randint(len(self.triangles), (n, inside), generator=generator, device=device)
            weight = -torch.rand(n, inside, 3, generator=generator, device=device).clamp(min=1e-6).log()
            weight = weight / weight.sum(-1, keepdim=True)  # uniform over the triangle
            weight = (weight - 1 / 3) * TRIANGLE_REACH + 1 / 3
            corner = self.triangles[which]
            rows = torch.arange(n, device=device)[:, None, None]
            queries.append((self.points_mm[corner] * weight[..., None]).sum(2))
            target.append((points[rows, corner] * weight[..., None]).sum(2))
        if more:
            pick = torch.randint(further.shape[1], (n, more), generator=generator, device=device)
            queries.append(self.further_mm[pick])
            target.append(further.gather(1, pick[..., None].expand(-1, -1, points.shape[2])))
        pad = count - corners - inside - more
        mask = torch.arange(count, device=device).expand(n, -1) < count - pad
        padded = [torch.nn.functional.pad(torch.cat(x, 1), (0, 0, 0, pad)) for x in (queries, target)]
        return padded[0], padded[1], mask


@dataclass(frozen=True)
class Sampler:
    """Draws training batches from a mixture of data sets that lie in the device's memory.

    Raises:
        AnymarkError: photos are to be mirrored, and a set's layout has no flip pairs.
    """

    sets: Sequence[LandmarkSet]
    size: int
    window_scale: float
    queries: int
    geometry: GeometryConfig
    appearance: AppearanceConfig

    def __post_init__(self) -> None:
        for data in self.sets:
            if data.flip is None and self.geometry.mirror > 0:
                raise AnymarkError(f"{data.photos.source}: its layout has no flip pairs; geometry.mirror must be 0")

    @torch.no_grad()
    def draw(self, batch: int, generator: Generator) -> Batch:
        """B samples; each picks its data set by weight, then a photo of it with equal chances."""
        device = self.sets[0].points_mm.device
        weights = torch.tensor([s.weight for s in self.sets], device=device)
        which = torch.multinomial(weights, batch, replacement=True, generator=generator)
        counts = torch.bincount(which, minlength=len(self.sets)).tolist()
        parts = [self._draw_from(s, n, generator) for s, n in zip(self.sets, counts, strict=True) if n]
        image = degrade(torch.cat([p.image for p in parts]), self.appearance, generator)
        return Batch(image, *(torch.cat([getattr(p, k) for p in parts]) for k in ("queries_mm", "target", "mask")))

    def _draw_from(self, data: LandmarkSet, n: int, generator: Generator) -> Batch:
        device = data.points_mm.device
        index = torch.randint(len(data.photos), (n,), generator=generator, device=device)
        window = sample_windows(data.photos.box_px[index], self.window_scale, self.geometry, generator)
        look = torch.rand(n, generator=generator, device=device)
        fill = torch.rand(n, 3, generator=generator, device=device) * (look > 0.5)[:, None]  # half of them black
        image = cut_windows(
            data.photos.images[index].float() / 255,
            window,
            self.size,
            data.photos.valid_box_px[index],
            fill,
            smear=look > 0.75,
        )
        mirrored, half = is_mirrored(window)[:, None, None], window[:, :, 0].norm(dim=1)[:, None, None]
        points = torch.cat(
            [to_window(data.photos.points_px[index], window), data.photos.point_sd_px[index][..., None] / half], -1
        )
        if data.flip is not None:
            points = torch.where(mirrored, points[:, data.flip], points)
        if data.further_weights is not None:
            further = data.guessed(points)
        else:
            labels = data.photos.further_px[index]
            further = torch.cat([to_window(labels[..., :2], window), labels[..., 2:] / half], -1)
            if data.further_flip is not None:
                further = torch.where(mirrored, further[:, data.further_flip], further)
        return Batch(image, *data.draw_queries(points, further, self.queries, generator))


def _flips(layouts: Sequence[Layout]) -> Int[np.ndarray, " M"]:
    """Each point's mirror image among the points of some layouts, one after the other.

    Raises:
        AnymarkError: one of them has no flip pairs.
    """
    parts, start = [], 0
    for layout in layouts:
        if layout.flip is None:
            raise AnymarkError(f"layout {layout.name}: has no flip pairs")
        parts.append(layout.flip.astype(np.int64) + start)
        start += len(layout)
    return np.concatenate(parts)
