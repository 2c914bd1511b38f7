"""Exported models: the graphs equal torch at any counts, and a detector answers from pixels as torch does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from anymark import Detector, Window
from anymark.canonical import load_layout
from anymark.detect.window import Crop, crop
from anymark.errors import AnymarkError
from anymark.learn import export
from anymark.learn.export import export_landmarker, joined, run_exported
from anymark.learn.models.landmarker import Landmarker, ModelConfig
from anymark.learn.train.recipe import LandmarkRecipe
from tests.learn.tiny import CROP_SIZE, WINDOW_SIZE, model_config


def export_tiny(model: Landmarker, config: ModelConfig, folder: Path) -> None:
    """Under the folder's name, checked on noise."""
    recipe = LandmarkRecipe("landmarks", config.head, config.crop, config.encoder, config.deformer, config.predictor)
    export_landmarker(
        model,
        recipe,
        folder,
        name=folder.name,
        windows=noise(0, 2, WINDOW_SIZE),
        crops=noise(1, 2, CROP_SIZE),
        points_mm=POINTS,
        card={"licence": "Apache-2.0", "sigma_scale": 1.7, "visible": {"scale": 2.0, "shift": -0.5, "surface": 1.0}},
    )


POINTS = np.random.default_rng(2).normal(0, 60, (11, 3)).astype(np.float32)


