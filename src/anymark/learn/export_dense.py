"""From the weights of a dense model to its folder: dense.onnx and card.json for run time, weights.safetensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save
from torch import Generator, Tensor, nn

from anymark.canonical.frame import CUBE_SIDE_MM
from anymark.detect.model import CARD_FORMATS
from anymark.errors import AnymarkError
from anymark.learn.cards import shard_entries
from anymark.learn.export import export_graph, model_folder, write_card
from anymark.learn.models.embedder import Embedder
from anymark.learn.train.dense import DenseTask
from anymark.learn.train.loop import load_weights, trained_steps
from anymark.learn.train.recipe import WEIGHTS, DenseRecipe

DENSE = "dense.onnx"
TOLERANCE_MM = 0.05
"""Largest difference to torch where there is a head; a logit or log of 1 counts as a millimetre."""
CHECKED = 4


class DenseGraph(nn.Module):
    """Pictures as bytes -> millimetres on the canonical cube, logit of the head and log of the spread."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, image: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B 5 h w"]:
        return self.embedder(image.permute(0, 3, 1, 2).float() / 255).joined()


def export_dense_run(run: Path, recipe: DenseRecipe, out: Path, name: str, photos: Path) -> Path:
    """Export the average weights of a run, scored on the held-out shards.

    Raises:
        AnymarkError: the folder holds no weights of this recipe, the graph disagrees with torch, or `out` holds what is
            no model.
    """
    task = DenseTask(recipe, photos)
    load_weights(task.model, run / WEIGHTS)
    task.to(torch.device("cpu"))
    model = task.model.eval()
    with torch.no_grad():
        metrics = task.evaluate(model)
        batch = (task.held_out or [task.sampler])[0].draw(CHECKED, Generator().manual_seed(1))
        pictures = (batch.image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        want = DenseGraph(model.embedder)(pictures).numpy()
    known = recipe.card.known_sources
    with model_folder(out) as folder:
        shapes = {"image": {0: torch.export.Dim("batch", min=1, max=4096)}}
        export_graph(DenseGraph(model.embedder), {"image": pictures}, ["dense"], shapes, folder / DENSE)
        session = onnxruntime.InferenceSession(folder / DENSE, providers=["CPUExecutionProvider"])
        found = np.asarray(session.run(None, {"image": pictures.numpy()})[0])
        units = np.array([*3 * [CUBE_SIDE_MM], 1, 1])[:, None, None]
        worst_mm = float((np.abs(found - want) * units)[:, :, want[0, 3] > 0].max(initial=0))
        if not worst_mm <= TOLERANCE_MM:
            raise AnymarkError(f"{name}: the exported model differs from torch by {worst_mm:.2g} mm")
        (folder / WEIGHTS).write_bytes(save({k: v.contiguous() for k, v in model.state_dict().items()}))
        write_card(
            folder,
            {
                "format": CARD_FORMATS["dense"],
                "kind": "dense",
                "name": name,
                "backbone": recipe.embedder.backbone,
                "neck": recipe.embedder.neck,
                "input_size": recipe.embedder.input_size,
                "window_scale": recipe.data.window_scale,
                "parameters": sum(p.numel() for p in model.embedder.parameters()),
                "licence": recipe.card.licence,
                "data": shard_entries(photos, recipe.data.shards, known, []),
                "labels": recipe.card.labels,
                **({} if recipe.train.init is None else {"started_from": recipe.train.init}),
                "metrics": {"held-out views, boxes of the labels": {k: round(v, 4) for k, v in metrics.items()}},
                "steps": trained_steps(run / WEIGHTS),
                "batch": recipe.train.batch,
                "onnx_difference_mm": round(worst_mm, 5),
            },
        )
    return out
