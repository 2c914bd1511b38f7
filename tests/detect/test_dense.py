"""Dense maps: what they say between their pixels, and how networks and photos become maps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from anymark.canonical.frame import CUBE_SIDE_MM, uvw_to_mm
from anymark.detect.dense import DenseMap, DenseNetwork, whole
from anymark.detect.detector import Detector
from anymark.detect.embed import Dense
from anymark.detect.image import open_photo
from anymark.detect.model import Model
from anymark.detect.window import Crop, Window
from anymark.errors import AnymarkError
from tests.dense_maps import exact_map, turned_camera
from tests.detect.synthetic import _save as save
from tests.detect.synthetic import blobs, write_card, write_landmark_model, write_locator

SIZE = 32


@pytest.fixture(scope="module")
def dense() -> DenseMap:
    return exact_map(turned_camera(20.0), (256, 256))


def write_dense_model(folder: Path, spread: float = 0.5, **card: object) -> Path:
    """u grows to the right, v upwards, w is the mean of the colours; bright pixels are head."""
    folder.mkdir()
    along = (np.arange(SIZE // 2) + 0.5) / (SIZE // 2)
    u, v = np.meshgrid(along, 1 - along)
    save(
        folder / "dense.onnx",
        f"""d (uint8[B, {SIZE}, {SIZE}, 3] image) => (float[B, 5, {SIZE // 2}, {SIZE // 2}] dense) {{
            pixels = Cast <to = 1> (image)
            rows = Constant <value_ints = [-1, {SIZE // 2}, 2, {SIZE // 2}, 2, 3]> ()
            cells = Reshape (pixels, rows)
            grey = ReduceMean <axes = [2, 4, 5], keepdims = 0> (cells)
            one = Constant <value_ints = [1]> ()
            bright = Unsqueeze (grey, one)
            none = Mul (bright, zero)
            w = Mul (bright, per_grey)
            centred = Sub (w, half)
            head = Mul (centred, steep)
            base = Add (none, places)
            spread = Add (none, log_spread)
            dense = Concat <axis = 1> (base, w, head, spread)
        }}""",
        zero=[0.0],
        per_grey=[1 / 255],
        half=[0.15],
        steep=[40.0],
        places=np.stack([u, v])[None],
        log_spread=np.log([spread]),
    )
    said = {"format": 1, "kind": "dense", "name": "drawn", "input_size": SIZE, "window_scale": 2.0, **card}
    return write_card(folder, **said)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dense_model(tmp_path_factory.mktemp("dense") / "drawn")


def test_at_the_middles_of_its_pixels_a_map_says_what_it_holds(dense: DenseMap) -> None:
    found = dense.at(dense.pixels_px)
    np.testing.assert_allclose(found.points_mm, dense.points_mm, atol=1e-3)
    np.testing.assert_allclose(found.head, dense.head, atol=1e-5)


def test_the_place_of_a_vertex_says_the_vertex() -> None:
    camera = turned_camera(0.0)
    dense = exact_map(camera, (256, 256), side=256)
    nose = np.array([0.0, -2.0, 121.0])
    found = dense.at(camera.project(nose))
    assert np.linalg.norm(found.points_mm[:2] - nose[:2]) < 0.3


def test_outside_of_the_square_nothing_is_head(dense: DenseMap) -> None:
    small = replace(dense, crop=Crop(Window(np.full(2, 128.0), 100.0).affine()), head=np.ones_like(dense.head))
    found = small.at([[77.0, 128.0], [79.0, 128.0], [300.0, -9.0]])
    assert found.head.tolist() == [0.0, 1.0, 0.0]


def test_scaling_the_photo_scales_coordinates_and_nothing_else(dense: DenseMap) -> None:
    twice = replace(dense, crop=dense.crop.scaled(2), image_size_px=(512, 512))
    xy = np.random.default_rng(0).uniform(60, 200, (50, 2))
    np.testing.assert_allclose(twice.at(2 * xy).points_mm, dense.at(xy).points_mm, atol=1e-3)
    np.testing.assert_allclose(twice.gradient(2 * xy), dense.gradient(xy) / 2, atol=1e-4)


def test_the_gradient_is_that_of_a_plane() -> None:
    side = 16
    crop = Crop(np.array([[30.0, 10.0, 50.0], [-10.0, 30.0, 60.0]]))
    ones = np.ones((side, side), np.float32)
    flat = DenseMap(np.zeros((side, side, 3), np.float32), ones, ones, crop, (100, 100))
    slope = np.array([[0.5, -0.2], [0.1, 0.3], [0.0, 1.0]])
    plane = replace(flat, points_mm=(flat.pixels_px @ slope.T).astype(np.float32))
    found = plane.gradient(np.array([[50.0, 60.0], [45.0, 66.0]]))
    np.testing.assert_allclose(found, np.broadcast_to(slope, (2, 3, 2)), atol=1e-4)


def test_on_the_photo_each_pixel_has_its_own(dense: DenseMap) -> None:
    points, head, sigma = dense.on_photo()
    assert points.shape == (256, 256, 3)
    assert head.shape == sigma.shape == (256, 256)
    np.testing.assert_allclose(points[100, 120], dense.at([120.5, 100.5]).points_mm)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head": np.zeros((3, 3), np.float32)}, "head is"),
        ({"points_mm": np.full((128, 128, 3), np.nan, np.float32)}, "not finite"),
        ({"head": np.full((128, 128), 1.5, np.float32)}, "probability"),
        ({"sigma_mm": np.full((128, 128), -1.0, np.float32)}, "sigma below 0"),
    ],
)
def test_what_is_no_map_is_refused(dense: DenseMap, change: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(AnymarkError, match=said):
        replace(dense, **change)


def test_a_network_becomes_a_map(model: Path) -> None:
    network = DenseNetwork(Model(model, "dense"))
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    (found,) = network.maps(open_photo(pixels), [Window(np.full(2, 32.0), 64.0)], [None])
    assert found.side == SIZE // 2
    assert found.head[:, :7].max() < 0.01
    assert found.head[:, 9:].min() > 0.99
    np.testing.assert_allclose(found.uvw[3, 5, :2], [5.5 / 16, 12.5 / 16], atol=1e-5)
    np.testing.assert_allclose(found.points_mm[3, 12], uvw_to_mm([12.5 / 16, 12.5 / 16, 1.0]), atol=1e-2)
    assert found.sigma_mm == pytest.approx(1.0)  # two spreads
    assert found.share == pytest.approx(0.5)
    assert CUBE_SIDE_MM == 400


def test_a_photo_smaller_than_a_patch_has_a_map(model: Path) -> None:
    network = DenseNetwork(Model(model, "dense"))
    (found,) = network.maps(open_photo(np.full((3, 5, 3), 200, np.uint8)), [whole((5, 3))], [None])
    assert found.on_photo().head.shape == (3, 5)


def test_heads_get_a_map_each_and_a_photo_without_one_gets_one_that_says_so(model: Path, tmp_path: Path) -> None:
    detector = Detector(write_landmark_model(tmp_path / "l"), write_locator(tmp_path / "f"), most_unsure=np.inf)
    dense = Dense(model, detector)
    dense.load()
    photo = blobs(200, 120, (60, 60))
    (found,) = dense.encode(photo)
    (head,) = detector.encode(photo)
    np.testing.assert_allclose(found.crop.centre_px, (head.box_px[:2] + head.box_px[2:]) / 2)
    assert found.crop.side_px == pytest.approx(2 * (head.box_px[2:] - head.box_px[:2]).max())
    (nothing,) = dense.encode(np.zeros((120, 200, 3), np.uint8))
    assert nothing.share == 0
    np.testing.assert_allclose(nothing.crop.centre_px, [100, 60])
    assert nothing.crop.side_px == 200


def test_windows_of_the_callers_are_kept_in_order(model: Path) -> None:
    windows = [Window(np.array([20.0, 20.0]), 30.0), Window(np.array([70.0, 50.0]), 40.0)]
    found = Dense(model).encode(blobs(120, 100, (50, 50)), windows)
    assert [each.crop.side_px for each in found] == pytest.approx([30, 40])


def test_heads_are_looked_for_in_the_middle_of_the_callers_windows(tmp_path: Path) -> None:
    """What the dense model starts from: the face is there, though the window also holds hair and chin."""
    dense = Dense(write_dense_model(tmp_path / "m", prior=True), Detector(write_landmark_model(tmp_path / "l")))
    asked: list[Window] = []

    def encode(photo: object, windows: list[Window]) -> list[SimpleNamespace]:
        asked.extend(windows)
        return [SimpleNamespace(unsureness=np.inf) for _ in windows]

    dense.detector.encode = encode  # type: ignore[method-assign,assignment]
    windows = [Window(np.array([96.0, 54.0]), 40.0, 0.3), Window(np.array([20.0, 30.0]), 24.0)]
    assert dense._meshes(open_photo(blobs(120, 100, (50, 50))), windows) == [None, None]
    for given, found in zip(windows, asked, strict=True):
        np.testing.assert_allclose(found.centre_px, given.centre_px)
        assert found.side_px == pytest.approx(given.side_px * dense.detector.landmarker.window_scale / 2.0)
        assert found.roll_rad == given.roll_rad


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("round_trip", {"round_trip": {"trust": 0, "visible": [1, 1, 1, 1]}}),
        ("round_trip", {"round_trip": {"trust": 1, "visible": [1, 1]}}),
        ("round_trip", {"round_trip": 3}),
        ("sigma_scale", {"sigma_scale": -1}),
        ("input_size", {"input_size": 0}),
    ],
)
def test_a_garbled_card_is_named(tmp_path: Path, said: str, given: dict[str, object]) -> None:
    folder = write_dense_model(tmp_path / "m", **given)
    with pytest.raises(AnymarkError, match=said):
        DenseNetwork(Model(folder, "dense"))


def test_a_model_of_another_kind_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(AnymarkError, match="kind 'landmarks'"):
        Model(write_landmark_model(tmp_path / "l"), "dense")
    card = json.loads((model / "card.json").read_text())
    assert card["kind"] == "dense"
