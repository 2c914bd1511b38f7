"""From a trained locator to what run time loads: locate.onnx and card.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from anymark.detect.model import CARD_FORMATS
from anymark.errors import AnymarkError
from anymark.learn.cards import PANORAMAS, data_entries, stated
from anymark.learn.export import export_graph, model_folder, write_card
from anymark.learn.models.locator import MULTIPLE, Locator, local_maxima
from anymark.learn.train.locator import LocatorTask
from anymark.learn.train.recipe import WEIGHTS, LocatorRecipe
from anymark.learn.train.score_locator import SCORED_SIZE, choose_threshold, match_photos, place
from anymark.learn.train.weights import load_weights
from anymark.spread import spread

MODEL_FILE = "locate.onnx"
TOLERANCE_PX = 0.01
"""Largest difference to torch, of boxes and eyes; on real photos it is about 0.0005."""
SCORE_TOLERANCE = 1e-3
CHECKED_PHOTOS = 8


class ExportedLocator(nn.Module):
    """A locator as run time sees it: bytes in, scores of local maxima and heads in pixels out."""

    def __init__(self, model: Locator) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: UInt8[Tensor, "B H W 3"]) -> tuple[Float[Tensor, "B h w"], Float[Tensor, "B h w 8"]]:
        logit, geometry = self.model(image.permute(0, 3, 1, 2).float() / 255)
        return local_maxima(logit.sigmoid()), geometry


def export_locator(model: Locator, path: Path) -> None:
    """Write a locator as one ONNX file with free batch, height and width."""
    example = torch.zeros(2, 5 * MULTIPLE, 4 * MULTIPLE, 3, dtype=torch.uint8)
    rows, columns = (torch.export.Dim(name, min=1, max=256) for name in ("rows", "columns"))
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes = {"image": {0: batch, 1: MULTIPLE * rows, 2: MULTIPLE * columns}}
    export_graph(ExportedLocator(model), {"image": example}, ["score", "geometry"], shapes, path)


def difference_px(model: Locator, path: Path, images: UInt8[np.ndarray, "B H W 3"]) -> float:
    """How far an exported locator's boxes and eyes lie from torch's, at most; infinite if its scores differ.

    Where two neighbours score almost the same, rounding decides which one is the maximum: only common maxima compare.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    score, geometry = (np.asarray(x) for x in session.run(["score", "geometry"], {"image": images}))
    with torch.no_grad():
        want_score, want_geometry = (x.numpy() for x in ExportedLocator(model).eval()(torch.from_numpy(images)))
    common = (score > 0) & (want_score > 0)
    if common.sum() < 0.5 * (want_score > 0).sum() or np.abs(score - want_score)[common].max() > SCORE_TOLERANCE:
        return float("inf")
    return float(np.abs(geometry - want_geometry).max())


def export_locator_run(
    run: Path, recipe: LocatorRecipe, out: Path, name: str, photos: Path, cache: Path | None
) -> Path:
    """Export the average weights of a run into the folder `out`, scored on the held-out photos.

    Raises:
        AnymarkError: the folder holds no weights of this recipe, the graph disagrees with torch, or `out` holds what is
            no model.
    """
    task = LocatorTask(recipe, photos, cache)
    load_weights(task.model, run / WEIGHTS)
    task.to(torch.device("cpu"))
    model = task.model.eval()
    with torch.no_grad():
        matches = match_photos(model, task.held_out)
        threshold = choose_threshold(matches)
        metrics = task.score(model, matches, threshold)
    known = recipe.card.known_sources
    data = data_entries(photos, recipe.data.sources, known)
    data.append(stated("panoramas", PANORAMAS if known else {"what": "light and backgrounds"}))
    with model_folder(out) as folder:
        export_locator(model, folder / MODEL_FILE)
        worst = difference_px(model, folder / MODEL_FILE, checked_images(task))
        if not worst <= TOLERANCE_PX:
            raise AnymarkError(f"{name}: the exported locator differs from torch by {worst:.2g} px")
        write_card(
            folder,
            {
                "format": CARD_FORMATS["locator"],
                "kind": "locator",
                "name": name,
                "threshold": threshold,
                "parameters": sum(p.numel() for p in model.parameters()),
                "licence": recipe.card.licence,
                "data": data,
                "labels": recipe.card.labels,
                **({} if recipe.train.init is None else {"started_from": recipe.train.init}),
                "metrics": {
                    "held-out whole photos": {key: round(value, 4) for key, value in metrics.items()},
                    "photos": len(task.held_out),
                },
                "onnx_difference_px": round(worst, 6),
            },
        )
    return out


def checked_images(task: LocatorTask) -> UInt8[np.ndarray, "B H W 3"]:
    """Held-out whole photos as they are scored, spread evenly over all, and two backgrounds without heads."""
    photos = task.held_out
    index = spread(len(photos), CHECKED_PHOTOS)
    shown = [place(photos.images[i], SCORED_SIZE / max(photos.images[i].shape[1:]), None)[0] for i in index]
    photo_bytes = (torch.stack(shown) * 255).round().to(torch.uint8)
    return torch.cat([photo_bytes, task.views[:2]]).permute(0, 2, 3, 1).contiguous().numpy()
