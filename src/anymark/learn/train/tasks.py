"""Which task a recipe asks for, and how its run is exported."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.detect.camera import Camera
from anymark.detect.visibility import Surface
from anymark.detect.window import Crop
from anymark.errors import AnymarkError
from anymark.learn.cards import data_entries, shard_entries
from anymark.learn.data.geometry import identity
from anymark.learn.data.landmarks import LandmarkSet
from anymark.learn.export import check_replaceable, export_landmarker
from anymark.learn.export_dense import export_dense_run
from anymark.learn.export_locator import export_locator_run
from anymark.learn.export_markers import export_markers_run
from anymark.learn.train.dense import DenseTask
from anymark.learn.train.landmarks import LandmarkTask, look_at, plain_views, predict_photos
from anymark.learn.train.locator import LocatorTask
from anymark.learn.train.loop import RECIPE, Task
from anymark.learn.train.markers import MarkerTask
from anymark.learn.train.recipe import (
    WEIGHTS,
    DenseRecipe,
    LandmarkRecipe,
    LocatorRecipe,
    MarkerRecipe,
    Recipe,
    load_recipe,
)
from anymark.learn.train.weights import load_weights, trained_steps
from anymark.spread import spread

CHECKED_WINDOWS = 8
"""Held-out windows that an exported model is checked on, at least; and two of each photo set."""

CALIBRATION_PHOTOS = 400
"""Samples of each set of renders that visibility is calibrated on, at most."""
CALIBRATION_STRIDE = 8
"""Of the head's vertices, one in so many tells enough of what is seen."""

Floats = npt.NDArray[np.floating]

UNSURE_SHARE, UNSURE_MARGIN, UNSURE_BOUNDS = 0.995, 1.5, (0.04, 0.08)
"""A card's `most_unsure`: so many times this quantile of the held-out photos' unsureness, between these bounds. Above
0.055 rockets and wheels begin to pass for heads."""


def build_task(
    recipe: Recipe, photos: Path, cache: Path | None, limit: int | None = None, folder: Path = Path("recipes")
) -> Task:
    """The task of a recipe's kind, with its data loaded.

    Args:
        folder: the recipe's, for what it names beside itself.
    """
    if isinstance(recipe, LocatorRecipe):
        return LocatorTask(recipe, photos, cache, limit)
    if isinstance(recipe, DenseRecipe):
        return DenseTask(recipe, photos, limit, folder)
    if isinstance(recipe, MarkerRecipe):
        return MarkerTask(recipe, folder, limit)
    return LandmarkTask(recipe, photos, cache, limit)


def check_run(run: Path) -> None:
    """That a folder holds a run.

    Raises:
        AnymarkError: it does not.
    """
    if not (run / WEIGHTS).exists():
        raise AnymarkError(f"{run}: no {WEIGHTS} in it; is it a folder made by anymark train?")


