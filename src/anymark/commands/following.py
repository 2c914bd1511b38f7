"""Following heads through a video, as all commands do that take one: in a journal that a stopped run goes on from."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from tyro.conf import arg

from anymark import __version__
from anymark.apps.clicks import ClickedPoints
from anymark.canonical import Layout
from anymark.commands.said import complain, say
from anymark.detect.dense import DENSE
from anymark.detect.detector import Detector
from anymark.detect.locate import SEARCH_PX
from anymark.detect.markers import MarkerDetector
from anymark.detect.model import Model, kind_of
from anymark.errors import AnymarkError
from anymark.signals import stopped_by_sigterm
from anymark.video import Track, Tracker, Video, open_video
from anymark.video.journal import Journal
from anymark.video.sequence import ImageSequence
from anymark.video.smoothing import Smoothing, smooth_rows

if TYPE_CHECKING:
    from anymark.apps.lock import LockedTracker

_SHOWN_EVERY_S = 0.2
_SLACK_S = 1.0  # the last frame is not shown for longer


@dataclass(kw_only=True)
class Following(ABC):
    """The options of commands that follow heads, and how they do it."""

    smooth: Smoothing = "none"
    """Make it steadier: causal as if frames came one by one, offline with all frames known, which does not lag."""
    max_heads: Annotated[int | None, arg(metavar="N")] = None
    """Follow N heads only, the largest; while all are there, no others are searched for."""
    search_px: Annotated[int, arg(metavar="N")] = SEARCH_PX
    """Longest side at which a frame is searched for its smallest faces; they must be about 20 px wide there."""
    refine: bool = False
    """Let the dense model have a say in where points are and whether they are seen, which is slower; see docs/models.md
    for what it brings."""
    looks: Annotated[int | None, arg(metavar="N")] = None
    """How often each head is looked at: 1, 2, 4 or 8 times. More are steadier, and slower; in videos 1 unless given."""
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
            AnymarkError: something that was given is bad, or a frame's numbers are not finite.
        """
        with stopped_by_sigterm():
            try:
                return self.work()
            except KeyboardInterrupt as stop:
                if not stop.args:
                    raise
                complain(str(stop))
                return 130

    @abstractmethod
    def work(self) -> int:
        """What the command is for; returns the exit code."""

    def check_numbers(self) -> None:
        """That the options are within their ranges.

        Raises:
            AnymarkError: one is not.
        """
        if self.max_heads is not None and self.max_heads < 1:
            raise AnymarkError(f"--max-heads {self.max_heads}: must be at least 1")

    def open(self, name: str) -> Video:
        """The video of that name; gaps of a sequence are told of.

        Raises:
            AnymarkError: there is none, or an option does not apply to it.
        """
        video = open_video(name, self.rate, self.exposure, self.threads)
        if isinstance(video, ImageSequence) and video.gaps:
            complain(f"{video.name}: no picture has number {video.gaps[0]}; gaps: {len(video.gaps)}")
        return video

    def detector(self) -> Detector:
        """Loaded and verified.

        Raises:
            AnymarkError: a bad model.
        """
        refine = DENSE if self.refine else None
        detector = Detector(
            self.model,
            self.locator,
            threads=self.threads,
            search_px=self.search_px,
            refine=refine,
            looks=self.looks,
        )
        detector.load()
        return detector

    @contextmanager
    def followed(
        self,
        video: Video,
        layout: Layout,
        detector: Detector | MarkerDetector,
        out: Path,
        locked: ClickedPoints | None = None,
    ) -> Iterator[Track]:
        """The heads of a video, as many rows as there are mapped from files beside `out`; these are removed when the
        block ends well, and the run is over.

        Args:
            locked: What of the layout, its last points, is to be locked onto what was clicked.

        Raises:
            AnymarkError: a frame's numbers are not finite, none could be decoded, or another run is at work there.
            KeyboardInterrupt: the user stopped it; another run like this one goes on, and the message says so.
        """

        def make(asked: Layout) -> Tracker:
            return Tracker(detector, asked, self.max_heads)

        tracker: Tracker | LockedTracker = make(layout) if locked is None else _locked(make, layout, locked)
        run = {**self._as_values(video, layout), "locked": locked is not None}
        journal = Journal(out.with_name(out.name + ".part"), run, layout)
        try:
            _follow(video, tracker, journal)
            yield self._smoothed(journal.track(video), journal)
            journal.remove()
        except KeyboardInterrupt:
            said = f"{video.name}: stopped after {journal.frames} frames; the same command goes on"
            raise KeyboardInterrupt(said) from None
        finally:
            journal.close()

    def _as_values(self, video: Video, layout: Layout) -> dict[str, Any]:
        """What a stopped run must have in common with this one to be gone on with."""
        slides = b"" if layout.slides_mm is None else layout.slides_mm.tobytes()
        points = hashlib.sha256(layout.points_mm.tobytes() + slides).hexdigest()
        marks = kind_of(self.model) == "markers"
        return {
            "version of anymark": __version__,
            "video": {"name": video.name, **video.fingerprint()},
            "layout": {"name": layout.name, "points_mm": points, "code": layout.code},
            "model": _digest(Model(self.model, "markers" if marks else "landmarks").card),
            "locator": None if marks else _digest(Model(self.locator, "locator").card),
            "--refine": _digest(Model(DENSE, "dense").card) if self.refine else None,
            "--looks": self.looks,
            "--max-heads": self.max_heads,
            "--search-px": self.search_px,
            "--rate": self.rate,
            "--exposure": self.exposure,
        }

    def _smoothed(self, track: Track, journal: Journal) -> Track:
        """As `anymark.video.smooth`, but into a file: the clip may be longer than memory is large."""
        if self.smooth == "none":
            return track
        rows = journal.scratch("smoothed")
        smooth_rows(track.rows, rows, track.time_s, self.smooth)
        return replace(track, smooth=self.smooth, rows=rows)


