"""Training runs: they learn, stop and go on as if they had not, start from other weights, and survive bad batches."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Container
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig
from anymark.learn.data.geometry import NO_AUGMENTATION, ROUGH, GeometryConfig, identity, to_photo, to_window
from anymark.learn.data.landmarks import Batch, LandmarkSet
from anymark.learn.data.photos import load_photos
from anymark.learn.models.landmarker import Landmarker
from anymark.learn.train import landmarks, loop
from anymark.learn.train.landmarks import LandmarkTask, Predicted, look_at, plain_views
from anymark.learn.train.loop import Stopped, fit, learning_rate
from anymark.learn.train.recipe import LandmarkRecipe, TrainConfig, find_init, load_recipe
from anymark.learn.train.weights import load_weights, start_from, trained_steps
from tests.learn.tiny import BACKBONE, MODEL, WINDOW_SIZE, model_config

RECIPE = f"""
kind = "landmarks"
{MODEL}
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


ROUGH_AND_CLEAN = """
[loss]
place = 2
[geometry]
anisotropy = 0.0
mirror = 0.0
rough = 1.0
[appearance]
"""
ROUGH_AND_CLEAN += "\n".join(f"{field.name} = 0.0" for field in fields(AppearanceConfig))


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


class Recorded(LandmarkTask):
    """Keeps the seed of every batch; asks its own process to stop at one of them, as a scheduler would."""

    def __init__(self, recipe_file: Path, photo_root: Path, stop_at: int | None = None) -> None:
        recipe = load_recipe(recipe_file)
        assert isinstance(recipe, LandmarkRecipe)
        super().__init__(recipe, photo_root, None)
        self.seeds: list[int] = []
        self.stop_at = stop_at

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        self.seeds.append(generator.initial_seed())
        if len(self.seeds) == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().draw(batch, generator)


def logged_steps(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_stopped_run_goes_on_to_the_same_weights(recipe_file: Path, photo_root: Path, tmp_path: Path) -> None:
    whole, first, rest = (Recorded(recipe_file, photo_root, stop_at) for stop_at in (None, 3, None))
    metrics = run(recipe_file, photo_root, tmp_path / "whole", whole)
    assert len(set(whole.seeds)) == 6
    with pytest.raises(Stopped, match="stopped at step 3"):
        run(recipe_file, photo_root, tmp_path / "parts", first)
    assert first.seeds == whole.seeds[:3]
    assert trained_steps(tmp_path / "parts" / "weights.safetensors") == 3
    resumed = run(recipe_file, photo_root, tmp_path / "parts", rest)
    assert rest.seeds == whole.seeds[3:]
    assert resumed["NME %"] == pytest.approx(metrics["NME %"], rel=1e-3)
    assert logged_steps(tmp_path / "parts") == [3, 6, 6]  # metrics, then the last step's progress and metrics
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.allclose(a[k].float(), b[k].float(), atol=1e-4) for k in a)


@pytest.mark.parametrize("log", ['{"step": 2}\n{"step": 3}\n{"step": 5}\n{"step": 6, "lo', "", None])
def test_a_torn_or_missing_log_does_not_matter(
    recipe_file: Path, photo_root: Path, tmp_path: Path, log: str | None
) -> None:
    with pytest.raises(Stopped):
        run(recipe_file, photo_root, tmp_path, Recorded(recipe_file, photo_root, 3))
    (tmp_path / "log.jsonl").unlink()
    if log is not None:
        (tmp_path / "log.jsonl").write_text(log)
    run(recipe_file, photo_root, tmp_path)
    assert logged_steps(tmp_path) == ([2, 3, 6, 6] if log else [6, 6])


def test_weights_say_their_steps(recipe_file: Path, photo_root: Path, tmp_path: Path) -> None:
    run(recipe_file, photo_root, tmp_path / "run")
    weights = tmp_path / "run" / "weights.safetensors"
    assert trained_steps(weights) == 6
    save_file(load_file(weights), tmp_path / "older.safetensors")
    assert trained_steps(tmp_path / "older.safetensors") is None
    (tmp_path / "torn.safetensors").write_bytes(weights.read_bytes()[:100])
    for name in ("torn", "absent"):
        with pytest.raises(AnymarkError, match=f"{name}.safetensors: no weights"):
            trained_steps(tmp_path / f"{name}.safetensors")


