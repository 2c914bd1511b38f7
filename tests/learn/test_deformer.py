"""D: corrections start at nothing, stay small, and never move the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from anymark.errors import AnymarkError
from anymark.learn.models.deformer import DeformerConfig, QueryDeformer
from anymark.learn.models.landmarker import Landmarker
from tests.learn.tiny import model_config

CODES = ("mediapipe478", "ibug68")


def points(count: int = 30) -> Tensor:
    return torch.randn(1, count, 3, generator=Generator().manual_seed(0)) * 60


def moved(deformer: QueryDeformer, number: int, where: Tensor) -> Tensor:
    """(N, 3) how far a data set's points are moved, millimetres."""
    return (deformer(where, deformer.code(torch.tensor([number]))) - where)[0].detach()


def test_nothing_moves_at_the_start() -> None:
    torch.manual_seed(0)
    deformer = QueryDeformer(DeformerConfig(CODES))
    for number in range(3):
        assert torch.equal(moved(deformer, number, points()), torch.zeros(30, 3))


def test_training_moves_each_data_set_by_itself_and_never_the_reference() -> None:
    torch.manual_seed(0)
    deformer, where = QueryDeformer(DeformerConfig(CODES)), points()
    want = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, -2.0, 0.0]])
    numbers = torch.tensor([0, 1, 2])
    optimizer = torch.optim.Adam(deformer.parameters(), 0.01)
    for _ in range(100):
        answer = deformer(where.expand(3, -1, -1), deformer.code(numbers))
        loss = (answer - where - want[:, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(moved(deformer, 0, where), torch.zeros(30, 3))
    for number in (1, 2):
        assert torch.allclose(moved(deformer, number, where), want[number].expand(30, 3), atol=1.0)


def test_no_correction_is_larger_than_the_bound() -> None:
    torch.manual_seed(0)
    deformer = QueryDeformer(DeformerConfig(CODES, most_mm=7.0))
    with torch.no_grad():
        for parameter in deformer.parameters():
            parameter.normal_(0, 5)
    found = moved(deformer, 1, points(200)).abs()
    assert 6.9 < float(found.max()) <= 7.0 + 1e-4


def test_data_sets_are_known_by_name_and_unknown_ones_are_named() -> None:
    model = Landmarker(model_config(codes=CODES))
    assert [model.dataset_number(name) for name in ("fits", *CODES)] == [0, 1, 2]
    assert torch.equal(model.codes(torch.tensor([0])), torch.zeros(1, 4))
    with pytest.raises(AnymarkError, match=r"no data set code 'wflw98'; .* fits, mediapipe478, ibug68"):
        model.dataset_number("wflw98")


def test_further_names_share_a_code() -> None:
    config = model_config(codes=CODES)
    model = Landmarker(replace(config, deformer=replace(config.deformer, like={"wflw98": "ibug68"})))
    assert model.dataset_number("wflw98") == model.dataset_number("ibug68") == 2


def test_without_a_deformer_all_data_sets_are_the_reference() -> None:
    model = Landmarker(model_config())
    assert model.deformer is None
    assert model.dataset_number("anything") == 0
    assert model.codes(torch.tensor([0, 0])).tolist() == [[0.0], [0.0]]
    assert torch.equal(model.query(points(), torch.zeros(1, 1))[0], points())


@pytest.mark.parametrize(
    ("codes", "like", "message"),
    [
        (("ibug68", "ibug68"), {}, "each name once"),
        (("ibug68",), {"ibug68": "ibug68"}, "each name once"),
        (("fits",), {}, "without 'fits'"),
        (("ibug68",), {"fits": "ibug68"}, "without 'fits'"),
        (("ibug68",), {"wflw98": "fits"}, r"like\.wflw98: 'fits' is none of codes"),
    ],
)
def test_names_of_codes_that_cannot_be(codes: tuple[str, ...], like: dict[str, str], message: str) -> None:
    with pytest.raises(AnymarkError, match=message):
        DeformerConfig(codes, like)
