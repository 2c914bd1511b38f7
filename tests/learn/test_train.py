from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anymark.errors import AnymarkError
from anymark.learn.data.landmarks import Batch
from anymark.learn.export import export_landmarker, run_exported
from anymark.learn.models.encoder import EncoderConfig
from anymark.learn.models.landmarker import Landmarker
from anymark.learn.models.predictors import PredictorConfig
from anymark.learn.train.landmarks import LandmarkTask
from anymark.learn.train.loop import Stopped, fit, learning_rate, load_weights
from anymark.learn.train.recipe import LandmarkRecipe, TrainConfig, load_recipe

RECIPE = """
kind = "landmarks"
[encoder]
input_size = 64
features = 64
grid_channels = 16
[predictor]
width = 64
basis = 16
[data]
store_size = 96
queries = 64
[data.sources]
faker = 1.0
congress = 0.5
[train]
steps = 6
batch = 8
lr = 1e-3
warmup = 2
evaluate_every = 3
checkpoint_minutes = 100.0
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def run(recipe_file: Path, photo_root: Path, out: Path, task: LandmarkTask | None = None) -> dict[str, float]:
    recipe = load_recipe(recipe_file)
    assert isinstance(recipe, LandmarkRecipe)
    task = task or LandmarkTask(recipe, photo_root, None)
    return fit(task, recipe.train, out, recipe_file.read_text(), accelerator="cpu")


class StopsAfter(LandmarkTask):
    """Asks its own process to stop in the middle of a run, as a scheduler would."""

    remaining = 3

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        self.remaining -= 1
        if self.remaining == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().draw(batch, generator)


def test_a_stopped_run_goes_on_to_the_same_weights(recipe_file: Path, photo_root: Path, tmp_path: Path) -> None:
    whole = run(recipe_file, photo_root, tmp_path / "whole")
    recipe = load_recipe(recipe_file)
    with pytest.raises(Stopped, match="stopped at step 3"):
        run(recipe_file, photo_root, tmp_path / "parts", StopsAfter(recipe, photo_root, None))
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert max(steps, default=0) <= 3
    resumed = run(recipe_file, photo_root, tmp_path / "parts")
    assert resumed["NME %"] == pytest.approx(whole["NME %"], rel=1e-3)
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.allclose(a[k].float(), b[k].float(), atol=1e-4) for k in a)


def test_training_lowers_the_error(recipe_file: Path, photo_root: Path, tmp_path: Path) -> None:
    longer = RECIPE.replace("steps = 6", "steps = 60").replace("evaluate_every = 3", "evaluate_every = 30")
    recipe_file.write_text(longer)
    run(recipe_file, photo_root, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    errors = [row["NME %"] for row in rows if "NME %" in row]
    assert errors[-1] < errors[0]


def test_another_recipes_run_is_not_overwritten(recipe_file: Path, photo_root: Path, tmp_path: Path) -> None:
    run(recipe_file, photo_root, tmp_path / "run")
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    recipe_file.write_text(RECIPE.replace("lr = 1e-3", "lr = 2e-3"))
    with pytest.raises(AnymarkError, match="another recipe"):
        run(recipe_file, photo_root, tmp_path / "run")
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainConfig(steps=100, warmup=10, lr=1.0)
    rates = [learning_rate(i, config) for i in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert np.argmax(rates) in (9, 10)
    assert rates[-1] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nstep = 5", r"unknown key 'step'; known: steps"),
        ("[train]\nsteps = 'many'", r"train: steps: 'many' is not int"),
        ("[predictor]\nkind = 'magic'", r"'magic' is none of 'basis', 'mlp', 'transformer'"),
        ("kind = 'poem'", r"kind 'poem' is none of"),
        ("[train", r"not a TOML file"),
        ("encoder = 3", r"encoder must be a table"),
    ],
)
def test_a_bad_recipe_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(AnymarkError, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)
    assert "r.toml" in str(caught.value)


def test_every_shipped_recipe_is_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        load_recipe(path)


def test_a_grid_pooling_moves_to_another_input_size(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    small = Landmarker(EncoderConfig(input_size=64, features=16), PredictorConfig(width=16, basis=4)).eval()
    large = Landmarker(EncoderConfig(input_size=128, features=16), PredictorConfig(width=16, basis=4)).eval()
    save_file({k: v.contiguous() for k, v in small.state_dict().items()}, tmp_path / "w.safetensors")
    load_weights(large, tmp_path / "w.safetensors", resize=True)
    with pytest.raises(AnymarkError, match="weights of another model"):
        load_weights(large, tmp_path / "w.safetensors")
    # features that are the same everywhere must give the same sum on the finer grid, and smooth ones about the same
    old, new = small.encoder.pool[4], large.encoder.pool[4]
    channels = small.encoder.pool[0].out_channels
    flat, ramp = torch.ones(1, channels, 1, 1), torch.linspace(-1, 1, 8)[None, None, None]
    assert torch.allclose(
        old(flat.expand(-1, -1, 2, 2).flatten(1)), new(flat.expand(-1, -1, 4, 4).flatten(1)), atol=1e-4
    )
    coarse, fine = (torch.nn.functional.adaptive_avg_pool2d(ramp.expand(1, channels, 8, 8), n) for n in (2, 4))
    with torch.no_grad():
        a, b = old(coarse.flatten(1)) - old.bias, new(fine.flatten(1)) - new.bias
    assert torch.nn.functional.cosine_similarity(a, b).item() > 0.95


@pytest.mark.parametrize("kind", ["basis", "mlp", "transformer"])
def test_exported_graphs_agree_with_torch(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    recipe = LandmarkRecipe(
        encoder=EncoderConfig(input_size=64, features=32, grid_channels=8),
        predictor=PredictorConfig(kind=kind, width=32, basis=8, layers=2),
    )
    model = Landmarker(recipe.encoder, recipe.predictor).eval()
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    points = rng.normal(0, 60, (11, 3)).astype(np.float32)
    out = tmp_path / kind
    card = {"licence": "Apache-2.0"}
    export_landmarker(model, recipe, out, name=kind, windows=windows, points_mm=points, card=card)
    # other counts than it was traced with
    windows = rng.integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    points = rng.normal(0, 60, (300, 3)).astype(np.float32)
    with torch.no_grad():
        want = model(torch.from_numpy(windows).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(points)[None])
    assert np.abs(run_exported(out, windows, points) - want.numpy()).max() < 2e-4
    written = json.loads((out / "card.json").read_text())
    assert written["predictor"] == kind
    assert written["licence"] == "Apache-2.0"
    assert set(written["files"]) == {"encode.onnx", "query.onnx"}
    assert not list(tmp_path.glob(".*"))  # nothing temporary stays behind


def test_gradients_that_are_not_finite_do_not_reach_the_weights(
    recipe_file: Path, photo_root: Path, tmp_path: Path
) -> None:
    class Explodes(LandmarkTask):
        def loss(self, model, batch: Batch) -> torch.Tensor:
            return super().loss(model, replace(batch, target=batch.target * float("inf")))

    recipe = load_recipe(recipe_file)
    run(recipe_file, photo_root, tmp_path / "run", Explodes(recipe, photo_root, None))
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(torch.isfinite(v.float()).all() for v in weights.values())
