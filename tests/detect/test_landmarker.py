"""The landmark networks: layouts of any length, in bounded memory, with the same answers; data set codes."""

from __future__ import annotations

import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from anymark import AnymarkError, Layout
from anymark.detect import landmarker as landmarker_module
from anymark.detect.landmarker import Answer, Landmarker
from anymark.detect.model import Model, Network
from tests.detect.synthetic import DISTANCE_MM, FOCAL, LOGIT, SIGMA, SIZE, WINDOW_SIZE, blobs

POINTS = np.random.default_rng(0).uniform(-60, 60, (1000, 3)).astype(np.float32)
QUERY_BYTES = 28  # a point's 3 coordinates and 4 terms


@pytest.fixture(scope="module")
def folders(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each predictor; the transformer has the mlp's networks, which is all the same to the caller."""
    transformer = Path(shutil.copytree(models / "mlp", tmp_path_factory.mktemp("models") / "transformer"))
    edit(transformer, predictor="transformer")
    return {"basis": models / "basis", "mlp": models / "mlp", "transformer": transformer}


def edit(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, **changes}))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many points each call of query.onnx gets."""
    counts: list[int] = []
    call = Network.__call__

    def counted(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        if self.path.name == "query.onnx":
            counts.append(len(inputs["points_mm"]))
        return call(self, **inputs)

    monkeypatch.setattr(Network, "__call__", counted)
    return counts


class Blob:
    """A model, and a blob as it sees it."""

    def __init__(self, folder: Path) -> None:
        self.landmarker = Landmarker(Model(folder, "landmarks", threads=1))
        codes, cameras = self.landmarker.encode(blobs(SIZE, SIZE, (30, 35), sigma=4)[None])
        self.code, self.camera = codes[0], cameras[0]

    def landmarks(self, points: np.ndarray, code: str | tuple[float, ...] | None = None) -> Answer:
        return self.landmarker.landmarks(self.code, self.camera, Layout("points", points, code=code))


def run_all(folder: Path) -> None:
    """Every network once."""
    blob = Blob(folder)
    blob.landmarker.crops(blobs(WINDOW_SIZE, WINDOW_SIZE, (20, 25), sigma=3)[None])
    blob.landmarks(POINTS)


def same(first: Answer, second: Answer) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("predictor", ["basis", "mlp", "transformer"])
def test_a_head_is_answered_as_its_camera_sees_it(predictor: str, folders: dict[str, Path]) -> None:
    found = Blob(folders[predictor]).landmarks(POINTS)
    np.testing.assert_allclose(found.xyz_mm, POINTS, atol=1e-5)
    x, y, z = POINTS.T
    middle = np.array([30, 35]) / (SIZE / 2) - 1
    want = middle * DISTANCE_MM / (DISTANCE_MM - z[:, None]) + FOCAL * np.stack([x, -y], 1) / (DISTANCE_MM - z)[:, None]
    np.testing.assert_allclose(found.xy, want, atol=1e-4)
    np.testing.assert_allclose(found.sigma, SIGMA, rtol=1e-5)
    np.testing.assert_allclose(found.uncovered, 1 / (1 + np.exp(-LOGIT)), rtol=1e-5)


def test_sigma_and_visibility_are_calibrated_by_the_card(models: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models / "basis", tmp_path / "calibrated"))
    edit(folder, sigma_scale=1.7, visible={"scale": 0.5, "shift": -2.0, "surface": 1.0})
    found = Blob(folder).landmarks(POINTS)
    np.testing.assert_allclose(found.sigma, 1.7 * SIGMA, rtol=1e-5)
    np.testing.assert_allclose(found.uncovered, 1 / (1 + np.exp(2.0 - 0.5 * LOGIT)), rtol=1e-5)


@pytest.mark.parametrize("predictor", ["basis", "mlp"])
def test_a_layouts_code_says_where_its_points_are(predictor: str, folders: dict[str, Path]) -> None:
    blob = Blob(folders[predictor])
    reference = blob.landmarks(POINTS)
    for code, moved in (("fits", (0, 0, 0)), ("ibug68", (10, 0, 0)), ((0.5, -0.25), (5, -2.5, 0)), ("mine", (0, 0, 0))):
        found = blob.landmarks(POINTS, code)
        np.testing.assert_allclose(found.xyz_mm - reference.xyz_mm, np.tile(moved, (1000, 1)), atol=1e-4)
    with pytest.raises(AnymarkError, match=r"layout 'points': a code of 3 numbers; those of .* have 2"):
        blob.landmarks(POINTS, (1.0, 2.0, 3.0))


@pytest.mark.parametrize("predictor", ["basis", "mlp"])
def test_chunks_are_bounded_and_change_no_answer(
    predictor: str, folders: dict[str, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Blob(folders[predictor]).landmarks(POINTS)
    assert asked == [1000]
    monkeypatch.setattr(landmarker_module, "_POINTS_AT_ONCE", 300)
    for cached_bytes in (10**9, 0):
        asked.clear()
        monkeypatch.setattr(landmarker_module, "_CACHED_BYTES", cached_bytes)
        blob = Blob(folders[predictor])
        same(blob.landmarks(POINTS), whole)
        assert asked == [300, 300, 300, 100]
        same(blob.landmarks(POINTS), whole)
        assert len(asked) == (4 if cached_bytes else 8)


def test_a_transformers_points_stay_together(
    folders: dict[str, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmarker_module, "_POINTS_AT_ONCE", 300)
    Blob(folders["transformer"]).landmarks(POINTS)
    assert asked == [1000]


def test_a_layout_seen_before_is_not_computed_again_unless_its_code_differs(
    folders: dict[str, Path], asked: list[int]
) -> None:
    blob = Blob(folders["basis"])
    first = blob.landmarks(POINTS, "ibug68")
    same(blob.landmarks(POINTS.copy(), (1.0, 0.0)), first)  # the same code by its numbers
    assert asked == [1000]
    other = blob.landmarks(POINTS)
    assert asked == [1000, 1000]
    assert np.abs(other.xy - first.xy).max() > 0.05
    same(blob.landmarks(POINTS, "ibug68"), first)
    assert len(asked) == 2


def test_what_is_kept_of_layouts_is_bounded(
    folders: dict[str, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmarker_module, "_CACHED_BYTES", 250 * QUERY_BYTES)
    blob = Blob(folders["basis"])
    for start in range(0, 1000, 100):  # two of these fit
        blob.landmarks(POINTS[start : start + 100])
    asked.clear()
    blob.landmarks(POINTS[900:])
    blob.landmarks(POINTS[800:900])
    assert asked == []
    blob.landmarks(POINTS)  # too large to be kept: the others stay
    blob.landmarks(POINTS[900:])
    assert asked == [1000]
    blob.landmarks(POINTS[700:800])
    assert asked == [1000, 100]


def test_only_so_many_layouts_are_kept(folders: dict[str, Path], asked: list[int]) -> None:
    blob = Blob(folders["basis"])
    kept = landmarker_module._CACHED_LAYOUTS
    for i in [*range(20), *range(20 - kept, 20), 20 - kept - 1]:
        blob.landmarks(POINTS[i : i + 1])
    assert len(asked) == 21


def test_many_threads_may_ask_one_model(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    blob = Blob(folders["basis"])
    monkeypatch.setattr(landmarker_module, "_CACHED_LAYOUTS", 2)  # so that layouts come and go
    layouts = [POINTS[i : i + 10] for i in range(0, 60, 10)]
    wanted = [blob.landmarks(layout) for layout in layouts]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: blob.landmarks(layouts[i % 6]), range(600)))
    finally:
        sys.setswitchinterval(interval)
    for i, answer in enumerate(answers):
        same(answer, wanted[i % 6])


def test_more_pictures_than_go_into_one_call(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    landmarker = Landmarker(Model(folders["basis"], "landmarks", threads=1))
    pictures = np.stack([blobs(SIZE, SIZE, (20 + i, 35), sigma=4) for i in range(7)])
    windows = np.stack([blobs(WINDOW_SIZE, WINDOW_SIZE, (20 + i, 25), sigma=3) for i in range(7)])
    whole, thetas = landmarker.encode(pictures), landmarker.crops(windows)
    monkeypatch.setattr(landmarker_module, "BATCH", 3)
    for one, other in zip(landmarker.encode(pictures), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(landmarker.crops(windows), thetas, atol=1e-6)
    assert thetas.shape == (7, 2, 3)


@pytest.mark.parametrize("file", ["crop.onnx", "encode.onnx", "query.onnx", "decode.onnx"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_an_error(
    file: str, value: float, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Network.__call__

    def broken(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        answers = [answer.copy() for answer in call(self, **inputs)]
        if self.path.name == file:
            answers[-1].flat[-1] = value
        return answers

    monkeypatch.setattr(Network, "__call__", broken)
    with pytest.raises(AnymarkError, match=f"{file}: its answer is not finite"):
        run_all(folders["basis"])


@pytest.mark.parametrize(("file", "shape"), [("crop.onnx", (2, 3)), ("encode.onnx", (13,)), ("decode.onnx", (7,))])
def test_an_answer_of_another_shape_is_an_error(
    file: str, shape: tuple[int, ...], folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Network.__call__

    def shorter(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        *others, last = call(self, **inputs)
        return [*others, last[..., 1:]] if self.path.name == file else [*others, last]

    monkeypatch.setattr(Network, "__call__", shorter)
    with pytest.raises(AnymarkError, match=f"{file}: its answer is .* not end in {re.escape(str(shape))}"):
        run_all(folders["basis"])


def test_a_sigma_beyond_all_numbers_is_an_error_too(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    blob, call = Blob(folders["basis"]), Network.__call__

    def broken(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        (answer,) = call(self, **inputs)
        return [np.where(np.arange(7) == 2, np.float32(100), answer)]

    blob.landmarks(POINTS)
    monkeypatch.setattr(Network, "__call__", broken)
    with pytest.raises(AnymarkError, match=r"decode\.onnx: its answer is not finite"):
        blob.landmarks(POINTS)
