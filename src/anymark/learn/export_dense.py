"""From the weights of a dense model to its folder: dense.onnx and card.json for run time, weights.safetensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save
from torch import Generator, Tensor, nn

from anymark.canonical.frame import CUBE_SIDE_MM
from anymark.detect.model import CARD_FORMATS
from anymark.errors import AnymarkError
from anymark.learn.calibrate_dense import calibrate
from anymark.learn.cards import shard_entries
from anymark.learn.export import export_graph, model_folder, write_card
from anymark.learn.train.dense import EVALUATED, DenseTask
from anymark.learn.train.recipe import WEIGHTS, DenseRecipe
from anymark.learn.train.weights import load_weights, trained_steps

DENSE = "dense.onnx"
TOLERANCE_MM = 0.05
"""Largest difference to torch where there is a head; a logit or log of 1 counts as a millimetre."""
CHECKED = 4
LEAST_STORED = 256
"""Smaller tensors stay what they are."""


class DenseGraph(nn.Module):
    """Pictures as bytes, and priors where the embedder reads them -> places in the canonical cube, logit of the head
    and log of the spread."""

    def __init__(self, embedder: nn.Module) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(
        self, image: UInt8[Tensor, "B S S 3"], prior: Float[Tensor, "B 4 s s"] | None = None
    ) -> Float[Tensor, "B 5 h w"]:
        picture = image.permute(0, 3, 1, 2).float() / 255
        return (self.embedder(picture) if prior is None else self.embedder(picture, prior)).joined()


def export_dense_run(run: Path, recipe: DenseRecipe, out: Path, name: str, photos: Path) -> Path:
    """Export the average weights of a run, scored on the held-out shards.

    Raises:
        AnymarkError: the folder holds no weights of this recipe, the graph disagrees with torch, or `out` holds what is
            no model.
    """
    # the query model of the round trip is none of it; of the training data one batch is enough, if any is needed
    alone = replace(recipe, loss=replace(recipe.loss, closing=0.0), data=replace(recipe.data, photos={}))
    task = DenseTask(alone, photos, limit=EVALUATED)
    load_weights(task.model, run / WEIGHTS, beside="query.")
    task.to(torch.device("cpu"))
    model = task.model.eval()
    with torch.no_grad():
        metrics = task.evaluate(model)
        batch = (task.held_out or [task.sampler])[0].draw(CHECKED, Generator().manual_seed(1))
    pictures = (batch.image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    known = recipe.card.known_sources
    return write_dense_model(
        model.embedder,
        out,
        pictures,
        None if model.embedder.told is None else batch.prior.numpy(),
        {
            "name": name,
            "backbone": recipe.embedder.backbone,
            "neck": recipe.embedder.neck,
            "input_size": recipe.embedder.input_size,
            "window_scale": recipe.data.window_scale,
            "licence": recipe.card.licence,
            "data": shard_entries(photos, recipe.data.shards, known, []),
            "labels": recipe.card.labels,
            **({} if recipe.train.init is None else {"started_from": recipe.train.init}),
            "metrics": {"held-out views, boxes of the labels": {k: round(v, 4) for k, v in metrics.items()}},
            "steps": trained_steps(run / WEIGHTS),
            "batch": recipe.train.batch,
        },
        model.state_dict(),
        lambda folder: calibrate(folder, list(recipe.data.shards), photos),
    )


def write_dense_model(
    embedder: nn.Module,
    out: Path,
    pictures: UInt8[np.ndarray, "B S S 3"],
    priors: Float[np.ndarray, "B 4 s s"] | None,
    card: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
    finish: Callable[[Path], dict[str, Any]] | None = None,
) -> Path:
    """A dense model's folder, checked against torch. Its weights are stored in half precision, and computed with in
    single: half the size, the same speed.

    Args:
        pictures: to check it on.
        priors: of these, for embedders that start from them.
        card: what it says beside what follows from the network.
        state: the weights to train on from, where there are more than the embedder's.
        finish: what of the card follows from the finished model.

    Raises:
        AnymarkError: the graph disagrees with torch, or `out` holds what is no model.
    """
    round_to_half(embedder)
    graph = DenseGraph(embedder.cpu().eval())
    given = {"image": pictures} if priors is None else {"image": pictures, "prior": priors}
    # one alone would freeze the batch
    given = {name: np.concatenate([array] * 2)[: max(2, len(array))] for name, array in given.items()}
    inputs = {name: torch.from_numpy(array) for name, array in given.items()}
    with torch.no_grad():
        want = graph(**inputs).numpy()
    with model_folder(out) as folder:
        batch = torch.export.Dim("batch", min=1, max=4096)
        export_graph(graph, inputs, ["dense"], {name: {0: batch} for name in inputs}, folder / DENSE)
        store_half(folder / DENSE)
        session = onnxruntime.InferenceSession(folder / DENSE, providers=["CPUExecutionProvider"])
        found = np.asarray(session.run(None, given)[0])
        units = np.array([*3 * [CUBE_SIDE_MM], 1, 1])[:, None, None]
        away = (np.abs(found - want) * units).max(1)
        worst_mm = float(away[want[:, 3] > 0].max(initial=0))
        if not worst_mm <= TOLERANCE_MM:
            raise AnymarkError(f"{card['name']}: the exported model differs from torch by {worst_mm:.2g} mm")
        weights = embedder.state_dict() if state is None else state
        (folder / WEIGHTS).write_bytes(save({k: _half(v).contiguous() for k, v in weights.items()}))
        said = {
            "format": CARD_FORMATS["dense"],
            "kind": "dense",
            **card,
            "prior": priors is not None,
            "parameters": sum(p.numel() for p in embedder.parameters()),
            "exported": date.today().isoformat(),
            "onnx_difference_mm": round(worst_mm, 5),
        }
        write_card(folder, said)
        if finish is not None:
            write_card(folder, said | finish(folder))
    return out


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round all weights and running statistics to what half precision holds."""
    for value in (*model.parameters(), *model.buffers()):
        if value.is_floating_point():
            value.copy_(_half(value).to(value.dtype))


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def store_half(path: Path) -> None:
    """Keep the weights of an ONNX file as halves, each with a cast that onnxruntime works out once, when it loads."""
    model = onnx.load(path)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or math.prod(weight.dims) < LEAST_STORED:
            continue
        name = weight.name
        half = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight).astype(np.float16), f"{name}.half")
        weight.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
