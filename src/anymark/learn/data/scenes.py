"""Scenes to locate heads in: photos laid out over backgrounds, alone, tiled or pasted, at all sizes and angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor

from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig, degrade
from anymark.learn.data.canvas import Canvas, Region, similarity, split_region
from anymark.learn.data.heads import HeadPhotos, boxes_px
from anymark.tables import ABOVE_0, check_numbers

NOTHING, HEAD, IGNORE = 0, 1, 2
"""States of a head in a scene. Of an ignored one neither finding nor missing it is wrong."""


@dataclass(frozen=True)
class SceneConfig:
    """How scenes are made. Sizes are fractions of the scene's side."""

    single: float = 0.38
    """Share of scenes that are one photo; the rest of the four shares: tiles, pasted heads, no head at all."""
    tiles: float = 0.34
    paste: float = 0.18
    empty: float = 0.1
    smallest: float = 0.07
    """Longer side of the smallest head."""
    largest: float = 1.3
    too_close: float = 0.12
    """Share of the single photos that show an eye or a cheek, too large to be a head."""
    roll_deg: float = 15.0
    """Standard deviation of the roll of most heads."""
    any_roll: float = 0.15
    """Share of heads that lie at any angle."""
    occluded: float = 0.15
    """Share of heads partly covered by a patch."""

    def __post_init__(self) -> None:
        shares = ("single", "tiles", "paste", "empty")
        check_numbers(self, *shares, "too_close", "any_roll", "occluded", least=0, most=1)
        check_numbers(self, "smallest", "largest", least=ABOVE_0)
        check_numbers(self, "roll_deg", least=0)
        if not any(getattr(self, share) for share in shares):
            raise AnymarkError(f"one of {', '.join(shares)} must be above 0")


@dataclass(frozen=True)
class SceneBatch:
    """B scenes with up to G heads each."""

    image: Float[Tensor, "B 3 S S"]
    geometry: Float[Tensor, "B G 8"]
    """Box x0, y0, x1, y1, then the centres of the subject's right and left eye, in the scene's pixels."""
    state: Int[Tensor, "B G"]


