"""Whole heads from shards: their labels in the trainer's form, and training on them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.frame import FACING
from anymark.engine.samples import INDEX, Sample, write_shard
from anymark.errors import AnymarkError
from anymark.files import write_json
from anymark.learn.data.geometry import (
    NO_AUGMENTATION,
    GeometryConfig,
    compose,
    identity,
    is_mirrored,
    to_photo,
    to_window,
)
from anymark.learn.data.landmarks import Batch, LandmarkSet, Sampler
from anymark.learn.data.shards import load_shards
from anymark.learn.models.camera import Cameras, crop_cameras
from anymark.learn.models.crop import to_theta
from anymark.learn.models.landmarker import Answer
from anymark.learn.train.landmarks import LandmarkTask, face_size
from anymark.learn.train.loop import learning_rate
from anymark.learn.train.losses import LossConfig
from anymark.learn.train.recipe import LandmarkData, LandmarkRecipe, TrainConfig
from tests.learn.tiny import UNCHANGED, model_config
from tests.samples import finish, grey_sample

SIDE, FOCAL, AWAY = 64, 220.0, 800.0


def sample(key: str, shift: float) -> Sample:
    return grey_sample(key, FACING, np.array([shift, 0.0, AWAY]), SIDE, FOCAL, int(100 + shift))


def turned(yaw: float) -> np.ndarray:
    """R_camera_head of a head that looks aside by so many radians."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return FACING @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def draw(photos: Path, geometry: GeometryConfig, count: int = 2, inside: tuple[str, ...] = ()) -> Batch:
    data = LandmarkSet.create(load_shards(photos, inside=inside), load_layout("head"), 1.0, torch.device("cpu"))
    sampler = Sampler([data], 32, 32, 1.5, 256, 0.0, 0.0, 0.0, geometry, UNCHANGED)
    return sampler.draw(count, Generator().manual_seed(0))


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
    truth = draw(tmp_path, NO_AUGMENTATION, 8).truth
    sure = truth.sd_px.amax(1) == 0
    assert 0 < int(sure.sum()) < 8
    assert 0.7 < float(truth.sd_px[~sure].max() / (8 * FOCAL / AWAY)) < 1.5
    # nobody labelled what such photos show: what hides the head is unknown
    assert torch.isfinite(truth.visible[sure]).all()
    assert torch.isnan(truth.visible[~sure]).all()


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_mirroring_exchanges_how_far_labels_may_be_off(tmp_path: Path, mirror: float) -> None:
    """Labels of the subject's left half alone may be off; in a mirror that is the right half."""
    head = sample("a", 0.0)
    left = head.vertices_mm[:, 0] > 0
    write_shard(tmp_path / "shard-00000.tar", [replace(head, sd_mm=np.where(left, 4.0, 0.0))])
    finish(tmp_path)
    drawn = draw(tmp_path, replace(NO_AUGMENTATION, mirror=mirror))
    x, sd = drawn.queries_mm[..., 0], drawn.truth.sd_px
    off = x < -8 if mirror else x > 8
    assert sd[off].min() > 0.5 * sd.max()
    assert sd[x > 8 if mirror else x < -8].max() == 0


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_mirroring_exchanges_the_heads_sides(tmp_path: Path, mirror: float) -> None:
    """The head is the canonical one, so queries lie where they say, in a mirror too; its left half alone is seen."""
    head = grey_sample("a", turned(0.4), np.array([20.0, -10.0, AWAY]), SIDE, FOCAL)
    left = head.vertices_mm[:, 0] > 0
    write_shard(tmp_path / "shard-00000.tar", [replace(head, visible=left)])
    finish(tmp_path)
    drawn = draw(tmp_path, replace(NO_AUGMENTATION, mirror=mirror))
    assert bool(is_mirrored(drawn.window).all()) == bool(mirror)
    apart = (drawn.truth.xyz_mm - drawn.queries_mm).norm(dim=-1)
    assert float(apart.median()) < 0.5
    assert float(apart.max()) < 5  # the head is not quite symmetric
    x, visible = drawn.queries_mm[..., 0], drawn.truth.visible
    assert visible[x < -8 if mirror else x > 8].min() > 0.5
    assert visible[x > 8 if mirror else x < -8].max() < 0.5


