"""From a trained marker model to its folder: points.onnx and card.json."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save
from torch import Generator, Tensor, nn

from anymark.detect.model import CARD_FORMATS
from anymark.errors import AnymarkError
from anymark.learn.data.geometry import identity, nearby_windows, to_window
from anymark.learn.data.marked import moved
from anymark.learn.export import export_graph, model_folder, write_card
from anymark.learn.models.markers import Deltas
from anymark.learn.train.markers import MarkerTask
from anymark.learn.train.recipe import WEIGHTS, MarkerRecipe
from anymark.learn.train.weights import load_weights, trained_steps
from anymark.spread import spread

POINTS = "points.onnx"
TOLERANCE = 1e-3
"""Largest difference to torch, half sides of the picture."""
LEAST_SIGMA = 0.002
"""Half sides of the picture."""
DRAWS = 8


class PointsGraph(nn.Module):
    """Pictures as bytes -> points in -1..1."""

    def __init__(self, deltas: Deltas) -> None:
        super().__init__()
        self.deltas = deltas

    def forward(self, image: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B N 2"]:
        return self.deltas(image.permute(0, 3, 1, 2).float() / 255)


def export_markers_run(run: Path, recipe: MarkerRecipe, out: Path, name: str, folder: Path = Path()) -> Path:
    """Export the average weights of a run.

    Raises:
        AnymarkError: the folder holds no weights of this recipe, the graph disagrees with torch, or `out` holds what is
            no model.
    """
    task = MarkerTask(recipe, folder)
    load_weights(task.model, run / WEIGHTS)
    task.to(torch.device("cpu"))
    model = task.model.eval()
    metrics = task.evaluate(model)
    sigma = wobble(model.deltas, task.unmarked)
    card: dict[str, Any] = {
        "name": name,
        "input_size": recipe.model.size,
        "template": task.template.to_dict(),
        "sigma": [round(float(s), 5) for s in sigma],
        "licence": recipe.card.licence,
        "data": [{"name": Path(p).name, "what": what} for what, p in _sets(recipe)],
        "labels": "none: painted marks",
        "metrics": {"pictures of training": {k: round(v, 4) for k, v in metrics.items()}},
        "steps": trained_steps(run / WEIGHTS),
        "batch": recipe.train.batch,
    }
    pictures = task.unmarked[:4].permute(0, 2, 3, 1).contiguous().numpy()
    return write_marker_model(model.deltas, out, pictures, card)


def write_marker_model(deltas: Deltas, out: Path, pictures: UInt8[np.ndarray, "B S S 3"], card: dict[str, Any]) -> Path:
    """A marker model's folder, checked against torch.

    Raises:
        AnymarkError: the graph disagrees with torch, or `out` holds what is no model.
    """
    graph, image = PointsGraph(deltas.cpu().eval()), torch.from_numpy(np.concatenate([pictures] * 2))
    with torch.no_grad():
        want = graph(image).numpy()
    with model_folder(out) as folder:
        shapes = {"image": {0: torch.export.Dim("batch", min=1, max=4096)}}
        export_graph(graph, {"image": image}, ["points"], shapes, folder / POINTS)
        session = onnxruntime.InferenceSession(folder / POINTS, providers=["CPUExecutionProvider"])
        found = np.asarray(session.run(None, {"image": image.numpy()})[0])
        worst = float(np.abs(found - want).max())
        if not worst <= TOLERANCE:
            raise AnymarkError(f"{card['name']}: the exported model differs from torch by {worst:.2g} half sides")
        (folder / WEIGHTS).write_bytes(save({k: v.contiguous() for k, v in deltas.state_dict().items()}))
        said = {
            "format": CARD_FORMATS["markers"],
            "kind": "markers",
            **card,
            "parameters": sum(p.numel() for p in deltas.parameters()),
            "exported": date.today().isoformat(),
            "onnx_difference": round(worst, 6),
        }
        write_card(folder, said)
    return out


@torch.no_grad()
def wobble(deltas: Deltas, images: UInt8[Tensor, "M 3 S S"]) -> Float[np.ndarray, " N"]:
    """How far each point is off, as far as the model itself can tell: what it says of a picture and of the same one
    moved a little should differ by the motion alone. Standard deviation along an axis, half sides of the picture."""
    generator = Generator().manual_seed(0)
    picture = images[spread(len(images), 64)].float() / 255
    plain, away = deltas(picture), []
    for _ in range(DRAWS):
        window = nearby_windows(identity(len(picture), picture), 0.04, 0.03, 4.0, generator)
        away.append(deltas(moved(picture, window)) - to_window(plain, window))
    sigma = torch.cat(away).square().mean((0, 2)).sqrt() / np.sqrt(2)
    return sigma.clamp(min=LEAST_SIGMA).numpy()


def _sets(recipe: MarkerRecipe) -> list[tuple[str, str]]:
    return [("unmarked pictures", recipe.data.unmarked), ("marked pictures", recipe.data.marked)]