@dataclass(frozen=True)
class SceneSampler:
    """Draws scenes from photos and backgrounds that lie in the device's memory."""

    photos: Sequence[HeadPhotos]
    weights: Sequence[float]
    backgrounds: UInt8[Tensor, "N 3 Z Z"]
    size: int
    config: SceneConfig
    appearance: AppearanceConfig
    heads: int = 40
    """Room for so many heads a scene."""

    @torch.no_grad()
    def draw(self, batch: int, generator: Generator) -> SceneBatch:
        """B scenes. Layout is drawn on the host, from the generator's seed; pixels are made on the device."""
        rng = np.random.default_rng(generator.initial_seed())
        scenes = [self._draw_one(rng) for _ in range(batch)]
        image = degrade(torch.stack([s[0] for s in scenes]), self.appearance, generator)
        device = image.device
        geometry = torch.zeros(batch, self.heads, 8)
        state = torch.zeros(batch, self.heads, dtype=torch.long)
        for i, (_, heads, states) in enumerate(scenes):
            count = min(len(heads), self.heads)
            if count:
                geometry[i, :count] = torch.stack(heads[:count])
                state[i, :count] = torch.tensor(states[:count])
        return SceneBatch(image, geometry.to(device), state.to(device))

    def _draw_one(self, rng: np.random.Generator) -> tuple[Tensor, list[Tensor], list[int]]:
        size, config = self.size, self.config
        device = self.backgrounds.device
        scene = Canvas(
            torch.zeros(3, size, size, device=device), torch.zeros(size, size, dtype=torch.long, device=device)
        )
        kinds = np.array([config.single, config.tiles, config.paste, config.empty])
        kind = rng.choice(4, p=kinds / kinds.sum())
        whole = (0, 0, size, size)
        if kind != 1:
            self._background(scene, whole, rng)
        if kind == 0:
            close = rng.random() < config.too_close
            side = size * (_log_uniform(rng, 2.2, 5.0) if close else _log_uniform(rng, 0.12, config.largest))
            self._place(scene, whole, side, rng, outside=rng.choice(["keep", "keep", "border"]))
        elif kind == 1:
            for tile in split_region(
                whole, int(rng.integers(2, 7) if rng.random() < 0.6 else rng.integers(7, 31)), rng
            ):
                short = min(tile[2] - tile[0], tile[3] - tile[1])
                if rng.random() < 0.2:
                    self._background(scene, tile, rng)
                else:
                    side = max(short * _log_uniform(rng, 0.3, 1.1), config.smallest * size)
                    outside = rng.choice(["border", "border", "keep"])
                    if outside == "keep":
                        self._background(scene, tile, rng)
                    self._place(scene, tile, side, rng, outside=outside)
        else:
            count = int(rng.integers(1, 9))
            largest = min(0.7, 1.6 / count)
            for _ in range(count):
                side = size * _log_uniform(rng, config.smallest, largest)
                if kind == 3 or rng.random() < 0.25:
                    self._background(scene, self._somewhere(side, rng), rng, pasted=True)
                else:
                    self._place(scene, self._somewhere(side, rng), side, rng, pasted=True)
        return self._finish(scene, rng)

    def _somewhere(self, side: float, rng: np.random.Generator) -> Region:
        """A region around a head of this size, with more or less of its surroundings."""
        x, y = rng.uniform(0.02, 0.98, 2) * self.size
        margin = side * rng.uniform(0.5, 1.4, 4) * rng.choice([0.85, 1.0, 1.3])
        corners = (x - margin[0], y - margin[1], x + margin[2], y + margin[3])
        x0, y0, x1, y1 = (int(np.clip(v, 0, self.size)) for v in corners)
        return x0, y0, x1, y1

    def _background(self, scene: Canvas, region: Region, rng: np.random.Generator, *, pasted: bool = False) -> None:
        """Fill a region with a view, a texture, one colour, or a piece of a photo below a head."""
        kind = rng.random()
        if kind < 0.42:
            photo = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        elif kind < 0.57:
            photo = torch.from_numpy(rng.integers(0, 256, (3, 1, 1)).astype(np.uint8)).to(self.backgrounds.device)
            photo = photo * int(rng.random() < 0.6)  # often black, as around a letterboxed photo
        else:
            photo = self._scrap(rng)
        height, width = photo.shape[1:]
        zoom = min(height, width) / self.size * _log_uniform(rng, 0.3, 2.0)
        linear = similarity(zoom, rng.normal(0, 0.3) + rng.integers(4) * (math.pi / 2) * (rng.random() < 0.3), rng)
        centre = torch.tensor([(region[0] + region[2]) / 2, (region[1] + region[3]) / 2])
        at = torch.from_numpy(rng.uniform(0.2, 0.8, 2)).float() * torch.tensor([width, height])
        to_photo = torch.cat([linear, (at - linear @ centre)[:, None]], 1).to(photo.device)
        soft = pasted and rng.random() < 0.5
        feather = (region[2] - region[0]) * rng.uniform(0, 0.3) if soft else 0.0
        round_ = pasted and rng.random() < 0.3
        scene.paint(photo, to_photo, region, outside="reflection", feather=feather, ellipse=round_)

    def _scrap(self, rng: np.random.Generator) -> Tensor:
        """What a photo shows below its lowest head: clothes, hands, books, tables."""
        photos, i = self._pick(rng)
        image = photos.images[i]
        boxes = boxes_px(photos.outlines_px[i])
        below = int((boxes[:, 3] + 0.12 * (boxes[:, 3] - boxes[:, 1])).max())
        if image.shape[1] - below < 24:
            return self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return image[:, below:]

    def _pick(self, rng: np.random.Generator) -> tuple[HeadPhotos, int]:
        weights = np.array(self.weights)
        photos = self.photos[rng.choice(len(weights), p=weights / weights.sum())]
        return photos, int(rng.integers(len(photos)))

    def _place(
        self,
        scene: Canvas,
        region: Region,
        side: float,
        rng: np.random.Generator,
        *,
        outside: str = "keep",
        pasted: bool = False,
    ) -> None:
        """Paint a photo so that one of its heads has this longer side and lies in the region."""
        photos, i = self._pick(rng)
        outlines, eyes = photos.outlines_px[i].cpu(), photos.eyes_px[i].cpu()
        box = boxes_px(outlines[int(rng.integers(len(outlines)))])
        zoom = float((box[2:] - box[:2]).max()) / side
        any_roll = rng.random() < self.config.any_roll
        roll = rng.uniform(-math.pi, math.pi) if any_roll else math.radians(rng.normal(0, self.config.roll_deg))
        linear = similarity(zoom, roll, rng)
        low, high = np.array(region[:2]), np.array(region[2:])
        reach = 0.12 if pasted or rng.random() < 0.5 else 0.45  # in the middle, or anywhere in it
        centre = torch.from_numpy((low + high) / 2 + (high - low) * rng.uniform(-reach, reach, 2)).float()
        to_photo = torch.cat([linear, ((box[:2] + box[2:]) / 2 - linear @ centre)[:, None]], 1)
        soft = pasted and rng.random() < 0.5
        layer = scene.paint(
            photos.images[i],
            to_photo.to(scene.image.device),
            region,
            outside=outside,
            feather=side * rng.uniform(0, 0.3) if soft else 0.0,
            ellipse=pasted and rng.random() < 0.3,
        )
        back = torch.linalg.inv(linear).T
        for outline, pair in zip(outlines, eyes, strict=True):
            pair = pair.flip(0) if torch.det(linear) < 0 else pair
            seen_box = boxes_px((outline - to_photo[:, 2]) @ back)
            scene.heads.append((layer, torch.cat([seen_box, ((pair - to_photo[:, 2]) @ back).flatten()])))

    def _finish(self, scene: Canvas, rng: np.random.Generator) -> tuple[Tensor, list[Tensor], list[int]]:
        """Cover parts of some heads, then judge which can still be seen."""
        for _, head in scene.heads:
            if rng.random() < self.config.occluded:
                x0, y0, x1, y1 = head[:4].tolist()
                cx, cy = rng.uniform(x0, x1), rng.uniform(y0, y1)
                rx, ry = (x1 - x0) * rng.uniform(0.1, 0.5), (y1 - y0) * rng.uniform(0.1, 0.4)
                corners = (cx - rx, cy - ry, cx + rx, cy + ry)
                a0, b0, a1, b1 = (int(np.clip(v, 0, self.size)) for v in corners)
                self._background(scene, (a0, b0, a1, b1), rng, pasted=True)
        heads, states = [], []
        for layer, head in scene.heads:
            box = head[:4].tolist()
            seen = scene.visible(layer, box)
            centred = all(0 <= c < self.size for c in ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
            long_side = max(box[2] - box[0], box[3] - box[1])
            if seen < 0.2:  # what is left of it is not a head
                continue
            clear = seen > (0.5 if long_side < self.size * 0.8 else 0.3)  # a close-up exceeds the frame
            good = clear and centred and long_side >= 0.8 * self.config.smallest * self.size
            heads.append(head)
            states.append(HEAD if good else IGNORE)
        return scene.image, heads, states


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
