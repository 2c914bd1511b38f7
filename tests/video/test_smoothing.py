"""Smoothing of whole tracks: points, 3D points and cameras together."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from anymark import AnymarkError
from anymark.detect.camera import Camera
from anymark.detect.window import Crop
from anymark.video import CausalSmoother, Frame, Track, TrackedHead, smooth
from anymark.video.rows import to_landmarks, to_rows
from anymark.video.smoothing import BRIDGED_S, Smoothing
from tests.video.fakes import LAYOUT, FakeDetector, frame, picture

RNG = np.random.default_rng(0)
HOWS: tuple[Smoothing, ...] = ("causal", "offline")


def still_head() -> TrackedHead:
    (head,) = FakeDetector().encode(picture((80, 60, 30, 0)))
    return TrackedHead(1, head.query(LAYOUT), 0.02)


def turned(angle: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return np.diag([1.0, -1.0, -1.0]) @ turn


def head_at(
    number: int,
    move_px: npt.ArrayLike = (0.0, 0.0),
    angle: float = 0.0,
    noise_px: float = 0.0,
    sigma_factor: float = 1.0,
) -> TrackedHead:
    """The same head moved over the picture, turned and with noise; its landmarks are where its camera sees it."""
    landmarks = still_head().landmarks
    camera = landmarks.camera
    camera = Camera(camera.focal_px, camera.principal_px + np.asarray(move_px), turned(angle), camera.t_camera_head_mm)
    noise = RNG.normal(0, 1, (len(LAYOUT), 3)) * noise_px
    xyz = landmarks.xyz_mm + noise
    moved = replace(
        landmarks,
        xyz_mm=xyz.astype(np.float32),
        xy_px=camera.project(xyz).astype(np.float32),
        sigma_px=landmarks.sigma_px * np.float32(sigma_factor),
        camera=camera,
        crop=Crop(np.column_stack([landmarks.crop.affine[:, :2], camera.principal_px])),
    )
    return TrackedHead(number, moved, 0.02)


def track_of(frames: list[list[TrackedHead]], times: np.ndarray | None = None) -> Track:
    time_s = np.arange(len(frames)) / 24 if times is None else np.asarray(times, np.float64)
    rows = [to_rows(Frame(k, k, float(time_s[k]), None), heads, len(LAYOUT)) for k, heads in enumerate(frames)]
    count = len(frames)
    return Track(
        "made up", (160, 120), Fraction(1, 24), LAYOUT, "none", np.arange(count), time_s, np.ones(count, bool),
        np.concatenate(rows),
    )  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
def test_a_head_that_stands_still_stays(how: Smoothing) -> None:
    track = track_of([[head_at(1)]] * 20)
    out = smooth(track, how)
    assert out.smooth == how
    for name in track.rows.dtype.names or ():
        np.testing.assert_allclose(out.rows[name], track.rows[name], atol=1e-4)


def test_a_head_that_moves_straight_does_not_lag_offline() -> None:
    track = track_of([[head_at(1, np.array([3.0, -1.0]) * k)] for k in range(40)])
    out = smooth(track, "offline")
    for name in ("xy_px", "xyz_mm", "principal_px", "t_camera_head_mm", "R_camera_head"):
        np.testing.assert_allclose(out.rows[name], track.rows[name], atol=2e-3)


@pytest.mark.parametrize("how", HOWS)
def test_noise_falls_in_2d_and_3d(how: Smoothing) -> None:
    track = track_of([[head_at(1, noise_px=0.5, sigma_factor=3)] for _ in range(200)])
    out = smooth(track, how)
    for name in ("xy_px", "xyz_mm"):
        assert out.rows[name][20:].std(0).mean() < 0.8 * track.rows[name][20:].std(0).mean()


@pytest.mark.parametrize("how", HOWS)
def test_pose_is_smoothed_and_stays_a_rotation(how: Smoothing) -> None:
    track = track_of([[head_at(1, angle=0.3 * np.sin(k / 20) + RNG.normal(0, 0.02))] for k in range(200)])
    out = smooth(track, how)
    rotations = out.rows["R_camera_head"].astype(np.float64)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (200, 1, 1)), atol=1e-5)
    assert (np.linalg.det(rotations) > 0).all()

    def bends(rows: np.ndarray) -> float:
        return float(np.abs(np.diff(rows["R_camera_head"], n=2, axis=0)).mean())

    assert bends(out.rows) < 0.7 * bends(track.rows)


@pytest.mark.parametrize("how", HOWS)
def test_3d_points_project_onto_2d_points(how: Smoothing) -> None:
    places = RNG.normal(0, 5, (60, 2)).cumsum(0)
    angles = RNG.normal(0, 0.1, 60).cumsum()
    track = track_of([[head_at(1, m, a, 1.0)] for m, a in zip(places, angles, strict=True)])
    out = smooth(track, how)
    assert np.abs(out.rows["xy_px"] - track.rows["xy_px"]).max() > 0.5
    for row in range(60):
        landmarks = out.landmarks(row)
        np.testing.assert_allclose(landmarks.camera.project(landmarks.xyz_mm), landmarks.xy_px, atol=2e-2)


def test_offline_knows_no_direction_of_time() -> None:
    times = np.cumsum(RNG.uniform(0.02, 0.1, 50))
    heads = [[head_at(1, RNG.normal(0, 3, 2), RNG.normal(0, 0.1), 1.0)] for _ in range(50)]
    there = smooth(track_of(heads, times), "offline")
    back = smooth(track_of(heads[::-1], -times[::-1]), "offline")
    for name in ("xy_px", "xyz_mm", "R_camera_head", "t_camera_head_mm", "focal_px", "principal_px"):
        np.testing.assert_allclose(there.rows[name], back.rows[name][::-1], atol=1e-3)


def scaled(head: TrackedHead, factor: float) -> TrackedHead:
    """The same head in a picture of another size."""
    old = head.landmarks
    camera = replace(old.camera, focal_px=old.camera.focal_px * factor, principal_px=old.camera.principal_px * factor)
    landmarks = replace(
        old,
        xy_px=old.xy_px * np.float32(factor),
        sigma_px=old.sigma_px * np.float32(factor),
        camera=camera,
        crop=old.crop.scaled(factor),
    )
    return replace(head, landmarks=landmarks)


@pytest.mark.parametrize("how", HOWS)
def test_larger_pictures_are_smoothed_alike(how: Smoothing) -> None:
    heads = [head_at(1, RNG.normal(0, 2, 2), RNG.normal(0, 0.05), 1.0) for _ in range(40)]
    plain = smooth(track_of([[head] for head in heads]), how)
    large = smooth(track_of([[scaled(head, 8.0)] for head in heads]), how)
    np.testing.assert_allclose(large.rows["xy_px"], 8 * plain.rows["xy_px"], rtol=1e-4)
    np.testing.assert_allclose(large.rows["xyz_mm"], plain.rows["xyz_mm"], atol=1e-2)


@pytest.mark.parametrize("how", HOWS)
def test_heads_do_not_mix(how: Smoothing) -> None:
    first = [head_at(1, RNG.normal(0, 3, 2)) for _ in range(30)]
    second = [head_at(2, RNG.normal(50, 3, 2)) for _ in range(30)]
    both = smooth(track_of([list(pair) for pair in zip(first, second, strict=True)]), how)
    for number, heads in ((1, first), (2, second)):
        alone = smooth(track_of([[head] for head in heads]), how)
        np.testing.assert_array_equal(both.head(number)["xy_px"], alone.rows["xy_px"])


@pytest.mark.parametrize("how", HOWS)
def test_short_gaps_are_bridged_and_long_ones_are_not(how: Smoothing) -> None:
    noisy = [[head_at(1, RNG.normal(0, 3, 2))] for _ in range(40)]
    for gap_s, bridged in ((0.8 * BRIDGED_S, True), (1.2 * BRIDGED_S, False)):
        times = np.concatenate([np.arange(20) / 24, 19 / 24 + gap_s + np.arange(20) / 24])
        whole = smooth(track_of(noisy, times), how)
        alone = smooth(track_of(noisy[20:], times[20:]), how)
        assert len(whole.rows) == 40  # nothing is made up
        assert np.array_equal(whole.rows["xy_px"][20:], alone.rows["xy_px"]) is not bridged


def test_what_comes_later_changes_nothing_in_causal_smoothing() -> None:
    heads = [[head_at(1, RNG.normal(0, 3, 2), noise_px=1.0)] for _ in range(30)]
    whole, part = smooth(track_of(heads), "causal"), smooth(track_of(heads[:17]), "causal")
    np.testing.assert_array_equal(whole.rows[:17]["xy_px"], part.rows["xy_px"])


def test_causal_smoothing_frame_by_frame_is_that_of_the_track() -> None:
    heads = [[head_at(1, RNG.normal(0, 3, 2), noise_px=1.0), head_at(2, RNG.normal(40, 3, 2))] for _ in range(20)]
    track = smooth(track_of(heads), "causal")
    smoother = CausalSmoother()
    live = [smoother.step(Frame(k, k, k / 24, None), each) for k, each in enumerate(heads)]
    for k, row in enumerate(track.rows):
        same = live[k // 2][k % 2]
        assert same.id == row["head"]
        np.testing.assert_array_equal(same.landmarks.xy_px, row["xy_px"])
        np.testing.assert_array_equal(same.landmarks.xyz_mm, row["xyz_mm"])
    assert smoother.step(frame(99, None), []) == []


def test_rows_and_landmarks_go_round() -> None:
    head = head_at(7, np.array([3.3, 4.4]), 0.4, 1.0)
    (row,) = to_rows(frame(5, None), [head], len(LAYOUT))
    assert (row["frame"], row["head"]) == (5, 7)
    back, given = to_landmarks(row, LAYOUT), head.landmarks
    for name in ("xy_px", "sigma_px", "xyz_mm", "visible"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name))
    np.testing.assert_allclose(back.box_px, given.box_px, rtol=1e-6)
    np.testing.assert_allclose(back.window.corners_px(), given.window.corners_px(), rtol=1e-6)
    np.testing.assert_allclose(back.crop.affine, given.crop.affine, rtol=1e-6)
    np.testing.assert_allclose(back.camera.project(back.xyz_mm), given.xy_px, atol=1e-3)
    assert back.score == pytest.approx(given.score)
    assert row["unsureness"] == np.float32(head.unsureness)


def test_each_head_keeps_its_own_layout() -> None:
    """Points that slide lie elsewhere on a head that is seen from another side."""
    asked = replace(LAYOUT, slides_mm=np.tile([[10.0, 0, 0], [0, 10, 0]], (len(LAYOUT), 1, 1)))
    heads: list[TrackedHead] = []
    for number, angle in ((1, 0.3), (2, -0.4)):
        head = head_at(number, angle=angle)
        slid = asked.seen_from(head.landmarks.camera.seen_from)
        heads.append(replace(head, landmarks=replace(head.landmarks, layout=slid)))
    smoothed = CausalSmoother().step(frame(0, None), heads)
    for head, same in zip(heads, smoothed, strict=True):
        assert same.landmarks.layout is head.landmarks.layout
        assert same.unsureness == head.unsureness
    track = replace(track_of([heads]), layout=asked)
    for row, head in enumerate(heads):
        np.testing.assert_allclose(track.landmarks(row).layout.points_mm, head.landmarks.layout.points_mm, atol=1e-4)


def test_no_rows_and_none() -> None:
    empty = track_of([[], []])
    for how in HOWS:
        assert len(smooth(empty, how).rows) == 0
    assert smooth(empty, "none") is empty


def test_smoothing_twice_is_refused() -> None:
    once = smooth(track_of([[head_at(1)]] * 3), "causal")
    with pytest.raises(AnymarkError, match=r"made up: this track has been smoothed already \(causal\)"):
        smooth(once, "offline")


def test_layouts_of_many_points_are_smoothed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    track = track_of([[head_at(1, RNG.normal(0, 3, 2), noise_px=1.0)] for _ in range(20)])
    whole = smooth(track, "offline")
    monkeypatch.setattr("anymark.video.smoothing._POINTS_AT_ONCE", 2)
    np.testing.assert_array_equal(smooth(track, "offline").rows, whole.rows)
