"""Dense models learn: each term by itself, a run with export and run time, and the round trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Generator

from anymark.canonical.frame import CUBE_SIDE_MM
from anymark.cli import main
from anymark.detect.dense import DenseNetwork
from anymark.detect.image import open_photo
from anymark.detect.model import Model
from anymark.errors import AnymarkError
from anymark.learn.data.dense_sets import UNKNOWN
from anymark.learn.export_dense import write_dense_model
from anymark.learn.models.cube import CubeConfig
from anymark.learn.models.embedder import Embedder, EmbedderConfig, Embedding
from anymark.learn.train.closing import closing_loss, load_query
from anymark.learn.train.dense import DenseModel, DenseTask, dense_loss, place_loss, sampled
from anymark.learn.train.recipe import (
    DenseData,
    DenseLossConfig,
    DenseRecipe,
    LandmarkRecipe,
    TrainConfig,
    load_recipe,
)
from tests.learn.dense import write_pairs
from tests.learn.tiny import BACKBONE, MODEL, model_config

SMALL = EmbedderConfig(BACKBONE, "pyramid", 64, (8, 12, 16, 16), (1, 1, 1, 1))
CUBE = CubeConfig(6, 24, 1.0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "set")


def task_of(pairs: Path, loss: DenseLossConfig | None = None, **data: object) -> DenseTask:
    options = {"places": 64, "matches": 12, "backgrounds": 0, "empty": 0.0, **data}
    recipe = DenseRecipe(
        embedder=SMALL,
        cube=CUBE,
        data=DenseData({str(pairs): 1.0}, held_out_shards=(str(pairs),), **options),  # type: ignore[arg-type]
        loss=loss or DenseLossConfig(),
        train=TrainConfig(seed=1),
    )
    task = DenseTask(recipe, pairs.parent)
    task.to(torch.device("cpu"))
    return task


def train(task: DenseTask, steps: int, lr: float = 3e-3) -> list[float]:
    optimizer = torch.optim.AdamW(task.model.parameters(), lr)
    losses = []
    for step in range(steps):
        loss = task.loss(task.model.train(), task.draw(8, Generator().manual_seed(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_a_dense_model_learns_where_pixels_lie(pairs: Path) -> None:
    task = task_of(pairs)
    task.model.eval()
    with torch.no_grad():
        before = task.evaluate(task.model)
    losses = train(task, 60)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1
    task.model.eval()
    with torch.no_grad():
        after = task.evaluate(task.model)
    assert set(after) == {"mean mm", "median mm", "two views apart mm", "head right %"}
    assert after["mean mm"] < 0.7 * before["mean mm"]
    assert after["head right %"] > 80


def test_an_embedder_starts_from_its_prior_and_learns_what_differs(pairs: Path) -> None:
    task = task_of(pairs)
    batch = task.draw(4, Generator().manual_seed(0))
    with torch.no_grad():
        found = task.model.embedder.eval()(batch.image, batch.prior)
    start = torch.nn.functional.interpolate(batch.prior[:, :3], scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found.uvw, start.clamp(0.01, 0.99))
    blind = task.model.embedder(batch.image).uvw
    torch.testing.assert_close(blind, torch.full_like(blind, 0.5))
    loss = task.loss(task.model.train(), batch)
    loss.backward()
    told = task.model.embedder.told
    assert told is not None
    place = task.model.embedder.place.weight
    assert place.grad is not None
    assert place.grad.abs().sum() > 0


@pytest.mark.parametrize("term", ["landmarks", "contrast", "regions", "head"])
def test_each_term_can_stand_alone_and_be_left_out(pairs: Path, term: str) -> None:
    alone = replace(DenseLossConfig(0, 0, "frobenius", 0, 0), **{term: 1.0})
    task = task_of(pairs, alone)
    assert (task.model.cube is None) == (term in ("landmarks", "head"))
    batch = task.draw(4, Generator().manual_seed(0))
    loss = task.loss(task.model, batch)
    loss.backward()
    assert float(loss.detach()) > 0
    place = task.model.embedder.place.weight.grad
    more = task.model.embedder.more.weight.grad
    assert (place is not None and bool(place.abs().sum() > 0)) == (term != "head")
    assert more is not None or term in ("contrast", "regions")
    without = replace(DenseLossConfig(), **{term: 0.0})
    assert task_of(pairs, without).loss(task_of(pairs, without).model, batch).isfinite()


def test_a_contrast_that_cannot_vanish_is_warned_of(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task_of(pairs, matches=30)
    assert "matches 30 above cube.features 24" in capsys.readouterr().err
    task_of(pairs, DenseLossConfig(contrast=0), matches=30)
    assert capsys.readouterr().err == ""


def test_the_likelihood_finds_the_spread_of_errors(pairs: Path) -> None:
    task = task_of(pairs)
    batch = task.draw(4, Generator().manual_seed(0))
    on = batch.region < 13
    off = torch.zeros_like(batch.uvw)
    off[..., 0] = 20.0 / CUBE_SIDE_MM
    spread = torch.linspace(1.0, 4.0, 61)
    uvw, head = batch.uvw.nan_to_num() + off, torch.zeros(batch.region.shape)
    cost = [
        float(place_loss(type(sampled_of(task, batch))(uvw, head, torch.full_like(head, float(s))), batch)[on].mean())
        for s in spread
    ]
    best = float(spread[int(np.argmin(cost))].exp())
    assert best == pytest.approx(20 / 3, rel=0.1)  # a third of the distance


def sampled_of(task: DenseTask, batch):
    return sampled(task.model.embedder(batch.image, batch.prior), batch.xy)


def test_maps_are_sampled_at_their_pixels() -> None:
    side = 8
    along = (torch.arange(side) + 0.5) * (2 / side) - 1
    x, y = torch.meshgrid(along, along, indexing="xy")
    maps = Embedding(torch.stack([x, y, x])[None], x[None], y[None])
    xy = torch.stack([x, y], -1).view(1, -1, 2)
    found = sampled(maps, xy)
    torch.testing.assert_close(found.uvw[0, :, :2], xy[0])
    torch.testing.assert_close(found.head, xy[..., 0])
    torch.testing.assert_close(found.log_spread, xy[..., 1])


def recipe_text(pairs: Path, **train: object) -> str:
    said = {"steps": 6, "batch": 4, "evaluate_every": 6, "warmup": 1, **train}
    return f"""
