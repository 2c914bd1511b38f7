"""Model folders: only what the card vouches for is loaded; anything else is named in one line."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anymark import AnymarkError, Detector
from anymark.detect import model as model_module
from anymark.detect.model import Model, available_models

PHOTO = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """A copy of the basis model that a test may break."""
    return Path(shutil.copytree(models / "basis", tmp_path / "broken"))


def edit(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({k: v for k, v in (card | changes).items() if v is not None}))


def garble(folder: Path, key: str, value: str) -> None:
    """Any JSON for one key of the card."""
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, key: "@"}).replace('"@"', value))


def vouch(folder: Path, content: bytes) -> None:
    """Other content for encode.onnx, with its own SHA-256 on the card."""
    (folder / "encode.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["files"]["encode.onnx"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "encode.onnx").write_bytes(b""), "encode.onnx: empty file"),
        (lambda f: (f / "encode.onnx").unlink(), "encode.onnx: no such file"),
        (lambda f: (f / "encode.onnx").write_bytes(b"other"), "encode.onnx: SHA-256 is .*, the card says"),
        (lambda f: vouch(f, b"not a network"), "encode.onnx: onnxruntime cannot load it"),
        (lambda f: vouch(f, pickle.dumps({"a": 1})), "encode.onnx: onnxruntime cannot load it"),
        (lambda f: vouch(f, (f / "crop.onnx").read_bytes()), "encode.onnx: gives crop, not code, camera"),
        (lambda f: (f / "card.json").write_text("{"), "card.json: not a model card"),
        (lambda f: (f / "card.json").write_text("[]"), "card.json: not a model card"),
        (lambda f: (f / "card.json").unlink(), r"broken: not a model \(no card.json\)"),
        (lambda f: edit(f, format=99), "card.json: format 99; this anymark reads 2"),
        (lambda f: edit(f, format=1), "card.json: format 1; this anymark reads 2"),
        (lambda f: edit(f, kind="locator"), "card.json: a model of kind 'locator', not 'landmarks'"),
        (lambda f: edit(f, predictor="magic"), "card.json: unknown predictor 'magic'"),
        (lambda f: edit(f, input_size=None), "card.json: lacks 'input_size'"),
        (lambda f: edit(f, files={}), "crop.onnx: SHA-256"),
        (lambda f: edit(f, files=None), "card.json: lacks 'files'"),
        (lambda f: edit(f, files={"crop.onnx": 7}), "crop.onnx: SHA-256"),
        (lambda f: edit(f, input_size=32), "encode.onnx: "),
        (lambda f: garble(f, "input_size", '"abc"'), "card.json: 'input_size' must be a number above 0.*'abc'"),
        (lambda f: garble(f, "input_size", "null"), "card.json: 'input_size' must be a number above 0.*None"),
        (lambda f: garble(f, "input_size", "-64"), "card.json: 'input_size' must be a number above 0.*-64"),
        (lambda f: garble(f, "input_size", "64.5"), "card.json: 'input_size' must be whole, not 64.5"),
        (lambda f: garble(f, "input_size", "1e9"), "card.json: 'input_size' must be a number above 0, at most 4096"),
        (lambda f: garble(f, "window_scale", "[1.5]"), "card.json: 'window_scale' must be a number"),
        (lambda f: garble(f, "window_scale", "NaN"), "card.json: 'window_scale' must be a number"),
        (lambda f: garble(f, "window_scale", "Infinity"), "card.json: 'window_scale' must be a number"),
        (lambda f: garble(f, "sigma_scale", "0"), "card.json: 'sigma_scale' must be a number above 0"),
        (lambda f: edit(f, sigma_scale=None), "card.json: lacks 'sigma_scale'"),
        (lambda f: edit(f, visible={"scale": 1}), "card.json: lacks 'visible.shift'"),
        (lambda f: edit(f, visible={"scale": 1, "shift": 0}), "card.json: lacks 'visible.surface'"),
        (
            lambda f: edit(f, visible={"scale": 1, "shift": 0, "surface": 2}),
            "card.json: 'visible.surface' must be a number",
        ),
        (lambda f: edit(f, visible=7), "card.json: lacks 'visible.scale'"),
        (lambda f: edit(f, visible={"scale": 1, "shift": "x"}), "card.json: 'visible.shift' must be a number"),
        (lambda f: edit(f, crop={"input_size": 48}), "card.json: lacks 'crop.kind'"),
        (lambda f: edit(f, crop={"kind": "affine"}), "card.json: lacks 'crop.input_size'"),
        (lambda f: edit(f, crop={"kind": "homography", "input_size": 48}), "card.json: unknown crop.kind 'homography'"),
        (lambda f: edit(f, crop={"kind": "affine", "input_size": 9.5}), "'crop.input_size' must be whole, not 9.5"),
        (lambda f: edit(f, crop={"kind": "affine", "input_size": 32}), "crop.onnx: "),
        (lambda f: edit(f, codes=None), "card.json: lacks 'codes'"),
        (lambda f: edit(f, codes=[0, 0]), "card.json: 'codes' must be an object that has 'fits'"),
        (lambda f: edit(f, codes={"mine": [0, 0]}), "card.json: 'codes' must be an object that has 'fits'"),
        (lambda f: edit(f, codes={"fits": 7}), "card.json: 'codes.fits' must be a list of numbers"),
        (lambda f: edit(f, codes={"fits": []}), "card.json: 'codes.fits' must be a list of numbers"),
        (lambda f: edit(f, codes={"fits": [0, 0], "a": [1]}), "card.json: 'codes.a' must be a list of numbers"),
        (lambda f: edit(f, codes={"fits": [0, 0], "a": [1, "b"]}), "card.json: 'codes.a' must be a list of numbers"),
        (lambda f: garble(f, "codes", '{"fits": [0, 1e99]}'), "card.json: 'codes.fits' must be a list of numbers"),
        (lambda f: edit(f, codes={"fits": [0, 0, 0]}), "query.onnx: "),
        (lambda f: garble(f, "most_unsure", '"low"'), "card.json: 'most_unsure' must be a number"),
        (lambda f: garble(f, "most_unsure", "true"), "card.json: 'most_unsure' must be a number"),
        (lambda f: garble(f, "most_unsure", "null"), "card.json: 'most_unsure' must be a number"),
    ],
)
def test_a_bad_model_is_named_in_one_line(
    folder: Path, models: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(AnymarkError, match=message) as caught:
        Detector(folder, models / "locator").detect(PHOTO, np.zeros((1, 3)), boxes=[[10, 10, 50, 50]])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["NaN", '"half"', "null", "0", "-0.5", "50", "{}"])
def test_a_garbled_threshold_is_named(models: Path, tmp_path: Path, value: str) -> None:
    folder = Path(shutil.copytree(models / "locator", tmp_path / "broken"))
    garble(folder, "threshold", value)
    with pytest.raises(AnymarkError, match=r"card\.json: 'threshold' must be a number above 0, at most 1") as caught:
        Detector(models / "basis", folder).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["crop.onnx", "encode.onnx", "query.onnx", "decode.onnx"])
def test_load_finds_every_bad_network(folder: Path, models: Path, file: str) -> None:
    Detector(folder, models / "locator").load()
    (folder / file).write_bytes(b"")
    with pytest.raises(AnymarkError, match=f"{file}: empty file"):
        Detector(folder, models / "locator").load()


def test_networks_of_two_models_do_not_go_together(folder: Path, models: Path) -> None:
    """Vouched for, with the right names; only their shapes are not each other's."""
    other = models / "mlp"
    (folder / "decode.onnx").write_bytes((other / "decode.onnx").read_bytes())
    card = json.loads((folder / "card.json").read_text())
    card["files"]["decode.onnx"] = json.loads((other / "card.json").read_text())["files"]["decode.onnx"]
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(AnymarkError, match=r"decode\.onnx: ") as caught:
        Detector(folder, models / "locator").detect(PHOTO, boxes=[[10, 10, 50, 50]])
    assert "\n" not in str(caught.value)


