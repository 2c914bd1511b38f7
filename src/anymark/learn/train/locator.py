"""The head locator as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from anymark.errors import AnymarkError
from anymark.learn.data.backgrounds import HELD_OUT_PANORAMAS, load_backgrounds, panorama_folder
from anymark.learn.data.heads import (
    WHOLE,
    HeadPhotos,
    heads_of_crops,
    load_whole,
    looks_like_any,
    thumbnails,
    validation_choice,
)
from anymark.learn.data.photos import load_photos
from anymark.learn.data.scenes import HEAD, IGNORE, SceneBatch, SceneSampler
from anymark.learn.models.locator import STRIDE, Locator, Targets, encode_targets
from anymark.learn.train.recipe import LocatorRecipe
from anymark.learn.train.score_locator import THRESHOLD, Matches, match_photos, score_backgrounds
from anymark.spread import spread

GEOMETRY_WEIGHT = 2.0
"""Of the geometry's error, in sides of the box, against the score's loss a head."""
VALIDATION_VIEWS = 40


class LocatorTask:
    """Trains a `Locator` on scenes made of photos; scores it on whole photos held out by photo.

    Whole photos that resemble any held-out crop are held out, and crops that resemble a held-out whole photo are
    dropped: the two sets share portraits under different names.

    Raises:
        AnymarkError: no data.
    """

    def __init__(self, recipe: LocatorRecipe, photos: Path, cache: Path | None, limit: int | None = None) -> None:
        self.recipe = recipe
        data = recipe.data
        if not data.sources:
            raise AnymarkError("the recipe names no data.sources")
        torch.manual_seed(recipe.train.seed)
        self.model = Locator(recipe.model)
        panoramas = panorama_folder(photos)
        self._backgrounds = load_backgrounds(panoramas, None, data.views, data.textures, data.store_size, seed=1)
        self._views = load_backgrounds(panoramas, HELD_OUT_PANORAMAS, VALIDATION_VIEWS, 0, 320, seed=2)
        self._train, self._held_out = load_heads(recipe, photos, cache, limit)

    def to(self, device: torch.device) -> None:
        recipe = self.recipe
        self.sampler = SceneSampler(
            [heads.to(device) for heads in self._train.values()],
            [recipe.data.sources[source] for source in self._train],
            self._backgrounds.to(device),
            recipe.data.size,
            recipe.scenes,
            recipe.appearance,
        )
        self.held_out, self.views = self._held_out.to(device), self._views.to(device)

    def draw(self, batch: int, generator: Generator) -> SceneBatch:
        return self.sampler.draw(batch, generator)

    def loss(self, model: Callable[..., Any], batch: SceneBatch) -> Tensor:
        logit, geometry = model(batch.image.contiguous(memory_format=torch.channels_last))
        return locator_loss(logit, geometry, batch)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return self.score(model, match_photos(model, self.held_out), THRESHOLD)

    def score(self, model: nn.Module, matches: Matches, threshold: float) -> dict[str, float]:
        """Metrics at a threshold: of matches on the held-out photos, of the same with heads of 28 px, of views."""
        small = match_photos(model, self.held_out, face_px=28.0, backgrounds=self.views).metrics(threshold)
        return {
            **matches.metrics(threshold),
            **{f"{key}, heads of 28 px": value for key, value in small.items()},
            "wrong a view": score_backgrounds(model, self.views, threshold),
        }


def load_heads(
    recipe: LocatorRecipe, photos: Path, cache: Path | None, limit: int | None
) -> tuple[dict[str, HeadPhotos], HeadPhotos]:
    """The training photos of each source of a recipe, and the held-out whole photos."""
    sources = recipe.data.sources
    names, whole = load_whole(photos)
    if limit is not None:
        keep = spread(len(names), limit).tolist()
        names, whole = tuple(names[i] for i in keep), whole.select(keep)
    crop_sources = [s for s in sources if not s.startswith(WHOLE)]
    store = recipe.data.store_size
    crops = {s: heads_of_crops(load_photos(photos, s, store, "train", cache=cache, limit=limit)) for s in crop_sources}
    apart = [heads_of_crops(load_photos(photos, s, store, "held-out", cache=cache)) for s in crop_sources]
    whole_looks = thumbnails(whole)
    apart_looks = torch.cat([thumbnails(h) for h in apart if len(h)] or [whole_looks[:0]])
    held_out = looks_like_any(whole_looks, apart_looks) | validation_choice(len(whole))
    train = {}
    for source in sources:
        if source.startswith(WHOLE):
            prefix = source.removeprefix(WHOLE).lstrip("-")
            chosen = [i for i, n in enumerate(names) if n.startswith(prefix) and not held_out[i]]
            train[source] = whole.select(chosen)
        else:
            twin = looks_like_any(thumbnails(crops[source]), whole_looks[held_out])
            train[source] = crops[source].select(torch.nonzero(~twin)[:, 0].tolist())
        if len(train[source]) == 0:
            raise AnymarkError(f"{photos}: source {source!r} of the recipe has no photos")
    return train, whole.select(torch.nonzero(held_out)[:, 0].tolist())


def locator_loss(
    logit: Float[Tensor, "B h w"], geometry: Float[Tensor, "B h w 8"], batch: SceneBatch
) -> Float[Tensor, ""]:
    """Penalty-reduced focal loss of the scores (CornerNet), and the heads' geometry in units of their size."""
    rows, columns = logit.shape[1:]
    targets = encode_targets(batch.geometry, batch.state == HEAD, batch.state == IGNORE, (rows, columns))
    return focal_loss(logit, targets) + GEOMETRY_WEIGHT * geometry_loss(geometry, targets)


def focal_loss(logit: Float[Tensor, "B h w"], targets: Targets) -> Float[Tensor, ""]:
    """A head's own cell should score 1; others 0, the less strictly the nearer they are to one. Per head."""
    score = logit.sigmoid()
    own = targets.heat == 1
    found = (1 - score) ** 2 * F.logsigmoid(logit)
    absent = (1 - targets.heat) ** 4 * score**2 * F.logsigmoid(-logit)
    loss = -torch.where(own, found, absent) * targets.counts
    return loss.sum() / own.sum().clamp(min=1)


def geometry_loss(geometry: Float[Tensor, "B h w 8"], targets: Targets) -> Float[Tensor, ""]:
    """Mean absolute error of box and eyes, summed over the eight numbers, in sides of the box."""
    error = (geometry - targets.geometry).abs().sum(-1) / targets.side.clamp(min=STRIDE)
    return (error * targets.weight).sum() / targets.weight.sum().clamp(min=1)
