"""Training batches of the landmark detector: windows, canonical queries and their landmarks, many data sets mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor
from torch.nn import functional as F

from anymark.canonical import load_layout
from anymark.canonical.kriging import extension_weights
from anymark.canonical.layout import Layout
from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig, degrade, occlude
from anymark.learn.data.geometry import (
    GeometryConfig,
    identity,
    is_mirrored,
    nearby_windows,
    sample_windows,
)
from anymark.learn.data.photos import TENSORS, PhotoSet, face_meshes, upright_squares, yaws_deg
from anymark.learn.data.views import Looker, Views, draw_surroundings

MOST_RARE = 4.0
"""Times that a photo of a rare yaw comes for each time that it would otherwise; see `rarity_of`."""

TRIANGLE_REACH = 1.4
"""Queries are drawn from triangles so many times as large as the layout's, about the same centres. What lies outside of
them is extrapolated: it carries the learned function a few millimetres past the layout's rim, and off its surface."""

FOLLOWED_SCALE, FOLLOWED_SHIFT, FOLLOWED_ROLL_DEG = 0.05, 0.03, 4.0
"""How the window in which a head is followed differs from the one about its face, as standard deviations."""

TWINS_SCALE, TWINS_SHIFT, TWINS_ROLL_DEG = 0.03, 0.02, 2.0
"""How two windows of a pair of twins differ, as standard deviations (`nearby_windows`)."""


@dataclass(frozen=True)
class Truth:
    """What is known of B samples and Q queries each; what is not known is NaN."""

    xy_px: Float[Tensor, "B Q 2"]
    """Pixels of the photo."""
    sd_px: Float[Tensor, "B Q"]
    """How far these may be off along an axis."""
    xyz_mm: Float[Tensor, "B Q 3"]
    """In the head frame."""
    visible: Float[Tensor, "B Q"]
    """1 seen, 0 hidden."""
    camera: Float[Tensor, "B 15"]
    """Of the photo, as `PhotoSet.camera`."""
    mask: Bool[Tensor, "B Q"]
    """False where a data set has fewer points than queries."""


