"""What every subcommand of `anymark eval` that scores annotated faces can be asked, and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anymark.apps.calibrate import calibrate
from anymark.canonical import Layout, load_layout
from anymark.commands.detect import show_progress
from anymark.commands.said import complain
from anymark.detect.dense import DENSE
from anymark.detect.detector import PHOTO_LOOKS, Detector
from anymark.detect.write import check_picture, write_image
from anymark.errors import AnymarkError
from anymark.evaluate.bench import host
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.report import Detail, last_line, table, to_dict
from anymark.evaluate.score import Boxes, Scores, score, views_of
from anymark.files import check_writable, write_json

_MOST_NOTES = 10  # lines about what is wrong with a benchmark's files; the JSON has them all


@dataclass(kw_only=True)
class Evaluation(ABC):
    """What all benchmarks can be asked."""

    boxes: Boxes = "gt"
    """gt: the window of each face comes from its labels. rough: the same, 0.6 to 3 times as large, off by up to half
    the face and rolled by up to 45 degrees. locate: the whole photo is searched; a face is missed if no head is found
    whose box overlaps its own by 0.3 (intersection over union)."""
    calibrate: Annotated[int, arg(metavar="K")] = 0
    """First optimise the layout's points on K annotated photos, which are not scored."""
    limit: Annotated[int | None, arg(metavar="N")] = None
    """Score so many faces only, spread evenly; of videos, the first so many frames of each."""
    layout: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Layout to score, or to start from; the benchmark's own by default."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads, for --boxes locate."""
    refine: bool = False
    """Let the dense model have a say, as in anymark detect --refine."""
    looks: Annotated[int | None, arg(metavar="N")] = None
    """How often each head is looked at: 1, 2, 4 or 8 times; 4 in photos and 1 in followed frames unless given."""
    threads: Annotated[int | None, arg(metavar="N")] = None
    """Threads of each network; all cores by default."""
    threshold: Annotated[float | None, arg(metavar="T")] = None
    """Of FR and AUC, as a fraction: 0.08 on 300-W and 300-VW, 0.10 elsewhere."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write all numbers, those of every face and point too."""
    sheet: Annotated[Path | None, arg(metavar="FILE")] = None
    """Draw the 12 best and the 12 worst photos: labels red, found points green."""
    ced: Annotated[Path | None, arg(metavar="FILE")] = None
    """Plot the cumulative error distribution (needs matplotlib: anymark[eval])."""
    save_layout: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Keep the calibrated layout: --layout takes it."""

    @abstractmethod
    def read(self) -> Benchmark:
        """The benchmark's faces; raises AnymarkError."""

    def details(self, scores: Scores, threshold: float) -> tuple[Detail, ...]:
        """What this benchmark reports besides the table that all have."""
        return ()

    def run(self) -> int:
        """Score, print the table and its last line, write what was asked for. Returns the exit code.

        Raises:
            AnymarkError: bad data, options, model or place to write to.
        """
        self._check()
        check_limits(self.limit, self.threads)
        benchmark = self.read() if self.limit is None else self.read().limited(self.limit)
        threshold = benchmark.threshold if self.threshold is None else self.threshold
        refine = DENSE if self.refine else None
        detector = Detector(self.model, self.locator, threads=self.threads, refine=refine, looks=self.looks)
        detector.landmarker.load()
        if self.boxes == "locate":
            detector.locator.load()
        layout = self._layout(benchmark, detector)
        scores = score(detector, benchmark, layout, self.boxes, show_progress)
        settings = {
            "host": host(),
            "model": self.model,
            "locator": self.locator if self.boxes == "locate" else None,
            "refined": self.refine,
            "looks": self.looks or PHOTO_LOOKS,
            "boxes": self.boxes,
            "calibrated_on": len(benchmark.calibration),
        }
        say_notes((*benchmark.notes, *scores.notes))
        print(f"{benchmark.name}: model {self.model}, layout {layout.name}, boxes {self.boxes}")
        print(table(scores, threshold))
        details = self.details(scores, threshold)
        for detail in details:
            print(detail.table())
        if self.json is not None:
            write_json(self.json, to_dict(scores, threshold, settings, details), indent=2)
        if self.sheet is not None or self.ced is not None:
            from anymark.evaluate.pictures import sheet, write_ced

            if self.sheet is not None:
                write_image(self.sheet, sheet(scores))
            if self.ced is not None:
                write_ced(self.ced, scores, threshold)
        print(last_line(scores))
        return 0

    def _layout(self, benchmark: Benchmark, detector: Detector) -> Layout:
        layout = benchmark.layout if self.layout is None else load_layout(self.layout)
        if self.calibrate:
            views, missed = views_of(detector, benchmark.calibration, benchmark.normalisers[0], self.boxes)
            say_notes(missed)
            result = calibrate(views, layout, benchmark.name)
            layout, (before, after, left_out) = result.layout, result.errors
            print(
                f"calibrated on {len(views)} photos: {100 * before:.2f} % -> {100 * after:.2f} % "
                f"({100 * left_out:.2f} % on photos left out); points moved {result.moved_mm.mean():.1f} mm on average"
            )
            if self.save_layout is not None:
                layout.save(self.save_layout)
        if layout is None:
            raise AnymarkError(f"{benchmark.name} has no layout of its own: give --calibrate 10, or --layout FILE")
        return layout

    def _check(self) -> None:
        if self.calibrate < 0:
            raise AnymarkError(f"--calibrate {self.calibrate}: must not be negative")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise AnymarkError(f"--threshold {self.threshold}: a fraction between 0 and 1, such as 0.08")
        if self.save_layout is not None and not self.calibrate:
            raise AnymarkError("--save-layout keeps a calibrated layout: give --calibrate K too")
        if self.save_layout is not None and self.save_layout.suffix.lower() != ".json":
            raise AnymarkError(f"{self.save_layout}: a layout's file must end in .json")
        targets = [path for path in (self.json, self.sheet, self.ced, self.save_layout) if path is not None]
        check_writable(targets)
        for option, path in (("--sheet", self.sheet), ("--ced", self.ced)):
            if path is not None:
                check_picture(option, path)
        check_plot("--ced", self.ced)


def check_limits(limit: int | None, threads: int | None) -> None:
    """That --limit and --threads may be these.

    Raises:
        AnymarkError: one is below 1.
    """
    for name, value in (("limit", limit), ("threads", threads)):
        if value is not None and value < 1:
            raise AnymarkError(f"--{name} {value}: must be at least 1")


def check_plot(option: str, path: Path | None) -> None:
    """That a plot can be drawn, if one is wanted.

    Raises:
        AnymarkError: matplotlib is not installed.
    """
    if path is not None and find_spec("matplotlib") is None:
        raise AnymarkError(f"{option} draws with matplotlib: pip install 'anymark[eval]'")


def say_notes(notes: Sequence[str]) -> None:
    """What is not as it should be, on stderr; of many lines the first ones."""
    for note in notes[:_MOST_NOTES]:
        complain(note)
    if len(notes) > _MOST_NOTES:
        complain(f"and {len(notes) - _MOST_NOTES} more like these")
