"""Fits of single heads: known poses and coefficients come back, and bad labels do no harm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.canonical.frame import FACING
from anymark.errors import AnymarkError
from anymark.fit import Camera, Eye, Points, Rig, Settings, aim_eyes, fit, turned_eyes
from anymark.fit.problem import exponential, logarithm
from tests.conftest import SHARED

TRUSTING = Settings(noise_mm=0.01, depth=1.0, rounds=40)


class Heads:
    """Heads of a rig before known cameras."""

    def __init__(self, rig: Rig, count: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.identity = rng.normal(0, 1, (count, len(rig.identity_mm)))
        self.expression = rng.uniform(0, 1, (count, len(rig.expression_mm)))
        self.R = exponential(rng.normal(0, 0.25, (count, 3))) @ FACING
        self.t = rng.normal(0, 1, (count, 3)) * (40, 40, 100) + (0, 0, 700)
        self.camera = Camera(rng.uniform(500, 900, count), rng.uniform(200, 300, (count, 2)))
        self.points = rig.landmarks["face"]
        self.vertices = rig.vertices_mm(self.identity, self.expression)
        x = self.points.on(self.vertices.astype(float)) @ self.R.swapaxes(1, 2) + self.t[:, None]
        self.labels = self.camera.project(x)
        self.depth = x[..., 2] * (self.camera.focal_px / self.t[:, 2])[:, None]


def test_known_heads_come_back(rig: Rig) -> None:
    heads = Heads(rig, 6)
    found = fit(rig, heads.points, heads.labels, depth_px=heads.depth, camera=heads.camera, settings=TRUSTING)
    assert found.converged.all()
    assert found.residual_px.max() < 0.02
    assert np.abs(found.R_camera_head - heads.R).max() < 2e-3
    assert np.abs(found.t_camera_head_mm - heads.t).max() < 2.0
    assert np.abs(found.identity - heads.identity).max() < 0.05
    assert np.abs(found.expression - heads.expression).max() < 0.05


def test_rotations_are_rotations(rig: Rig) -> None:
    heads = Heads(rig, 4)
    found = fit(rig, heads.points, heads.labels)
    product = found.R_camera_head @ found.R_camera_head.swapaxes(1, 2)
    assert np.allclose(product, np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(found.R_camera_head), 1)


def test_project_is_where_the_labels_are(rig: Rig) -> None:
    heads = Heads(rig, 3)
    found = fit(rig, heads.points, heads.labels, camera=heads.camera, settings=TRUSTING)
    vertices = rig.vertices_mm(found.identity, found.expression)
    distance = np.linalg.norm(found.project(heads.points.on(vertices)) - heads.labels, axis=2)
    assert distance.mean(1) == pytest.approx(found.residual_px, rel=0.05, abs=1e-3)


def test_expressions_stay_within_their_bounds(rig: Rig) -> None:
    heads = Heads(rig, 3)
    beyond = heads.expression.copy()
    beyond[:, 0], beyond[:, 1] = -0.8, 1.8
    vertices = rig.vertices_mm(heads.identity, beyond).astype(float)
    labels = heads.camera.project(heads.points.on(vertices) @ heads.R.swapaxes(1, 2) + heads.t[:, None])
    found = fit(rig, heads.points, labels, camera=heads.camera, settings=TRUSTING)
    assert (found.expression >= 0).all()
    assert (found.expression <= 1).all()
    assert found.expression[:, 0].max() < 0.05
    assert found.expression[:, 1].min() > 0.95


def test_labels_without_weight_do_not_count(rig: Rig) -> None:
    heads = Heads(rig, 2)
    weights = np.ones(heads.labels.shape[:2])
    weights[:, ::3] = 0
    labels = np.where(weights[..., None] > 0, heads.labels, np.nan)
    kept = np.flatnonzero(weights[0])
    fewer = Points(heads.points.vertices[kept], heads.points.barycentric[kept])
    a = fit(rig, heads.points, labels, weights=weights, camera=heads.camera)
    b = fit(rig, fewer, heads.labels[:, kept], camera=heads.camera)
    assert np.allclose(a.identity, b.identity, atol=1e-3)
    assert np.allclose(a.t_camera_head_mm, b.t_camera_head_mm, atol=1e-2)


def test_a_head_does_not_depend_on_its_batch(rig: Rig) -> None:
    heads = Heads(rig, 40)  # more than are solved at once
    together = fit(rig, heads.points, heads.labels, depth_px=heads.depth)
    alone = fit(rig, heads.points, heads.labels[37:38], depth_px=heads.depth[37:38])
    assert np.allclose(together.identity[37], alone.identity[0], atol=1e-4)
    assert np.allclose(together.R_camera_head[37], alone.R_camera_head[0], atol=1e-5)


def test_scaling_and_shifting_a_photo_scales_and_shifts_its_fit(rig: Rig) -> None:
    heads = Heads(rig, 2)
    a, b = fit(rig, heads.points, heads.labels), fit(rig, heads.points, heads.labels * 2.5 + (100, -30))
    assert np.allclose(a.identity, b.identity, atol=1e-3)
    assert b.camera.focal_px == pytest.approx(2.5 * a.camera.focal_px)
    assert b.residual_px == pytest.approx(2.5 * a.residual_px, rel=1e-2)
    vertices = rig.vertices_mm(a.identity, a.expression)
    assert np.allclose(b.project(vertices), a.project(vertices) * 2.5 + (100, -30), atol=0.1)


def test_the_zero_of_the_depths_is_free(rig: Rig) -> None:
    heads = Heads(rig, 2)
    a, b = (fit(rig, heads.points, heads.labels, depth_px=heads.depth + zero) for zero in (0.0, 321.0))
    assert np.allclose(a.identity, b.identity, atol=1e-5)


def test_depth_settles_what_one_view_leaves_open(rig: Rig) -> None:
    heads = Heads(rig, 8)
    noisy = heads.labels + np.random.default_rng(1).normal(0, 1.0, heads.labels.shape)
    errors = []
    for depth in (None, heads.depth):
        settings = Settings(noise_mm=1.0, depth=0.5)
        found = fit(rig, heads.points, noisy, depth_px=depth, camera=heads.camera, settings=settings)
        errors.append(np.abs(rig.vertices_mm(found.identity, found.expression) - heads.vertices).mean())
    assert errors[1] < errors[0]


def test_pairs_keep_their_distance_where_places_disagree(rig: Rig) -> None:
    heads = Heads(rig, 4)
    rng = np.random.default_rng(3)
    noisy = heads.labels + rng.normal(0, 6.0, heads.labels.shape)
    pair = np.array([[100, 130]])
    noisy[:, 130] = noisy[:, 100] + heads.labels[:, 130] - heads.labels[:, 100]  # only their difference is right
    off = []
    for pairs in (None, pair):
        found = fit(rig, heads.points, noisy, pairs=pairs, camera=heads.camera)
        xy = found.project(heads.points.on(rig.vertices_mm(found.identity, found.expression)))
        off.append(np.abs((xy - heads.labels)[:, 130] - (xy - heads.labels)[:, 100]).mean())
    assert off[1] < 0.7 * off[0]


def test_eyes_look_where_the_irises_were_seen(rig: Rig) -> None:
    heads = Heads(rig, 5)
    found = fit(rig, heads.points, heads.labels, camera=heads.camera, settings=TRUSTING)
    vertices = rig.vertices_mm(found.identity, found.expression)
    straight = np.stack([found.project(vertices[:, eye.iris].mean(1)[:, None])[:, 0] for eye in rig.eyes or ()], 1)
    aimed = straight + np.random.default_rng(2).uniform(-2.5, 2.5, straight.shape)
    turns = aim_eyes(rig, found, vertices, aimed)
    turned = turned_eyes(rig, vertices, turns)
    seen = np.stack([found.project(turned[:, eye.iris].mean(1)[:, None])[:, 0] for eye in rig.eyes or ()], 1)
    assert np.abs(seen - aimed).max() < 0.05
    for eye in rig.eyes or ():  # balls turn, they do not move or change size
        a, b = (
            np.linalg.norm(v[:, eye.vertices] - eye.centre_mm(vertices)[:, None], axis=2) for v in (vertices, turned)
        )
        assert np.allclose(a, b, atol=1e-3)
    skin = rig.parts["skin"]
    assert np.array_equal(turned[:, skin], vertices[:, skin])


def test_an_eye_that_was_not_seen_looks_straight_ahead(rig: Rig) -> None:
    heads = Heads(rig, 2)
    found = fit(rig, heads.points, heads.labels, camera=heads.camera)
    turns = aim_eyes(rig, found, heads.vertices, np.full((2, 2, 2), np.nan))
    assert np.array_equal(turns, np.tile(np.eye(3), (2, 2, 1, 1)))


def test_exponential_and_logarithm_are_inverse() -> None:
    vectors = np.random.default_rng(0).normal(0, 0.8, (50, 3))
    assert np.allclose(logarithm(exponential(vectors)), vectors)
    assert np.allclose(exponential(np.array([[0, 0, np.pi / 2]])) @ [1, 0, 0], [0, 1, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((2, 5, 2))}, r"labels must be \(B, \d+, 2\), not \(2, 5, 2\)"),
        ({"labels": np.zeros((0, 1, 2))}, "labels must be"),
        ({"weights": -1.0}, "weights"),
        ({"depth_px": np.zeros((2, 3))}, "depths must be"),
        ({"weights": 0.0}, "fewer than 6 labels"),
        ({"nan": True}, "not finite"),
        ({"pairs": np.zeros((2, 3), int)}, "pairs must be"),
        ({"pairs": [[0, 10**6]]}, "pairs has a label outside"),
        ({"camera": Camera(np.ones(3), np.zeros((3, 2)))}, "2 heads need as many cameras"),
    ],
)
def test_bad_input_is_one_clear_line(rig: Rig, change: dict, message: str) -> None:
    heads = Heads(rig, 2)
    labels = change.pop("labels", heads.labels)
    if change.pop("nan", False):
        labels = labels.copy()
        labels[1, 4] = np.nan
    if "weights" in change:
        change["weights"] = np.full(labels.shape[:2], change["weights"])
    with pytest.raises(AnymarkError, match=message) as caught:
        fit(rig, heads.points, labels, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neutral_mm": np.zeros((5, 2))}, "neutral must be"),
        ({"identity_mm": np.zeros((3, 7, 3))}, "identity_mm must be"),
        ({"expression_names": ("a",)}, "expression_mm must be"),
        ({"triangles": np.array([[0, 1, 10**6]])}, "triangles has a vertex outside"),
        ({"eyes": (Eye(np.array([10**6]), np.array([0])),) * 2}, "eye has a vertex outside"),
        ({"parts": {"nose": np.array([-1])}}, "nose has a vertex outside"),
    ],
)
def test_a_rig_that_does_not_fit_together_is_refused(rig: Rig, change: dict, message: str) -> None:
    with pytest.raises(AnymarkError, match=message):
        replace(rig, **change)


@pytest.fixture(scope="module")
def ict() -> Rig:
    if not (SHARED / "assets" / "ict_facekit").is_dir():
        pytest.skip("needs ../shared/assets/ict_facekit")
    return Rig.load_ict(SHARED / "assets")


def test_ict_facekit_is_a_head_in_our_frame(ict: Rig) -> None:
    nose, chin = ict.landmarks["ibug68"].on(ict.neutral_mm)[[30, 8]]
    assert nose[2] > 120
    assert chin[1] < -70
    right, left = (eye.centre_mm(ict.neutral_mm) for eye in ict.eyes or ())
    assert np.allclose(right * (-1, 1, 1), left, atol=0.1)
    assert left[0] > 28
    assert set(ict.parts) >= {"face", "upper teeth", "lower teeth", "left eyeball"}


def test_real_photos_are_fitted_closely(ict: Rig) -> None:
    from anymark.photo_files import read_labels

    folder = SHARED / "photos" / "faker"
    if not folder.is_dir():
        pytest.skip("needs ../shared/photos")
    labels = read_labels(folder)
    points, depth = labels.points_px[:24, :468], labels.depth_px[:24, :468]
    found = fit(ict, ict.landmarks["mediapipe468"], points, depth_px=depth)
    eyes = np.linalg.norm(points[:, 33] - points[:, 263], axis=1)
    assert np.median(found.residual_px / eyes) < 0.014
    assert np.sqrt((found.identity**2).mean()) < 0.6


def test_a_missing_rig_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnymarkError, match=r"ict_facekit_light\.npz: no such file"):
        Rig.load_ict(tmp_path)
    folder = tmp_path / "ict_facekit"
    folder.mkdir()
    (folder / "ict_facekit_light.npz").write_bytes(b"PK")
    with pytest.raises(AnymarkError, match="not a rig"):
        Rig.load_ict(tmp_path)
