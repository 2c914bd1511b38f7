"""`anymark data tracks`: points followed through real clips, for dense models to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from tyro.conf import Positional, arg

from anymark.commands.on_pairs import WithDense
from anymark.commands.said import complain, say
from anymark.detect.dense import DenseNetwork
from anymark.detect.detector import Detector
from anymark.detect.files import unique
from anymark.detect.model import Model
from anymark.engine.tracked_clips import SUFFIX, track_clip
from anymark.engine.tracks import TrackerName, load_tracker
from anymark.errors import AnymarkError
from anymark.files import make_folder
from anymark.signals import stopped_by_sigterm
from anymark.video import open_video
from anymark.video.sequence import plain_stem


@dataclass(kw_only=True)
class DataTracks(WithDense):
    """Follow points of the head through clips: what recipes of dense models name under data.tracks.

    A clip that is there already is left as it is, so a stopped command goes on where it was.
    """

    clips: Positional[Annotated[tuple[str, ...], arg(metavar="CLIPS...", help_behavior_hint="(one or more)")]]
    """Video files, image sequences (shot.%04d.png) or folders of pictures, of one head each."""
    out: Annotated[Path, arg(metavar="DIR")]
    """Folder for what is written."""
    tracker: TrackerName = "lucas-kanade"
    """OpenCV's optical flow, which needs no download, or a network of yours: mind its licence."""
    weights: Annotated[Path | None, arg(metavar="FILE")] = None
    """Weights of that network."""
    points: Annotated[int, arg(metavar="N")] = 400
    """Points of a clip, at most."""
    every: Annotated[int, arg(metavar="N")] = 4
    """Every so-manieth frame is kept."""
    frames: Annotated[int, arg(metavar="N")] = 48
    """Frames that are kept of a clip, at most."""

    def run(self) -> int:
        """Do it; returns the exit code: 0, or 2 where a clip was left out.

        Raises:
            AnymarkError: nothing can be done at all.
        """
        if not self.clips:
            raise AnymarkError("no clips given: anymark data tracks CLIPS... --out DIR")
        for name, value, least in (("points", self.points, 1), ("every", self.every, 1), ("frames", self.frames, 2)):
            if value < least:
                raise AnymarkError(f"--{name} {value}: must be at least {least}")
        tracker = load_tracker(self.tracker, self.weights)
        detector, network = Detector(self.model, self.locator), DenseNetwork(Model(self.dense, "dense"))
        detector.load()
        network.load()
        make_folder(self.out)
        failed = 0
        with stopped_by_sigterm():
            for clip, stem in zip(self.clips, unique(plain_stem(clip) for clip in self.clips), strict=True):
                path = self.out / f"{stem}{SUFFIX}"
                if path.exists():
                    continue
                try:
                    found = track_clip(self._pixels(clip), detector, network, tracker, self.tracker, self.points)
                except AnymarkError as error:
                    failed += 1
                    complain(f"{clip}: left out: {error}")
                    continue
                found.save(path)
                say(f"{clip}  {len(found.frames)} frames  {found.xy_px.shape[1]} tracks")
        return 2 if failed else 0

    def _pixels(self, clip: str) -> Iterator[npt.NDArray[np.uint8]]:
        kept = 0
        for frame in open_video(clip):
            if frame.index % self.every == 0 and frame.pixels is not None:
                yield frame.pixels
                kept += 1
                if kept == self.frames:
                    return
