"""Whole heads from shards: their labels in the trainer's form, and training on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymark.canonical import load_layout
from anymark.engine.samples import INDEX, Sample, write_shard
from anymark.errors import AnymarkError
from anymark.files import write_json
from anymark.fit import FACING
from anymark.learn.data.appearance import AppearanceConfig
from anymark.learn.data.geometry import NO_AUGMENTATION
from anymark.learn.data.landmarks import LandmarkSet, Sampler
from anymark.learn.data.shards import load_shards
from anymark.learn.models.encoder import EncoderConfig
from anymark.learn.models.predictors import PredictorConfig
from anymark.learn.train.landmarks import LandmarkTask, face_size
from anymark.learn.train.recipe import LandmarkData, LandmarkRecipe, TrainConfig
from tests.samples import finish, grey_sample

SIDE, FOCAL, AWAY = 64, 220.0, 800.0


def sample(key: str, shift: float) -> Sample:
    return grey_sample(key, FACING, np.array([shift, 0.0, AWAY]), SIDE, FOCAL, int(100 + shift))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards")
    for i in range(2):
        write_shard(path / f"shard-{i:05d}.tar", [sample(f"head-{i}-{j}", 10.0 * j) for j in range(3)])
    finish(path)
    return path


def test_labels_are_the_heads_vertices(folder: Path) -> None:
    photos = load_shards(folder)
    assert len(photos) == 6
    assert photos.layout == "head"
    assert photos.names == tuple(f"head-{i}-{j}" for i in range(2) for j in range(3))
    wanted = sample("", 10.0).xy_px
    assert np.abs(photos.points_px[1].numpy() - wanted).max() < 0.01
    face = load_layout("mediapipe478").points_mm[:468]
    seen = face @ np.diag([1.0, -1.0, -1.0]) + (0, 0, AWAY)
    xy = FOCAL * seen[:, :2] / seen[:, 2:] + SIDE / 2
    assert np.abs(photos.box_px[0].numpy() - [*xy.min(0), *xy.max(0)]).max() < 0.3
    eyes = np.linalg.norm(face[33] - face[263]) * FOCAL / (AWAY - face[33, 2])
    assert float(face_size(photos)[0]) == pytest.approx(eyes, rel=0.02)
    assert len(load_shards(folder, limit=4)) == 4


def test_labels_that_may_be_off_say_by_how_much(tmp_path: Path) -> None:
    exact = sample("exact", 0.0)
    guessed = replace(exact, key="guessed", sd_mm=np.linspace(0, 8, len(exact.vertices_mm)))
    write_shard(tmp_path / "shard-00000.tar", [exact, guessed])
    finish(tmp_path)
    photos = load_shards(tmp_path)
    assert float(photos.point_sd_px[0].max()) == 0
    assert photos.point_sd_px[1].numpy() == pytest.approx(np.linspace(0, 8, 4451) * FOCAL / AWAY, abs=0.02)
    data = LandmarkSet.create(photos, load_layout("head"), 1.0, torch.device("cpu"))
    still = replace(NO_AUGMENTATION, mirror=0.0)
    drawn = Sampler([data], 32, 1.5, 256, still, AppearanceConfig()).draw(8, torch.Generator().manual_seed(0))
    pixels = (photos.box_px[1, 2:] - photos.box_px[1, :2]).max() * 0.75  # of a half window
    sure = drawn.target[..., 2].amax(1) == 0
    assert 0 < int(sure.sum()) < 8
    assert 0.7 < float(drawn.target[~sure][..., 2].max() * pixels / (8 * FOCAL / AWAY)) < 1.5


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_mirroring_exchanges_how_far_labels_may_be_off(tmp_path: Path, mirror: float) -> None:
    """Labels of the subject's left half alone may be off; in a mirror that is the right half."""
    head = sample("a", 0.0)
    left = head.vertices_mm[:, 0] > 0
    write_shard(tmp_path / "shard-00000.tar", [replace(head, sd_mm=np.where(left, 4.0, 0.0))])
    finish(tmp_path)
    data = LandmarkSet.create(load_shards(tmp_path), load_layout("head"), 1.0, torch.device("cpu"))
    geometry = replace(NO_AUGMENTATION, mirror=mirror)
    drawn = Sampler([data], 32, 1.5, 256, geometry, AppearanceConfig()).draw(2, torch.Generator().manual_seed(0))
    x, sd = drawn.queries_mm[..., 0], drawn.target[..., 2]
    off = x < -8 if mirror else x > 8
    assert sd[off].min() > 0.5 * sd.max()
    assert sd[x > 8 if mirror else x < -8].max() == 0