kind = "dense"
[embedder]
backbone = "{BACKBONE}"
input_size = 64
widths = [8, 12, 16, 16]
depths = [1, 1, 1, 1]
[cube]
side = 6
features = 24
[data]
held_out_shards = ["{pairs}"]
places = 64
matches = 12
backgrounds = 0
[data.shards]
"{pairs}" = 1.0
[train]
{chr(10).join(f"{key} = {value!r}".replace("'", '"') for key, value in said.items())}
"""


def test_a_run_is_exported_and_loaded(pairs: Path, tmp_path: Path, photo_root: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe_text(pairs))
    photos = ["--photos", str(photo_root)]
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--accelerator", "cpu", *photos]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "model"), *photos]) == 0
    model = Model(tmp_path / "model", "dense")
    assert model.card["onnx_difference_mm"] < 0.05
    assert len(model.card["round_trip"]["visible"]) == 4
    assert [entry["name"] for entry in model.card["data"]] == ["faker", "panoramas", "hands"]
    assert model.card["licence"] == "not stated"
    network = DenseNetwork(model)
    (found,) = network.maps(
        open_photo(np.zeros((50, 70, 3), np.uint8)), [network.window_of([10, 10, 40, 40], 0.0)], [None]
    )
    assert found.side == 32


def test_a_dense_model_starts_from_a_landmark_models_encoder(pairs: Path, tmp_path: Path) -> None:
    from anymark.learn.train.weights import start_from

    task = task_of(pairs)
    state = {
        f"encoder.backbone.{key}": value + 1 if value.is_floating_point() else value
        for key, value in task.model.embedder.encoder.backbone.state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    anew = start_from(task.model, tmp_path / "w.safetensors")
    assert not [name for name in anew if name.startswith("embedder.encoder.backbone.")]
    own = task.model.embedder.encoder.backbone.state_dict()
    for key, value in own.items():
        torch.testing.assert_close(value, state[f"encoder.backbone.{key}"])


def test_weights_are_stored_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Embedder(SMALL).eval()
    pictures = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8)
    write_dense_model(model, tmp_path / "m", pictures, None, {"name": "m", "input_size": 64, "window_scale": 2.0})
    count = sum(p.numel() for p in model.parameters())
    assert (tmp_path / "m" / "dense.onnx").stat().st_size < 3.2 * count
    read = load_file(tmp_path / "m" / "weights.safetensors")
    for key, value in model.state_dict().items():  # rounded, so that both are the same model
        torch.testing.assert_close(read[key].to(value.dtype), value, rtol=0, atol=0)


def test_the_graph_and_torch_agree_and_a_folder_of_something_else_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Embedder(SMALL).eval()
    pictures = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
    card = {"name": "m", "input_size": 64, "window_scale": 2.0}
    write_dense_model(model, tmp_path / "m", pictures, None, card)
    assert DenseNetwork(Model(tmp_path / "m", "dense")).input_size == 64
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(AnymarkError, match=r"thesis\.txt"):
        write_dense_model(model, tmp_path / "mine", pictures, None, card)


@pytest.mark.parametrize("learns", [False, True])
def test_round_trips_close(tmp_path: Path, learns: bool) -> None:
    torch.manual_seed(0)
    recipe = LandmarkRecipe(**vars(load_tiny(tmp_path)))
    from anymark.learn.models.landmarker import Landmarker

    landmarker = Landmarker(recipe.model)
    save_file(landmarker.state_dict(), tmp_path / "q.safetensors")
    query = load_query(recipe, tmp_path / "q.safetensors", 2.0, learns)
    embedder = Embedder(SMALL)
    image = torch.rand(2, 3, 64, 64, generator=Generator().manual_seed(1))
    optimizer = torch.optim.Adam(embedder.parameters(), 3e-3)
    gaps = []
    for _ in range(25):
        loss = closing_loss(query, image, embedder(image), 64, Generator().manual_seed(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        gaps.append(float(loss.detach()))
    assert gaps[-1] < gaps[0]
    has_gradient = any(p.grad is not None and p.grad.abs().sum() > 0 for p in query.parameters())
    assert has_gradient == learns


def test_photos_without_labels_teach_both_models(pairs: Path, tmp_path: Path, photo_root: Path) -> None:
    import skimage

    from anymark.learn.models.landmarker import Landmarker
    from anymark.learn.train.weights import start_from

    query = load_tiny(tmp_path)
    torch.manual_seed(0)
    save_file(Landmarker(query.model).state_dict(), tmp_path / "q.safetensors")
    shots = tmp_path / "shots"
    shots.mkdir()
    skimage.io.imsave(shots / "a.png", skimage.data.astronaut()[:300])
    skimage.io.imsave(shots / "gravel.png", skimage.data.gravel(), check_contrast=False)  # nobody: left out
    closing = f"""