@dataclass(frozen=True)
class Batch:
    """B windows with Q queries each."""

    image: Float[Tensor, "B 3 C C"]
    """The windows as S sees them."""
    window: Float[Tensor, "B 2 3"]
    """Window coordinates -> photo pixels; a window that mirrors has a mirrored head for its truth."""
    unit_px: Float[Tensor, " B"]
    """Half the side of the exact window: what errors are measured in."""
    look: Looker
    queries_mm: Float[Tensor, "B Q 3"]
    dataset: Int[Tensor, " B"]
    """Numbers of the data set codes."""
    truth: Truth
    twin: Int[Tensor, " B"]
    """Another sample of the same photo with the same queries, or the sample itself."""
    followed: Bool[Tensor, " B"]
    """The crop is the window itself."""


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
    dataset: int
    """Number of the data set code of whoever labelled it."""
    upright: Float[Tensor, "N 2 3"]
    """`upright_squares` of the photos."""
    rarity: Float[Tensor, " N"]
    """Chances of each to be drawn where all yaws are to be seen as often, in sum 1."""

    @staticmethod
    def create(
        photos: PhotoSet,
        layout: Layout,
        weight: float,
        device: torch.device,
        dataset: int = 0,
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
        triangles, faces = layout.triangles, face_meshes(photos)
        return LandmarkSet(
            replace(photos, **{key: getattr(photos, key).to(device) for key in TENSORS}),
            torch.tensor(layout.points_mm, device=device),
            None if layout.flip is None else torch.tensor(layout.flip, device=device).long(),
            torch.tensor(triangles, device=device).long() if triangles is not None and len(triangles) else None,
            torch.tensor(further_mm, device=device).float(),
            None if further_weights is None else torch.from_numpy(further_weights).to(device),
            None if further_flip is None else torch.from_numpy(further_flip).to(device),
            weight,
            dataset,
            torch.from_numpy(upright_squares(photos, faces)).to(device),
            torch.from_numpy(rarity_of(yaws_deg(photos, faces))).to(device),
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
        carry is carried on linearly: places, how far these may be off, and what else is known of them.
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
        padded = [F.pad(torch.cat(x, 1), (0, 0, 0, pad)) for x in (queries, target)]
        return padded[0], padded[1], mask


@dataclass(frozen=True)
class Sampler:
    """Draws training batches from a mixture of data sets that lie in the device's memory.

    Raises:
        AnymarkError: photos are to be mirrored, and a set's layout has no flip pairs.
    """

    sets: Sequence[LandmarkSet]
    window_size: int
    """Side C of the windows as S sees them, pixels."""
    crop_size: int
    """Side S of the crops as F sees them, pixels."""
    window_scale: float
    queries: int
    twins: float
    """Share of the samples that come in pairs of one photo,"""
    followed: float
    """of those whose crop is their window, near the upright one,"""
    balanced: float
    """and of those whose photos are drawn so that all yaws are seen as often."""
    geometry: GeometryConfig
    appearance: AppearanceConfig
    backgrounds: UInt8[Tensor, "N 3 Z Z"] | None = None
    """Pictures without heads, to lie around photos."""

    def __post_init__(self) -> None:
        for data in self.sets:
            if data.flip is None and self.geometry.mirror > 0:
                raise AnymarkError(f"{data.photos.source}: its layout has no flip pairs; geometry.mirror must be 0")

    @torch.no_grad()
    def draw(self, batch: int, generator: Generator) -> Batch:
        """B samples; each picks its data set by weight, then one of its photos: all alike, or rather a turned one."""
        device = self.sets[0].points_mm.device
        weights = torch.tensor([s.weight for s in self.sets], device=device)
        which = torch.multinomial(weights, batch, replacement=True, generator=generator)
        counts = torch.bincount(which, minlength=len(self.sets)).tolist()
        drawn = [self._draw_from(s, n, generator) for s, n in zip(self.sets, counts, strict=True) if n]
        views = [views for views, _ in drawn]
        starts = np.cumsum([0, *(len(v.window) for v in views)])
        drawn = [
            (v, {**labels, "twin": labels["twin"] + start})
            for (v, labels), start in zip(drawn, starts[:-1], strict=True)
        ]
        labels = {key: torch.cat([part[key] for _, part in drawn]) for key in drawn[0][1]}
        whole = [v.cut(identity(len(v.window), v.window), self.window_size) for v in views]
        image, _ = occlude(torch.cat(whole), self.appearance, generator)
        points = labels["points"]
        truth = Truth(
            points[..., :2], points[..., 2], points[..., 3:6], points[..., 6], labels["camera"], labels["mask"]
        )
        return Batch(
            degrade(image, self.appearance, generator).contiguous(memory_format=torch.channels_last),
            torch.cat([v.window for v in views]),
            labels["unit_px"],
            Looker(views, self.crop_size, self.appearance, generator),
            labels["queries_mm"],
            labels["dataset"],
            truth,
            labels["twin"],
            labels["followed"],
        )

    def _draw_from(self, data: LandmarkSet, n: int, generator: Generator) -> tuple[Views, dict[str, Tensor]]:
        device, photos = data.points_mm.device, data.photos
        chances = (1 - self.balanced) / len(photos) + self.balanced * data.rarity
        index = torch.multinomial(chances, n, replacement=True, generator=generator)
        box_px = photos.box_px[index]
        pairs = min(round(self.twins * n / 2), n // 2)
        first = torch.arange(n, device=device)
        first[pairs : 2 * pairs] -= pairs  # the samples from `pairs` on show the first ones' photos again
        index, box_px = index[first], box_px[first]
        window = sample_windows(box_px, self.window_scale, self.geometry, generator)
        followed = torch.rand(n, generator=generator, device=device) < self.followed
        followed[pairs : 2 * pairs] = followed[:pairs]
        window = torch.where(followed[:, None, None], self._followed(data.upright[index], window, generator), window)
        near = nearby_windows(window[:pairs], TWINS_SCALE, TWINS_SHIFT, TWINS_ROLL_DEG, generator)
        window[pairs : 2 * pairs] = near
        around, smear = draw_surroundings(n, self.backgrounds, generator, device)
        views = Views(photos.images[index].float() / 255, window, photos.valid_box_px[index], around, smear)
        mirrored = is_mirrored(window)
        points = torch.cat(
            [
                photos.points_px[index],
                photos.point_sd_px[index][..., None],
                photos.points_mm[index].float(),
                photos.visible[index][..., None].float(),
            ],
            -1,
        )
        points = _mirrored(points, data.flip, mirrored)
        if data.further_weights is not None:
            further = data.guessed(points)
        else:
            unknown = torch.full_like(photos.further_px[index][..., :1], torch.nan)
            further = torch.cat([photos.further_px[index], photos.further_mm[index].float(), unknown], -1)
            further = _mirrored(further, data.further_flip, mirrored)
        queries_mm, labels, mask = data.draw_queries(points, further, self.queries, generator)
        twin = first.clone()
        twin[:pairs] += pairs
        return views, {
            "unit_px": self.window_scale / 2 * (box_px[:, 2:] - box_px[:, :2]).amax(1),
            "queries_mm": queries_mm[first],
            "points": labels[first],
            "mask": mask[first],
            "camera": photos.camera[index],
            "dataset": torch.full((n,), data.dataset, device=device),
            "twin": twin,
            "followed": followed,
        }

    def _followed(
        self, upright: Float[Tensor, "B 2 3"], like: Float[Tensor, "B 2 3"], generator: Generator
    ) -> Float[Tensor, "B 2 3"]:
        """Windows about upright faces, a little off, mirrored where others are."""
        sign = torch.where(is_mirrored(like), -1.0, 1.0)
        size = self.window_scale * torch.diag_embed(torch.stack([sign, torch.ones_like(sign)], 1))
        exact = torch.cat([upright[:, :, :2] @ size, upright[:, :, 2:]], 2)
        return nearby_windows(exact, FOLLOWED_SCALE, FOLLOWED_SHIFT, FOLLOWED_ROLL_DEG, generator)


def rarity_of(yaws_deg: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Chances, in sum 1, that make all yaws as frequent, by steps of 10 degrees to either side, up to `MOST_RARE`: the
    most turned photos are few, and have the worst labels."""
    step = (np.abs(yaws_deg) // 10).astype(np.int64)
    counts = np.bincount(step)
    chances = 1 / (counts[step] * np.count_nonzero(counts))
    chances = np.minimum(chances, MOST_RARE / len(step))
    return (chances / chances.sum()).astype(np.float32)


def _mirrored(
    points: Float[Tensor, "B P 7"], flip: Int[Tensor, " P"] | None, mirrored: Bool[Tensor, " B"]
) -> Float[Tensor, "B P 7"]:
    """Points x, y, sd, X, Y, Z, visible, of mirrored heads where so: left is right, and X is negative. A layout without
    flip pairs is never mirrored."""
    if flip is None:
        return points
    other = points[:, flip]
    other[..., 3] = -other[..., 3]
    return torch.where(mirrored[:, None, None], other, points)


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