def test_a_model_trains_and_is_scored_on_whole_heads(folder: Path) -> None:
    data = LandmarkData(
        shards={str(folder): 1.0}, held_out_shards=(str(folder),), queries=64, inside=("skull", "mandible")
    )
    recipe = LandmarkRecipe(
        encoder=EncoderConfig(input_size=32, features=16, grid_channels=8),
        predictor=PredictorConfig(width=16, basis=8),
        data=data,
        train=TrainConfig(steps=1),
    )
    recipe = replace(recipe, geometry=replace(recipe.geometry, mirror=0.0))
    task = LandmarkTask(recipe, folder, None)
    task.to(torch.device("cpu"))
    batch = task.draw(8, torch.Generator().manual_seed(0))
    assert bool(batch.mask.all())
    bones = np.concatenate([load_layout(name).points_mm for name in data.inside])
    queries = batch.queries_mm.reshape(-1, 3).numpy()
    apart = np.abs(queries[:, None] - bones[None]).max(2).min(1)
    assert (apart < 1e-4).mean() == pytest.approx(0.25, abs=0.01)
    assert torch.isfinite(task.loss(task.model, batch))
    with torch.no_grad():
        metrics = task.evaluate(task.model.eval())
    assert list(metrics) == ["dense NME %", "median dense NME %", "calibration"]
    assert metrics["dense NME %"] > 0


def test_what_is_inside_lies_where_the_head_carries_it(folder: Path) -> None:
    """The head is rigid here, so bones must be projected as the skin is."""
    photos = load_shards(folder, inside=("mandible", "skull"))
    bones = np.concatenate([load_layout(name).points_mm for name in photos.further])
    seen = bones @ FACING.T + (0, 0, AWAY)
    found = photos.further_px[0].numpy()
    assert np.abs(found[:, :2] - (FOCAL * seen[:, :2] / seen[:, 2:] + SIDE / 2)).max() < 0.1
    assert found[:, 2].max() == 0


def test_bones_are_mirrored_with_the_head(folder: Path) -> None:
    photos = load_shards(folder, inside=("skull",))
    data = LandmarkSet.create(photos, load_layout("head"), 1.0, torch.device("cpu"))
    geometry = replace(NO_AUGMENTATION, mirror=1.0)
    drawn = Sampler([data], 32, 1.5, 256, geometry, AppearanceConfig()).draw(2, torch.Generator().manual_seed(0))
    bones = torch.tensor(load_layout("skull").points_mm)
    where = torch.cdist(drawn.queries_mm, bones[None].float()).min(2)
    aside = (where.values < 1e-3) & (drawn.queries_mm[..., 0].abs() > 20)
    assert int(aside.sum()) > 50
    # the subject's left, +x, is to the right of the picture, in a mirror too
    assert bool((drawn.queries_mm[aside][:, 0] * drawn.target[aside][:, 0] > 0).all())


def test_only_finished_data_sets_are_learned_from(tmp_path: Path) -> None:
    with pytest.raises(AnymarkError, match="no data set"):
        load_shards(tmp_path)
    write_shard(tmp_path / "shard-00000.tar", [sample("a", 0.0)])
    with pytest.raises(AnymarkError, match="not finished"):
        load_shards(tmp_path)
    write_json(tmp_path / INDEX, {"shards": [], "samples": 0})
    with pytest.raises(AnymarkError, match="holds no samples"):
        load_shards(tmp_path)
    (tmp_path / INDEX).write_text("[]")
    with pytest.raises(AnymarkError, match="not an index"):
        load_shards(tmp_path)
    finish(tmp_path)
    assert len(load_shards(tmp_path)) == 1
