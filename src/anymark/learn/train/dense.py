"""Dense models as a task of the training loop: the embedder, the latent cube and what holds them together.

The terms are those of DenseMarks, and ours: matched pixels have like features (contrast), pixels lie where
the canonical head has them (landmarks), features tell regions apart (regions), and pixels know whether they show a
head.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from anymark.canonical.frame import CUBE_SIDE_MM
from anymark.errors import AnymarkError
from anymark.learn.data.appearance import NO_DEGRADATION, AppearanceConfig
from anymark.learn.data.backgrounds import load_backgrounds, panorama_folder
from anymark.learn.data.dense import DenseBatch, DenseSampler
from anymark.learn.data.dense_sets import NO_HEAD, REGIONS, UNKNOWN, load_dense, load_tracks
from anymark.learn.data.geometry import NO_AUGMENTATION, GeometryConfig
from anymark.learn.data.unlabelled import load_unlabelled
from anymark.learn.models.cube import LatentCube, look_up
from anymark.learn.models.embedder import Embedder, Embedding
from anymark.learn.train.closing import QueryModel, closing_loss, load_query
from anymark.learn.train.recipe import (
    DenseLossConfig,
    DenseRecipe,
    LandmarkRecipe,
    find_file,
    find_init,
    load_recipe,
)

LEAST_LOG_SPREAD = -0.7
"""Half a millimetre: below it spread is noise; the bound keeps the loss finite."""
CERTAIN_MM = 1.0
"""Distances are rounded off below this: the likelihood has no corner at nought."""
UNIT_MM = 8.0
"""Of the distance: the paper's weight, 50 for each side of the cube."""
TEMPERATURE = 0.07
"""Of the InfoNCE contrast."""
BACKGROUND_PX = 128
"""Side of the pictures around photos, and of those that show no head."""
LOOKED_UP = 8
"""One place in so many has its region told from the cube: lookups are dear."""
EVALUATED = 64
"""Views at once."""


class DenseModel(nn.Module):
    """The embedder, which run time keeps, the cube that it learns with, and the query model of the round trip."""

    def __init__(self, recipe: DenseRecipe, query: QueryModel | None = None) -> None:
        super().__init__()
        self.embedder = Embedder(recipe.embedder)
        self.query = query
        self.cube = LatentCube(recipe.cube, REGIONS - 1) if recipe.loss.needs_cube else None

    def forward(
        self, image: Float[Tensor, "V 3 S S"], prior: Float[Tensor, "V 4 h w"]
    ) -> tuple[Embedding, Tensor | None]:
        """What the embedder says, and the smoothed cube."""
        return self.embedder(image, prior), None if self.cube is None else self.cube.smoothed()


