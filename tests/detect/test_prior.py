"""Priors: the head that is known, drawn where a dense model looks."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.canonical import CanonicalHead
from anymark.detect.mesh import HeadMesh
from anymark.detect.prior import no_prior, prior_of
from anymark.detect.window import Crop, Window
from tests.dense_maps import exact_map, turned_camera

SQUARE = Window(np.array([120.0, 131.0]), 210.0, 0.3)


@pytest.mark.parametrize("yaw", [0.0, 50.0])
def test_on_the_head_a_prior_is_the_map_of_it(yaw: float) -> None:
    camera = turned_camera(yaw)
    mesh = HeadMesh(CanonicalHead.load().vertices_mm, camera, (256, 256))
    prior = prior_of(mesh, Crop(SQUARE.affine()), 64)
    exact = exact_map(camera, (256, 256), 64, SQUARE)
    on = exact.head > 0
    np.testing.assert_allclose(prior[:3, on].T, exact.uvw[on], atol=1e-5)
    assert (prior[3, on] == 0).all()
    assert (prior[3, ~on] > 0).all()


def test_beside_the_head_a_prior_names_the_nearest_pixel_on_it() -> None:
    mesh = HeadMesh(CanonicalHead.load().vertices_mm, turned_camera(0.0), (256, 256))
    prior = prior_of(mesh, Crop(Window(np.full(2, 128.0), 256.0).affine()), 64)
    above = prior[:, :, 31]
    crown = int(np.flatnonzero(above[3] == 0)[0])
    assert crown > 2
    np.testing.assert_allclose(above[3, :crown] * 64, np.arange(crown, 0, -1), atol=1.5)
    assert (above[1, :crown] > 0.8).all()  # high up on the head


def test_a_square_without_the_head_knows_nothing() -> None:
    mesh = HeadMesh(CanonicalHead.load().vertices_mm, turned_camera(0.0), (256, 256))
    far = prior_of(mesh, Crop(Window(np.array([2000.0, 128.0]), 200.0).affine()), 16)
    np.testing.assert_array_equal(far, no_prior(16))
    assert far.shape == (4, 16, 16)
