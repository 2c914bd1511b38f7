"""The landmark networks: layouts of any length, in bounded memory, with the same answers."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from anymark.detect import landmarker as landmarker_module
from anymark.detect.landmarker import Landmarker
from anymark.detect.model import Model, Network
from tests.detect.synthetic import SIZE, blobs

POINTS = np.random.default_rng(0).uniform(-60, 60, (1000, 3)).astype(np.float32)
BASIS_BYTES = 16  # a point's 4 terms


@pytest.fixture(scope="module")
def folders(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each predictor; the transformer has the mlp's networks, which is all the same to the caller."""
    transformer = Path(shutil.copytree(models / "mlp", tmp_path_factory.mktemp("models") / "transformer"))
    card = json.loads((transformer / "card.json").read_text())
    (transformer / "card.json").write_text(json.dumps({**card, "predictor": "transformer"}))
    return {"basis": models / "basis", "mlp": models / "mlp", "transformer": transformer}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many points each call of a query network gets."""
    counts: list[int] = []
    call = Network.__call__

    def counted(self: Network, **inputs: np.ndarray) -> list[np.ndarray]:
        if "points_mm" in inputs:
            counts.append(len(inputs["points_mm"]))
        return call(self, **inputs)

    monkeypatch.setattr(Network, "__call__", counted)
    return counts


def head(folder: Path) -> tuple[Landmarker, np.ndarray]:
    """A model, and the code of a blob."""
    landmarker = Landmarker(Model(folder, "landmarks", threads=1))
    return landmarker, landmarker.encode(blobs(SIZE, SIZE, (30, 35), sigma=4)[None])[0]


def test_the_product_in_blocks_is_the_whole_one(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    landmarker, code = head(folders["basis"])
    whole = landmarker.landmarks(code, POINTS)
    for rows in (0, 1, 7, 999):  # at least one, and blocks that leave a rest
        monkeypatch.setattr(landmarker_module, "_MULTIPLIED_AT_ONCE", rows * code.size)
        np.testing.assert_allclose(landmarker.landmarks(code, POINTS), whole, atol=1e-6)


@pytest.mark.parametrize("predictor", ["basis", "mlp"])
def test_chunks_are_bounded_and_change_no_answer(
    predictor: str, folders: dict[str, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    landmarker, code = head(folders[predictor])
    whole = landmarker.landmarks(code, POINTS)
    assert asked == [1000]
    monkeypatch.setattr(landmarker_module, "_POINTS_AT_ONCE", 300)
    for cached_bytes in (10**9, 0):
        asked.clear()
        monkeypatch.setattr(landmarker_module, "_CACHED_BYTES", cached_bytes)
        np.testing.assert_allclose(head(folders[predictor])[0].landmarks(code, POINTS), whole, atol=1e-6)
        assert asked == [300, 300, 300, 100]


def test_a_transformers_points_stay_together(
    folders: dict[str, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmarker_module, "_POINTS_AT_ONCE", 300)
    landmarker, code = head(folders["transformer"])
    landmarker.landmarks(code, POINTS)
    assert asked == [1000]


def test_a_layout_seen_before_is_not_computed_again(folders: dict[str, Path], asked: list[int]) -> None:
    landmarker, code = head(folders["basis"])
    first = landmarker.landmarks(code, POINTS)
    np.testing.assert_array_equal(landmarker.landmarks(code, POINTS.copy()), first)
    assert asked == [1000]


def test_what_is_kept_of_layouts_is_bounded(
    folders: dict[str, Path], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmarker_module, "_CACHED_BYTES", 250 * BASIS_BYTES)
    landmarker, code = head(folders["basis"])
    for start in range(0, 1000, 100):  # two of these fit
        landmarker.landmarks(code, POINTS[start : start + 100])
        assert sum(basis.nbytes for basis in landmarker._bases.values()) <= 250 * BASIS_BYTES
    asked.clear()
    landmarker.landmarks(code, POINTS[900:])
    landmarker.landmarks(code, POINTS[800:900])
    assert asked == []
    landmarker.landmarks(code, POINTS)  # too large to be kept: the others stay
    landmarker.landmarks(code, POINTS[900:])
    assert asked == [1000]


def test_only_so_many_layouts_are_kept(folders: dict[str, Path]) -> None:
    landmarker, code = head(folders["basis"])
    for i in range(100):
        landmarker.landmarks(code, POINTS[i : i + 1])
    assert len(landmarker._bases) == landmarker_module._CACHED_LAYOUTS


def test_many_threads_may_ask_one_model(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    landmarker, code = head(folders["basis"])
    monkeypatch.setattr(landmarker_module, "_CACHED_LAYOUTS", 2)  # so that layouts come and go
    layouts = [POINTS[i : i + 10] for i in range(0, 60, 10)]
    wanted = [landmarker.landmarks(code, layout) for layout in layouts]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: landmarker.landmarks(code, layouts[i % 6]), range(600)))
    finally:
        sys.setswitchinterval(interval)
    for i, answer in enumerate(answers):
        np.testing.assert_allclose(answer, wanted[i % 6], atol=1e-6)
