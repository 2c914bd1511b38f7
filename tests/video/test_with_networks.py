"""Tracking with the real detector, on networks whose answers are known: heads are bright blobs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark import Detector
from anymark.cli import main
from anymark.video import Track, Tracker, open_video, smooth
from tests.detect.synthetic import blobs, write_landmark_model, write_locator
from tests.video.clips import write_clip

PATH = [(90 + 2 * k, 100 + 15 * np.sin(k / 5)) for k in range(30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and a clip of one blob."""
    folder = tmp_path_factory.mktemp("networks")
    write_landmark_model(folder / "model")
    write_locator(folder / "locator")
    write_clip(folder / "clip.mp4", [blobs(320, 240, place) for place in PATH])
    return folder


def detector(folder: Path) -> Detector:
    return Detector(folder / "model", folder / "locator", threads=1)


def test_a_head_is_followed_through_a_clip(folder: Path) -> None:
    track = Track.of(open_video(folder / "clip.mp4"), Tracker(detector(folder), np.zeros((1, 3), np.float32)))
    assert track.ids == [1]
    assert track.rows["frame"].tolist() == list(range(30))
    np.testing.assert_allclose(track.rows["xy_px"][:, 0], PATH, atol=0.3)
    for row in (0, 17):
        landmarks = track.landmarks(row)
        np.testing.assert_allclose(landmarks.camera.project(landmarks.xyz_mm), landmarks.xy_px, atol=1e-2)


def test_windows_alone_find_what_searching_each_frame_finds(folder: Path) -> None:
    """In one point: this model's faces are as large as the crop makes them."""
    found, middle = detector(folder), np.zeros((1, 3), np.float32)
    followed = Track.of(open_video(folder / "clip.mp4"), Tracker(found, middle, max_heads=1))
    frames = [frame.pixels for frame in open_video(folder / "clip.mp4")]
    searched = [found.detect(pixels, middle)[0] for pixels in frames if pixels is not None]
    for row, landmarks in zip(followed.rows, searched, strict=True):
        np.testing.assert_allclose(row["xy_px"], landmarks.xy_px, atol=0.5)
        np.testing.assert_allclose(row["visible"], landmarks.visible, atol=0.05)


def test_smooth_tracks_stay_near(folder: Path) -> None:
    track = Track.of(open_video(folder / "clip.mp4"), Tracker(detector(folder)))
    for how, far in (("causal", 6.0), ("offline", 0.5)):
        assert np.abs(smooth(track, how).rows["xy_px"] - track.rows["xy_px"]).max() < far


def test_the_command_writes_what_the_library_finds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ("--model", str(folder / "model"), "--locator", str(folder / "locator"), "--threads", "1")
    assert main(["track", str(folder / "clip.mp4"), "--out", str(folder / "out.npz"), *models]) == 0
    assert "head 1  30 of 30 frames  0-29  0.000-1.160 s" in capsys.readouterr().out
    expected = Track.of(open_video(folder / "clip.mp4"), Tracker(detector(folder)))
    np.testing.assert_array_equal(Track.load(folder / "out.npz").rows, expected.rows)
