"""Times following one head through a video, beside MediaPipe's Face Mesh where it is installed; run as a process of its
own, so that threads can be limited.

Usage: python -m anymark.evaluate.track_timing REQUEST, where REQUEST is a `Request` as JSON; prints what was timed as
JSON.

Each frame is decoded once. A few at a time, the same for all, are then followed by one after another, in turns first,
so that whatever else the machine does slows all down alike. A frame's time is that of decoding it and of following the
head in it: the tracker's step with all 478 points, against MediaPipe's `process` with refined landmarks, without the
time that it takes to get them out of its protocol buffers. Frames in which one of them has lost the head are not
counted.

Beside the time that passes stands the processor's, of all threads: where nothing else runs, the two are about the same,
and where much does, this one still tells.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from anymark.canonical.face_mesh import FACE_MESH_LAYOUT
from anymark.detect.detector import Detector
from anymark.engine.teacher import FaceMesh
from anymark.errors import AnymarkError
from anymark.evaluate.timing import Timing
from anymark.video import Frame, Tracker, open_video

T = TypeVar("T")
Times = npt.NDArray[np.float64]
"""(2,) milliseconds that pass, and those that the processor works."""
Follower = Callable[[Frame], Sequence[Any]]
"""A frame -> the heads in it."""

DECODE, OURS, VISIBLE, RIVAL = "decode", "anymark", "anymark, visible too", "mediapipe"

TURN = 16
"""Frames that each follows before it is another's turn."""

_FIRST = 5  # frames of each pass that are not counted: networks and caches warm up


@dataclass(frozen=True)
class Request:
    """What a process is to time."""

    model: str
    locator: str
    video: str
    seconds: float
    """The video is passed through as often as this takes, once at the least."""


def answer(request: Request) -> dict[str, Any]:
    """Times of a frame by who followed it, and what the video is, as plain values.

    Raises:
        AnymarkError: a bad video or model, or no head in it.
    """
    detector = Detector(request.model, request.locator, threads=1)
    detector.load()
    rival = FaceMesh(follows=True, most_faces=1) if find_spec("mediapipe") else None
    timed: dict[str, list[Times]] = {}
    about: dict[str, Any] = {}
    end = time.perf_counter() + request.seconds
    while not about or time.perf_counter() < end:
        about = _pass(detector, request.video, rival, timed)
    if not timed:
        raise AnymarkError(f"{request.video}: no head in it that can be followed")
    timings: dict[str, dict[str, Any]] = {part: {} for part in ("frame", "processor")}
    for name, times in timed.items():
        for part, ms in zip(timings, np.transpose(times).tolist(), strict=True):
            timings[part][name] = asdict(Timing(min(ms), statistics.median(ms), len(ms)))
    return {**about, "rival": None if rival is None else rival.name, **timings}


def _pass(detector: Detector, video: str, rival: FaceMesh | None, timed: dict[str, list[Times]]) -> dict[str, Any]:
    """Follow the head through the whole video once; adds what each frame took by name to `timed`."""
    trackers = [Tracker(detector, FACE_MESH_LAYOUT, max_heads=1) for _ in range(2)]
    followers: dict[str, Follower] = {OURS: trackers[0].step, VISIBLE: partial(_see, trackers[1])}
    if rival is not None:
        rival.forget()
        followers[RIVAL] = partial(_look, rival)
    frames, number, size = iter(open_video(video, threads=1)), 0, (0, 0)
    while True:
        decoded = [_timed(lambda: next(frames, None)) for _ in range(TURN)]
        turn = [(frame, took) for frame, took in decoded if frame is not None and frame.pixels is not None]
        following = _follow(followers, [frame for frame, _ in turn], backwards=number // TURN % 2 == 1)
        for (frame, decoding), times in zip(turn, following, strict=True):
            assert frame.pixels is not None
            size = (frame.pixels.shape[1], frame.pixels.shape[0])
            if times and frame.index >= _FIRST:
                timed.setdefault(DECODE, []).append(decoding)
                for name, took in times.items():
                    timed.setdefault(name, []).append(decoding + took)
        number += sum(frame is not None for frame, _ in decoded)
        if decoded[-1][0] is None:
            return {"frames": number, "size_px": list(size)}


def _follow(followers: dict[str, Follower], frames: Sequence[Frame], backwards: bool) -> list[dict[str, Times]]:
    """What each frame took by name, one follower after another; nothing where one of them has lost the head."""
    times: list[dict[str, Times]] = [{} for _ in frames]
    lost: set[int] = set()
    for name in reversed(followers) if backwards else followers:
        for i, frame in enumerate(frames):
            heads, times[i][name] = _timed(partial(followers[name], frame))
            if not heads:
                lost.add(i)
    return [{} if i in lost else times[i] for i in range(len(frames))]


def _see(tracker: Tracker, frame: Frame) -> Sequence[Any]:
    return [head.landmarks.visible for head in tracker.step(frame)]


def _look(rival: FaceMesh, frame: Frame) -> Sequence[Any]:
    assert frame.pixels is not None
    return rival.look(np.ascontiguousarray(frame.pixels))


def _timed(work: Callable[[], T]) -> tuple[T, Times]:
    """What it gives, and what it took."""
    start = _clocks()
    out = work()
    return out, 1000 * (_clocks() - start)


def _clocks() -> Times:
    return np.array([time.perf_counter(), time.process_time()])


def _pin() -> bool:
    """Keep this process, with all its threads, on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return True


if __name__ == "__main__":
    try:
        pinned = _pin()
        print(json.dumps({**answer(Request(**json.loads(sys.argv[1]))), "pinned_to_one_core": pinned}))
    except AnymarkError as error:
        sys.exit(str(error))
