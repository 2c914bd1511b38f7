"""Sigma and visibility on a card mean what they say, measured on what was learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit

from anymark.canonical.frame import FACING
from anymark.engine.samples import write_shard
from anymark.learn.train.landmarks import LandmarkTask, look_at, predict_photos
from anymark.learn.train.recipe import LandmarkData, LandmarkRecipe
from anymark.learn.train.tasks import calibrate, calibrate_visible
from tests.learn.tiny import model_config
from tests.samples import finish, grey_sample


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three heads; what is seen of them is known at random."""
    folder, rng = tmp_path_factory.mktemp("renders"), np.random.default_rng(0)
    samples = [grey_sample(f"{i}", FACING, np.array([10.0 * i, 0, 800]), 64, 220.0, 100 + i) for i in range(3)]
    for sample in samples:
        sample.visible[:] = rng.random(len(sample.visible)) < 0.7
    write_shard(folder / "shard-00000.tar", samples)
    finish(folder)
    return folder


def untrained(photo_root: Path, shards: dict[str, float]) -> LandmarkTask:
    model = model_config()
    data = LandmarkData(sources={"faker": 1.0, "congress": 1.0}, shards=shards, store_size=96)
    recipe = LandmarkRecipe(crop=model.crop, encoder=model.encoder, predictor=model.predictor, data=data)
    task = LandmarkTask(recipe, photo_root, None)
    task.to(torch.device("cpu"))
    task.model.eval()
    return task


def test_scaled_sigmas_are_as_large_as_errors_where_they_were_measured(photo_root: Path, renders: Path) -> None:
    task = untrained(photo_root, {str(renders): 1.0})
    scale = calibrate(task)["sigma_scale"]
    ratios = []
    with torch.no_grad():
        for data in task.sampler.sets[:2]:
            found = predict_photos(task.model, data, task.recipe)
            off = ((found.xy_px - data.photos.points_px) / (scale * found.sigma_px)[..., None])[:, :468]
            ratios.append(float(off.square().mean()))  # along each axis
    assert scale != pytest.approx(1, abs=0.05)
    assert np.sqrt(np.mean(ratios)) == pytest.approx(1, abs=1e-3)  # both sources have the same share


def test_photos_set_aside_are_calibrated_on_and_not_learned_from(
    photo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anymark.photo_files.SET_ASIDE", 2)
    task = untrained(photo_root, {})
    for learned, aside in zip(task.sampler.sets, task.aside, strict=True):
        assert learned.photos.source == aside.photos.source
        assert not set(learned.photos.names) & set(aside.photos.names)
    calibrated = calibrate(task)["sigma_scale"]
    task.aside = task.sampler.sets  # type: ignore[assignment]
    assert calibrate(task)["sigma_scale"] != pytest.approx(calibrated, rel=1e-3)


def test_visibility_is_calibrated_on_renders_and_left_alone_without(photo_root: Path, renders: Path) -> None:
    assert calibrate(untrained(photo_root, {}))["visible"] == {"scale": 1.0, "shift": 0.0, "surface": 1.0}
    task = untrained(photo_root, {str(renders): 1.0})
    visible = calibrate(task)["visible"]
    data = task.sampler.sets[2]
    with torch.no_grad():
        answer, _ = look_at(task.model, data.photos, data.points_mm, data.dataset, task.recipe)
    said = torch.sigmoid(visible["scale"] * answer.visible + visible["shift"])
    seen = data.photos.visible.float()
    assert float(said.mean()) == pytest.approx(float(seen.mean()), abs=0.03)
    assert visible["surface"] < 0.2  # these were drawn whatever the heads hide


@pytest.mark.parametrize(("scale", "shift", "surface"), [(1.0, 0.0, 0.9), (0.2, 0.3, 0.5), (3.0, 1.0, 0.2)])
@pytest.mark.parametrize("spread", [0.5, 5.0])
def test_scale_shift_and_trust_in_the_surface_are_found(
    scale: float, shift: float, surface: float, spread: float
) -> None:
    rng = np.random.default_rng(0)
    logits, shown = spread * rng.normal(size=60_000), rng.integers(0, 2, 60_000).astype(float)
    seen = rng.random(60_000) < expit(scale * logits + shift) * (1 - surface * (1 - shown))
    found = calibrate_visible(logits, shown, seen.astype(float))
    assert found["scale"] == pytest.approx(scale, abs=0.1)
    assert found["shift"] == pytest.approx(shift, abs=0.1)
    assert found["surface"] == pytest.approx(surface, abs=0.02)


@pytest.mark.parametrize("case", ["contrary", "nothing", "all seen", "separate"])
def test_logits_that_say_little_still_get_numbers_that_run_time_takes(case: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=5000)
    seen = (rng.random(5000) < expit(-2 * logits)).astype(float)
    if case == "nothing":
        logits = np.zeros(5000)
    elif case == "all seen":
        seen = np.ones(5000)
    elif case == "separate":
        seen = (logits > 0).astype(float)
    found = calibrate_visible(logits, np.ones(5000), seen)
    assert 0 < found["scale"] <= 1e6
    assert abs(found["shift"]) <= 1e6
    assert 0 < found["surface"] <= 1
    said = expit(found["scale"] * logits + found["shift"])
    assert float(said.mean()) == pytest.approx(float(seen.mean()), abs=0.02)