def test_an_unknown_name_comes_with_the_nearest(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    monkeypatch.setattr(model_module, "MODELS", models)
    assert available_models("landmarks") == ["basis", "mlp", "plain", "turned"]
    assert Model("basis", "landmarks").folder == models / "basis"
    with pytest.raises(AnymarkError, match="basic: no such model; did you mean basis"):
        Model("basic", "landmarks")
    with pytest.raises(AnymarkError, match="did you mean basis, mlp"):
        Model("zzz", "landmarks")


def test_an_unknown_provider_is_named(models: Path) -> None:
    with pytest.raises(AnymarkError, match=r"AbacusExecutionProvider: .* it has .*CPUExecutionProvider"):
        Detector(models / "basis", models / "locator", providers=["AbacusExecutionProvider"]).load()
    Detector(models / "basis", models / "locator", providers=["CPUExecutionProvider"], threads=1).load()


def test_nothing_is_loaded_before_it_is_needed(models: Path) -> None:
    detector = Detector(models / "basis", "there is no such locator")
    assert len(detector.detect(PHOTO, np.zeros((1, 3)), boxes=[[10, 10, 50, 50]])) == 1
    with pytest.raises(AnymarkError, match="there is no such locator"):
        detector.detect(PHOTO, np.zeros((1, 3)))
