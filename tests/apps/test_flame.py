"""FLAME's file: read without running anything of it."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_matrix

from anymark.apps.flame import FLAME_UNIT_MM, JAW, _array, _Reader, read_flame
from anymark.apps.rigs import load_rig
from anymark.canonical import CanonicalHead, load_layout
from anymark.errors import AnymarkError


class Ch:
    """As chumpy pickles its arrays."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


Ch.__module__ = "chumpy.ch"


@pytest.fixture
def flame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file like FLAME's, of the canonical head in metres; chumpy is gone when it is read."""
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    module = types.ModuleType("chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    head = CanonicalHead.load()
    count = len(head.vertices_mm)
    rng = np.random.default_rng(0)
    shapes = np.zeros((count, 3, 400))
    shapes[:, :, :3] = shapes[:, :, 300:303] = rng.normal(0, 0.002, (count, 3, 3))
    weights = np.zeros((count, 5))
    weights[:, 0] = 1
    low = head.vertices_mm[:, 1] < -50
    weights[low, 0], weights[low, JAW] = 0, 1
    content = {
        "v_template": Ch(head.vertices_mm / FLAME_UNIT_MM),
        "shapedirs": Ch(shapes),
        "f": head.triangles.astype(np.uint32),
        "weights": weights,
        "J_regressor": csc_matrix(np.full((5, count), 1 / count)),
    }
    path = tmp_path / "flame.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    monkeypatch.delitem(sys.modules, "chumpy")
    return path


def test_its_arrays_are_read(flame: Path) -> None:
    found = read_flame(flame)
    head = CanonicalHead.load()
    np.testing.assert_allclose(found["neutral"] * FLAME_UNIT_MM, head.vertices_mm, atol=1e-3)
    assert found["identity"].shape == (100, len(head.vertices_mm), 3)
    assert found["expression"].shape == (101, len(head.vertices_mm), 3)
    np.testing.assert_allclose(found["expression"][0], -found["expression"][50])
    chin = head.vertices_mm[:, 1] < -60
    jaw = found["expression"][-1]
    assert jaw[chin & (head.vertices_mm[:, 2] > 80), 1].max() < -0.003  # the chin goes down
    assert np.abs(jaw[head.vertices_mm[:, 1] > 0]).max() == 0


def test_it_becomes_a_rig_by_its_landmarks(flame: Path, tmp_path: Path) -> None:
    head, wanted = CanonicalHead.load(), load_layout("ibug68").points_mm
    ids = np.linalg.norm(wanted[:, None] - head.vertices_mm, axis=-1).argmin(1)
    (tmp_path / "landmarks.txt").write_text(" ".join(map(str, ids)))
    rig = load_rig(flame, landmarks=tmp_path / "landmarks.txt")
    on = np.isfinite(rig.canonical_mm).all(1)
    assert on.mean() > 0.5
    face = on & (head.vertices_mm[:, 2] > 70) & (np.abs(head.vertices_mm[:, 0]) < 50)
    assert np.median(np.linalg.norm(rig.canonical_mm[face] - head.vertices_mm[face], axis=1)) < 4.0
    with pytest.raises(AnymarkError, match="68 landmarks are needed"):
        load_rig(flame)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/anymark-was-here",)


def test_nothing_of_a_pickle_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"v_template": Evil()}).replace(b"/tmp/anymark-was-here", b"/tmp/anymark-was-here"))
    with pytest.raises(AnymarkError, match="not FLAME's model"):
        read_flame(path)
    assert not mark.exists()
    assert not Path("/tmp/anymark-was-here").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"not a pickle", pickle.dumps({"v_template": np.zeros(3)})])
def test_what_is_no_flame_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(AnymarkError, match=r"model\.pkl: not FLAME"):
        read_flame(path)
    with pytest.raises(AnymarkError, match="no such file"):
        read_flame(tmp_path / "none.pkl")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.uint32).reshape(3, 4)),
        np.arange(6, dtype=">f4").reshape(1, 2, 3),
        np.array([[True, False]]),
        np.zeros((0, 3)),
    ],
)
def test_arrays_come_out_of_pickles_of_all_ages(array: np.ndarray, protocol: int) -> None:
    (found,) = (_array(bag) for bag in [_Reader(io.BytesIO(pickle.dumps(array, protocol)), encoding="latin1").load()])
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_kind_of_number_that_holds_pointers_is_refused(flame: Path) -> None:
    """numpy itself would follow them."""

    class Kind:
        def __reduce__(self) -> tuple[object, ...]:
            return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)

    class Pointers:
        def __reduce__(self) -> tuple[object, ...]:
            state = (1, (3, 3), Kind(), False, b"A" * 72)
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state  # type: ignore[attr-defined]

    content = dict.fromkeys(("v_template", "shapedirs", "f", "weights", "J_regressor"), Pointers())
    flame.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(AnymarkError, match=r"flame\.pkl: not FLAME's model \(an array of 'O8' is none of numbers\)"):
        read_flame(flame)
