"""From weights to a model's folder: crop.onnx, encode.onnx, query.onnx, decode.onnx and card.json for run time,
weights.safetensors to train on from."""

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
import onnx
import onnxruntime
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save
from torch import Tensor, nn

from anymark.detect.model import CARD_FORMATS
from anymark.errors import AnymarkError
from anymark.files import cannot_write
from anymark.learn.data.geometry import identity
from anymark.learn.models.camera import Cameras
from anymark.learn.models.crop import SpatialTransformer
from anymark.learn.models.deformer import REFERENCE
from anymark.learn.models.landmarker import Answer, Landmarker
from anymark.learn.models.predictors import MEAN_HALF_WINDOW_MM
from anymark.learn.train.recipe import WEIGHTS, LandmarkRecipe

CROP, ENCODE, QUERY, DECODE = "crop.onnx", "encode.onnx", "query.onnx", "decode.onnx"
OPSET = 20
TOLERANCE_PX = 0.02
"""Largest difference to torch, in pixels of the input; millimetres count as pixels of a usual
crop, a log or logit of 1 as a tenth of a pixel."""


class CropGraph(nn.Module):
    """Windows as bytes -> crop coordinates to window coordinates."""

    def __init__(self, crop: SpatialTransformer) -> None:
        super().__init__()
        self.crop = crop

    def forward(self, image: UInt8[Tensor, "B C C 3"]) -> Float[Tensor, "B 2 3"]:
        return self.crop(image.permute(0, 3, 1, 2).float() / 255)


class EncodeGraph(nn.Module):
    """Crops as bytes -> what the decoder needs of the image: the predictor's code and the camera."""

    def __init__(self, model: Landmarker) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: UInt8[Tensor, "B S S 3"]) -> tuple[Tensor, Float[Tensor, "B 13"]]:
        features = self.model.encoder(image.permute(0, 3, 1, 2).float() / 255)
        return self.model.predictor.code(features), self.model.cameras(features).flat()


class QueryGraph(nn.Module):
    """Canonical points and a data set code -> where they lie on the head, and their encoding."""

    def __init__(self, model: Landmarker) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, points_mm: Float[Tensor, "N 3"], dataset: Float[Tensor, " E"]
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N Q"]]:
        points, query = self.model.query(points_mm[None], dataset[None])
        return points[0], query[0]


class DecodeGraph(nn.Module):
    """Heads and queries -> landmarks: x, y, log sigma, logit of being seen, X, Y, Z."""

    def __init__(self, model: Landmarker) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, code: Tensor, camera: Float[Tensor, "B 13"], points_mm: Float[Tensor, "N 3"], query: Float[Tensor, "N Q"]
    ) -> Float[Tensor, "B N 7"]:
        theta = identity(camera.shape[0], camera)  # len() would freeze the batch
        answer = self.model.decode(theta, code, Cameras.from_flat(camera), points_mm[None], query[None])
        return joined(answer)


def joined(answer: Answer) -> Float[Tensor, "B N 7"]:
    """Landmarks as the graph gives them."""
    return torch.cat([answer.xy, answer.log_sigma[..., None], answer.visible[..., None], answer.xyz_mm], -1)