def test_init_is_found_beside_the_recipe_or_here_and_not_needed_again(
    recipe_file: Path, photo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starts_from(task: LandmarkTask, out: str) -> torch.Tensor:
        text, folder = recipe_file.read_text(), recipe_file.parent
        fit(task, task.recipe.train, tmp_path / out, text, recipe_folder=folder, accelerator="cpu")
        return load_file(tmp_path / out / "weights.safetensors")["predictor.head.bias"]

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    recipe_file.write_text(RECIPE + 'init = "first.safetensors"')
    with pytest.raises(AnymarkError, match=f"no such file: {recipe_file.parent}/first.safetensors or first.saf"):
        starts_from(Recorded(recipe_file, photo_root), "run")
    assert not (tmp_path / "run").exists()
    state = {k: v.contiguous() for k, v in Recorded(recipe_file, photo_root).model.state_dict().items()}
    for place, value in ((Path(), 7.0), (recipe_file.parent, 9.0)):  # here; then beside the recipe, which wins
        save_file({**state, "predictor.head.bias": torch.full((60,), value)}, place / "first.safetensors")
        out = f"run-{value}"
        with pytest.raises(Stopped):
            starts_from(Recorded(recipe_file, photo_root, 3), out)
        started = load_file(tmp_path / out / "weights.safetensors")["predictor.head.bias"]
        assert (started - value).abs().max() < 0.1
    Path("first.safetensors").unlink()
    (recipe_file.parent / "first.safetensors").unlink()
    assert (starts_from(Recorded(recipe_file, photo_root), "run-7.0") - 7).abs().max() < 0.1


def test_init_may_be_a_model_that_ships(tmp_path: Path) -> None:
    assert find_init("small", tmp_path).parent.name == "small"
    shipped = load_recipe(Path(__file__).parents[2] / "recipes" / "small.toml")
    assert isinstance(shipped, LandmarkRecipe)
    anew = start_from(Landmarker(shipped.model), find_init("small", tmp_path))
    assert not [name for name in anew if name.startswith("encoder.")]


def test_another_layout_is_scored_by_the_box(
    recipe_file: Path, photo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Recorded(recipe_file, photo_root)
    task.to(torch.device("cpu"))
    mesh = [s.photos for s in task.held_out]
    off_px = 3.0

    def shifted(
        model: torch.nn.Module, data: LandmarkSet, recipe: LandmarkRecipe, geometry: GeometryConfig = NO_AUGMENTATION
    ) -> Predicted:
        off = torch.tensor([2 * off_px if geometry == ROUGH else off_px, 0.0])
        points = data.photos.points_px + off
        points[:, 468:] += 100  # irises: scored in other layouts alone
        angle = {"faker": 10.0, "congress": torch.nan}[data.photos.source]
        return Predicted(points, torch.full(points.shape[:2], off_px / 2**0.5), torch.full((len(points),), angle))

    monkeypatch.setattr(landmarks, "predict_photos", shifted)
    metrics = task.evaluate(task.model)
    eyes = [torch.cat([p.points_px, p.depth_px[..., None]], -1)[:, [33, 263]] for p in mesh]
    nme = [100 * off_px / (e[0, 0] - e[0, 1]).norm() for e in eyes]  # one held-out photo a set
    assert metrics["NME %"] == pytest.approx(float(torch.stack(nme).mean()), rel=1e-4)
    assert metrics["rough NME %"] == pytest.approx(2 * metrics["NME %"], rel=1e-4)
    assert metrics["calibration"] == pytest.approx(1, rel=1e-4)
    assert metrics["pose deg"] == pytest.approx(10)  # where it is known
    task.held_out = [replace(s, photos=replace(s.photos, layout="mine")) for s in task.held_out]
    sides = [(p.box_px[0, 2:] - p.box_px[0, :2]).max() for p in mesh]
    error = (468 * off_px + 10 * (100**2 + (100 + off_px) ** 2) ** 0.5) / 478
    nme = [100 * error / side for side in sides]
    assert task.evaluate(task.model)["NME %"] == pytest.approx(float(torch.stack(nme).mean()), rel=1e-4)


def test_plain_views_show_the_box_centred(photo_root: Path) -> None:
    photos = load_photos(photo_root, "faker", 96, "train")
    views = plain_views(photos, 1.5)
    corners = to_window(photos.box_px.view(-1, 2, 2), views.window)
    assert torch.allclose(corners[:, 0], -corners[:, 1], atol=1e-4)
    assert torch.allclose(corners.abs().amax((1, 2)), torch.tensor(1 / 1.5), atol=1e-4)
    nose = to_window(photos.points_px[:, 1:2], views.window)[:, 0]  # a white disc
    x, y = ((nose + 1) * 32).long().unbind(1)
    image = views.cut(identity(len(photos), views.window), 64)
    assert image[torch.arange(len(photos)), :, y, x].min() > 0.8
    assert torch.equal(plain_views(photos, 1.5).window, views.window)


def test_photos_without_held_out_ones_are_trained_without_metrics(
    recipe_file: Path, photo_root: Path, tmp_path: Path
) -> None:
    task = Recorded(recipe_file, photo_root)
    task._held_out = []
    assert run(recipe_file, photo_root, tmp_path / "run", task) == {}
    assert trained_steps(tmp_path / "run" / "weights.safetensors") == 6


def test_the_crop_learns_to_find_heads_in_rough_windows(recipe_file: Path, photo_root: Path, tmp_path: Path) -> None:
    """And the rest to tell their landmarks there, on the photos that it learns from: a few steps can but overfit."""
    text = RECIPE + ROUGH_AND_CLEAN
    for old, new in {
        # S must tell where things are
        f'"{BACKBONE}"\ninput_size = {WINDOW_SIZE}\nfeatures = 16': '"test_vit"\ninput_size = 64\nfeatures = 32',
        "steps = 6": "steps = 80",
        "evaluate_every = 3": "evaluate_every = 80",
        "batch = 8": "batch = 16",
        "lr = 1e-3": "lr = 3e-3",
    }.items():
        assert old in text
        text = text.replace(old, new)
    recipe_file.write_text(text)
    recipe = load_recipe(recipe_file)
    assert isinstance(recipe, LandmarkRecipe)
    task = LandmarkTask(recipe, photo_root, None)
    task.to(torch.device("cpu"))

    def rough_error() -> float:
        task.held_out = list(task.sampler.sets)
        with torch.no_grad():
            return task.evaluate(task.model.eval())["rough NME %"]

    before = rough_error()
    run(recipe_file, photo_root, tmp_path / "run", task)
    load_weights(task.model, tmp_path / "run" / "weights.safetensors")
    assert rough_error() < 0.6 * before
    heads = task.sampler.sets[0]
    exact, rough = (
        plain_views(heads.photos, 1.5, geometry, Generator().manual_seed(7)).window
        for geometry in (NO_AUGMENTATION, ROUGH)
    )
    with torch.no_grad():
        generator = Generator().manual_seed(7)
        _, crop = look_at(task.model, heads.photos, heads.points_mm, 0, recipe, ROUGH, generator)

    def apart(window: Tensor) -> float:
        """How far corners lie from those of the exact windows, in their half sides, on average."""
        square = torch.tensor([[[-1.0, -1], [1, -1], [1, 1], [-1, 1]]])
        return float((to_window(to_photo(square, window), exact) - square).norm(dim=-1).mean())

    assert apart(crop) < 0.7 * apart(rough)


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


def saved(model: torch.nn.Module, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path


def test_a_grid_pooling_moves_to_another_input_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = model_config()
    small = Landmarker(config).eval()
    large = Landmarker(replace(config, encoder=replace(config.encoder, input_size=128))).eval()
    weights = saved(small, tmp_path / "w.safetensors")
    with pytest.raises(AnymarkError, match="weights of another model"):
        load_weights(large, weights)
    assert start_from(large, weights) == []
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


def test_what_other_weights_lack_or_have_in_another_shape_starts_anew_and_is_named(tmp_path: Path) -> None:
    given = Landmarker(model_config("none", head="2d"))
    model = Landmarker(model_config(codes=("ibug68",)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    anew = start_from(model, saved(given, tmp_path / "w.safetensors"))
    assert {name.split(".")[0] for name in anew} == {"crop", "camera", "deformer", "predictor"}
    assert [name for name in anew if name.startswith("predictor")] == ["predictor.head.bias", "predictor.head.weight"]
    # S starts from the encoder, but for what depends on its sizes
    assert {name for name in anew if name.startswith("crop")} == {
        f"crop.{part}.{kind}" for part in ("encoder.pool.4", "head") for kind in ("weight", "bias")
    }
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key in anew else given.state_dict()[key.removeprefix("crop.")])


def test_a_query_model_that_learned_along_with_a_dense_one_goes_on_by_itself(tmp_path: Path) -> None:
    given, model = (Landmarker(model_config("none", head="2d")) for _ in range(2))
    state = {f"query.landmarker.{key}": value for key, value in given.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    assert start_from(model, tmp_path / "w.safetensors") == []
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in model.state_dict().items())


def test_an_s_that_was_trained_starts_as_it_was(tmp_path: Path) -> None:
    given, model = (Landmarker(model_config()) for _ in range(2))
    assert start_from(model, saved(given, tmp_path / "w.safetensors")) == []
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in model.state_dict().items())


def test_weights_of_no_such_encoder_are_refused(tmp_path: Path) -> None:
    config = model_config()
    other = Landmarker(replace(config, encoder=replace(config.encoder, backbone="test_convnext", grid_channels=4)))
    state = {f"another.{key}": value.contiguous() for key, value in other.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(AnymarkError, match=r"w\.safetensors: weights of another model \(nothing of its encoder fits"):
        start_from(Landmarker(config), tmp_path / "w.safetensors")
    with pytest.raises(AnymarkError, match=r"gone\.safetensors: no weights"):
        start_from(Landmarker(config), tmp_path / "gone.safetensors")


class Spoilt(LandmarkTask):
    """One pixel of these batches, counted from 0, is NaN."""

    def __init__(self, recipe_file: Path, photo_root: Path, batches: Container[int]) -> None:
        recipe = load_recipe(recipe_file)
        assert isinstance(recipe, LandmarkRecipe)
        super().__init__(recipe, photo_root, None)
        self.batches, self.drawn = batches, 0

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        drawn = super().draw(batch, generator)
        if self.drawn in self.batches:
            drawn.image[0, 0, 5, 5] = float("nan")
        self.drawn += 1
        return drawn


@pytest.mark.parametrize("spoilt", [[0], [2], [5]])
def test_one_nan_pixel_costs_one_step(recipe_file: Path, photo_root: Path, tmp_path: Path, spoilt: list[int]) -> None:
    metrics = run(recipe_file, photo_root, tmp_path / "run", Spoilt(recipe_file, photo_root, spoilt))
    assert np.isfinite(metrics["NME %"])
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert all(torch.isfinite(v.float()).all() for v in weights.values())
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(v.float()).all() for v in state["model"].values())
    counters = {int(v) for k, v in state["model"].items() if k.endswith("num_batches_tracked")}
    assert counters == {5}
    text = (tmp_path / "run" / "log.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["skipped"] for row in rows if "skipped" in row] == [1]
    assert "NaN" not in text
    assert (next(row for row in rows if "loss" in row)["loss"] is None) == (spoilt == [5])


def test_a_run_of_nothing_finite_ends(
    recipe_file: Path, photo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_SKIPPED", 3)
    run(recipe_file, photo_root, tmp_path / "a", Spoilt(recipe_file, photo_root, [0, 1, 3, 4]))  # never 3 in a row
    with pytest.raises(AnymarkError, match="3 steps in a row, to step 4, gave no finite loss"):
        run(recipe_file, photo_root, tmp_path / "b", Spoilt(recipe_file, photo_root, [1, 2, 3, 4]))


class RunsCode:
    """What a crafted pickle holds."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("damage", ["code", "torn", "empty", "keys", "shapes", "list"])
def test_a_damaged_checkpoint_is_one_line_and_runs_no_code(
    recipe_file: Path, photo_root: Path, tmp_path: Path, damage: str
) -> None:
    with pytest.raises(Stopped):
        run(recipe_file, photo_root, tmp_path / "run", Recorded(recipe_file, photo_root, 3))
    path, marker = tmp_path / "run" / "last.ckpt", tmp_path / "marker"
    state = torch.load(path, weights_only=True)
    if damage in ("torn", "empty"):
        path.write_bytes(path.read_bytes()[: 5000 if damage == "torn" else 0])
    elif damage == "code":
        torch.save({**state, "step": RunsCode(marker)}, path)
    elif damage == "keys":
        torch.save({key: value for key, value in state.items() if key != "optimizer"}, path)
    elif damage == "shapes":
        torch.save({**state, "ema": {key: value[None] for key, value in state["ema"].items()}}, path)
    else:
        torch.save([1, 2], path)
    with pytest.raises(AnymarkError, match=r"last\.ckpt: no checkpoint of this run, or damaged") as caught:
        run(recipe_file, photo_root, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not marker.exists()
