"""Point trackers: optical flow that knows when it is lost, and networks behind one interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anymark.engine.tracked_clips import TrackedClip
from anymark.engine.tracks import (
    CoTracker,
    LucasKanade,
    PointTracker,
    Tapir,
    TapNext,
    load_tracker,
    spread_points,
    without_outliers,
)
from anymark.errors import AnymarkError

SIDE = 96


def clip(shift: tuple[float, float] = (1.5, -1.0), count: int = 4) -> list[np.ndarray]:
    """A smooth texture that moves."""
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.15, (24, 2)), rng.uniform(0, 6, 24)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    frames = []
    for t in range(count):
        px, py = x - t * shift[0], y - t * shift[1]
        value = sum(np.sin(a * px + b * py + c) for (a, b), c in zip(*waves, strict=True))
        frames.append(np.clip(127 + 25 * value, 0, 255).astype(np.uint8)[..., None].repeat(3, 2))
    return frames


def grid() -> np.ndarray:
    along = np.linspace(25, 70, 5)
    return np.stack(np.meshgrid(along, along), -1).reshape(-1, 2).astype(np.float32)


def test_optical_flow_follows() -> None:
    start = grid()
    xy, seen = LucasKanade().track(clip(), start)
    assert seen.all()
    want = start + np.arange(4)[:, None, None] * np.array([1.5, -1.0])
    assert np.abs(xy - want).max() < 0.1
    np.testing.assert_array_equal(xy[0], start)


def test_what_is_covered_is_lost_and_stays_lost() -> None:
    frames = clip()
    frames[2] = frames[2].copy()
    frames[2][:, 48:] = np.random.default_rng(1).integers(0, 255, (SIDE, 48, 3))
    start = grid()
    _, seen = LucasKanade().track(frames, start)
    right = start[:, 0] > 58
    assert seen[1].all()
    assert not seen[2, right].any()
    assert not seen[3, right].any()
    assert seen[3, start[:, 0] < 36].all()


def test_points_that_leave_the_picture_are_lost() -> None:
    xy, seen = LucasKanade().track(clip((12.0, 0.0), 5), np.array([[80.0, 48.0], [40.0, 48.0]], np.float32))
    assert not seen[-1, 0]
    assert np.isfinite(xy).all()


class FakeTapir:
    def __call__(self, video: torch.Tensor, queries: torch.Tensor) -> dict[str, torch.Tensor]:
        assert video.shape == (1, 3, 256, 256, 3)
        assert -1 <= video.min() < video.max() <= 1
        xy = queries[0, :, [2, 1]]  # queries are of frame, row, column
        tracks = torch.stack([xy + 4 * t for t in range(3)], 1)[None]
        hidden = torch.full(tracks.shape[:3], -9.0)
        hidden[0, 1, 2] = 9.0
        return {"tracks": tracks, "occlusion": hidden, "expected_dist": torch.full_like(hidden, -9.0)}


class FakeTapNext:
    def __call__(self, video, query_points=None, state=None):
        assert video.shape == (1, 1, 256, 256, 3)
        row_column = query_points[0, :, 1:] if state is None else state + 4
        seen = torch.ones(1, 1, len(row_column), 1)
        if state is not None and float(row_column[0, 0] - 4) > float(FakeTapNext.first[0, 0]):
            seen[0, 0, 1] = -1
        if state is None:
            FakeTapNext.first = row_column
        return row_column[None, None], None, seen, row_column


class FakeCoTracker:
    def __call__(self, video, queries):
        assert video.shape == (1, 3, 3, 64, 128)
        assert video.max() > 1
        tracks = torch.stack([queries[0, :, 1:] + torch.tensor([2.0, 1.0]) * t for t in range(3)])[None]
        seen = torch.ones(tracks.shape[:3])
        seen[0, 2, 1] = 0
        return tracks, seen


@pytest.mark.parametrize("tracker", [Tapir(FakeTapir()), TapNext(FakeTapNext()), CoTracker(FakeCoTracker())])
def test_networks_speak_in_pixels_of_the_frames(tracker: PointTracker) -> None:
    frames = [np.full((64, 128, 3), 40 * t + 5, np.uint8) for t in range(3)]
    start = np.array([[20.0, 30.0], [64.0, 10.0]], np.float32)
    xy, seen = tracker.track(frames, start)
    assert isinstance(tracker, PointTracker)
    np.testing.assert_allclose(xy, start + np.arange(3)[:, None, None] * np.array([2.0, 1.0]), atol=1e-4)
    assert seen.tolist() == [[True, True], [True, True], [True, False]]


def test_trackers_are_loaded_by_name(tmp_path: Path) -> None:
    assert isinstance(load_tracker("lucas-kanade"), LucasKanade)
    with pytest.raises(AnymarkError, match="its weights are needed"):
        load_tracker("bootstapir")
    (tmp_path / "w.pt").write_bytes(b"x")
    for name, package in (("bootstapir", "tapnet"), ("tapnext", "tapnet"), ("cotracker", "cotracker")):
        with pytest.raises(AnymarkError, match=f"needs the package {package}"):
            load_tracker(name, tmp_path / "w.pt")  # type: ignore[arg-type]


def test_points_are_spread_over_the_mask_alone() -> None:
    mask = np.zeros((20, 30))
    mask[5:10, 8:20] = 1
    found = spread_points(mask, 40)
    assert len(found) == 40
    assert len(np.unique(found, axis=0)) == 40
    assert (mask[found[:, 1].astype(int), found[:, 0].astype(int)] == 1).all()
    with pytest.raises(AnymarkError, match="no head"):
        spread_points(np.zeros((4, 4)), 3)


def test_outliers_and_points_off_the_head_go() -> None:
    start = grid()
    xy = np.stack([start, start + 2, start + 4]).astype(np.float32)
    xy[2, 7] += (15, -10)
    seen = np.ones(xy.shape[:2], bool)
    seen[1, 3] = False
    mask = np.ones((SIDE, SIDE), np.float32)
    masks = [mask, mask, mask.copy()]
    masks[2][:40] = 0
    keep = without_outliers(xy, seen, masks)
    assert not keep[2, 7]
    assert not keep[1, 3]
    assert keep[1].sum() == len(start) - 1
    off = xy[2, :, 1] < 40
    assert not keep[2, off].any()
    assert keep[2, ~off & (np.arange(len(start)) != 7)].all()


def test_tracked_clips_come_back(tmp_path: Path) -> None:
    made = TrackedClip(
        np.zeros((2, 8, 8, 3), np.uint8), np.ones((2, 5, 2), np.float32), np.ones((2, 5), bool),
        np.zeros((2, 4), np.float32), np.ones((2, 4), np.float32), "tapnext",
    )  # fmt: skip
    made.save(tmp_path / "a.tracks.npz")
    read = TrackedClip.load(tmp_path / "a.tracks.npz")
    assert read.tracker == "tapnext"
    np.testing.assert_array_equal(read.xy_px, made.xy_px)
    np.savez(tmp_path / "b.tracks.npz", frames=np.zeros(3))
    with pytest.raises(AnymarkError, match="not a tracked clip"):
        TrackedClip.load(tmp_path / "b.tracks.npz")
