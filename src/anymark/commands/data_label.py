"""`anymark data label`: photo sets from photos and a teacher."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from anymark.commands.said import complain
from anymark.errors import AnymarkError
from anymark.files import alone_in
from anymark.signals import stopped_by_sigterm

if TYPE_CHECKING:
    from anymark.detect.detector import Detector
    from anymark.engine.label_set import Parts, Summary
    from anymark.engine.teacher import Teacher

_LOG_SECONDS = 60.0  # between two lines of progress, where there is no terminal to write over


@dataclass(kw_only=True)
class Label:
    """Photos -> a photo set: a crop of every face, with the 478 points of MediaPipe's Face Mesh.

    Each face is looked at 8 times: 4 small similarities, mirrored or not, averaged. Copies are left out. The same
    command goes on where it stopped; `anymark train` learns from the set.
    """

    files: Positional[Annotated[tuple[str, ...], arg(metavar="FILES...")]]
    """Photos, folders (their images) and globs."""
    out: Annotated[Path, arg(metavar="SET")]
    """Folder of the photo set: crops.tar, labels.npz, skipped.csv, and .parts, which keeps what is done."""
    recursive: bool = False
    """Folders with all that is in them."""
    held_out: Annotated[float, arg(metavar="FRACTION")] = 0.05
    """Never to be trained on; the photos' content decides which, and what looks alike stays together."""
    one_face: bool = False
    """The largest face of each photo only."""
    least_px: Annotated[float, arg(metavar="PX")] = 40.0
    """Faces whose box has a shorter side are left out."""
    search_px: Annotated[int, arg(metavar="N")] = 960
    """As in `anymark detect`: more finds smaller faces."""
    task: Annotated[Path | None, arg(metavar="FILE")] = None
    """Your own face landmarker, a .task file of MediaPipe's Tasks API, in place of Face Mesh."""

    def run(self) -> int:
        """Label and pack; returns the exit code: 0, 2 where a file could not be read, 130 where the user stopped it.

        Raises:
            AnymarkError: nothing can be done, or nothing was labelled.
        """
        from anymark.detect.detector import Detector
        from anymark.engine.label_set import Parts
        from anymark.engine.teacher import load_teacher

        self._check()
        paths, problems = self._expand()
        teacher = load_teacher(self.task)
        detector = Detector(search_px=self.search_px, looks=1)
        detector.load()
        settings = {"one_face": self.one_face, "least_px": self.least_px, "search_px": self.search_px}
        with alone_in(self.out):
            parts = Parts(self.out, {"teacher": teacher.name, **settings})
            return self._label(paths, problems, detector, teacher, parts)

    def _label(
        self, paths: list[Path], problems: list[AnymarkError], detector: Detector, teacher: Teacher, parts: Parts
    ) -> int:
        from anymark.detect.image import open_photo
        from anymark.engine.label import Skipped, find_faces, label_photo
        from anymark.engine.label_set import pack

        for problem in problems:
            complain(problem)
        unused: list[tuple[Path, Skipped]] = []
        done: dict[str, Path] = {}
        failed, progress = len(problems), _Progress(len(paths))
        try:
            with stopped_by_sigterm():
                for path in paths:
                    photo = None
                    try:
                        digest = _digest(path)
                        if digest not in done and digest not in parts:
                            photo = open_photo(path)
                    except AnymarkError as error:
                        failed += 1
                        complain(error)
                        unused.append((path, Skipped("unreadable", str(error))))
                    else:
                        if digest in done:
                            unused.append((path, Skipped("duplicate", f"of {done[digest]}")))
                        if photo is not None:
                            faces = find_faces(detector, photo)
                            labelled = label_photo(
                                photo, faces, teacher, least_px=self.least_px, one_face=self.one_face
                            )
                            parts.save(digest, *labelled)
                        done.setdefault(digest, path)
                    progress.step(photo is not None)
        except KeyboardInterrupt:
            complain("stopped; the same command goes on from here")
            return 130
        summary = pack(parts, [(path, digest) for digest, path in done.items()], unused, self.out, self.held_out)
        print("\n".join(_lines(summary, self.out)))
        return 2 if failed else 0

    def _check(self) -> None:
        if not self.files:
            raise AnymarkError("no photos given: anymark data label FILES... --out SET")
        if not 0 <= self.held_out < 1:
            raise AnymarkError(f"--held-out {self.held_out:g}: a fraction from 0 to below 1, such as 0.05")
        if not 0 <= self.least_px < float("inf"):
            raise AnymarkError(f"--least-px {self.least_px:g}: must not be negative")
        if self.out.exists() and not self.out.is_dir():
            raise AnymarkError(f"{self.out}: is not a folder")

    def _expand(self) -> tuple[list[Path], list[AnymarkError]]:
        """The photos, each once, and the arguments that mean none."""
        from anymark.detect.files import photos

        found: dict[Path, None] = {}
        problems: list[AnymarkError] = []
        for name in self.files:
            try:
                inside = _deep(name) if self.recursive and Path(name).is_dir() else photos(name)
                found.update(dict.fromkeys(inside))
            except AnymarkError as error:
                problems.append(error)
        return list(found), problems


def _deep(folder: str) -> list[Path]:
    """The photos of a folder and of those in it; links to folders are left alone, as they may lead back.

    Raises:
        AnymarkError: there are none.
    """
    from anymark.detect.files import photos

    found: list[Path] = []
    for place, folders, _ in os.walk(folder):
        folders.sort()
        with suppress(AnymarkError):  # none in this one
            found += photos(place)
    if not found:
        raise AnymarkError(f"{folder}: no images in this folder")
    return found


def _digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        AnymarkError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AnymarkError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _lines(summary: Summary, out: Path) -> Sequence[str]:
    """What is printed at the end."""
    lines = [
        f"{out}: {summary.faces} faces of {summary.photos} photos in {summary.groups} groups, {summary.held_out} held "
        f"out; spread {100 * summary.median_sd:.2f} % of the inter-ocular distance (median)"
    ]
    if summary.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.skipped.items()))
        lines.append(f"left out: {reasons}; {out / 'skipped.csv'} names them")
    return lines


class _Progress:
    """How far it is, how fast, and how long it will take: a line that is written over, or one a minute in a log."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._labelled = 0
        self._start = self._last = time.monotonic()

    def step(self, labelled: bool) -> None:
        """One photo more; `labelled` now, rather than in a run before this one."""
        self._done += 1
        self._labelled += labelled
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if self._total < 2 or (not terminal and now - self._last < _LOG_SECONDS):
            return
        self._last = now
        rate = self._labelled / max(now - self._start, 1e-9)
        left = f", {_clock((self._total - self._done) / rate)} left" if rate else ""
        text = f"{self._done}/{self._total}  {rate:.1f} photos/s{left}"
        if not terminal:
            print(text, file=sys.stderr, flush=True)
        else:
            print(f"\r{text if self._done < self._total else ''}\x1b[K", end="\r", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
