"""From weights to a model's folder: encode.onnx, query.onnx and card.json for run time, weights.safetensors to train on
from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save
from torch import Tensor, nn

from anymark.errors import AnymarkError
from anymark.learn.models.landmarker import Landmarker
from anymark.learn.models.predictors import BasisPredictor
from anymark.learn.train.recipe import WEIGHTS, LandmarkRecipe

OPSET = 20
TOLERANCE_PX = 0.01
"""Largest difference to torch, in pixels of the input; that of log sigma may be a tenth of it."""


class EncodeGraph(nn.Module):
    """Windows as bytes -> what a predictor needs of the image."""

    def __init__(self, model: Landmarker) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: UInt8[Tensor, "B S S 3"]) -> Tensor:
        x = image.permute(0, 3, 1, 2).float() / 255
        return self.model.predictor.code(self.model.encoder(x))


class BasisGraph(nn.Module):
    """Canonical points -> their basis; the image's coefficients are applied outside of the graph."""

    def __init__(self, predictor: BasisPredictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, points_mm: Float[Tensor, "N 3"]) -> Float[Tensor, "N K"]:
        return self.predictor.query(points_mm)


class DecodeGraph(nn.Module):
    """An image's code and canonical points -> landmarks."""

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, code: Float[Tensor, "B C"], points_mm: Float[Tensor, "N 3"]) -> Float[Tensor, "B N 3"]:
        return self.predictor.decode(code, self.predictor.query(points_mm)[None])


def export_landmarker(
    model: Landmarker,
    recipe: LandmarkRecipe,
    out: Path,
    *,
    name: str,
    windows: UInt8[np.ndarray, "B S S 3"],
    points_mm: Float[np.ndarray, "N 3"],
    card: Mapping[str, Any],
) -> Path:
    """Write a model folder and check it against torch.

    Args:
        out: the folder; it is replaced whole, and only by a model that passed the check.
        windows: real windows to check on, RGB bytes.
        points_mm: canonical points to check on.
        card: what else the card says: data, licence, metrics.

    Raises:
        AnymarkError: onnxruntime and torch disagree by more than `TOLERANCE_PX`, or `out` holds what is no model.
    """
    model = model.cpu().eval()
    image, points = torch.from_numpy(windows), torch.tensor(points_mm)  # a layout's points are read-only
    batch, count = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("points", min=1, max=10_000_000)
    with model_folder(out) as folder:
        with torch.no_grad():
            encode, shapes = EncodeGraph(model), {"image": {0: batch}}
            if isinstance(model.predictor, BasisPredictor):
                _export(encode, {"image": image}, "coefficients", shapes, folder / "encode.onnx")
                query = BasisGraph(model.predictor)
                _export(query, {"points_mm": points}, "basis", {"points_mm": {0: count}}, folder / "query.onnx")
            else:
                _export(encode, {"image": image}, "code", shapes, folder / "encode.onnx")
                inputs = {"code": encode(image), "points_mm": points}
                shapes = {"code": {0: batch}, "points_mm": {0: count}}
                _export(DecodeGraph(model.predictor), inputs, "landmarks", shapes, folder / "query.onnx")
            want = model(image.permute(0, 3, 1, 2).float() / 255, points[None]).numpy()
        difference = np.abs(run_exported(folder, windows, points_mm) - want).max((0, 1))
        worst_px = float(difference[:2].max()) * recipe.encoder.input_size / 2
        if not (worst_px <= TOLERANCE_PX and difference[2] <= TOLERANCE_PX / 10):
            raise AnymarkError(f"{name}: the exported model differs from torch by {worst_px:.2g} px")
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        (folder / WEIGHTS).write_bytes(save(state))
        write_card(
            folder,
            {
                "format": 1,
                "kind": "landmarks",
                "name": name,
                "predictor": recipe.predictor.kind,
                "backbone": recipe.encoder.backbone,
                "input_size": recipe.encoder.input_size,
                "window_scale": recipe.data.window_scale,
                "parameters": sum(p.numel() for p in model.parameters()),
                "exported": date.today().isoformat(),
                "onnx_difference_px": round(worst_px, 5),
                **card,
            },
        )
    return out


def run_exported(
    folder: Path, windows: UInt8[np.ndarray, "B S S 3"], points_mm: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "B N 3"]:
    """The landmarks of an exported model through onnxruntime alone."""
    encode, query = (
        onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
        for file in ("encode.onnx", "query.onnx")
    )
    code = np.asarray(encode.run(None, {"image": windows})[0])
    if "code" in {i.name for i in query.get_inputs()}:
        return np.asarray(query.run(None, {"code": code, "points_mm": points_mm})[0])
    return np.asarray(query.run(None, {"points_mm": points_mm})[0]) @ code


@contextmanager
def model_folder(out: Path) -> Iterator[Path]:
    """A folder to write a model into, which takes the place of `out` if the block ends well and is gone otherwise.

    Raises:
        AnymarkError: `out` holds what is no model, or cannot be written.
    """
    out = out.resolve()
    check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-")
    except OSError as error:
        raise AnymarkError(f"{out}: cannot be written ({error.strerror})") from None
    with temporary as parent:
        folder = Path(parent) / "new"
        folder.mkdir()
        yield folder
        _replace_folder(folder, out)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """card.json with size and SHA-256 of each network and weights file of the folder."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted([*folder.glob("*.onnx"), *folder.glob("*.safetensors")])
    }
    (folder / "card.json").write_text(json.dumps({**card, "files": files}, indent=2, ensure_ascii=False) + "\n")


def _export(graph: nn.Module, inputs: dict[str, Tensor], output: str, shapes: dict[str, Any], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            graph.eval(),
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=[output],
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        program.save(path, external_data=False)


def check_replaceable(out: Path) -> None:
    """Only a model, or nothing, may be overwritten.

    Raises:
        AnymarkError: `out` holds anything that its card does not vouch for.
    """
    if out.is_dir():
        known = _card_files(out / "card.json")
        strange = sorted(p.name for p in out.iterdir() if p.name not in known)
        if strange:
            raise AnymarkError(f"{out}: holds {strange[0]}, which is no part of a model; choose another folder")
    elif out.exists():
        raise AnymarkError(f"{out}: a file, not a model's folder")


def _card_files(card: Path) -> set[str]:
    """The names of a model's files; none if there is no card of one."""
    try:
        return {card.name, *json.loads(card.read_bytes())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _replace_folder(new: Path, old: Path) -> None:
    kept = new.parent / "old"  # goes with the temporary folder
    if old.exists():
        os.replace(old, kept)
    try:
        os.replace(new, old)
    except BaseException:
        if kept.exists():
            os.replace(kept, old)
        raise
