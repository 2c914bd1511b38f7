"""How well pixels are carried from one picture of a head to another: between two views of one head (DenseMarks, table
1), whose matches renders know, and between people, by points that annotators placed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.detect.dense import DenseMap, DenseNetwork
from anymark.detect.detector import Detector, Head, dense_maps
from anymark.detect.image import open_photo
from anymark.detect.window import Window
from anymark.engine.samples import Sample, read_groups
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import Benchmark, Face, stored_pixels
from anymark.evaluate.carriers import Carrier, Looked
from anymark.evaluate.metrics import mean_error
from anymark.evaluate.photo_sets import FACELAB_EYES
from anymark.evaluate.pose import turned_by_deg
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, true_window

Array = npt.NDArray[np.float64]

POINTS = 300
"""Vertices that both views of a pair show, that are carried; spread at random."""

TURNS_DEG = (15.0, 30.0, 60.0)
"""The rows of the table part here: how far the head has turned between two views."""

ALPHAS = (0.05, 0.1)
"""PCK: the share of points that come as near as so many sides of the picture."""


@dataclass(frozen=True, eq=False)
class Carried:
    """Errors of N points, carried by everybody."""

    turn_deg: float
    """Between the two views."""
    side_px: float
    """Of the pictures."""
    errors_px: Mapping[str, Array]
    """Carrier -> (N,); infinite where it has no answer."""


def look(detector: Detector, network: DenseNetwork, pixels: npt.NDArray[np.uint8], window: Window) -> Looked:
    """A picture of one head in a window about its face."""
    (head,) = detector.encode(pixels, [window])
    return Looked(pixels, head, dense_of(network, pixels, head))


def dense_of(network: DenseNetwork, pixels: npt.NDArray[np.uint8], head: Head) -> DenseMap:
    """The dense map of an encoded head."""
    return dense_maps(network, open_photo(pixels), [head])[0]


def read_pairs(folder: Path) -> Iterator[tuple[Sample, Sample]]:
    """The pairs of a data set of preset "pairs".

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or samples that are no pairs of renders.
    """
    for name, views in read_groups(folder):
        if len(views) != 2:
            raise AnymarkError(f"{folder}: {name} is {len(views)} samples, not a pair (recipe: preset = pairs)")
        for view in views:
            check_render(view)
        yield views[0], views[1]


def carried_between(
    first: Sample, second: Sample, detector: Detector, network: DenseNetwork, who: Sequence[Carrier], seed: int
) -> Carried | None:
    """The vertices that both views show, carried from the first to the second; None if they share too few."""
    both = np.flatnonzero(first.visible & second.visible)
    if len(both) < 10:
        return None
    chosen = np.random.default_rng(seed).permutation(both)[:POINTS]
    one, other = (look(detector, network, s.image, true_window(s, detector)) for s in (first, second))
    start, truth = first.xy_px[chosen].astype(np.float64), second.xy_px[chosen].astype(np.float64)
    errors = {each.name: distances(each.carry(one, other, start), truth) for each in who}
    turns = [np.array(s.record["R_camera_head"]) for s in (first, second)]
    return Carried(float(turned_by_deg(*turns)), float(len(first.image)), errors)


def pair_details(found: Sequence[Carried]) -> tuple[Detail, ...]:
    """Everybody's MAE, RMSE and PCK; and PCK and MAE of each by how far the head has turned."""
    names = list(found[0].errors_px)
    table = {name: numbers([each.errors_px[name] for each in found], found) for name in names}
    groups = np.searchsorted(TURNS_DEG, [each.turn_deg for each in found])
    ends = ["0", *(f"{turn:g}" for turn in TURNS_DEG), "180"]
    by_turn: dict[str, dict[str, float]] = {}
    for group in range(len(TURNS_DEG) + 1):
        some = [each for each, g in zip(found, groups, strict=True) if g == group]
        if some:
            row: dict[str, float] = {"pairs": len(some)}
            for name in names:
                row[name] = numbers([each.errors_px[name] for each in some], some)["MAE px"]
            by_turn[f"turned by {ends[group]}-{ends[group + 1]} degrees"] = row
    return Detail(f"{len(found)} pairs of views, PCK over the picture's side", table), Detail("MAE px", by_turn)