[data.photos]
"{shots}" = 1000.0
[loss]
closing = 1.0
[closing]
recipe = "tiny.toml"
weights = "q.safetensors"
learns = true
share = 1.0
"""
    path = tmp_path / "both.toml"
    path.write_text(recipe_text(pairs) + closing)
    recipe = load_recipe(path)
    assert isinstance(recipe, DenseRecipe)
    task = DenseTask(recipe, photo_root, folder=tmp_path)
    assert [len(s) for s in task._train] == [8, 1]
    task.to(torch.device("cpu"))
    batch = task.draw(4, Generator().manual_seed(0))
    assert (batch.region == UNKNOWN).all()
    assert not batch.matched.any()
    assert batch.image.std() > 0.1
    assert main(["train", str(path), "--out", str(tmp_path / "run"), "--accelerator", "cpu"]) == 0
    # each goes on by itself: the dense one as a model, the query one as what another recipe starts from
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "model"), "--photos", str(photo_root)]) == 0
    assert not [key for key in load_file(tmp_path / "model" / "weights.safetensors") if key.startswith("query.")]
    learned = Landmarker(query.model)
    assert start_from(learned, tmp_path / "run" / "weights.safetensors") == []
    before = load_file(tmp_path / "q.safetensors")
    assert any(not torch.equal(value, before[key]) for key, value in learned.state_dict().items())
    path.write_text((recipe_text(pairs) + closing).replace("closing = 1.0", "closing = 0.0"))
    with pytest.raises(AnymarkError, match=r"without loss\.closing"):
        load_recipe(path)


def load_tiny(tmp_path: Path) -> LandmarkRecipe:
    path = tmp_path / "tiny.toml"
    path.write_text(MODEL)
    recipe = load_recipe(path)
    assert isinstance(recipe, LandmarkRecipe)
    assert recipe.model.predictor.basis == model_config().predictor.basis
    return recipe


def test_the_loss_of_a_batch_without_heads_is_finite(pairs: Path) -> None:
    task = task_of(pairs)
    batch = task.draw(4, Generator().manual_seed(0))
    empty = replace(
        batch,
        uvw=torch.full_like(batch.uvw, torch.nan),
        region=torch.full_like(batch.region, 13),
        matched=torch.zeros_like(batch.matched),
    )
    model = DenseModel(task.recipe)
    found, smooth = model(batch.image, batch.prior)
    loss = dense_loss(found, smooth, empty, DenseLossConfig(), model.cube)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[loss]\ncontrast = -1", "contrast"),
        ('[loss]\nkind = "softmax"', "kind"),
        ("[cube]\nsmooth = 0", "smooth"),
        ("[data]\nplaces = 1", "places"),
    ],
)
def test_recipes_with_bad_numbers_are_refused(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(f'kind = "dense"\n{line}\n')
    with pytest.raises(AnymarkError, match=said):
        load_recipe(path)


def test_a_recipe_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnymarkError, match=r"data\.shards"):
        DenseTask(DenseRecipe(), tmp_path)
