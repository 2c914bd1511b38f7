"""Marker models as a task of the training loop: two generators and two critics, one step for all (Generative Landmarks,
section 2; CycleGAN, Zhu et al. 2017).

The generators' loss and the critics' are one sum, in which neither sees the other's parameters: one optimiser, one
checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor, nn
from torch.func import functional_call

from anymark.detect.template import Template, load_template
from anymark.errors import AnymarkError
from anymark.learn.data.geometry import inverse, is_mirrored, to_photo
from anymark.learn.data.marked import blurred, compare, jittered, read_sets
from anymark.learn.models.markers import Critic, Made, MarkerModel, Strewn
from anymark.learn.train.recipe import MarkerLossConfig, MarkerRecipe
from anymark.spread import spread

ALONE = 0.1
"""Share of a run in which G learns alone."""
Images = Float[Tensor, "B 3 S S"]

STIFF = 9.0
"""Springs are stiffer by so much while pictures are blurred most: the whole finds its place before its parts do."""
DESCENTS, DESCENT, END = 5, 0.02, 0.1
"""Steps down for points, their length in half sides at first, and the share of it that remains at last;"""
MOMENTUM = 0.8
"""and of the last step, that the next one adds."""
REHEARSED = 3
"""Pictures of which L_delta learns what was found before, for each that is looked at anew."""
FOUND = 100.0
"""Weight of L_delta's error, half sides squared."""
SHOWN = 8
"""Pictures of a watch sheet."""
FAINT, OTHER_LIGHT = 0.15, 2.5
"""Bounds of what is complained of; see `Compared`."""


@dataclass(frozen=True)
class MarkerBatch:
    """Pictures of both sets, in 0..1."""

    unmarked: Float[Tensor, "B 3 S S"]
    marked: Float[Tensor, "B 3 S S"]
    which: Int[Tensor, " B"]
    """Of the marked set;"""
    before: Float[Tensor, "B 2 3"]
    """where its places were before the jitter."""
    noise: Float[Tensor, "B 3 S S"]
    """For what L_delta sees."""
    strewn: Strewn | None = None
    """How marks are strewn that G learns to wipe off."""
    rehearsed: Seen | None = None
    """More of the marked set, for what was found in them before."""


@dataclass(frozen=True)
class Seen:
    """Pictures of a set, jittered."""

    images: Float[Tensor, "B 3 S S"]
    which: Int[Tensor, " B"]
    before: Float[Tensor, "B 2 3"]
    """Where their places were before the jitter."""


