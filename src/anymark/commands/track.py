"""`anymark track`: follow every head through a video."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional, UseAppendAction, arg

from anymark import __version__
from anymark.canonical import Layout
from anymark.commands.detect import DEFAULT_OUT, asked_layout
from anymark.detect.detector import Detector
from anymark.detect.files import MARK
from anymark.detect.locate import SEARCH_PX
from anymark.detect.model import Model
from anymark.errors import AnymarkError
from anymark.files import check_file, check_targets
from anymark.signals import stopped_by_sigterm
from anymark.video import Track as HeadTrack
from anymark.video import Tracker, Video, open_video
from anymark.video.journal import Journal
from anymark.video.sequence import ImageSequence, plain_stem
from anymark.video.smoothing import Smoothing, smooth_rows
from anymark.video.write import check_drawing, draw_video, write_csv

_SHOWN_EVERY_S = 0.2
_SLACK_S = 1.0  # the last frame is not shown for longer


@dataclass
class Track:
    """Follow every head through a video, each under a number of its own.

    Writes an .npz file and prints a line a head. Where Ctrl-C, SIGTERM or worse stop it, the same command goes on, and
    what it writes in the end is the same to the byte.
    """

    video: Positional[Annotated[str, arg(metavar="VIDEO", help_behavior_hint="")]]
    """A video file, an image sequence (shot.%04d.png, shot.####.exr) or a folder of pictures."""
    layout: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Points to look for; ibug68 unless --point is given."""
    point: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="X,Y,Z")]] = ()
    """A single point, in millimetres of the head frame; it is added to the layout, if there is one."""
    out: Annotated[Path, arg(metavar="DIR|FILE.npz")] = DEFAULT_OUT
    """Where the track goes: a file, or a folder for NAME.anymark.npz."""
    csv: bool = False
    """Write it as a CSV file beside that, too, a row a point."""
    draw: Annotated[Path | None, arg(metavar="FILE")] = None
    """Draw it on the video, as .mp4, .mov or .mkv, without sound."""
    smooth: Smoothing = "none"
    """Make it steadier: causal as if frames came one by one, offline with all frames known, which does not lag."""
    max_heads: Annotated[int | None, arg(metavar="N")] = None
    """Follow N heads only, the largest; while all are there, no others are searched for."""
    search_px: Annotated[int, arg(metavar="N")] = SEARCH_PX
    """Longest side at which a frame is searched for its smallest faces; they must be about 20 px wide there."""
    rate: Annotated[float | None, arg(metavar="FPS")] = None
    """Frames a second of an image sequence; 24 unless given."""
    exposure: Annotated[float, arg(metavar="STOPS")] = 0.0
    """Exposure of .exr pictures."""
    threads: Annotated[int | None, arg(metavar="N")] = None
    """Threads of the decoder and of each network; all cores unless given."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def run(self) -> int:
        """Do it; returns the exit code: 0, or 130 where the user stopped it.

        Raises:
            AnymarkError: a bad video, layout, model or place to write to, or a frame whose numbers are not finite.
        """
        with stopped_by_sigterm():
            return self._run()

    def _run(self) -> int:
        if self.max_heads is not None and self.max_heads < 1:
            raise AnymarkError(f"--max-heads {self.max_heads}: must be at least 1")
        layout = asked_layout(self.layout, self.point)
        video = open_video(self.video, self.rate, self.exposure, self.threads)
        out = self._out()
        table = out.with_suffix(".csv") if self.csv else None
        for path in filter(None, (out, table)):
            check_file(path, made=out.parent)
        if self.draw is not None:
            check_drawing(self.draw, made=out.parent)
        read = [Path(name) for name in (self.video, self.layout) if name and os.path.isfile(name)]
        check_targets(filter(None, (out, table, self.draw)), read)
        detector = Detector(self.model, self.locator, threads=self.threads, search_px=self.search_px)
        detector.load()
        if isinstance(video, ImageSequence) and video.gaps:
            _complain(f"{video.name}: no picture has number {video.gaps[0]}; gaps: {len(video.gaps)}")
        journal = Journal(out.with_name(out.name + ".part"), self._as_values(video, layout), layout)
        for path in filter(None, (out, table, self.draw)):
            _remove_stale(path)
        try:
            _follow(video, Tracker(detector, layout, self.max_heads), journal)
            track = self._smoothed(journal.track(video), journal)
            track.save(out)
            if table is not None:
                write_csv(table, track)
            if self.draw is not None:
                with _progress("drawn", 0, len(track.pts)) as show:
                    draw_video(self.draw, video, track, show)
            _report(video, track)
            journal.remove()
        except KeyboardInterrupt:
            _complain(f"{video.name}: stopped after {journal.frames} frames; the same command goes on")
            return 130
        finally:
            journal.close()
        return 0

    def _out(self) -> Path:
        if self.out.suffix.lower() == ".npz":
            return self.out
        return self.out / f"{plain_stem(self.video)}{MARK}.npz"

    def _as_values(self, video: Video, layout: Layout) -> dict[str, Any]:
        """What a stopped run must have in common with this one to be gone on with."""
        slides = b"" if layout.slides_mm is None else layout.slides_mm.tobytes()
        points = hashlib.sha256(layout.points_mm.tobytes() + slides).hexdigest()
        return {
            "version of anymark": __version__,
            "video": {"name": video.name, **video.fingerprint()},
            "layout": {"name": layout.name, "points_mm": points, "code": layout.code},
            "model": _digest(Model(self.model, "landmarks").card),
            "locator": _digest(Model(self.locator, "locator").card),
            "--max-heads": self.max_heads,
            "--search-px": self.search_px,
            "--rate": self.rate,
            "--exposure": self.exposure,
        }

    def _smoothed(self, track: HeadTrack, journal: Journal) -> HeadTrack:
        """As `anymark.video.smooth`, but into a file: the clip may be longer than memory is large."""
        if self.smooth == "none":
            return track
        rows = journal.scratch("smoothed")
        smooth_rows(track.rows, rows, track.time_s, self.smooth)
        return replace(track, smooth=self.smooth, rows=rows)


def _digest(card: dict[str, Any]) -> str:
    """Of all that a model's card says: its files' SHA-256, and the numbers that results depend on, too."""
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _remove_stale(target: Path) -> None:
    """What `anymark.files.atomic` had written of a file when its process was killed; it may be as large as that."""
    place = Path(os.path.realpath(target))
    left_over = re.compile(rf"\.{re.escape(place.name)}\.\d+\.tmp")
    with suppress(OSError):  # there is no such folder yet, or another process still writes
        for path in place.parent.iterdir():
            if left_over.fullmatch(path.name):
                path.unlink()


def _follow(video: Video, tracker: Tracker, journal: Journal) -> None:
    """Track the frames that are not in the journal yet.

    Raises:
        AnymarkError: a frame's numbers are not finite, or no frame could be decoded.
    """
    if journal.ended:
        return
    if journal.state is not None:
        tracker.resume(journal.state)
        _complain(f"{video.name}: goes on at frame {journal.frames}")
    failed = 0
    with _progress("tracked", journal.frames, video.expected) as show:
        for frame in video.frames(journal.frames):
            failed += frame.pixels is None
            if frame.pixels is None and failed == 1:  # there may be thousands; the report counts them
                _complain(f"{video.name}: frame {frame.index} at {frame.time_s:.3f} s: {frame.problem}")
            try:
                heads = tracker.step(frame)
                journal.add(frame, heads, tracker.state())
            except AnymarkError as error:
                raise AnymarkError(f"{video.name}: {error}") from None
            show(journal.frames)
    if not journal.any_decoded:
        journal.remove()
        raise AnymarkError(f"{video.name}: none of {journal.frames} frames could be decoded")
    journal.end()


def _report(video: Video, track: HeadTrack) -> None:
    """A line a head; what could not be decoded on stderr."""
    frames, failed = len(track.pts), np.flatnonzero(~track.decoded)
    if len(failed):
        _complain(f"{video.name}: {len(failed)} of {frames} frames failed to decode, frame {failed[0]} first")
    lasted = float(track.time_s[-1] - track.time_s[0])
    if video.duration_s is not None and lasted + _SLACK_S < video.duration_s:
        _complain(f"{video.name}: breaks off after {lasted:.1f} of {video.duration_s:.1f} s")
    if not track.ids:
        print(f"{video.name}  {frames} frames  no face")
    for number in track.ids:
        seen = track.rows["frame"][track.rows["head"] == number]
        first, last = int(seen[0]), int(seen[-1])
        print(
            f"{video.name}  head {number}  {len(seen)} of {frames} frames  {first}-{last}"
            f"  {track.time_s[first]:.3f}-{track.time_s[last]:.3f} s"
        )


@contextmanager
def _progress(done: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A line on the terminal that the next print writes over, with how many frames a second; nothing for logs."""
    began = shown = time.monotonic()

    def show(frames: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= _SHOWN_EVERY_S:
            shown = now
            rate = (frames - start) / (now - began)
            print(
                f"\r{frames}/{total or '?'} frames {done}  {rate:.1f} fps\x1b[K", end="\r", file=sys.stderr, flush=True
            )

    terminal = sys.stderr.isatty()
    try:
        yield show if terminal else lambda frames: None
    finally:
        if terminal:
            print("\r\x1b[K", end="\r", file=sys.stderr, flush=True)


def _complain(problem: str) -> None:
    print(f"anymark: {problem}", file=sys.stderr, flush=True)
