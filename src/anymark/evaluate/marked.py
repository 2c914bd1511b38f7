"""Markers carried from one session to another: dots that are annotated on one picture of a person, found in the other.

Pictures are those of a data set whose samples come two a head, as of preset "helmet": another expression, camera, light
and, mostly, other dots or none. Dots are vertices of the face that are seen in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.points import Click, pick
from anymark.canonical import CanonicalHead
from anymark.detect.detector import Detector, Head
from anymark.engine.samples import Sample, read_groups
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, eyes_px, true_window

Array = npt.NDArray[np.float64]

DOTS = 100
"""On each head, at most; spread by chance."""

_SEED = 0


def read_people(folder: Path) -> Iterator[tuple[Sample, Sample]]:
    """Two pictures of each head of a data set.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or samples that are no renders.
    """
    for _, pictures in read_groups(folder):
        for sample in pictures[:2]:
            check_render(sample)
        if len(pictures) > 1:
            yield pictures[0], pictures[1]


def carried_errors(first: Sample, second: Sample, detector: Detector, seed: int = _SEED) -> dict[str, Array]:
    """How -> (N,) how far the dots of the first picture are off in the second, in distances of its eyes.

    "picked" are those found by their canonical points; "canonical" are the model's own answers for the vertices that
    they are, which nobody knows of a real dot.
    """
    head = CanonicalHead.load()
    face = head.vertices_of("face")
    both = face[first.visible[face] & second.visible[face]]
    if not len(both):
        return {"picked": np.zeros(0), "canonical": np.zeros(0)}
    ids = np.random.default_rng(seed).choice(both, min(DOTS, len(both)), replace=False)
    before, after = (_read(sample, detector) for sample in (first, second))
    picked = pick([Click(before, first.xy_px[ids])]).points_mm
    length = eyes_px(second)
    true = second.xy_px[ids].astype(np.float64)
    asked = {"picked": picked, "canonical": head.vertices_mm[ids].astype(np.float64)}
    return {how: np.linalg.norm(after.query(points).xy_px - true, axis=1) / length for how, points in asked.items()}


def marked_details(of_people: Sequence[Mapping[str, Array]]) -> tuple[Detail, ...]:
    """Medians and means over all dots."""
    rows = {}
    for how in of_people[0]:
        values = np.concatenate([each[how] for each in of_people])
        rows[how] = {"median": float(np.median(values)), "mean": float(values.mean())}
    title = f"{len(of_people)} people: dots of one picture in another, % of the eyes' distance"
    return (Detail(title, rows, percent=True),)


def _read(sample: Sample, detector: Detector) -> Head:
    return detector.encode(sample.image, [true_window(sample, detector)])[0]
