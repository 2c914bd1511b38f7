"""Which task a recipe asks for, and how its run is exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.errors import AnymarkError
from anymark.evaluate.photo_files import FACE_MESH_LAYOUT
from anymark.learn.cards import data_entries, shard_entries
from anymark.learn.export import check_replaceable, export_landmarker
from anymark.learn.export_locator import export_locator_run
from anymark.learn.train.landmarks import LandmarkTask, exact_windows
from anymark.learn.train.locator import LocatorTask
from anymark.learn.train.loop import RECIPE, Task, load_weights, trained_steps
from anymark.learn.train.recipe import WEIGHTS, LandmarkRecipe, LocatorRecipe, Recipe, load_recipe

CHECKED_WINDOWS = 8
"""Held-out windows that an exported model is checked on, at least; and two of each photo set."""

UNSURE_SHARE, UNSURE_MARGIN, UNSURE_BOUNDS = 0.995, 1.5, (0.04, 0.08)
"""A card's `most_unsure`: so many times this quantile of the held-out photos' unsureness, between these bounds. Above
0.055 rockets and wheels begin to pass for heads."""


def build_task(recipe: Recipe, photos: Path, cache: Path | None, limit: int | None = None) -> Task:
    """The task of a recipe's kind, with its data loaded."""
    if isinstance(recipe, LocatorRecipe):
        return LocatorTask(recipe, photos, cache, limit)
    return LandmarkTask(recipe, photos, cache, limit)


def export_run(run: Path, out: Path, name: str, photos: Path, cache: Path | None) -> Path:
    """Export the average weights of a run, with the metrics and the data on its card.

    Raises:
        AnymarkError: the folder holds no run, the graphs disagree with torch, or `out` holds what is no model.
    """
    check_replaceable(out)
    if not (run / WEIGHTS).exists():
        raise AnymarkError(f"{run}: no {WEIGHTS} in it; is it a folder made by anymark train?")
    recipe = load_recipe(run / RECIPE)
    if isinstance(recipe, LocatorRecipe):
        return export_locator_run(run, recipe, out, name, photos, cache)
    task = LandmarkTask(recipe, photos, cache, limit=1)
    load_weights(task.model, run / WEIGHTS)
    task.to(torch.device("cpu"))
    task.model.eval()
    with torch.no_grad():
        metrics = task.evaluate(task.model)
    unsure, known = most_unsure(task), recipe.card.known_sources
    data = data_entries(photos, recipe.data.sources, known)
    data += shard_entries(photos, recipe.data.shards, known, data)
    return export_landmarker(
        task.model,
        recipe,
        out,
        name=name,
        windows=checked_windows(task),
        points_mm=load_layout(FACE_MESH_LAYOUT).points_mm,
        card={
            "licence": recipe.card.licence,
            "data": data,
            "labels": recipe.card.labels,
            **starting_weights(recipe),
            "metrics": {
                "held-out photos, boxes of the labels": {k: round(v, 4) for k, v in metrics.items()},
                "photos": sum(len(s.photos) for s in task.held_out),
            },
            **({} if unsure is None else {"most_unsure": unsure}),
            "steps": trained_steps(run / WEIGHTS),
            "batch": recipe.train.batch,
        },
    )


def starting_weights(recipe: LandmarkRecipe) -> dict[str, str]:
    """What a card says of weights that training began from, and so of data that is not among its own."""
    if recipe.train.init is not None:
        return {"started_from": recipe.train.init}
    return {"started_from": f"timm's weights of {recipe.encoder.backbone}"} if recipe.encoder.pretrained else {}


def checked_windows(task: LandmarkTask) -> UInt8[np.ndarray, "B S S 3"]:
    """Windows of every held-out set, to check a graph on; of the training photos where nothing is held out."""
    sets = [data.photos for data in task.held_out or task.sampler.sets]
    each = max(2, -(-CHECKED_WINDOWS // len(sets)))
    size, scale = task.recipe.encoder.input_size, task.recipe.data.window_scale
    parts = []
    for photos in sets:
        index = np.linspace(0, len(photos) - 1, min(each, len(photos))).round().astype(int)
        parts.append(exact_windows(photos.select(index), size, scale)[0])
    return (torch.cat(parts) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def most_unsure(task: LandmarkTask) -> float | None:
    """How unsure the model may be of a real head: what it is less sure of, run time takes for no head.

    Unsureness is the median sigma of the face mesh over the longer side of the face's box.

    Returns:
        The limit that goes on the card, or None where no photos are held out.
    """
    # renders hide more than photos do
    photo_sets = [data.photos for data in task.held_out if data.photos.layout != HEAD]
    if not photo_sets:
        return None
    size, scale = task.recipe.encoder.input_size, task.recipe.data.window_scale
    face_mm = torch.tensor(load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS])
    found = []
    for photos in photo_sets:
        for index in np.array_split(np.arange(len(photos)), -(-len(photos) // 64)):
            image, _ = exact_windows(photos.select(index), size, scale)
            sigma = task.model(image, face_mm[None])[..., 2].exp().numpy()
            found.append(np.median(sigma, 1) * scale / 2)  # from half windows to sides of the box
    limit = UNSURE_MARGIN * float(np.quantile(np.concatenate(found), UNSURE_SHARE))
    return round(min(max(limit, UNSURE_BOUNDS[0]), UNSURE_BOUNDS[1]), 4)
