"""Plots of a folder of measurements, for its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anymark.errors import AnymarkError
from anymark.evaluate.metrics import MISSED, cumulative
from anymark.evaluate.pictures import blank_figure
from anymark.evaluate.prose import find
from anymark.files import atomic, reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Measured = Mapping[str, Any]
"""Name of a file of measurements, without its suffix -> what is in it."""

_CED = {"photos-gt": "true boxes", "photos-rough": "rough windows", "photos-locate": "searched by the locator"}
_OF_MEDIAPIPE: Mapping[str, tuple[str, list[str], list[str]]] = {
    "jitter of pictures, each by itself": (
        "stability",
        ["each picture", "all", "anymark"],
        ["each picture", "all", "mediapipe"],
    ),
    "jitter of pictures, followed": ("stability", ["followed", "all", "anymark"], ["followed", "all", "mediapipe"]),
    "acceleration, real clip": (
        "video",
        ["details", "langer", "anymark, causal", "acceleration"],
        ["details", "langer", "mediapipe", "acceleration"],
    ),
    "error, 47 rendered clips": (
        "video",
        ["details", "47 sequences", "anymark, causal", "NME"],
        ["details", "47 sequences", "mediapipe", "NME"],
    ),
    "error, points across people": ("dense-across", ["errors", "dense", "mean"], ["errors", "mediapipe", "mean"]),
    "time a tracked frame, one thread": (
        "track-speed",
        ["1", "frame", "anymark", "median_ms"],
        ["1", "frame", "mediapipe", "median_ms"],
    ),
}
"""What is compared -> file of measurements, ways to our number and to MediaPipe's (`find`)."""


def draw(folder: Path, out: Path) -> list[Path]:
    """Every plot whose measurements are all in the folder, as PNG files; their paths.

    Raises:
        AnymarkError: a file of measurements is damaged or lacks a number, or a plot cannot be written.
    """
    drawn: list[Path] = []
    for name, (needs, size, plot) in PLOTS.items():
        places = [folder / f"{need}.json" for need in needs]
        if not all(place.is_file() for place in places):
            continue
        measured = {}
        for place in places:
            with reading(place, "a file of measurements"):
                measured[place.stem] = json.loads(place.read_text("utf-8"))
        figure, canvas = blank_figure(size)
        try:
            plot(figure.subplots(), measured)
        except (ValueError, TypeError, KeyError, StopIteration) as error:
            raise AnymarkError(f"{name}: {', '.join(map(str, places))}: {error}") from None
        drawn.append(out / f"{name}.png")
        with atomic(drawn[-1], "wb") as file:
            canvas.print_png(file)
    return drawn


def _errors(axes: Axes, measured: Measured) -> None:
    most = next(iter(measured.values()))["threshold"]
    at = np.linspace(0, most, 401)
    for name, content in measured.items():
        nme = np.array([MISSED if face["nme"] is None else face["nme"] for face in content["faces"]])
        axes.plot(100 * at, 100 * cumulative(nme, at), label=f"{_CED[name]} (n={len(nme)})")
    axes.set(xlim=(0, 100 * most), ylim=(0, 100), title="held-out photos, 468 points")
    axes.set_xlabel("mean error of a face, % of the eyes' distance")
    axes.set_ylabel("share of the faces, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _groups(axes: Axes, measured: Measured) -> None:
    details = measured["photos-gt"]["details"]
    rows = {
        f"{name} ({row['n']})": (row["NME"], row["P50"])
        for title, table in details.items()
        for name, row in table.items()
        if title.startswith("by ")
    }
    if not rows:
        raise ValueError("no groups")
    at = np.arange(len(rows))
    mean, median = 100 * np.array(list(rows.values())).T
    axes.barh(at - 0.2, mean, 0.4, label="mean")
    axes.barh(at + 0.2, median, 0.4, label="median")
    axes.set_yticks(at, list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("error of a face, % of the eyes' distance")
    axes.set_title("held-out photos by yaw and by skin tone (photos)")
    axes.grid(alpha=0.3, axis="x")
    axes.legend()


def _of_mediapipe(axes: Axes, measured: Measured) -> None:
    shares = []
    for file, ours, theirs in _OF_MEDIAPIPE.values():
        shares.append(find(measured[file], ours) / find(measured[file], theirs))
    bars = axes.barh(list(_OF_MEDIAPIPE), shares, color=["tab:green" if s < 1 else "tab:red" for s in shares])
    axes.bar_label(bars, [f" {share:.2f}" for share in shares])
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set(xlim=(0, max(1.3, 1.15 * max(shares))), title="against MediaPipe Face Mesh in the same run")
    axes.set_xlabel("anymark's over MediaPipe's: less is better")


def _learning(axes: Axes, measured: Measured) -> None:
    rows = [row for row in measured["learning-small"]["metrics"] if row["step"] > 0]
    steps = [row["step"] for row in rows]
    shown = ("NME %", "median NME %", "rough NME %", "dense NME %", "median dense NME %")
    for name in shown:
        values = np.array([row[name] for row in rows])
        axes.plot(steps, values, marker="o", markersize=3, label=f"{name}: {values[0]:.2f} to {values[-1]:.2f}")
    axes.set(ylim=(0, 1.5 * axes.get_ylim()[1]), title="the last run of small, held-out samples")
    axes.set_xlabel("step")
    axes.set_ylabel("%")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper right")


PLOTS: Mapping[str, tuple[tuple[str, ...], tuple[float, float], Callable[[Axes, Measured], None]]] = {
    "report-errors": (tuple(_CED), (6, 4), _errors),
    "report-groups": (("photos-gt",), (6, 4), _groups),
    "report-mediapipe": (("stability", "video", "dense-across", "track-speed"), (7, 3), _of_mediapipe),
    "report-learning": (("learning-small",), (6, 4), _learning),
}
"""Name of a plot -> the files of measurements that it needs, its size in inches, and what draws it."""