def noise(seed: int, count: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


@dataclass(frozen=True)
class Exported:
    """A tiny model of random weights, as torch runs it and as run time does."""

    model: Landmarker
    folder: Path
    codes: tuple[str, ...]

    @property
    def has_crop(self) -> bool:
        return self.model.crop is not None


@pytest.fixture(
    scope="module",
    params=[
        ("similarity", "basis", ("mediapipe478", "ibug68")),
        ("affine", "mlp", ()),
        ("none", "transformer", ("ibug68",)),
    ],
    ids=lambda param: "-".join(param[:2]),
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    crop_kind, predictor, codes = request.param
    torch.manual_seed(0)
    config = model_config(crop_kind, predictor, codes=codes)
    model = Landmarker(config).eval()
    with torch.no_grad():  # as after training: neither S nor D does nothing
        if model.crop is not None:
            model.crop.head.weight.normal_(0, 0.1)
        if model.deformer is not None:
            model.deformer.trunk[-1].weight.normal_(0, 0.5)
    folder = tmp_path_factory.mktemp("exported") / predictor
    export_tiny(model, config, folder)
    assert not list(folder.parent.glob(".*"))  # nothing temporary stays behind
    return Exported(model, folder, codes)


def as_pictures(images: np.ndarray) -> Tensor:
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 255


def test_exported_graphs_agree_with_torch(exported: Exported) -> None:
    """With other counts than they were traced with."""
    model = exported.model
    windows, crops = noise(3, 5, WINDOW_SIZE), noise(4, 5, CROP_SIZE)
    points = np.random.default_rng(5).normal(0, 60, (300, 3)).astype(np.float32)
    for number in range(1 + len(exported.codes)):
        with torch.no_grad():
            dataset = torch.tensor([number])
            code = model.codes(dataset)[0].numpy()
            pictures = as_pictures(crops)
            want = model(
                as_pictures(windows), lambda _, pictures=pictures: pictures, torch.from_numpy(points)[None], dataset
            )
        theta, found = run_exported(exported.folder, windows, crops, points, code)
        assert np.abs(theta - want.theta.numpy()).max() < 1e-4
        unit = np.array([1, 1, 1, 1, 100, 100, 100])
        assert (np.abs(found - joined(want).numpy()) / unit).max() < 2e-4
        assert bool(np.abs(theta - np.eye(2, 3)).max() > 0.01) == exported.has_crop


def test_the_card_says_what_run_time_needs(exported: Exported) -> None:
    card = json.loads((exported.folder / "card.json").read_text())
    assert (card["format"], card["kind"], card["predictor"]) == (2, "landmarks", exported.folder.name)
    assert card["licence"] == "Apache-2.0"
    assert (card["input_size"], card["window_scale"]) == (CROP_SIZE, 1.5)
    assert set(card["codes"]) == {"fits", *exported.codes}
    assert not any(card["codes"]["fits"])
    graphs = {"encode.onnx", "query.onnx", "decode.onnx", "weights.safetensors"}
    if exported.has_crop:
        assert card["crop"] in ({"kind": kind, "input_size": WINDOW_SIZE} for kind in ("similarity", "affine"))
        graphs.add("crop.onnx")
    else:
        assert card["crop"] is None
    assert set(card["files"]) == graphs
    weights = load_file(exported.folder / "weights.safetensors")
    assert all(torch.equal(weights[key], value) for key, value in exported.model.state_dict().items())


def test_networks_carry_no_paths_of_the_machine_that_exported_them(exported: Exported) -> None:
    here = (str(Path(export.__file__).parents[1]).encode(), str(Path(torch.__file__).parent).encode())
    for path in exported.folder.glob("*.onnx"):
        assert not any(folder in path.read_bytes() for folder in here)


def test_a_detector_answers_as_torch_does(exported: Exported) -> None:
    """From the photo's pixels to landmarks, head and camera."""
    rng, model = np.random.default_rng(6), exported.model
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    photo = np.asarray(Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC))
    window = Window(np.array([110.0, 95.0]), 120.0, 0.3)
    layout = load_layout("ibug68")
    seen: list[Crop] = []

    def look(theta: Tensor) -> Tensor:
        seen.append(Crop.inside(window, theta[0].numpy()))
        return as_pictures(crop(photo, seen[0], CROP_SIZE)[None])

    with torch.no_grad():
        number = torch.tensor([model.dataset_number("ibug68")])
        whole = as_pictures(crop(photo, window, WINDOW_SIZE)[None])
        want = model(whole, look, torch.tensor(layout.points_mm)[None], number)
    [head] = Detector(exported.folder).encode(photo, [window])
    found = head.query(layout)
    half_px = seen[0].side_px / 2
    assert found.crop.affine == pytest.approx(seen[0].affine, abs=0.01)
    assert found.xy_px == pytest.approx(seen[0].to_image(want.xy[0].numpy()), abs=0.02)
    assert found.xyz_mm == pytest.approx(want.xyz_mm[0].numpy(), abs=0.05)
    assert found.sigma_px == pytest.approx(want.log_sigma[0].exp().numpy() * 1.7 * half_px, rel=1e-3)
    assert found.uncovered == pytest.approx(torch.sigmoid(2 * want.visible[0] - 0.5).numpy(), abs=1e-3)
    camera = want.camera
    roll = seen[0].roll_rad
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    assert found.camera.focal_px == pytest.approx(float(camera.focal) * half_px, rel=1e-3)
    assert found.camera.R_camera_head == pytest.approx(turn @ camera.rotation[0].numpy(), abs=1e-3)
    assert found.camera.t_camera_head_mm == pytest.approx(turn @ camera.translation_mm[0].numpy(), rel=1e-3, abs=0.1)
    if model.crop is None or model.crop.head.out_features == 4:  # squares: the camera sees what the crop shows
        assert found.camera.project(found.xyz_mm) == pytest.approx(found.xy_px, abs=0.02)


def test_a_2d_head_is_not_exported(tmp_path: Path) -> None:
    config = model_config(head="2d")
    with pytest.raises(AnymarkError, match=r"flat: a 2D head is for comparison in training"):
        export_tiny(Landmarker(config), config, tmp_path / "flat")
    assert not list(tmp_path.iterdir())


def test_graphs_that_disagree_with_torch_replace_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = model_config()
    monkeypatch.setattr(export, "export_graph", lambda *_: None)
    wrong = np.full((2, len(POINTS), 7), np.nan)
    monkeypatch.setattr(export, "run_exported", lambda *_: (np.zeros((2, 2, 3)), wrong))
    (tmp_path / "mine").mkdir()
    export.write_card(tmp_path / "mine", {"format": 2})
    before = (tmp_path / "mine" / "card.json").read_bytes()
    with pytest.raises(AnymarkError, match="mine: the exported model differs from torch by nan px"):
        export_tiny(Landmarker(config), config, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["card.json"]
    assert (tmp_path / "mine" / "card.json").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]
