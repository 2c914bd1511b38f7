"""What an evaluation says: the table and its last line, and the same numbers as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.evaluate.metrics import auc, failure_rate, mean_error, quantile
from anymark.evaluate.score import Scores

QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Detail:
    """What one benchmark reports besides: a small table of its own."""

    title: str
    rows: Mapping[str, Mapping[str, float]]
    """Row -> column -> number; all rows have the same columns. NaN: nothing to measure; whole numbers count things."""
    percent: bool = False
    """Numbers that count nothing are fractions, to be printed in %."""

    def table(self) -> str:
        """Lines for people."""
        lines = [[self.title, *next(iter(self.rows.values()), {})]]
        for name, row in self.rows.items():
            lines.append([f"  {name}", *map(self._word, row.values())])
        return _aligned(lines)

    def _word(self, number: float) -> str:
        if isinstance(number, int):
            return str(number)
        return "-" if np.isnan(number) else f"{100 * number if self.percent else number:.2f}"


def row_numbers(scores: Scores, row: str, threshold: float) -> dict[str, Any]:
    """One line of the table: counts, and fractions by name.

    `n` counts all faces of the row; missed ones count as failures in FR and AUC and are in no mean and no quantile.
    """
    index = scores.benchmark.row(row)
    nme = scores.nme[index]
    numbers: dict[str, Any] = {"n": len(index), "missed": int(np.isinf(nme).sum())}
    numbers["nme"] = {name: mean_error(values[index]) for name, values in scores.errors.items()}
    numbers["quantiles"] = {f"P{share * 100:.0f}": quantile(nme, share) for share in QUANTILES}
    numbers["failure_rate"] = failure_rate(nme, threshold)
    numbers["auc"] = auc(nme, threshold)
    return numbers


def region_numbers(scores: Scores) -> dict[str, float]:
    """NME of each region's points over all found faces."""
    points = _point_means(scores)
    return {name: float(points[index].mean()) for name, index in _regions(scores).items()}


def table(scores: Scores, threshold: float) -> str:
    """Lines for people: a row a subset, then the regions."""
    first, *others = scores.benchmark.normalisers
    heads = ["", "n", "missed", "NME", *others, "P50", "P90", "P95", "P99", "FR", "AUC"]
    lines = [heads]
    for row in scores.benchmark.rows:
        numbers = row_numbers(scores, row, threshold)
        lines.append(
            [row, str(numbers["n"]), str(numbers["missed"])]
            + [_percent(value) for value in numbers["nme"].values()]
            + [_percent(value) for value in numbers["quantiles"].values()]
            + [_percent(numbers["failure_rate"]), _percent(numbers["auc"])]
        )
    text = [
        f"All in %. NME and P: mean and quantiles of the heads' errors over {first}; missed heads are left out.",
        f"FR and AUC at {100 * threshold:g} %; missed heads are failures.",
        _aligned(lines),
    ]
    regions = region_numbers(scores)
    if regions:
        width = max(map(len, regions))
        text += ["NME by region", *(f"  {name.ljust(width)}  {_percent(value):>5}" for name, value in regions.items())]
    return "\n".join(text)


def last_line(scores: Scores) -> str:
    """`NME 4.93 % (n=554, missed=0)`: the row that has all faces; n counts the missed ones too."""
    missed = int(np.isinf(scores.nme).sum())
    return f"NME {_percent(mean_error(scores.nme))} % (n={len(scores.nme)}, missed={missed})"


def to_dict(
    scores: Scores, threshold: float, settings: Mapping[str, Any], details: Sequence[Detail] = ()
) -> dict[str, Any]:
    """Everything as plain numbers; a missed face's error is null."""
    first = scores.benchmark.normalisers[0]
    return plain(
        {
            "benchmark": scores.benchmark.name,
            **settings,
            "layout": scores.layout.name,
            "normaliser": first,
            "threshold": threshold,
            "rows": {row: row_numbers(scores, row, threshold) for row in scores.benchmark.rows},
            "regions": region_numbers(scores),
            "details": {detail.title: detail.rows for detail in details},
            "points": _point_means(scores).tolist(),
            "faces": [
                {"name": face.name, "nme": float(error)}
                for face, error in zip(scores.benchmark.faces, scores.nme, strict=True)
            ],
            "notes": [*scores.benchmark.notes, *scores.notes],
        }
    )


def _point_means(scores: Scores) -> npt.NDArray[np.float64]:
    """(N,) mean error of each point over the found faces; NaN if none was found."""
    errors = scores.point_errors()[np.isfinite(scores.nme)]
    return errors.mean(0) if len(errors) else np.full(errors.shape[1], np.nan)


def _regions(scores: Scores) -> Mapping[str, npt.NDArray[np.integer]]:
    return scores.benchmark.regions or scores.layout.regions


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Rows of words as lines: the first word to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def plain(value: Any) -> Any:
    """Dicts, lists and numbers for JSON: rounded, and null where a number is not finite."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
