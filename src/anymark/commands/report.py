"""`anymark report`: the report of a folder of measurements, written anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.eval.evaluation import check_plot
from anymark.commands.said import complain
from anymark.errors import AnymarkError
from anymark.evaluate.prose import REPORT, SOURCE, fill
from anymark.files import atomic


@dataclass(kw_only=True)
class ReportCommand:
    """Write README.md of a folder of measurements: the prose of its report.md, with the numbers of its JSON files."""

    folder: Positional[Annotated[Path, arg(metavar="FOLDER")]] = Path("benchmarks")
    """Folder of report.md and of what `anymark eval` and `anymark bench` wrote with --json."""
    plots: Annotated[Path | None, arg(metavar="DIR")] = None
    """Draw its plots into a folder, too (needs matplotlib: anymark[eval])."""
    check: bool = False
    """Write nothing; exit with 1 if README.md is not what would be written."""

    def run(self) -> int:
        """Returns the exit code.

        Raises:
            AnymarkError: the text, a file of measurements or a place to write to is missing or damaged.
        """
        check_plot("--plots", self.plots)
        if self.plots is not None and not self.plots.is_dir():
            raise AnymarkError(f"--plots {self.plots}: no such folder")
        text, place = fill(self.folder), self.folder / REPORT
        same = place.is_file() and place.read_bytes() == text.encode()
        if self.check:
            if not same:
                complain(f"{place}: not what {SOURCE} and the measurements say")
            return 0 if same else 1
        with atomic(place, "w") as file:
            file.write(text)
        print(f"{place}  {'as it was' if same else 'written'}")
        if self.plots is not None:
            from anymark.evaluate.plots import draw

            for drawn in draw(self.folder, self.plots):
                print(f"{drawn}  written")
        return 0