class MarkerTask:
    """Trains a `MarkerModel` on two sets.

    Raises:
        AnymarkError: a set or the template cannot be read, or the sets do not go together.
    """

    def __init__(self, recipe: MarkerRecipe, folder: Path = Path(), limit: int | None = None) -> None:
        self.recipe = recipe
        data = recipe.data
        self.template: Template = load_template(_place(data.template, folder))
        flip = self.template.flip
        if data.jitter.mirror and flip is None:
            raise AnymarkError(f"data.jitter.mirror: the template {self.template.name!r} is not its own mirror image")
        self._flip = None if flip is None else torch.from_numpy(flip)
        torch.manual_seed(recipe.train.seed)
        sources = [_place(name, folder) for name in (data.unmarked, data.marked)]
        self._sets = read_sets(sources, recipe.model.size, limit)
        self.model = MarkerModel(self.template, recipe.model, len(self._sets[1]))
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
        noise = torch.randn(unmarked.images.shape, generator=generator, device=generator.device)
        return MarkerBatch(
            unmarked.images,
            marked.images,
            marked.which,
            marked.before,
            self.recipe.data.noise * noise,
            Strewn.draw(batch, len(self.template), self.recipe.data.strewn, generator),
            self._some(self.marked, REHEARSED * batch, generator) if self._left() is not None else None,
        )

    def _some(self, images: UInt8[Tensor, "N 3 S S"], batch: int, generator: Generator) -> Seen:
        which = torch.randint(len(images), (batch,), generator=generator, device=images.device)
        image, before = jittered(images[which], self.recipe.data.jitter, generator)
        return Seen(image, which, before)

    def loss(self, model: Callable[..., Any], batch: MarkerBatch) -> Tensor:
        made = model(batch.unmarked, batch.marked, batch.noise, batch.strewn)
        config, left = self.recipe.loss, self._left()
        loss = wiping_loss(self.model, made, batch, config)
        if left is not None:
            loss = loss + self._found(made, batch, left)
            loss = loss + config.spring * spring_loss(made.points, self.template, config.spring_kind).mean()
            if config.judged:
                loss = loss + config.judged * judged_loss(self.model, made)
                loss = loss + critics_loss(self.model, made, batch, self.recipe.data.jitter.noise, self._generator)
        if self.model.training:
            self.model.steps += 1
        return loss

    def _left(self) -> float | None:
        """How much is left of the way from blurred to sharp, 1..0; None while G learns alone: before it wipes, the
        marked cycle closes best if nothing is painted."""
        done = int(self.model.steps) / max(1, self.recipe.train.steps)
        return None if done < ALONE else max(0.0, 1 - (done - ALONE) / (1 - ALONE))

    def _found(self, made: Made, batch: MarkerBatch, left: float) -> Tensor:
        """Points of the marked pictures are found by descent, from where they were found before or from where L_delta
        has them, and L_delta learns to say them (Kolotouros et al. 2019)."""
        assert self.model.kept is not None
        config, wiped = self.recipe.loss, made.wiped.detach()
        spring = config.spring * (1 + STIFF * left)

        def objective(points: Float[Tensor, "B N 2"]) -> Float[Tensor, " B"]:
            away = blurred(self.model.painter(wiped, points) - batch.marked, left * self.recipe.model.blur)
            held = spring_loss(points, self.template, config.spring_kind)
            return config.cycle_marked * away.abs().mean((1, 2, 3)) + spring * held

        said = made.wiped_points.detach()
        now, going = self._through(inverse(batch.before), self.model.kept[batch.which]).unbind(1)
        with torch.no_grad():
            better = (objective(said) < objective(now))[:, None, None]
        now, going = torch.where(better, said, now), going.masked_fill(better, 0.0)
        points, going = descend(objective, now, going, DESCENT * (END + (1 - END) * left))
        self.model.kept[batch.which] = self._through(batch.before, torch.stack([points, going], 1))
        loss = FOUND * (made.wiped_points - points).square().sum(-1).mean()
        if batch.rehearsed is not None:
            loss = loss + FOUND * self._rehearsed(batch.rehearsed)
        painter = list(self.model.painter.parameters())
        if any(p.requires_grad for p in painter):  # looks that are learned
            again = self.model.painter(wiped, points)
            loss = loss + config.cycle_marked * (again - batch.marked).abs().mean()
        return loss

    def _rehearsed(self, seen: Seen) -> Tensor:
        """L_delta's error on what was found before, half sides squared: cheap beside descent."""
        assert self.model.kept is not None
        with torch.no_grad():
            wiped = self.model.generator(seen.images)
        noise = torch.randn(wiped.shape, generator=self._generator, device=wiped.device)
        said = self.model.deltas(wiped + self.recipe.data.noise * noise)
        found = self._through(inverse(seen.before), self.model.kept[seen.which])[:, 0]
        return (said - found).square().sum(-1).mean()

    def _through(self, affine: Float[Tensor, "B 2 3"], kept: Float[Tensor, "B 2 N 2"]) -> Float[Tensor, "B 2 N 2"]:
        """Where a map takes points and the ways they go; in a mirror points swap sides."""
        place = to_photo(kept[:, 0], affine)
        way = kept[:, 1] @ affine[:, :, :2].transpose(1, 2)
        there = torch.stack([place, way], 1)
        if self._flip is None:
            return there
        return torch.where(is_mirrored(affine)[:, None, None, None], there[:, :, self._flip], there)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """How well both cycles close, in %; how far points leave the template, in % of its size; and how often critics
        are right about a patch: at 50 % they tell nothing, near 100 % nobody learns from them."""
        assert isinstance(model, MarkerModel)
        unmarked, marked, made, again = self._watched(model)
        moved = (made.points - model.deltas.template).norm(dim=-1)
        return {
            "marked again %": 100 * float((again - marked).abs().mean()),
            "unmarked again %": 100 * float((made.unmarked_again - unmarked).abs().mean()),
            "moved %": 100 * float(moved.mean()) / self.template.size,
            "apart %": 100 * float(made.points.std(0).norm(dim=-1).mean()) / self.template.size,
            "marked critic right %": _right(model.of_marked, marked, made.marked),
            "unmarked critic right %": _right(model.of_unmarked, unmarked, made.wiped),
        }

    def sheet(self, model: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Watched pictures in rows: unmarked, painted, wiped again; marked, wiped, painted again."""
        assert isinstance(model, MarkerModel)
        unmarked, marked, made, again = self._watched(model)
        rows = [unmarked, made.marked, made.unmarked_again, marked, made.wiped, again]
        grid = torch.cat([torch.cat(list(row[:SHOWN]), 2) for row in rows], 1)
        return (255 * grid.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()

    @torch.no_grad()
    def _watched(self, model: MarkerModel) -> tuple[Images, Images, Made, Images]:
        """Pictures spread over both sets, unmarked and marked, as they are; what the model makes of them; and the
        marked ones painted again."""
        picked = []
        for images in (self.unmarked, self.marked):
            picked.append(images[spread(len(images), 64)].float() / 255)
        count = min(map(len, picked))
        unmarked, marked = (images[:: max(1, len(images) // count)][:count] for images in picked)
        made = model(unmarked, marked, torch.zeros_like(marked))
        return unmarked, marked, made, model.painter(made.wiped, made.wiped_points)


def _right(critic: Critic, real: Tensor, made: Tensor) -> float:
    return 50 * float((critic(real) > 0.5).float().mean() + (critic(made) < 0.5).float().mean())


def descend(
    objective: Callable[[Float[Tensor, "B N 2"]], Float[Tensor, " B"]],
    points: Float[Tensor, "B N 2"],
    going: Float[Tensor, "B N 2"],
    step: float,
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 2"]]:
    """A few steps down with momentum -> points, and the way they are going, in steps.

    Args:
        going: the way they went before.
        step: what a slope adds, in the root mean square of a picture's points, in half sides: pictures in which marks
            are faint move as far as others.
    """
    for _ in range(DESCENTS):
        points = points.detach().requires_grad_()
        (slope,) = torch.autograd.grad(objective(points).sum(), points)
        going = MOMENTUM * going + slope / slope.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-8)
        points = points - step * going
    return points.detach(), going


def wiping_loss(model: MarkerModel, made: Made, batch: MarkerBatch, config: MarkerLossConfig) -> Tensor:
    """What G minimises by itself."""
    loss = config.cycle_unmarked * (made.unmarked_again - batch.unmarked).abs().mean()
    if config.identity:
        loss = loss + config.identity * (model.generator(batch.unmarked) - batch.unmarked).abs().mean()
    return loss


def judged_loss(model: MarkerModel, made: Made) -> Tensor:
    """The critics' word on what was painted and wiped; their own parameters get no gradient of it."""
    judged = [(model.of_marked, made.marked), (model.of_unmarked, made.wiped)]
    return torch.stack([(_frozen(critic, image) - 1).square().mean() for critic, image in judged]).sum()


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
) -> Float[Tensor, " B"]:
    """Mean over the springs of the squared change of their vector, or of their length (section 2)."""
    if not len(template.springs):
        return points.new_zeros(len(points))
    springs = torch.from_numpy(template.springs.astype(np.int64)).to(points.device)
    rest = torch.from_numpy(template.points).to(points.device)
    now, then = (x[..., springs[:, 1], :] - x[..., springs[:, 0], :] for x in (points, rest))
    if kind == "vector":
        return (now - then).square().sum(-1).mean(-1)
    return ((now.square().sum(-1) + 1e-8).sqrt() - then.norm(dim=-1)).square().mean(-1)


def _frozen(critic: Critic, image: Tensor) -> Tensor:
    """The critic's word, through which gradients reach the picture alone."""
    return functional_call(critic, {k: v.detach() for k, v in critic.named_parameters()}, (image,))


def _place(name: str, folder: Path) -> Path:
    """A file or folder that a recipe names: beside it, or else in the current directory."""
    return next((p for p in (folder / name, Path(name)) if p.exists()), Path(name))
