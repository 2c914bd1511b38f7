"""`anymark eval visibility`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.eval.evaluation import check_plot
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.evaluate.visibility import read_visibility, reliabilities, visibility_details


@dataclass(kw_only=True)
class Visibility(Measurement):
    """Which points are seen, against renders of `anymark data build`: AUC by what is before the face, calibration."""

    shards: Positional[Annotated[Path, arg(metavar="SHARDS")]]
    """Folder of the data set: one of held-out photos, to be fair."""
    plot: Annotated[Path | None, arg(metavar="FILE")] = None
    """Draw the reliability diagram, a PNG file (needs matplotlib: anymark[eval])."""

    def targets(self) -> list[Path]:
        """As of all, and the plot."""
        return [*super().targets(), *([] if self.plot is None else [self.plot])]

    def measure(self) -> Measured:
        """See `read_visibility` and `visibility_details`."""
        check_plot("--plot", self.plot)
        scores = self.scores(read_visibility(self.shards))
        details, diagrams = visibility_details(scores), reliabilities(scores)
        if self.plot is not None:
            from anymark.evaluate.pictures import write_reliability

            write_reliability(self.plot, diagrams, f"visible, {scores.benchmark.name}")
        of_vertices = details[0].rows
        occluded = of_vertices.get("occluder")
        said = "" if occluded is None else f", {100 * occluded['visible']:.2f} % of heads with something before them"
        return Measured(
            what=f"visibility, {scores.benchmark.name}",
            details=details,
            last_line=f"AUC {100 * of_vertices['all']['visible']:.2f} %{said} (n={of_vertices['all']['n']})",
            further={"reliability": {name: [asdict(b) for b in bins] for name, bins in diagrams.items()}},
            notes=(*scores.benchmark.notes, *scores.notes),
        )
