from __future__ import annotations

import math

import pytest
import torch

from anymark.errors import AnymarkError
from anymark.learn.models.encoder import PRESETS, Encoder, EncoderConfig
from anymark.learn.models.landmarker import Landmarker
from anymark.learn.models.predictors import PredictorConfig, build_predictor, to_unit
from anymark.learn.train.losses import gaussian_nll

KINDS = ("basis", "mlp", "transformer")
FEATURES = 32


def predictor(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_predictor(FEATURES, PredictorConfig(kind=kind, width=32, basis=16, layers=2, heads=4)).eval()


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


def test_basis_is_linear_in_the_coefficients_and_starts_as_a_face() -> None:
    model, p = predictor("basis"), points(10)
    a, b = torch.randn(1, model.size, 3), torch.randn(1, model.size, 3)
    query = model.query(p)
    assert torch.allclose(
        model.decode(2 * a + b, query), 2 * model.decode(a, query) + model.decode(b, query), atol=1e-4
    )
    left_eye, chin = torch.tensor([[[32.0, 36.0, 90.0]]]), torch.tensor([[[0.0, -77.0, 100.0]]])
    at = [answer(model, torch.zeros(1, FEATURES), x)[0, 0, :2] for x in (left_eye, chin)]
    assert at[0][0] > 0.1  # the subject's left is on the right of the picture
    assert at[1][1] > at[0][1] + 0.5  # the chin below the eye


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
        build_predictor(FEATURES, PredictorConfig(kind="transformer", width=30))


def test_nll_is_least_at_the_true_sigma_and_ignores_padding() -> None:
    target = torch.zeros(1, 4000, 3)
    noise = torch.randn(1, 4000, 2, generator=torch.Generator().manual_seed(1)) * 0.1
    mask = torch.ones(1, 4000, dtype=torch.bool)

    def nll(sigma: float, mask: torch.Tensor = mask) -> float:
        predicted = torch.cat([noise, torch.full((1, 4000, 1), sigma).log()], -1)
        return float(gaussian_nll(predicted, target, mask))

    assert nll(0.1) < min(nll(0.09), nll(0.11))
    half = torch.arange(4000)[None] < 2000
    noise[:, 2000:] = 100.0
    assert nll(0.1, half) < 0
    # labels that may be off by 0.2 themselves: sigma is what both make
    target[..., 2] = 0.2
    both = math.hypot(0.1, 0.2)
    assert nll(both, half) < min(nll(0.95 * both, half), nll(1.05 * both, half))


def test_landmarker_runs_end_to_end() -> None:
    model = Landmarker(EncoderConfig(input_size=64), PredictorConfig(width=32, basis=8))
    out = model(torch.rand(2, 3, 64, 64), points(5).expand(2, -1, -1))
    assert out.shape == (2, 5, 3)
    assert torch.isfinite(out).all()
