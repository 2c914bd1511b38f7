"""`anymark bench --track`: how long following a head takes, beside MediaPipe's Face Mesh."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from anymark.cli import main
from anymark.evaluate.track_timing import DECODE, OURS, RIVAL, VISIBLE, Request, answer
from tests.video.clips import write_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A grey picture in which the synthetic locator, and nobody else, finds a face."""
    return write_clip(tmp_path / "clip.mp4", [np.full((320, 320, 3), 128, np.uint8)] * 20)


def test_each_frame_is_decoded_once_for_all(
    clip: Path, linear: Path, locator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anymark.evaluate.track_timing.find_spec", lambda name: None)
    timed = answer(Request(str(linear), str(locator), str(clip), 0.0))
    assert (timed["frames"], timed["size_px"], timed["rival"]) == (20, [320, 320], None)
    for part in ("frame", "processor"):
        assert set(timed[part]) == {DECODE, OURS, VISIBLE}
        assert {timing["runs"] for timing in timed[part].values()} == {15}  # but for the first ones
        assert 0 < timed[part][DECODE]["min_ms"] < timed[part][OURS]["min_ms"] < timed[part][VISIBLE]["min_ms"]
        assert all(timing["min_ms"] <= timing["median_ms"] for timing in timed[part].values())


def test_frames_that_a_rival_misses_are_not_counted(
    clip: Path, linear: Path, locator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec("mediapipe") is None:
        pytest.skip("needs mediapipe: anymark[teacher]")
    code = main(["bench", "--track", str(clip), "--model", str(linear), "--locator", str(locator), "--seconds", "0"])
    assert code == 2
    assert capsys.readouterr().err == f"anymark: {clip}: no head in it that can be followed\n"


def test_both_are_timed_on_the_same_frames(linear: Path, shared: Path, tmp_path: Path) -> None:
    if find_spec("mediapipe") is None:
        pytest.skip("needs mediapipe: anymark[teacher]")
    out, clip = tmp_path / "numbers.json", shared / "videos" / "head-pose-face-detection-male.gif"
    given = ["--model", str(linear), "--seconds", "0", "--json", str(out)]
    assert main(["bench", "--track", str(clip), *given]) == 0
    numbers = json.loads(out.read_text())
    assert (numbers["video"], numbers["frames"], numbers["size_px"]) == (clip.name, 62, [480, 270])
    assert numbers["rival"].startswith("mediapipe ")
    assert numbers["pinned_to_one_core"] == hasattr(os, "sched_setaffinity")
    for part in ("frame", "processor"):
        timings = numbers["threads"]["1"][part]
        assert set(timings) == {DECODE, OURS, VISIBLE, RIVAL}
        assert len({timing["runs"] for timing in timings.values()}) == 1
        for timing in timings.values():
            assert timing["frames_per_second"] == pytest.approx(1000 / timing["median_ms"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--track", "{0}/none.mp4", "--model", "{1}"), "none.mp4: no such file"),
        (("--track", "{0}/clip.mp4", "--engine"), "--engine and --track each time something else"),
        (("--track", "{0}/clip.mp4", "--json", "{0}/clip.mp4"), "clip.mp4: would overwrite what is read"),
        (("--track", "{0}/clip.mp4", "--model", "smalll"), "smalll: no such model"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, clip: Path, linear: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *(a.format(clip.parent, linear) for a in arguments)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
