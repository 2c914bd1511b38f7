"""The latent cube and the contrast: against scipy, and against what is known of Gram matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.nn import functional as F

from anymark.learn.data.dense import thinned
from anymark.learn.models.cube import TRUNCATE, CubeConfig, LatentCube, look_up, smoothed
from anymark.learn.train.dense import frobenius, info_nce

SIDE, FEATURES = 9, 4


def test_a_lookup_is_trilinear_along_u_v_w() -> None:
    cube = torch.randn(1, FEATURES, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    uvw = torch.rand(50, 3, generator=torch.Generator().manual_seed(1))
    found = look_up(cube, uvw).numpy()
    at = uvw.numpy().T[::-1] * (SIDE - 1)  # the grid's axes are w, v, u
    for channel in range(FEATURES):
        want = map_coordinates(cube[0, channel].numpy(), at, order=1)
        np.testing.assert_allclose(found[:, channel], want, atol=1e-5)


def test_a_lookup_keeps_the_shape_of_what_is_asked() -> None:
    cube = torch.randn(1, FEATURES, SIDE, SIDE, SIDE)
    uvw = torch.rand(2, 5, 3)
    assert look_up(cube, uvw).shape == (2, 5, FEATURES)
    torch.testing.assert_close(look_up(cube, uvw)[1, 3], look_up(cube, uvw[1, 3][None])[0])


@pytest.mark.parametrize("sigma", [1.0, 1.7])
def test_smoothing_is_a_gaussian_with_its_border_drawn_out(sigma: float) -> None:
    cube = LatentCube(CubeConfig(SIDE, 3, sigma), 2)
    found = cube.smoothed()[0].detach().numpy()
    for channel, grid in enumerate(cube.grid.detach().numpy()):
        radius = math.ceil(TRUNCATE * sigma)
        want = gaussian_filter(grid.astype(np.float64), sigma, mode="nearest", radius=radius)
        np.testing.assert_allclose(found[channel], want, atol=1e-5)


def test_smoothing_keeps_what_is_flat() -> None:
    grid = torch.full((1, 2, 5, 5, 5), 3.0)
    torch.testing.assert_close(smoothed(grid, torch.tensor([0.25, 0.5, 0.25])), grid)


def rows(count: int, features: int) -> torch.Tensor:
    return F.normalize(torch.randn(1, count, features, generator=torch.Generator().manual_seed(2)), dim=-1)


def all_of(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(x.shape[:2], dtype=torch.bool)


def test_the_contrast_is_nought_for_orthogonal_rows_that_agree() -> None:
    same = torch.eye(6)[None, :4]
    assert frobenius(same, same, all_of(same)) < 1e-5
    other = same.roll(1, 1)
    assert float(frobenius(same, other, all_of(same))) == pytest.approx(math.sqrt(8))


def test_more_rows_than_features_have_a_floor() -> None:
    count, features = 24, 6
    first = torch.nn.Parameter(rows(count, features))
    optimizer = torch.optim.Adam([first], 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        unit = F.normalize(first, dim=-1)
        loss = frobenius(unit, unit, all_of(first))
        loss.backward()
        optimizer.step()
    floor = math.sqrt(count**2 / features - count)
    assert float(loss.detach()) == pytest.approx(floor, rel=0.02)
    assert float(loss.detach()) >= floor - 1e-3


@pytest.mark.parametrize("loss", [frobenius, info_nce])
def test_what_is_not_matched_does_not_count(loss) -> None:
    first, second = rows(5, 8), rows(5, 8) + 0.1
    matched = torch.tensor([[True, True, True, False, False]])
    want = loss(first[:, :3], second[:, :3], matched[:, :3])
    changed = second.clone()
    changed[:, 3:] = 7.0
    torch.testing.assert_close(loss(first, changed, matched), want)
    assert loss(first, second, torch.zeros_like(matched)) == 0


def test_info_nce_prefers_matches() -> None:
    first = rows(6, 16)
    assert info_nce(first, first, all_of(first)) < info_nce(first, first.roll(1, 1), all_of(first)) / 5


def test_near_points_are_thinned_and_the_first_stays() -> None:
    xy = torch.tensor([[[0.0, 0.0], [0.02, 0.0], [0.5, 0.0], [0.5, 0.01], [0.9, 0.9]]])
    there = torch.tensor([[True, True, True, True, False]])
    assert thinned(xy, there, 0.1).tolist() == [[True, False, True, False, False]]
    assert thinned(xy, torch.tensor([[False, True, True, True, True]]), 0.1).tolist() == [
        [False, True, True, False, True]
    ]
    assert thinned(xy, there, 0.0).tolist() == there.tolist()
