"""Shards: what is written comes back, and what is damaged is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.engine.samples import QUANTUM, SD_QUANTUM, Sample, read_shards, write_shard
from anymark.errors import AnymarkError

SIDE, VERTICES = 32, 45


def drawn(key: str, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    canonical = rng.uniform(-150, 150, (SIDE // 4, SIDE // 4, 3)).astype(np.float32)
    part = rng.integers(-1, 12, (SIDE // 4, SIDE // 4))
    canonical[part < 0] = np.nan
    return Sample(
        key,
        np.stack([4 * x, 4 * y, 4 * x + 2 * y], -1).astype(np.uint8),
        rng.uniform(-200, 200, (VERTICES, 3)),
        rng.uniform(-90, 90, (7, 3)),
        rng.uniform(-50, 300, (VERTICES, 2)),
        rng.random(VERTICES) < 0.5,
        canonical,
        part,
        rng.random(part.shape) < 0.3,
        np.where(rng.random(part.shape)[..., None] < 0.2, np.nan, canonical + 1),
        {"dataset": "test", "focal_px": 123.456, "R_camera_head": np.eye(3).tolist()},
    )


def test_samples_come_back(tmp_path: Path) -> None:
    written = [drawn("faker-00001-0", 1), replace(drawn("faker-00001-1", 2), sd_mm=np.linspace(0, 9, VERTICES))]
    assert write_shard(tmp_path / "shard-00000.tar", written) == 2
    found = list(read_shards([tmp_path / "shard-00000.tar"]))
    for a, b in zip(written, found, strict=True):
        assert a.key == b.key
        assert a.record == b.record
        assert np.abs(a.vertices_mm - b.vertices_mm).max() <= 0.51 / QUANTUM
        assert np.abs(a.xy_px - b.xy_px).max() <= 0.51 / QUANTUM
        assert np.array_equal(a.visible, b.visible)
        assert (a.sd_mm is None) == (b.sd_mm is None)
        assert a.sd_mm is None or b.sd_mm is None or np.abs(a.sd_mm - b.sd_mm).max() <= 0.51 / SD_QUANTUM
        assert np.array_equal(a.part, b.part)
        assert np.array_equal(np.isnan(a.canonical_mm), np.isnan(b.canonical_mm))
        assert np.nanmax(np.abs(a.canonical_mm - b.canonical_mm)) <= 0.51 / QUANTUM
        assert np.abs(a.image.astype(int) - b.image.astype(int)).mean() < 3


def test_points_far_outside_are_kept(tmp_path: Path) -> None:
    sample = drawn("a")
    sample.xy_px[0] = 1e6, -1e6
    write_shard(tmp_path / "shard-00000.tar", [sample])
    [found] = read_shards([tmp_path / "shard-00000.tar"])
    assert found.xy_px[0] == pytest.approx([1e6, -1e6])


def test_shards_are_read_one_after_the_other(tmp_path: Path) -> None:
    for i in range(3):
        write_shard(tmp_path / f"shard-{i:05d}.tar", [drawn(f"k{i}-{j}", j) for j in range(2)])
    assert [s.key for s in read_shards(sorted(tmp_path.glob("*.tar")))] == [
        "k0-0",
        "k0-1",
        "k1-0",
        "k1-1",
        "k2-0",
        "k2-1",
    ]


def test_webdataset_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write_shard(tmp_path / "shard-00000.tar", [drawn("a-0"), drawn("a-1")])
    rows = list(webdataset.WebDataset(str(tmp_path / "shard-00000.tar"), shardshuffle=False).decode("rgb8"))
    assert [row["__key__"] for row in rows] == ["a-0", "a-1"]
    assert rows[0]["jpg"].shape == (SIDE, SIDE, 3)


def test_a_failing_sample_leaves_no_shard(tmp_path: Path) -> None:
    def samples():
        yield drawn("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "shard-00000.tar", samples())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["no tar at all", "cut", "without arrays"])
def test_damage_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "shard-00000.tar"
    write_shard(path, [drawn("a")])
    content = path.read_bytes()
    if damage == "no tar at all":
        path.write_bytes(b"nothing")
    elif damage == "cut":
        path.write_bytes(content[:1500])  # in the middle of its picture or arrays
    else:
        path.write_bytes(content.replace(b"a.npz", b"a.txt"))
    with pytest.raises(AnymarkError, match=r"shard-00000\.tar: not a shard"):
        list(read_shards([path]))


def test_numbers_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    sample = drawn("a")
    with pytest.raises(ValueError, match="JSON"):
        write_shard(tmp_path / "shard-00000.tar", [replace(sample, record={"focal_px": float("nan")})])
    assert list(tmp_path.iterdir()) == []