def export_landmarker(
    model: Landmarker,
    recipe: LandmarkRecipe,
    out: Path,
    *,
    name: str,
    windows: UInt8[np.ndarray, "B C C 3"],
    crops: UInt8[np.ndarray, "B S S 3"],
    points_mm: Float[np.ndarray, "N 3"],
    card: Mapping[str, Any],
) -> Path:
    """Write a model folder and check it against torch.

    Args:
        out: the folder; it is replaced whole, and only by a model that passed the check.
        windows: real windows to check S on, RGB bytes.
        crops: real crops to check the rest on.
        points_mm: canonical points to check on.
        card: what else the card says: data, licence, metrics.

    Raises:
        AnymarkError: onnxruntime and torch disagree by more than `TOLERANCE_PX`, the head is 2D, or `out` holds what is
            no model.
    """
    if model.camera is None:
        raise AnymarkError(f"{name}: a 2D head is for comparison in training; run time reads 3D heads alone")
    model = model.cpu().eval()
    window, crop, points = torch.from_numpy(windows), torch.from_numpy(crops), torch.tensor(points_mm)
    batch, count = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("points", min=1, max=10_000_000)
    numbers = {REFERENCE: 0} if model.deformer is None else model.deformer.numbers
    last = max(numbers.values())
    with model_folder(out) as folder:
        with torch.no_grad():
            dataset = model.codes(torch.tensor([last]))[0]
            if model.crop is not None:
                export_graph(CropGraph(model.crop), {"image": window}, ["crop"], {"image": {0: batch}}, folder / CROP)
            encode, query, decode = EncodeGraph(model), QueryGraph(model), DecodeGraph(model)
            export_graph(encode, {"image": crop}, ["code", "camera"], {"image": {0: batch}}, folder / ENCODE)
            asked = {"points_mm": points, "dataset": dataset}
            export_graph(
                query, asked, ["deformed_mm", "query"], {"points_mm": {0: count}, "dataset": None}, folder / QUERY
            )
            inputs: dict[str, Tensor] = dict(
                zip(("code", "camera", "points_mm", "query"), (*encode(crop), *query(**asked)), strict=True)
            )
            shapes = {key: {0: batch if key in ("code", "camera") else count} for key in inputs}
            export_graph(decode, inputs, ["landmarks"], shapes, folder / DECODE)
            seen = crop.permute(0, 3, 1, 2).float() / 255
            answer = model(window.permute(0, 3, 1, 2).float() / 255, lambda _: seen, points[None], torch.tensor([last]))
            want_theta, want = answer.theta.numpy(), joined(answer).numpy()
        theta, found = run_exported(folder, windows, crops, points_mm, dataset.numpy())
        half = recipe.encoder.input_size / 2
        units = np.array([half, half, 0.1, 0.1, *3 * [half / MEAN_HALF_WINDOW_MM]])
        worst_px = float((np.abs(found - want).max((0, 1)) * units).max())
        worst_px = max(worst_px, float(np.abs(theta - want_theta).max()) * recipe.crop.input_size / 2)
        if not worst_px <= TOLERANCE_PX:
            raise AnymarkError(f"{name}: the exported model differs from torch by {worst_px:.2g} px")
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        (folder / WEIGHTS).write_bytes(save(state))
        codes = {key: model.codes(torch.tensor([i]))[0].tolist() for key, i in numbers.items()}
        crop_kind, crop_size = recipe.crop.kind, recipe.crop.input_size
        write_card(
            folder,
            {
                "format": CARD_FORMATS["landmarks"],
                "kind": "landmarks",
                "name": name,
                "predictor": recipe.predictor.kind,
                "backbone": recipe.encoder.backbone,
                "crop": None if model.crop is None else {"kind": crop_kind, "input_size": crop_size},
                "input_size": recipe.encoder.input_size,
                "window_scale": recipe.data.window_scale,
                "codes": codes,
                "parameters": sum(p.numel() for p in model.parameters()),
                "exported": date.today().isoformat(),
                "onnx_difference_px": round(worst_px, 5),
                **card,
            },
        )
    return out


def run_exported(
    folder: Path,
    windows: UInt8[np.ndarray, "B C C 3"],
    crops: UInt8[np.ndarray, "B S S 3"],
    points_mm: Float[np.ndarray, "N 3"],
    dataset: Float[np.ndarray, " E"],
) -> tuple[Float[np.ndarray, "B 2 3"], Float[np.ndarray, "B N 7"]]:
    """theta of the windows and landmarks of the crops, of an exported model through onnxruntime alone."""

    def run(file: str, **inputs: np.ndarray) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
        return [np.asarray(output) for output in session.run(None, inputs)]

    theta = np.broadcast_to(np.eye(2, 3, dtype=np.float32), (len(windows), 2, 3))
    if (folder / CROP).exists():
        (theta,) = run(CROP, image=windows)
    code, camera = run(ENCODE, image=crops)
    points, query = run(QUERY, points_mm=points_mm, dataset=dataset)
    return theta, run(DECODE, code=code, camera=camera, points_mm=points, query=query)[0]


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
        raise cannot_write(out, error) from None
    try:
        with temporary as parent:
            folder = Path(parent) / "new"
            folder.mkdir()
            yield folder
            _replace_folder(folder, out)
    except OSError as error:
        raise cannot_write(out, error) from None


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """card.json with size and SHA-256 of each network and weights file of the folder."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted([*folder.glob("*.onnx"), *folder.glob("*.safetensors")])
    }
    (folder / "card.json").write_text(json.dumps({**card, "files": files}, indent=2, ensure_ascii=False) + "\n")


def export_graph(
    graph: nn.Module, inputs: dict[str, Tensor], outputs: list[str], shapes: dict[str, Any], path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            graph.eval(),
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        program.save(path, external_data=False)
    strip_traces(path)


def strip_traces(path: Path) -> None:
    """Take out of an ONNX file where each node comes from in our code: paths of the machine that exported it."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)


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
