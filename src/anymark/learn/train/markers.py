"""Marker models as a task of the training loop: two generators and two critics, one step for all (Generative Landmarks,
section 2; CycleGAN, Zhu et al. 2017).

The generators' loss and the critics' are one sum, in which neither sees the other's parameters: one optimiser, one
checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor, nn
from torch.func import functional_call

from anymark.detect.template import Template, load_template
from anymark.learn.data.marked import blurred, compare, jittered, read_sets
from anymark.learn.models.markers import Critic, Made, MarkerModel
from anymark.learn.train.recipe import MarkerLossConfig, MarkerRecipe

STIFF = 10.0
"""Springs are stiffer by so much while pictures are blurred most: the whole finds its place before its parts do."""
SHOWN = 8
"""Pictures of a watch sheet."""
FAINT, OTHER_LIGHT = 0.15, 2.5
"""Bounds of what is complained of; see `Compared`."""


@dataclass(frozen=True)
class MarkerBatch:
    """Pictures of both sets, in 0..1."""

    unmarked: Float[Tensor, "B 3 S S"]
    marked: Float[Tensor, "B 3 S S"]
    noise: Float[Tensor, "B 3 S S"]
    """For what L_delta sees."""


class MarkerTask:
    """Trains a `MarkerModel` on two sets.

    Raises:
        AnymarkError: a set or the template cannot be read, or the sets do not go together.
    """

    def __init__(self, recipe: MarkerRecipe, folder: Path = Path(), limit: int | None = None) -> None:
        self.recipe = recipe
        data = recipe.data
        self.template: Template = load_template(_place(data.template, folder))
        torch.manual_seed(recipe.train.seed)
        self.model = MarkerModel(self.template, recipe.model)
        sources = [_place(name, folder) for name in (data.unmarked, data.marked)]
        self._sets = read_sets(sources, recipe.model.size, limit)
        self._complain(*self._sets)

    def _complain(self, unmarked: UInt8[Tensor, "N 3 S S"], marked: UInt8[Tensor, "M 3 S S"]) -> None:
        """What makes it unlikely that marks are learnt: said once, and to be seen on the first sheet."""
        found = compare(marked, unmarked)
        if found.marks < FAINT:
            said = f"marked pictures have hardly more fine detail than unmarked ones ({found.marks:.2f} spreads)"
            print(f"anymark: {said}: are marks to be seen? Look at sheets/ of the run", file=sys.stderr)
        if found.colours > OTHER_LIGHT:
            said = f"the two sets differ in colour by {found.colours:.1f} spreads"
            print(f"anymark: {said}: critics may see that rather than marks; see data.jitter", file=sys.stderr)

    def to(self, device: torch.device) -> None:
        self.unmarked, self.marked = (images.to(device) for images in self._sets)

    def draw(self, batch: int, generator: Generator) -> MarkerBatch:
        self._generator = generator  # of the step: the pools draw from it
        unmarked, marked = (self._some(images, batch, generator) for images in (self.unmarked, self.marked))
        noise = torch.randn(marked.shape, generator=generator, device=marked.device)
        return MarkerBatch(unmarked, marked, self.recipe.data.noise * noise)

    def _some(self, images: UInt8[Tensor, "N 3 S S"], batch: int, generator: Generator) -> Float[Tensor, "B 3 S S"]:
        pick = torch.randint(len(images), (batch,), generator=generator, device=images.device)
        return jittered(images[pick], self.recipe.data.jitter, generator)

    def loss(self, model: Callable[..., Any], batch: MarkerBatch) -> Tensor:
        batch, blur = self._through_blur(batch)
        made = model(batch.unmarked, batch.marked, batch.noise, blur)
        stiff = 1 + STIFF * blur / max(self.recipe.model.blur, 1e-6)
        config = replace(self.recipe.loss, spring=stiff * self.recipe.loss.spring)
        loss = generators_loss(self.model, made, batch, config, self.template)
        loss = loss + critics_loss(self.model, made, batch, self.recipe.data.jitter.noise, self._generator)
        if self.model.training:
            self.model.steps += 1
        return loss

    def _through_blur(self, batch: MarkerBatch) -> tuple[MarkerBatch, float]:
        """A batch as it is seen now, and the blur's standard deviation, in sides of the picture."""
        done = min(1.0, 2 * int(self.model.steps) / max(1, self.recipe.train.steps))
        blur = (1 - done) * self.recipe.model.blur
        unmarked, marked = (blurred(images, blur) for images in (batch.unmarked, batch.marked))
        return MarkerBatch(unmarked, marked, batch.noise), blur

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """How well both cycles close, in %; how far points leave the template, in % of its size; and how often critics
        are right about a patch: at 50 % they tell nothing, near 100 % nobody learns from them."""
        assert isinstance(model, MarkerModel)
        batch, made = self._watched(model)
        moved = (made.points - model.deltas.template).norm(dim=-1)
        return {
            "marked again %": 100 * float((made.marked_again - batch.marked).abs().mean()),
            "unmarked again %": 100 * float((made.unmarked_again - batch.unmarked).abs().mean()),
            "moved %": 100 * float(moved.mean()) / self.template.size,
            "apart %": 100 * float(made.points.std(0).norm(dim=-1).mean()) / self.template.size,
            "marked critic right %": _right(model.of_marked, batch.marked, made.marked),
            "unmarked critic right %": _right(model.of_unmarked, batch.unmarked, made.wiped),
        }

    def sheet(self, model: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Watched pictures in rows: unmarked, painted, wiped again; marked, wiped, painted again."""
        assert isinstance(model, MarkerModel)
        batch, made = self._watched(model)
        rows = [batch.unmarked, made.marked, made.unmarked_again, batch.marked, made.wiped, made.marked_again]
        grid = torch.cat([torch.cat(list(row[:SHOWN]), 2) for row in rows], 1)
        return (255 * grid.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    @torch.no_grad()
    def _watched(self, model: MarkerModel) -> tuple[MarkerBatch, Made]:
        """Pictures spread over both sets, as they are, and what the model makes of them."""
        picked = []
        for images in (self.unmarked, self.marked):
            index = np.linspace(0, len(images) - 1, min(64, len(images))).round().astype(int)
            picked.append(images[index].float() / 255)
        count = min(map(len, picked))
        unmarked, marked = (images[:: max(1, len(images) // count)][:count] for images in picked)
        batch, blur = self._through_blur(MarkerBatch(unmarked, marked, torch.zeros_like(marked)))
        return batch, model(batch.unmarked, batch.marked, batch.noise, blur)


def _right(critic: Critic, real: Tensor, made: Tensor) -> float:
    return 50 * float((critic(real) > 0.5).float().mean() + (critic(made) < 0.5).float().mean())


def generators_loss(
    model: MarkerModel, made: Made, batch: MarkerBatch, config: MarkerLossConfig, template: Template
) -> Tensor:
    """What L_delta, the painter and G minimise; the critics' parameters get no gradient of it."""
    loss = made.points.new_zeros(())
    if config.judged:
        judged = [(model.of_marked, made.marked), (model.of_unmarked, made.wiped)]
        loss = loss + config.judged * sum((_frozen(critic, x) - 1).square().mean() for critic, x in judged)
    if config.cycle_unmarked:
        loss = loss + config.cycle_unmarked * (made.unmarked_again - batch.unmarked).abs().mean()
    if config.cycle_marked:
        loss = loss + config.cycle_marked * (made.marked_again - batch.marked).abs().mean()
    if config.identity:
        loss = loss + config.identity * (model.generator(batch.unmarked) - batch.unmarked).abs().mean()
    if config.spring:
        springs = [spring_loss(points, template, config.spring_kind) for points in (made.points, made.wiped_points)]
        loss = loss + config.spring * (springs[0] + springs[1]) / 2
    return loss


def critics_loss(model: MarkerModel, made: Made, batch: MarkerBatch, noise: float, generator: Generator) -> Tensor:
    """What the critics minimise; nothing else gets a gradient of it."""
    loss = made.points.new_zeros(())
    sets = [
        (model.of_marked, model.pool_marked, batch.marked, made.marked),
        (model.of_unmarked, model.pool_unmarked, batch.unmarked, made.wiped),
    ]
    for critic, pool, real, fake in sets:
        old = pool.swap(fake.detach(), generator) if model.training else fake.detach()
        seen = [x + noise * torch.randn(x.shape, generator=generator, device=x.device) for x in (real, old)]
        loss = loss + ((critic(seen[0]) - 1).square().mean() + critic(seen[1]).square().mean()) / 2
    return loss


def spring_loss(
    points: Float[Tensor, "B N 2"], template: Template, kind: Literal["vector", "length"] = "vector"
) -> Tensor:
    """Mean over the springs of the squared change of their vector, or of their length (section 2)."""
    if not len(template.springs):
        return points.new_zeros(())
    springs = torch.from_numpy(template.springs.astype(np.int64)).to(points.device)
    rest = torch.from_numpy(template.points).to(points.device)
    now, then = (x[..., springs[:, 1], :] - x[..., springs[:, 0], :] for x in (points, rest))
    if kind == "vector":
        return (now - then).square().sum(-1).mean()
    return ((now.square().sum(-1) + 1e-8).sqrt() - then.norm(dim=-1)).square().mean()


def _frozen(critic: Critic, image: Tensor) -> Tensor:
    """The critic's word, through which gradients reach the picture alone."""
    return functional_call(critic, {k: v.detach() for k, v in critic.named_parameters()}, (image,))


def _place(name: str, folder: Path) -> Path:
    """A file or folder that a recipe names: beside it, or else in the current directory."""
    return next((p for p in (folder / name, Path(name)) if p.exists()), Path(name))
