"""The DPT decoder, and the authors' weights: names, shapes and the map from their cube to ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anymark.errors import AnymarkError
from anymark.learn.densemarks import Aligned, affine_between, load_densemarks
from anymark.learn.models.embedder import Embedder, EmbedderConfig
from anymark.learn.models.necks import Dpt

TINY = EmbedderConfig("vit_tiny_patch16_dinov3_qkvb", "dpt", 64)


def theirs(model: Embedder) -> dict[str, torch.Tensor]:
    """The weights of an embedder under the names that the authors' file has."""
    out: dict[str, torch.Tensor] = {}
    for key, value in model.state_dict().items():
        if key.startswith("encoder.neck."):
            part, number, *rest = key.removeprefix("encoder.neck.").split(".")
            place = {
                "readout": f"reassemble_stage.readout_projects.{number}",
                "project": f"reassemble_stage.layers.{number}.projection",
                "resize": f"reassemble_stage.layers.{number}.resize",
                "convs": f"convs.{number}",
                "fusion": f"fusion_stage.layers.{number}",
            }[part]
            out[".".join([f"embedder.dpt_neck.{place}", *rest])] = value
        elif key.startswith("place."):
            out[key.replace("place", "predictor.embed_lowres")] = value
        elif key.startswith("encoder.backbone."):
            name = key.removeprefix("encoder.backbone.")
            if name.endswith("q_bias"):
                q, v = value, model.state_dict()[key.replace("q_bias", "v_bias")]
                stem = f"embedder.backbone.{name.removesuffix('q_bias')}qkv"
                out[f"{stem}.bias"] = torch.cat([q, torch.zeros_like(q), v])
                out[f"{stem}.bias_mask"] = torch.ones(3 * len(q))
            elif not name.endswith(("v_bias", "k_bias")):
                name = name.replace("reg_token", "storage_tokens")
                name = name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
                out[f"embedder.backbone.{name}"] = value
    out["embedder.backbone.cls_token"] = model.state_dict()["encoder.backbone.cls_token"]
    out["embedder.backbone.mask_token"] = torch.zeros(1, value.shape[-1] if value.ndim else 1)
    out["embedder.backbone.rope_embed.periods"] = torch.ones(16)
    return out


def test_their_names_are_ours(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = Embedder(TINY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_file({k: v.contiguous() for k, v in theirs(model).items()}, tmp_path / "model.safetensors")
    read = load_densemarks(tmp_path / "model.safetensors", TINY)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(read(image).uvw, model(image).uvw, atol=1e-5, rtol=1e-4)
        assert (read(image).head > 3).all()


@pytest.mark.parametrize("drop", ["embedder.backbone.storage_tokens", "predictor.embed_lowres.bias"])
def test_a_part_that_is_missing_is_named(tmp_path: Path, drop: str) -> None:
    state = {k: v.contiguous() for k, v in theirs(Embedder(TINY)).items() if k != drop}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(AnymarkError, match="not the weights of DenseMarks"):
        load_densemarks(tmp_path / "model.safetensors", TINY)


def test_what_is_no_file_of_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(AnymarkError, match="no weights"):
        load_densemarks(tmp_path / "model.safetensors", TINY)


def test_the_decoder_is_eight_times_as_fine_as_the_tokens() -> None:
    neck = Dpt(48, (8, 12, 16, 20), 24)
    tokens = [(torch.randn(2, 48, 4, 4), torch.randn(2, 48)) for _ in range(4)]
    assert neck(tokens).shape == (2, 24, 32, 32)


def test_an_affine_map_is_found_in_spite_of_outliers() -> None:
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 1, (200, 3))
    matrix = rng.normal(0, 1, (3, 4))
    target = source @ matrix[:, :3].T + matrix[:, 3]
    target[::10] += rng.normal(0, 2, (20, 3))
    found, left = affine_between(source, target)
    np.testing.assert_allclose(found, matrix, atol=0.02)
    assert left < 0.01


def test_an_aligned_embedder_answers_in_our_cube() -> None:
    model = Embedder(EmbedderConfig("test_efficientnet", "pyramid", 64, (8, 8, 8, 8), (1, 1, 1, 1), prior=False)).eval()
    affine = torch.tensor([[0.0, 0.5, 0.0, 0.1], [0.5, 0.0, 0.0, 0.2], [0.0, 0.0, -0.5, 0.7]])
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain, aligned = model(image).uvw, Aligned(model, affine)(image).uvw
    torch.testing.assert_close(aligned[:, 0], 0.5 * plain[:, 1] + 0.1)
    torch.testing.assert_close(aligned[:, 2], 0.7 - 0.5 * plain[:, 2])
