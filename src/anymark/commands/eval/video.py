"""`anymark eval video`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT
from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.detect.detector import Detector
from anymark.engine.samples import read_index
from anymark.engine.teacher import FaceMesh
from anymark.errors import AnymarkError
from anymark.evaluate.contestants import Rival, version_of
from anymark.evaluate.following import follow
from anymark.evaluate.motion import (
    Numbers,
    clip_detail,
    clip_numbers,
    face_layout,
    is_shards,
    read_sequences,
    sequence_details,
    sequence_numbers,
)
from anymark.evaluate.report import Detail
from anymark.video import open_video

_MOST_FACES = 4  # that MediaPipe may follow in a clip, so that anymark's is among them


@dataclass(frozen=True)
class _Part:
    """What one data set or clip gave."""

    details: tuple[Detail, ...]
    line: str
    numbers: Any


@dataclass(kw_only=True)
class Video(Measurement):
    """How well heads are followed: errors and flicker on rendered sequences, steadiness on clips, for each --smooth."""

    videos: Positional[Annotated[tuple[str, ...], arg(metavar="SHARDS|VIDEO...")]]
    """Folders of `anymark data build`, preset sequences, and clips, whatever `anymark track` takes."""
    against: Rival | None = None
    """Measure another one on the very same frames: mediapipe is its Face Mesh (anymark[teacher])."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.motion`."""
        if not self.videos:
            raise AnymarkError("no videos given: anymark eval video SHARDS|VIDEO...")
        detector = self.detector(self.locator)
        detector.locator.load()
        parts: dict[str, _Part] = {}
        notes: list[str] = []
        for name in self.videos:
            try:
                parts[name] = self._sequences(detector, name) if is_shards(name) else self._clip(detector, name)
            except AnymarkError as error:
                notes.append(str(error))
        if not parts:
            raise AnymarkError(notes[0])
        return Measured(
            what=f"video, {len(parts)} data set{'s' if len(parts) > 1 else ''}",
            details=tuple(detail for part in parts.values() for detail in part.details),
            last_line="\n".join(part.line for part in parts.values()),
            further={"against": version_of(self.against), "videos": {name: p.numbers for name, p in parts.items()}},
            left_out=tuple(f"{note}: left out" for note in notes),
        )

    def _sequences(self, detector: Detector, name: str) -> _Part:
        rival, layout = self._rival(1), face_layout()
        numbers: dict[str, Numbers] = {}
        done, total = 0, read_index(Path(name))["samples"]
        for truth in read_sequences(Path(name)):
            done += len(truth.frames)
            short = truth.first(self.limit)
            numbers[truth.name] = sequence_numbers(follow(short.frames, detector, layout, 1, rival), short)
            show_progress(done, total)
        errors, flicker = details = sequence_details(name, list(numbers.values()))
        nmf = flicker.rows["anymark, none"]["NMF"]
        line = f"{name}: NME {100 * errors.rows['anymark, none']['NME']:.2f} %, NMF {nmf:.2f}"
        if rival is not None:
            line += f", {nmf / flicker.rows['mediapipe']['NMF']:.2f} times that of mediapipe"
        return _Part(details, f"{line} (n={len(numbers)})", numbers)

    def _clip(self, detector: Detector, name: str) -> _Part:
        rival, video = self._rival(_MOST_FACES), open_video(name, threads=self.threads)
        followed = follow(islice(video, self.limit), detector, load_layout(FACE_MESH_LAYOUT), None, rival)
        try:
            numbers = clip_numbers(followed)
        except AnymarkError as error:
            raise AnymarkError(f"{name}: {error}") from None
        moved = numbers["none"]["acceleration"]
        line = f"{name}: acceleration {100 * moved:.3f} % of the eyes' distance"
        if rival is not None:
            line += f", {moved / numbers['mediapipe']['acceleration']:.2f} times that of mediapipe"
        return _Part((clip_detail(name, numbers),), f"{line} (n={numbers['none']['frames']})", numbers)

    def _rival(self, most_faces: int) -> FaceMesh | None:
        return None if self.against is None else FaceMesh(follows=True, most_faces=most_faces)