def test_the_crops_cameras_see_the_truth_where_the_photo_shows_it(tmp_path: Path) -> None:
    """In windows and crops of them, mirrored ones as well; poses and places differ, up to 5 degrees off the axis."""
    places = [(yaw, x, y) for yaw in (-0.5, 0.0, 0.5) for x, y in ((60.0, 20.0), (-30.0, 50.0))]
    samples = [
        grey_sample(f"{i}", turned(yaw), np.array([x, y, AWAY]), SIDE, FOCAL) for i, (yaw, x, y) in enumerate(places)
    ]
    write_shard(tmp_path / "shard-00000.tar", samples)
    finish(tmp_path)
    batch = draw(tmp_path, GeometryConfig(anisotropy=0.0), 32)
    assert 8 < int(is_mirrored(batch.window).sum()) < 24
    theta = to_theta(0.2 * torch.randn(32, 4, generator=Generator().manual_seed(1)))
    camera = batch.truth.camera
    for crop in (batch.window, compose(batch.window, theta)):
        cameras = crop_cameras(camera[:, :9].unflatten(1, (3, 3)), camera[:, 9:12], camera[:, 12], camera[:, 13:], crop)
        found_px = to_photo(cameras.project(batch.truth.xyz_mm), crop)
        off = (found_px - batch.truth.xy_px).norm(dim=-1) / batch.unit_px[:, None]
        assert float(off.median()) < 0.01
        assert float(off.quantile(0.95)) < 0.03  # shoulders lie far out


def task_on(folder: Path, loss: LossConfig | None = None, inside: tuple[str, ...] = ()) -> LandmarkTask:
    """A tiny model's task, which is scored on what it learns from."""
    model = model_config()
    recipe = LandmarkRecipe(
        crop=model.crop,
        encoder=model.encoder,
        predictor=model.predictor,
        data=LandmarkData(shards={str(folder): 1.0}, held_out_shards=(str(folder),), queries=64, inside=inside),
        geometry=GeometryConfig(mirror=0.0),
        appearance=UNCHANGED,
        loss=loss or LossConfig(),
    )
    task = LandmarkTask(recipe, folder, None)
    task.to(torch.device("cpu"))
    return task


def test_a_model_learns_from_whole_heads_and_is_scored_on_them(folder: Path) -> None:
    inside = ("skull", "mandible")
    task = task_on(folder, inside=inside)
    batch = task.draw(8, Generator().manual_seed(0))
    assert bool(batch.truth.mask.all())
    bones = np.concatenate([load_layout(name).points_mm for name in inside])
    queries = batch.queries_mm.reshape(-1, 3).numpy()
    apart = np.abs(queries[:, None] - bones[None]).max(2).min(1)
    assert (apart < 1e-4).mean() == pytest.approx(0.25, abs=0.01)
    assert torch.isnan(batch.truth.visible).reshape(-1).numpy()[apart < 1e-4].all()  # bones are never seen
    assert torch.isfinite(task.loss(task.model, batch))
    with torch.no_grad():
        metrics = task.evaluate(task.model.eval())
    names = [f"{which}{rough}dense NME %" for rough in ("", "rough ") for which in ("", "median ")]
    assert list(metrics) == [*names, "calibration", "pose deg"]
    assert metrics["dense NME %"] > 0
    assert metrics["rough dense NME %"] > metrics["dense NME %"]  # nothing has been learned yet


class LooksAside(nn.Module):
    """It takes every head for one that looks aside by so many radians."""

    def __init__(self, yaw: float) -> None:
        super().__init__()
        self.rotation = torch.tensor(turned(yaw), dtype=torch.float32)

    def forward(self, window: Tensor, look: object, points_mm: Tensor, dataset: Tensor) -> Answer:
        heads, theta = len(window), identity(len(window), window)
        nothing = torch.zeros(heads, points_mm.shape[1])
        place, focal = torch.tensor([0.0, 0.0, AWAY]).expand(heads, 3), torch.full((heads,), 5.0)
        camera = Cameras(self.rotation.expand(heads, 3, 3), place, focal)
        xyz_mm = points_mm.expand(heads, -1, -1)
        return Answer(theta, theta, camera.project(xyz_mm), nothing, nothing, xyz_mm, camera)


