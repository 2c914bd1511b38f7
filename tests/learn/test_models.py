"""Predictors, encoders and the whole landmarker: which points answer how, and where training starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.learn.data.geometry import identity
from anymark.learn.models.encoder import PRESETS, Encoder, EncoderConfig
from anymark.learn.models.landmarker import Answer, Landmarker
from anymark.learn.models.predictors import MEAN_HALF_WINDOW_MM, PredictorConfig, build_predictor, to_unit
from tests.learn.tiny import CROP_SIZE, WINDOW_SIZE, model_config

KINDS = ("basis", "mlp", "transformer")
FEATURES = 32
START = torch.tensor([[0.1, 0.2, 0.3, -1.0, 0.5], [0.7, 0, 0, 0, 0], [0, -0.7, 0, 0, 0], [0, 0, 0, 0, 0]])
"""A face of unit cube coordinates times 0.7, a little shifted."""


def predictor(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_predictor(FEATURES, PredictorConfig(kind=kind, width=32, basis=16, layers=2, heads=4), START).eval()


def points(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, n, 3, generator=torch.Generator().manual_seed(seed)) * 60


def answer(model: torch.nn.Module, features: torch.Tensor, p: torch.Tensor, mask: torch.Tensor | None = None):
    return model.decode(model.code(features), model.query(p), mask)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_queries_does_not_matter(kind: str) -> None:
    model, features, p = predictor(kind), torch.randn(2, FEATURES), points(50)
    order = torch.randperm(50)
    assert torch.allclose(answer(model, features, p)[:, order], answer(model, features, p[:, order]), atol=1e-5)


@pytest.mark.parametrize("kind", ["basis", "mlp"])
def test_each_point_is_answered_by_itself(kind: str) -> None:
    model, features, p = predictor(kind), torch.randn(2, FEATURES), points(50)
    assert torch.allclose(answer(model, features, p)[:, 7:9], answer(model, features, p[:, 7:9]), atol=1e-5)


def test_transformer_points_depend_on_their_company() -> None:
    model, features, p = predictor("transformer"), torch.randn(2, FEATURES), points(50)
    assert not torch.allclose(answer(model, features, p)[:, 7:9], answer(model, features, p[:, 7:9]), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str) -> None:
    model, features, p = predictor(kind), torch.randn(2, FEATURES), points(20)
    padded = torch.cat([p, points(9, seed=1)], 1)
    mask = torch.arange(29)[None] < 20
    assert torch.allclose(answer(model, features, padded, mask)[:, :20], answer(model, features, p), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_batch_do_not_mix(kind: str) -> None:
    model, features, p = predictor(kind), torch.randn(3, FEATURES), points(12)
    assert torch.allclose(answer(model, features, p)[1:2], answer(model, features[1:2], p), atol=1e-5)


def test_basis_is_linear_in_the_coefficients() -> None:
    model, p = predictor("basis"), points(10)
    a, b = torch.randn(1, model.size, 5), torch.randn(1, model.size, 5)
    query = model.query(p)
    assert torch.allclose(
        model.decode(2 * a + b, query), 2 * model.decode(a, query) + model.decode(b, query), atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_training_starts_where_it_is_told_to(kind: str) -> None:
    """Nearly: the weights beside the biases are small, not zero. All but the basis know the constant alone."""
    model, p = predictor(kind), points(200)
    coefficients = START if kind == "basis" else START * torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    want = torch.cat([torch.ones(200, 1), to_unit(p[0])], 1) @ coefficients
    found = answer(model, torch.zeros(1, FEATURES), p)[0]
    assert float((found - want).abs().max().detach()) < 0.25


def test_unit_cube_of_torch_and_numpy_agree() -> None:
    from anymark.canonical.frame import mm_to_uvw

    p = points(20)[0]
    assert torch.allclose(to_unit(p), torch.from_numpy(mm_to_uvw(p.numpy()) * 2 - 1).float(), atol=1e-6)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_builds(preset: str) -> None:
    encoder = Encoder(EncoderConfig(preset, 64, features=16, grid_channels=8)).eval()
    assert encoder.grid_size == 2
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        first, second = encoder(image)
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    "backbone",
    ["mobilenetv4-conv-small", "convnext-atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "tinynet_e"],
)
@pytest.mark.parametrize("pool", ["grid", "mean"])
def test_encoders_of_all_families_give_features_and_gradients(backbone: str, pool: str) -> None:
    encoder = Encoder(EncoderConfig(backbone, 64, features=16, pool=pool, grid_channels=8))
    features = encoder(torch.rand(2, 3, 64, 64))
    assert features.shape == (2, 16)
    features.square().sum().backward()
    unused = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert not unused


@pytest.mark.parametrize("backbone", ["convnext-atto", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"])
def test_cells_of_the_grid_lie_where_their_pixels_do(backbone: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(backbone, 128, features=16, grid_channels=8)).eval()
    image = torch.zeros(1, 3, 128, 128)
    image[:, :, 100:120, 5:25] = 1  # bottom left
    with torch.no_grad():
        change = (encoder._grid(image) - encoder._grid(torch.zeros_like(image))).norm(dim=1)[0]
    n = encoder.grid_size
    assert change.shape == (n, n)
    row, column = divmod(int(change.argmax()), n)
    assert row >= n // 2
    assert column < n // 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EncoderConfig("mobilenetv9_small"), "unknown backbone 'mobilenetv9_small'"),
        (EncoderConfig("convnext_atto.poems"), "backbone 'convnext_atto.poems' .*poems"),
        (EncoderConfig("vovnet39a", 64, pretrained=True), "backbone 'vovnet39a' at 64 px: No pretrained weights"),
        (EncoderConfig("efficientformer_l1", 48), "backbone 'efficientformer_l1' at 48 px: "),
        (EncoderConfig("crossvit_tiny_240", 64), "backbone 'crossvit_tiny_240' at 64 px: "),
    ],
)
def test_a_backbone_that_cannot_be_is_one_clear_line(config: EncoderConfig, message: str) -> None:
    with pytest.raises(AnymarkError, match=message) as caught:
        Encoder(config)
    assert "\n" not in str(caught.value)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(AnymarkError, match="width 30 is no multiple of heads 8"):
        build_predictor(FEATURES, PredictorConfig(kind="transformer", width=30), START)


FACE = torch.tensor(load_layout("mediapipe478").points_mm)


def looks(model: Landmarker, heads: int = 2) -> Answer:
    """What an untrained model says of noise."""
    generator = torch.Generator().manual_seed(0)
    window = torch.rand(heads, 3, WINDOW_SIZE, WINDOW_SIZE, generator=generator)
    crops = torch.rand(heads, 3, CROP_SIZE, CROP_SIZE, generator=generator)

    def look(theta: Tensor) -> Tensor:
        assert theta.shape == (heads, 2, 3)
        return crops

    with torch.no_grad():
        return model.eval()(window, look, FACE[None], torch.zeros(heads, dtype=torch.long))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("crop", ["none", "similarity", "affine"])
def test_an_untrained_head_stands_upright_in_the_middle_of_its_crop(crop: str, kind: str) -> None:
    torch.manual_seed(0)
    found = looks(Landmarker(model_config(crop, kind)))
    assert torch.equal(found.theta, identity(2, found.theta))
    for xy in found.xy:
        low, high = xy.amin(0), xy.amax(0)
        assert float(((low + high) / 2).norm()) < 0.2
        assert 0.5 < float((high - low).max() / 2) < 1  # the window is about 1.5 faces wide
        across, down = (
            torch.corrcoef(torch.stack(pair))[0, 1]
            for pair in (
                (xy[:, 0], FACE[:, 0]),  # the subject's left is on the right of the picture
                (xy[:, 1], -FACE[:, 1]),  # the chin is below the eyes
            )
        )
        assert min(float(across), float(down)) > 0.97
    assert float((found.xyz_mm - FACE).norm(dim=-1).max()) < 30
    assert torch.allclose(found.camera.project(found.xyz_mm), found.xy)
    assert torch.allclose(found.log_sigma.exp(), torch.tensor(0.1), atol=0.05)
    assert torch.isfinite(found.visible).all()


def test_the_crop_of_a_followed_head_is_its_window() -> None:
    torch.manual_seed(0)
    model = Landmarker(model_config("similarity"))
    assert model.crop is not None
    torch.nn.init.normal_(model.crop.head.weight)
    asked: list[Tensor] = []

    def look(theta: Tensor) -> Tensor:
        asked.append(theta)
        return torch.zeros(3, 3, CROP_SIZE, CROP_SIZE)

    window = torch.rand(3, 3, WINDOW_SIZE, WINDOW_SIZE)
    found = model.eval()(
        window, look, FACE[None], torch.zeros(3, dtype=torch.long), None, torch.tensor([True, False, True])
    )
    still = identity(3, window)
    assert torch.equal(asked[0][::2], still[::2])
    assert torch.equal(found.theta, asked[0])
    assert not torch.allclose(asked[0][1], still[1])
    assert not torch.allclose(found.placed[0], still[0])  # S goes on learning from them


def test_an_untrained_2d_head_is_a_face_as_well_and_knows_no_camera() -> None:
    torch.manual_seed(0)
    found = looks(Landmarker(model_config(head="2d")))
    want = torch.stack([FACE[:, 0], 5.0 - FACE[:, 1]], 1) / MEAN_HALF_WINDOW_MM
    assert float((found.xy - want).norm(dim=-1).max()) < 0.2
    assert torch.isnan(found.xyz_mm).all()
    assert torch.isnan(found.camera.flat()).all()
    assert torch.isfinite(found.log_sigma).all()


def test_data_sets_answer_for_their_own_points_once_the_deformer_has_learned() -> None:
    torch.manual_seed(0)
    model = Landmarker(model_config(codes=("ibug68",))).eval()
    crop = torch.rand(1, 3, CROP_SIZE, CROP_SIZE)
    assert model.deformer is not None

    def xyz(number: int) -> Tensor:
        window = torch.zeros(1, 3, WINDOW_SIZE, WINDOW_SIZE)
        return model(window, lambda _: crop, FACE[None], torch.tensor([number])).xyz_mm

    with torch.no_grad():
        assert torch.equal(xyz(0), xyz(1))
        before = xyz(0)
        model.deformer.trunk[-1].weight.normal_(0, 3)
        assert torch.equal(xyz(0), before)
        assert 0.5 < float((xyz(1) - before).norm(dim=-1).mean()) < 20


@pytest.mark.parametrize("likelihood", [0.0, 0.25])
def test_the_crop_is_told_less_of_what_its_landmarks_cost_than_of_where_it_lies(likelihood: float) -> None:
    torch.manual_seed(0)
    config = model_config()
    model = Landmarker(replace(config, crop=replace(config.crop, likelihood=likelihood)))
    window = torch.rand(2, 3, WINDOW_SIZE, WINDOW_SIZE)
    found = model(window, lambda _: torch.rand(2, 3, CROP_SIZE, CROP_SIZE), FACE[None], torch.zeros(2).long())
    assert torch.equal(found.theta, found.placed)
    assert model.crop is not None
    bias = model.crop.head.bias
    part, whole = (
        torch.autograd.grad(theta.square().sum(), bias, retain_graph=True)[0] for theta in (found.theta, found.placed)
    )
    assert float(whole.abs().max()) > 0
    assert torch.allclose(part, likelihood * whole, atol=1e-6)