class DenseTask:
    """Trains a `DenseModel` on shards; scores it on shards of held-out photos.

    Raises:
        AnymarkError: no data, or none of it finished.
    """

    def __init__(
        self, recipe: DenseRecipe, photos: Path, limit: int | None = None, folder: Path = Path("recipes")
    ) -> None:
        data = recipe.data
        if not data.shards and not data.tracks:
            raise AnymarkError("the recipe names no data.shards and no data.tracks")
        self.recipe = recipe
        torch.manual_seed(recipe.train.seed)
        self.model = DenseModel(recipe, _query_of(recipe, folder) if recipe.loss.closing else None)
        if recipe.loss.contrast and data.matches > recipe.cube.features:
            print(
                f"anymark: data.matches {data.matches} above cube.features {recipe.cube.features}: rows cannot all be "
                "orthogonal, and the contrast cannot fall below sqrt(P^2 / D - P)",
                file=sys.stderr,
            )
        told = self.model.embedder.told is not None
        self._train = [load_dense(Path(f), weight=w, limit=limit, priors=told) for f, w in data.shards.items()]
        self._train += [load_tracks(Path(f), weight=w, priors=told) for f, w in data.tracks.items()]
        self._train += [
            load_unlabelled(Path(f), window_scale=data.window_scale, weight=w, priors=told)
            for f, w in data.photos.items()
        ]
        self._held_out = [load_dense(Path(f), limit=data.held_out, priors=told) for f in data.held_out_shards]
        self._backgrounds = load_backgrounds(
            panorama_folder(photos), None, data.backgrounds, 3 * data.backgrounds, BACKGROUND_PX, seed=1
        ) if data.backgrounds else None  # fmt: skip

    def variant(self, recipe: DenseRecipe, folder: Path = Path("recipes")) -> DenseTask:
        """Another model, untrained, on the same data: those of the recipe that this task was made of."""
        task = copy(self)
        task.recipe = recipe
        torch.manual_seed(recipe.train.seed)
        task.model = DenseModel(recipe, _query_of(recipe, folder) if recipe.loss.closing else None)
        return task

    def to(self, device: torch.device) -> None:
        recipe = self.recipe
        backgrounds = None if self._backgrounds is None else self._backgrounds.to(device)
        exact = self._sampler(NO_AUGMENTATION, NO_DEGRADATION)
        self.held_out = [replace(exact, sets=[s.to(device)]) for s in self._held_out]
        self.sampler = replace(
            self._sampler(recipe.geometry, recipe.appearance),
            sets=[s.to(device) for s in self._train],
            backgrounds=backgrounds,
            empty=0.0 if backgrounds is None else recipe.data.empty,
            blind=recipe.data.blind,
            loose=recipe.data.loose,
        )

    def _sampler(self, geometry: GeometryConfig, appearance: AppearanceConfig) -> DenseSampler:
        data, size = self.recipe.data, self.recipe.embedder.input_size
        return DenseSampler([], size, data.window_scale, data.places, data.matches, data.apart, geometry, appearance)

    def draw(self, batch: int, generator: Generator) -> DenseBatch:
        self._generator = generator  # of the step: the round trip draws its points from it
        return self.sampler.draw(batch, generator)

    def loss(self, model: Callable[..., Any], batch: DenseBatch) -> Tensor:
        found, smooth = model(batch.image, batch.prior)
        loss = dense_loss(found, smooth, batch, self.recipe.loss, self.model.cube)
        if self.model.query is None:
            return loss
        closing = self.recipe.closing
        count = max(1, round(closing.share * len(batch.image)))
        some = torch.randperm(len(batch.image), generator=self._generator, device=batch.image.device)[:count]
        part = Embedding(*(x[some] for x in found))
        gap = closing_loss(self.model.query, batch.image[some], part, closing.points, self._generator)
        return loss + self.recipe.loss.closing * gap

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Of held-out views: how far off places on the head are, how often head is told from what is none, and how far
        apart two views of one head say that a vertex lies."""
        assert isinstance(model, DenseModel)
        away, right, apart = [], [], []
        for sampler in self.held_out:
            generator = Generator(device=sampler.sets[0].images.device).manual_seed(0)
            for _ in range(max(1, len(sampler.sets[0]) // EVALUATED)):
                batch = sampler.draw(EVALUATED, generator)
                found = model.embedder(batch.image, batch.prior)
                uvw, head, _ = sampled(found, batch.xy)
                on = batch.region < NO_HEAD
                away.append(CUBE_SIDE_MM * (uvw - batch.uvw).norm(dim=-1)[on])
                right.append(((head > 0) == on)[batch.region != UNKNOWN])
                first, second = (at.uvw for at in both_views(found, batch))
                apart.append(CUBE_SIDE_MM * (first - second).norm(dim=-1)[batch.matched])
        if not away:
            return {}
        return {
            "mean mm": float(torch.cat(away).mean()),
            "median mm": float(torch.cat(away).median()),
            "two views apart mm": float(torch.cat(apart).mean()),
            "head right %": 100 * float(torch.cat(right).float().mean()),
        }


def _query_of(recipe: DenseRecipe, folder: Path) -> QueryModel:
    """The query model of the round trip.

    Raises:
        AnymarkError: its recipe or its weights are missing, or do not belong together.
    """
    closing = recipe.closing
    path = find_file(closing.recipe, folder, "closing.recipe")
    of_query = load_recipe(path)
    if not isinstance(of_query, LandmarkRecipe):
        raise AnymarkError(f"closing.recipe: {path} is no recipe of a landmark model")
    return load_query(of_query, find_init(closing.weights, folder), recipe.data.window_scale, closing.learns)


class At(NamedTuple):
    """What the embedder says of K places of each view."""

    uvw: Float[Tensor, "V K 3"]
    head: Float[Tensor, "V K"]
    log_spread: Float[Tensor, "V K"]


def sampled(found: Embedding, xy: Float[Tensor, "V K 2"]) -> At:
    """The maps at places in window coordinates, bilinear."""
    at = F.grid_sample(found.joined().float(), xy[:, :, None], padding_mode="border", align_corners=False)[..., 0]
    return At(at[:, :3].transpose(1, 2), at[:, 3], at[:, 4])


def both_views(found: Embedding, batch: DenseBatch) -> tuple[At, At]:
    """What the embedder says of the matches, in the first views and in the second ones."""
    halves = ([x.chunk(2)[k] for x in found] for k in (0, 1))
    first, second = (sampled(Embedding(*half), batch.match[:, :, k]) for k, half in enumerate(halves))
    return first, second


def dense_loss(
    found: Embedding,
    smooth: Float[Tensor, "1 D W V U"] | None,
    batch: DenseBatch,
    config: DenseLossConfig,
    cube: LatentCube | None = None,
) -> Float[Tensor, ""]:
    """The loss of a batch.

    Args:
        smooth: E, the smoothed `cube`; both are needed where the contrast or the regions count.
    """
    at = sampled(found, batch.xy)
    on, told = batch.region < NO_HEAD, batch.region != UNKNOWN
    loss = config.head * mean_where(F.binary_cross_entropy_with_logits(at.head, on.float(), reduction="none"), told)
    if config.landmarks:
        loss = loss + config.landmarks * mean_where(place_loss(at, batch), on)
    if smooth is None or cube is None:
        return loss
    if config.contrast:
        first, second = (F.normalize(look_up(smooth, view.uvw), dim=-1) for view in both_views(found, batch))
        apart = {"frobenius": frobenius, "info-nce": info_nce}[config.kind]
        loss = loss + config.contrast * apart(first, second, batch.matched)
    if config.regions:
        some = slice(None, None, LOOKED_UP)
        logits, named = cube.regions(look_up(smooth, at.uvw[:, some])), batch.region[:, some]
        known = named < NO_HEAD
        wrong = F.cross_entropy(logits.flatten(0, 1), (named * known).flatten(), reduction="none")
        loss = loss + config.regions * mean_where(wrong, known.flatten())
    return loss


def place_loss(at: At, batch: DenseBatch) -> Float[Tensor, "V K"]:
    """Distance of the places, in units of `UNIT_MM`, and their negative log-likelihood under a density that falls off
    as exp(-distance / spread): the mean over where a label of so much uncertainty may be, about.

    The likelihood makes sure places precise; the distance does not let go of heads that are far off.
    """
    squared = (CUBE_SIDE_MM * (at.uvw - batch.uvw.nan_to_num())).square().sum(-1)
    distance = (squared + 3 * batch.sd_mm.square() + CERTAIN_MM**2).sqrt()
    log_spread = at.log_spread.clamp(min=LEAST_LOG_SPREAD)
    return distance / UNIT_MM + distance * (-log_spread).exp() + 3 * log_spread


def frobenius(
    first: Float[Tensor, "B P D"], second: Float[Tensor, "B P D"], matched: Bool[Tensor, "B P"]
) -> Float[Tensor, ""]:
    """A contrast of rows of length 1, the paper's by what is said of it: the Frobenius norm of their Gram matrix
    against the identity.

    With P > D rows it cannot fall below sqrt(P^2 / D - P).
    """
    there = matched.to(first.dtype)
    gram = first @ second.transpose(1, 2) * there[:, :, None] * there[:, None]
    norm = (gram - torch.diag_embed(there)).square().sum((1, 2)).clamp(min=1e-12).sqrt()
    return mean_where(norm, matched.any(1))


def info_nce(
    first: Float[Tensor, "B P D"], second: Float[Tensor, "B P D"], matched: Bool[Tensor, "B P"]
) -> Float[Tensor, ""]:
    """The usual contrast: each row should tell its match from the others' rows, in both directions."""
    logits = first @ second.transpose(1, 2) / TEMPERATURE
    logits = logits.masked_fill(~(matched[:, :, None] & matched[:, None]), -1e4)
    own = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    both = [F.cross_entropy(x.transpose(1, 2), own, reduction="none") for x in (logits, logits.transpose(1, 2))]
    return mean_where((both[0] + both[1]) / 2, matched)


def mean_where(values: Tensor, counts: Tensor) -> Float[Tensor, ""]:
    """The mean over what counts; nought where nothing does."""
    return torch.where(counts, values, 0.0).sum() / counts.sum().clamp(min=1)