@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_poses_are_scored_by_the_angle_to_the_true_one(folder: Path, yaw: float) -> None:
    """The heads look straight ahead; they stand up to 1.5 degrees off the axis, about which crops' cameras turn."""
    found = task_on(folder).evaluate(LooksAside(yaw))["pose deg"]
    assert found == pytest.approx(math.degrees(yaw), abs=2)


def painted(sample: Sample) -> Sample:
    """The head in colours that say where on the canonical head each of its pixels is."""
    canonical = CanonicalHead.load().vertices_mm
    colours = ((canonical / 400 + 0.5) * 255).clip(0, 255).astype(np.uint8)
    depth = sample.vertices_mm @ np.array(sample.record["R_camera_head"])[2]
    picture = np.full_like(sample.image, 30)
    order = np.argsort(-depth)  # the nearest last
    column, row = np.floor(sample.xy_px[order]).astype(int).clip(0, len(picture) - 2).T
    for right in (0, 1):
        for down in (0, 1):
            picture[row + down, column + right] = colours[order]
    return replace(sample, image=picture)


@pytest.fixture(scope="module")
def painted_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("painted")
    places = [(yaw, x) for yaw in (-0.6, 0.0, 0.6) for x in (-25.0, 25.0)]
    samples = [
        painted(grey_sample(f"{i}", turned(yaw), np.array([x, 0.0, AWAY]), SIDE, FOCAL))
        for i, (yaw, x) in enumerate(places)
    ]
    write_shard(path / "shard-00000.tar", samples)
    finish(path)
    return path


@pytest.mark.parametrize("known", ["2d", "3d"])
def test_the_3d_head_learns_from_2d_labels_alone_and_poses_from_3d_ones(painted_heads: Path, known: str) -> None:
    task = task_on(painted_heads, LossConfig() if known == "3d" else LossConfig(shape=0, pose=0, focal=0, visible=0))
    with torch.no_grad():
        before = task.evaluate(task.model.eval())
    config = TrainConfig(steps=80, warmup=5, lr=1e-2)
    optimizer = torch.optim.AdamW(task.model.parameters())
    generator = Generator().manual_seed(0)
    task.model.train()
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, config)
        loss = task.loss(task.model, task.draw(12, generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), config.clip)
        optimizer.step()
    with torch.no_grad():
        after = task.evaluate(task.model.eval())
    assert after["dense NME %"] < 0.7 * before["dense NME %"]
    if known == "3d":
        assert after["pose deg"] < 0.5 * before["pose deg"]


def test_what_is_inside_lies_where_the_head_carries_it(folder: Path) -> None:
    """The head is rigid here, so bones must be projected as the skin is."""
    photos = load_shards(folder, inside=("mandible", "skull"))
    bones = np.concatenate([load_layout(name).points_mm for name in photos.further])
    seen = bones @ FACING.T + (0, 0, AWAY)
    found = photos.further_px[0].numpy()
    assert np.abs(found[:, :2] - (FOCAL * seen[:, :2] / seen[:, 2:] + SIDE / 2)).max() < 0.1
    assert found[:, 2].max() == 0


def test_bones_are_mirrored_with_the_head(folder: Path) -> None:
    drawn = draw(folder, replace(NO_AUGMENTATION, mirror=1.0), inside=("skull",))
    bones = torch.tensor(load_layout("skull").points_mm)
    where = torch.cdist(drawn.queries_mm, bones[None].float()).min(2)
    aside = (where.values < 1e-3) & (drawn.queries_mm[..., 0].abs() > 20)
    assert int(aside.sum()) > 50
    # the subject's left, +x, is to the right of the picture, in a mirror too
    at = to_window(drawn.truth.xy_px, drawn.window)
    assert bool((drawn.queries_mm[aside][:, 0] * at[aside][:, 0] > 0).all())
    assert bool((drawn.queries_mm[aside][:, 0] * drawn.truth.xyz_mm[aside][:, 0] > 0).all())


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