def export_run(run: Path, out: Path, name: str, photos: Path, cache: Path | None) -> Path:
    """Export the average weights of a run, with the metrics and the data on its card.

    Raises:
        AnymarkError: the folder holds no run, the graphs disagree with torch, or `out` holds what is no model.
    """
    check_replaceable(out)
    check_run(run)
    recipe = load_recipe(run / RECIPE)
    if isinstance(recipe, LocatorRecipe):
        return export_locator_run(run, recipe, out, name, photos, cache)
    if isinstance(recipe, DenseRecipe):
        return export_dense_run(run, recipe, out, name, photos)
    if isinstance(recipe, MarkerRecipe):
        return export_markers_run(run, recipe, out, name)
    task = LandmarkTask(recipe, photos, cache, limit=CALIBRATION_PHOTOS)
    load_weights(task.model, run / WEIGHTS)
    task.to(torch.device("cpu"))
    task.model.eval()
    with torch.no_grad():
        calibration = calibrate(task)
        metrics = task.evaluate(task.model)
        unsure = most_unsure(task, calibration["sigma_scale"])
        windows, crops = checked_pictures(task)
    known = recipe.card.known_sources
    data = data_entries(photos, recipe.data.sources, known)
    data += shard_entries(photos, recipe.data.shards, known, data)
    return export_landmarker(
        task.model,
        recipe,
        out,
        name=name,
        windows=windows,
        crops=crops,
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
            **calibration,
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


def checked_pictures(task: LandmarkTask) -> tuple[UInt8[np.ndarray, "B C C 3"], UInt8[np.ndarray, "B S S 3"]]:
    """Windows of every held-out set and their crops, to check graphs on; of the training photos where nothing is held
    out."""
    task.model.eval()
    sets = [data.photos for data in task.held_out or task.sampler.sets]
    each = max(2, -(-CHECKED_WINDOWS // len(sets)))
    recipe, windows, crops = task.recipe, [], []
    for photos in sets:
        index = spread(len(photos), each)
        views = plain_views(photos.select(index), recipe.data.window_scale)
        whole = identity(len(index), views.window)
        windows.append(views.cut(whole, recipe.crop.input_size))
        theta = whole if task.model.crop is None else task.model.crop(windows[-1])
        crops.append(views.cut(theta, recipe.encoder.input_size))
    return _as_bytes(torch.cat(windows)), _as_bytes(torch.cat(crops))


def _as_bytes(image: Float[Tensor, "B 3 S S"]) -> UInt8[np.ndarray, "B S S 3"]:
    return (image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def calibrate(task: LandmarkTask) -> dict[str, Any]:
    """What makes sigma and visibility mean what they say.

    "sigma_scale": what sigmas are multiplied by so that errors, divided by them, are 1: the root of the mean of
    error^2 / (2 sigma^2) over all points of each photo, over the photos set aside, or those learned from where none
    are; sources count as in the recipe. The irises are left out. "visible": what `calibrate_visible` finds where
    renders know what is seen.
    """
    photos = task.aside or [data for data in task.sampler.sets if data.photos.layout != HEAD]
    squares, weights = [], []
    for data in photos:
        found = predict_photos(task.model, data, task.recipe)
        error = (found.xy_px - data.photos.points_px).square().sum(-1) / (2 * found.sigma_px.square())
        squares.append(float(error[:, :FACE_MESH_POINTS].mean()))
        weights.append(data.weight)
    scale = math.sqrt(np.average(squares, weights=weights)) if squares else 1.0
    renders = [
        _seen_of_renders(task, data)
        for data in task.sampler.sets
        if data.photos.layout == HEAD and bool(torch.isfinite(data.photos.visible).any())
    ]
    visible = {"scale": 1.0, "shift": 0.0, "surface": 1.0}
    if renders and task.model.camera is not None:
        visible = calibrate_visible(*(np.concatenate(parts) for parts in zip(*renders, strict=True)))
    return {"sigma_scale": round(scale, 4), "visible": visible}


def _seen_of_renders(task: LandmarkTask, data: LandmarkSet) -> tuple[Floats, Floats, Floats]:
    """Of a sample of a set's vertices: logits of being seen, whether the predicted heads themselves hide them, 0..1 as
    `Surface` says, and whether they are seen."""
    points_mm, rows = data.points_mm.numpy(), []
    for i in range(min(len(data.photos), CALIBRATION_PHOTOS)):
        photo = data.photos.select([i])
        answer, crop = look_at(task.model, photo, data.points_mm, data.dataset, task.recipe)
        xyz_mm, camera = answer.xyz_mm[0].numpy(), answer.camera.flat()[0].numpy()
        surface = Surface(lambda xyz_mm=xyz_mm: xyz_mm, Camera.of_crop(camera, Crop(crop[0].double().numpy())))
        known = np.flatnonzero(torch.isfinite(photo.visible[0]).numpy())[i % CALIBRATION_STRIDE :: CALIBRATION_STRIDE]
        shown = surface.visible(points_mm, xyz_mm)
        rows.append([answer.visible[0].numpy()[known], shown[known], photo.visible[0].float().numpy()[known]])
    logit, shown, seen = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return logit, shown, seen


def calibrate_visible(logit: Floats, shown: Floats, seen: Floats) -> dict[str, float]:
    """What explains best which points (N,) were seen: scale and shift of their logits (Platt 1999), and how surely what
    the predicted heads hide (0 in `shown`) is hidden."""

    def unlikeliness(x: Floats) -> float:
        p = expit(x[0] * logit + x[1]) * (1 - expit(x[2]) * (1 - shown))
        p = p.clip(1e-6, 1 - 1e-6)
        return -float(np.where(seen > 0.5, np.log(p), np.log(1 - p)).mean())

    scale, shift, trust = minimize(unlikeliness, (1.0, 0.0, 0.0), method="BFGS").x
    # a logit that says nothing, or the contrary, is as good as ignored: run time takes no scale of 0 and below
    numbers = {"scale": max(float(scale), 1e-4), "shift": float(shift), "surface": max(float(expit(trust)), 1e-4)}
    return {key: round(value, 4) for key, value in numbers.items()}


@torch.no_grad()
def most_unsure(task: LandmarkTask, sigma_scale: float) -> float | None:
    """How unsure the model may be of a real head: what it is less sure of, run time takes for no head.

    Unsureness is the median sigma of the face mesh over the longer side of the face's box.

    Args:
        sigma_scale: what run time multiplies sigmas by.

    Returns:
        The limit that goes on the card, or None where no photos are held out.
    """
    # renders hide more than photos do
    sets = [data for data in task.held_out if data.photos.layout != HEAD]
    if not sets:
        return None
    face_mm, found = torch.tensor(load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS]), []
    for data in sets:
        face = replace(data, points_mm=face_mm, flip=None, further_weights=None)
        side = (data.photos.box_px[:, 2:] - data.photos.box_px[:, :2]).amax(1)
        found.append(predict_photos(task.model, face, task.recipe).sigma_px.median(1).values / side)
    limit = UNSURE_MARGIN * sigma_scale * float(torch.cat(found).quantile(UNSURE_SHARE))
    return round(min(max(limit, UNSURE_BOUNDS[0]), UNSURE_BOUNDS[1]), 4)
