"""How much points move in pictures in which nothing moves: the same photo, a little changed each time.

A point's spread is the standard deviation of its place over the draws, along both axes together; a photo's is the root
mean square over its points, over the distance of the outer corners of the eyes as anymark finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.canonical.face_mesh import OUTER_EYES
from anymark.detect.detector import Detector
from anymark.errors import AnymarkError
from anymark.evaluate.contestants import Contestant, Picture, face_of, middle_head
from anymark.evaluate.metrics import point_pair_distance
from anymark.evaluate.perturb import PERTURBATIONS, UNCHANGED, jittered
from anymark.evaluate.report import Detail

Array = npt.NDArray[np.float64]

LEAST_SIDE_PX = 64
"""Of a photo: smaller ones are left out."""

_WINDOW = "window: side 3 %, place 2 %, roll 2 degrees"


@dataclass(frozen=True)
class Still:
    """A photo."""

    name: str
    load: Callable[[], Picture]
    """Raises AnymarkError."""


@dataclass(frozen=True)
class Spread:
    """Of one photo under one perturbation."""

    spreads: tuple[float, ...]
    """Of each contestant, over the distance of the eyes; NaN where it missed the face in one of the draws."""
    missed: tuple[int, ...]
    """Draws in which each missed it."""


@dataclass(frozen=True)
class Steadiness:
    """Of one photo."""

    name: str
    spreads: Mapping[str, Mapping[str, Spread]]
    """How its pictures are looked at -> perturbation -> spread."""
    window: float
    """Spread of anymark's points under jitter of the window alone, over the distance of the eyes."""


Modes = Mapping[str, Sequence[Contestant]]
"""How pictures are looked at -> by whom, the same in all."""


def spread_px(points_px: npt.ArrayLike) -> float:
    """Of K draws of N points (K, N, 2): root mean square over the points of how far each is spread, pixels.

    Raises:
        ValueError: there are fewer than two draws.
    """
    points = np.asarray(points_px, np.float64)
    if len(points) < 2:
        raise ValueError("one draw has no spread")
    variance = ((points - points.mean(0)) ** 2).sum((0, 2)) / (len(points) - 1)
    return float(np.sqrt(variance.mean()))


def stability(
    detector: Detector,
    modes: Modes,
    stills: Sequence[Still],
    draws: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[list[Steadiness], list[str]]:
    """Perturb photos, and look at them as each contestant does; all see the very same pictures.

    Returns:
        what was measured of each photo, and a line for each that was left out.

    Raises:
        AnymarkError: no photo could be measured.
    """
    measured: list[Steadiness] = []
    notes: list[str] = []
    for i, still in enumerate(stills):
        try:
            measured.append(_measure(detector, modes, still, draws, (seed, i)))
        except AnymarkError as error:
            notes.append(f"{error}: left out")
        progress(i + 1, len(stills))
    if not measured:
        raise AnymarkError(f"none of {len(stills)} photos could be measured; the first: {notes[0]}")
    return measured, notes


def stability_details(measured: Sequence[Steadiness], who: Sequence[str]) -> tuple[Detail, ...]:
    """Means over the photos on which none of the contestants missed the face, by perturbation; "all" is the mean of
    the perturbations."""
    tables: list[Detail] = []
    for mode in measured[0].spreads:
        each = [list(photo.spreads[mode].values()) for photo in measured]
        spreads, missed = (
            np.array([[getattr(s, key) for s in photo] for photo in each]) for key in ("spreads", "missed")
        )
        rows = {name: _row(who, spreads[:, k], missed[:, k]) for k, name in enumerate(measured[0].spreads[mode])}
        rows["all"] = _row(who, spreads.mean(1), missed.sum(1))
        tables.append(Detail(f"{mode}: spread, % of the eyes' distance", rows, percent=True))
    window = {_WINDOW: {"n": len(measured), who[0]: float(np.mean([photo.window for photo in measured]))}}
    return (*tables, Detail("the window jitters, the picture does not", window, percent=True))


def _measure(detector: Detector, modes: Modes, still: Still, draws: int, seed: tuple[int, int]) -> Steadiness:
    picture = still.load()
    if min(picture.shape[:2]) < LEAST_SIDE_PX:
        raise AnymarkError(f"{still.name}: smaller than {LEAST_SIDE_PX} pixels")
    plain, _ = UNCHANGED(picture, np.random.default_rng(0))
    heads = detector.encode(plain)
    if not heads:
        raise AnymarkError(f"{still.name}: no head found")
    head = middle_head(heads, plain)
    length = point_pair_distance(face_of(head), *OUTER_EYES)
    readers = {mode: [each.begin() for each in contestants] for mode, contestants in modes.items()}
    spreads: dict[str, dict[str, Spread]] = {mode: {} for mode in modes}
    for k, (name, perturb) in enumerate(PERTURBATIONS.items()):
        rng = np.random.default_rng([*seed, k])
        views = [perturb(picture, rng) for _ in range(draws)]
        for mode, contestants in modes.items():
            found: list[list[Array]] = []
            for contestant, read in zip(contestants, readers[mode], strict=True):
                if contestant.follows:
                    read(plain)  # nothing is spread by what went before
                answers = [(read(pixels), offset) for pixels, offset in views]
                found.append([points + offset for points, offset in answers if points is not None])
            of_each = (spread_px(each) / length if len(each) == draws else float("nan") for each in found)
            spreads[mode][name] = Spread(tuple(of_each), tuple(draws - len(each) for each in found))
    rng = np.random.default_rng([*seed, len(PERTURBATIONS)])
    windows = [jittered(head.window, rng) for _ in range(draws)]
    jitter = spread_px(np.stack([face_of(each) for each in detector.encode(plain, windows)])) / length
    return Steadiness(still.name, spreads, jitter)


def _row(who: Sequence[str], spreads: Array, missed: npt.NDArray[np.integer]) -> dict[str, float]:
    """Of the spreads and misses (M, C) of C contestants on M photos; of two, the first one's over the second one's."""
    seen = spreads[np.isfinite(spreads).all(1)]
    means = seen.mean(0).tolist() if len(seen) else [float("nan")] * len(who)
    row: dict[str, float] = {"n": len(seen), **dict(zip(who, means, strict=True))}
    if len(who) == 2:
        row[f"{who[0]} / {who[1]}"] = means[0] / means[1]
    return row | {f"missed by {name}": int(count) for name, count in zip(who, missed.sum(0), strict=True)}