def numbers(errors: Sequence[Array], of: Sequence[Carried]) -> dict[str, float]:
    """MAE and RMSE in pixels over what was found, NaN if nothing was; PCK in % over all."""
    away = np.concatenate(errors)
    side = np.concatenate([np.full(len(e), each.side_px) for e, each in zip(errors, of, strict=True)])
    out = {"MAE px": mean_error(away), "RMSE px": mean_error(away**2) ** 0.5}
    return out | {f"PCK@{alpha:g} %": 100 * float((away <= alpha * side).mean()) for alpha in ALPHAS}


@dataclass(frozen=True, eq=False)
class People:
    """Photos of P people with the same N points, and the same people smiling, without points."""

    names: tuple[str, ...]
    looked: tuple[Looked, ...]
    points_px: Array
    """(P, N, 2)"""
    eyes_px: Array
    """(P,) what errors are divided by."""
    smiling: tuple[Looked | None, ...]


def read_people(
    benchmark: Benchmark, root: Path, detector: Detector, network: DenseNetwork, limit: int | None
) -> People:
    """The people of facelab189, in windows from their true boxes; those smiling are looked for in their photos."""
    faces: list[Face] = [*benchmark.calibration, *benchmark.faces]
    faces = faces if limit is None else faces[:limit]
    looked, smiling = [], []
    for face in faces:
        window = Window.from_box(face.box_px, detector.landmarker.window_scale)
        looked.append(look(detector, network, face.load(), window))
        path = next(iter(sorted((root / "smiling").glob(f"{face.name.split('_')[0]}_*"))), None)
        smiling.append(None if path is None else _largest(detector, network, stored_pixels(path)))
    points = np.stack([face.points_px for face in faces])
    eyes = np.linalg.norm(points[:, FACELAB_EYES[0]] - points[:, FACELAB_EYES[1]], axis=-1)
    return People(tuple(f.name for f in faces), tuple(looked), points, eyes, tuple(smiling))


def _largest(detector: Detector, network: DenseNetwork, pixels: npt.NDArray[np.uint8]) -> Looked | None:
    heads = detector.encode(pixels)
    return Looked(pixels, heads[0], dense_of(network, pixels, heads[0])) if heads else None


def across_people(people: People, who: Carrier) -> Array:
    """(P, P, N) errors of one carrier from each person to each, over the eyes' distance of the second; NaN from a
    person to itself."""
    count, points = people.points_px.shape[:2]
    out = np.full((count, count, points), np.nan)
    for i in range(count):
        for j in range(count):
            if i != j:
                carried = who.carry(people.looked[i], people.looked[j], people.points_px[i])
                out[i, j] = distances(carried, people.points_px[j]) / people.eyes_px[j]
    return out


def through_smiles(people: People, who: Carrier) -> Array:
    """(P, N) errors of points that go from a neutral face to the same person's smile and on to the next person's
    neutral one, over the eyes' distance of that."""
    count = len(people.names)
    out = np.full(people.points_px.shape[:2], np.nan)
    for i in range(count):
        j, smile = (i + 1) % count, people.smiling[i]
        if smile is not None:
            there = who.carry(people.looked[i], smile, people.points_px[i])
            on = np.isfinite(there).all(1)
            there[on] = who.carry(smile, people.looked[j], there[on])
            out[i] = distances(there, people.points_px[j]) / people.eyes_px[j]
    return out


def distances(found_px: Array, truth_px: Array) -> Array:
    """(N,) pixels; infinite where nothing was found."""
    away = np.linalg.norm(found_px - truth_px, axis=1)
    return np.where(np.isfinite(away), away, np.inf)
