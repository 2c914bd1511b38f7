"""`anymark eval across`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import arg

from anymark.commands.detect import show_progress
from anymark.commands.eval.measurement import Measured, Measurement
from anymark.detect.dense import DENSE, DenseNetwork
from anymark.detect.model import Model
from anymark.errors import AnymarkError
from anymark.evaluate.metrics import mean_error, quantile
from anymark.evaluate.photo_sets import FACELAB_ANNOTATED, FACELAB_REGIONS, read_facelab189
from anymark.evaluate.report import Detail
from anymark.files import shared_folder


@dataclass(kw_only=True)
class Across(Measurement):
    """Points carried from each person to each other: 189 annotated ones of the Face Research Lab London Set; and
    through a smile. Errors are over the eyes' distance."""

    root: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder that holds points.npz, neutral/ and smiling/; ../shared/benchmarks/facelab189 by default."""
    dense: Annotated[str, arg(metavar="NAME|DIR")] = DENSE
    """Dense model."""

    def measure(self) -> Measured:
        """See `anymark.evaluate.correspondence`."""
        from anymark.evaluate.carriers import carriers  # needs OpenCV and scipy
        from anymark.evaluate.correspondence import across_people, read_people, through_smiles

        network, detector = DenseNetwork(Model(self.dense, "dense", threads=self.threads)), self.detector("locator")
        root = shared_folder(self.root, "benchmarks/facelab189", "--root DIR")
        if self.limit is not None and self.limit < 2:
            raise AnymarkError("--limit: two people are needed")
        people = read_people(read_facelab189(root, FACELAB_ANNOTATED), root, detector, network, self.limit)
        who, missing = carriers(mediapipe=True)
        rows: dict[str, dict[str, float]] = {}
        regions: dict[str, dict[str, float]] = {name: {} for name in FACELAB_REGIONS}
        for i, each in enumerate(who):
            show_progress(i, len(who))
            errors = across_people(people, each)
            smiles = through_smiles(people, each)
            own = errors[~np.eye(len(errors), dtype=bool)]
            points = np.array([mean_error(point) for point in own.T])
            rows[each.name] = {
                "mean": mean_error(own),
                "median": float(np.median(own)),
                "median point": quantile(points[~np.isnan(points)], 0.5),
                "through a smile": mean_error(smiles[~np.isnan(smiles)]),
                "missed": float(np.isinf(own).mean()),
            }
            for name, parts in FACELAB_REGIONS.items():
                index = np.concatenate([np.arange(*ends) for ends in parts])
                regions[name][each.name] = mean_error(own[:, index])
        show_progress(len(who), len(who))
        count = len(people.names)
        ours = rows["dense"]["mean"]
        return Measured(
            what=f"{count} people, dense model {self.dense}",
            details=(
                Detail(f"{count * (count - 1)} pairs of people: errors, % of the eyes' distance", rows, percent=True),
                Detail("by region, %", regions, percent=True),
            ),
            last_line=f"mean error {100 * ours:.2f} % of the eyes' distance (n={count * (count - 1)})",
            notes=tuple(missing),
        )
