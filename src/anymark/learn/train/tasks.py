"""Which task a recipe asks for, and how its run is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.learn.data.geometry import NO_AUGMENTATION, cut_windows, sample_windows
from anymark.learn.data.photos import DATA_CARDS
from anymark.learn.export import export_landmarker
from anymark.learn.export_locator import export_locator_run
from anymark.learn.train.landmarks import LandmarkTask
from anymark.learn.train.locator import LocatorTask
from anymark.learn.train.loop import WEIGHTS, Task, load_weights
from anymark.learn.train.recipe import LocatorRecipe, Recipe, load_recipe


def build_task(recipe: Recipe, photos: Path, cache: Path | None, limit: int | None = None) -> Task:
    """The task of a recipe's kind, with its data loaded."""
    if isinstance(recipe, LocatorRecipe):
        return LocatorTask(recipe, photos, cache, limit)
    return LandmarkTask(recipe, photos, cache, limit)


def export_run(run: Path, out: Path, name: str, photos: Path, cache: Path | None) -> Path:
    """Export the average weights of a run, with the metrics and the data on its card.

    Raises:
        AnymarkError: the folder holds no run, or the graphs disagree with torch.
    """
    if not (run / WEIGHTS).exists():
        raise AnymarkError(f"{run}: no {WEIGHTS} in it; is it a folder made by anymark train?")
    recipe = load_recipe(run / "recipe.toml")
    if isinstance(recipe, LocatorRecipe):
        return export_locator_run(run, recipe, out, name, photos, cache)
    task = LandmarkTask(recipe, photos, cache, limit=1)
    load_weights(task.model, run / WEIGHTS)
    task.to(torch.device("cpu"))
    task.model.eval()
    with torch.no_grad():
        metrics = task.evaluate(task.model)
    return export_landmarker(
        task.model,
        recipe,
        out,
        name=name,
        windows=held_out_windows(task),
        points_mm=load_layout("mediapipe478").points_mm,
        card={
            "licence": "Apache-2.0",
            "data": [{"name": source, **DATA_CARDS.get(source, {})} for source in recipe.data.sources],
            "labels": "MediaPipe Face Mesh 0.10.14 (Apache-2.0), averaged over 8 looks a photo",
            "metrics": {
                "held-out photos, boxes of the labels": {k: round(v, 4) for k, v in metrics.items()},
                "photos": sum(len(s.photos) for s in task.held_out),
            },
            "steps": _last_step(run),
            "batch": recipe.train.batch,
        },
    )


def held_out_windows(task: LandmarkTask, count: int = 8) -> np.ndarray:
    """(n, S, S, 3) bytes: some windows of held-out photos, to check a graph on."""
    photos = task.held_out[0].photos
    n = min(count, len(photos))
    window = sample_windows(photos.box_px[:n], task.recipe.data.window_scale, NO_AUGMENTATION, torch.Generator())
    black = torch.zeros(n, 3)
    image = cut_windows(
        photos.images[:n].float() / 255,
        window,
        task.recipe.encoder.input_size,
        photos.valid_box_px[:n],
        black,
        black[:, 0] > 0,
    )
    return (image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _last_step(run: Path) -> int | None:
    rows: list[dict[str, Any]] = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return rows[-1]["step"] if rows else None