def complain_of_frames(video: Video, track: Track) -> None:
    """What could not be decoded, on stderr."""
    frames, failed = len(track.pts), np.flatnonzero(~track.decoded)
    if len(failed):
        complain(f"{video.name}: {len(failed)} of {frames} frames failed to decode, frame {failed[0]} first")
    lasted = float(track.time_s[-1] - track.time_s[0])
    if video.duration_s is not None and lasted + _SLACK_S < video.duration_s:
        complain(f"{video.name}: breaks off after {lasted:.1f} of {video.duration_s:.1f} s")


def report(video: Video, track: Track) -> None:
    """A line a head."""
    frames = len(track.pts)
    if not track.ids:
        say(f"{video.name}  {frames} frames  no face")
    for number in track.ids:
        seen = track.rows["frame"][track.rows["head"] == number]
        first, last = int(seen[0]), int(seen[-1])
        say(
            f"{video.name}  head {number}  {len(seen)} of {frames} frames  {first}-{last}"
            f"  {track.time_s[first]:.3f}-{track.time_s[last]:.3f} s"
        )


@contextmanager
def progress(done: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
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


def _follow(video: Video, tracker: Tracker | LockedTracker, journal: Journal) -> None:
    """Track the frames that are not in the journal yet.

    Raises:
        AnymarkError: a frame's numbers are not finite, or no frame could be decoded.
    """
    if journal.ended:
        return
    if journal.state is not None:
        tracker.resume(journal.state)
        complain(f"{video.name}: goes on at frame {journal.frames}")
    failed = 0
    with progress("tracked", journal.frames, video.expected) as show:
        for frame in video.frames(journal.frames):
            failed += frame.pixels is None
            if frame.pixels is None and failed == 1:  # there may be thousands; the report counts them
                complain(f"{video.name}: frame {frame.index} at {frame.time_s:.3f} s: {frame.problem}")
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


def _locked(make: Callable[[Layout], Tracker], layout: Layout, clicked: ClickedPoints) -> LockedTracker:
    try:
        from anymark.apps.lock import LockedTracker
    except ModuleNotFoundError as error:
        said = f"to lock points onto their pixels needs {error.name}: pip install 'anymark[apps]', or --no-lock"
        raise AnymarkError(said) from None
    return LockedTracker(make, layout, clicked.clicks)


def _digest(card: dict[str, Any]) -> str:
    """Of all that a model's card says: its files' SHA-256, and the numbers that results depend on, too."""
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
