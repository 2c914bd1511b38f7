"""What the subcommands of `anymark eval` that measure more than errors of annotated points can be asked, and do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.evaluation import check_limits, say_notes
from anymark.detect.dense import DENSE
from anymark.detect.detector import Detector
from anymark.evaluate.bench import host
from anymark.evaluate.benchmark import Benchmark
from anymark.evaluate.report import Detail, plain
from anymark.evaluate.score import Scores, score
from anymark.files import check_writable, write_json


@dataclass(frozen=True)
class Measured:
    """What a subcommand found out."""

    what: str
    """The data, in words."""
    details: tuple[Detail, ...]
    last_line: str
    """The number that matters most."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """What only the JSON file has."""
    notes: tuple[str, ...] = ()
    """What is not as it should be, a line each."""
    left_out: tuple[str, ...] = ()
    """What was asked for and could not be read, a line each: the command then ends with 2."""


@dataclass(kw_only=True)
class Measurement(ABC):
    """What all of them can be asked."""

    limit: Annotated[int | None, arg(metavar="N")] = None
    """Measure on so many photos or samples only, spread evenly; of videos, on the first so many frames of each."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    refine: bool = False
    """Let the dense model have a say in landmarks, as in anymark detect --refine."""
    looks: Annotated[int | None, arg(metavar="N")] = None
    """How often each head is looked at: 1, 2, 4 or 8 times; 4 in photos and 1 in followed frames unless given."""
    threads: Annotated[int | None, arg(metavar="N")] = None
    """Threads of each network; all cores by default."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write all numbers, those of every photo too."""

    @abstractmethod
    def measure(self) -> Measured:
        """Do it. Raises AnymarkError."""

    def targets(self) -> list[Path]:
        """The files to be written."""
        return [] if self.json is None else [self.json]

    def run(self) -> int:
        """Measure, print tables and a last line, write what was asked for. Returns the exit code.

        Raises:
            AnymarkError: bad data, options, model or place to write to.
        """
        check_limits(self.limit, self.threads)
        check_writable(self.targets())
        measured = self.measure()
        notes = (*measured.notes, *measured.left_out)
        say_notes(notes)
        print(f"{measured.what}: model {self.model}")
        for detail in measured.details:
            print(detail.table())
        if self.json is not None:
            details = {detail.title: detail.rows for detail in measured.details}
            settings = {"measured on": measured.what, "host": host(), "model": self.model, "details": details}
            settings |= {"refined": True} if self.refine else {}
            settings |= {} if self.looks is None else {"looks": self.looks}
            write_json(self.json, plain({**settings, **measured.further, "notes": notes}), indent=2)
        print(measured.last_line)
        return 2 if measured.left_out else 0

    def detector(self, locator: str = "locator") -> Detector:
        """The model, its networks loaded."""
        refine = DENSE if self.refine else None
        detector = Detector(self.model, locator, threads=self.threads, refine=refine, looks=self.looks)
        detector.landmarker.load()
        return detector

    def scores(self, benchmark: Benchmark) -> Scores:
        """What the model answers on a benchmark's faces, in windows from their true boxes."""
        detector = self.detector()
        limited = benchmark if self.limit is None else benchmark.limited(self.limit)
        assert limited.layout is not None
        return score(detector, limited, limited.layout, "gt", show_progress)


def of_faces(scores: Scores, numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Numbers (M,) by name as a row a face, for the JSON file."""
    return [
        {"name": face.name, **{name: float(values[i]) for name, values in numbers.items()}}
        for i, face in enumerate(scores.benchmark.faces)
    ]
