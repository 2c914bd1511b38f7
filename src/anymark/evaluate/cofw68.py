"""The COFW-68 benchmark: the 507 occluded faces of COFW's test set, annotated anew with 68 points and what hides them.

Two downloads, anywhere below one folder:

    COFW_test_color.mat               images, IsT, in cells (COFW_color.zip; or COFW_test.mat of COFW.zip, in grey)
    test_annotations/<n>_points.mat   Points (68, 2) and Occ (68) of image n, counted from 1 (cofw68-benchmark)

As in the authors' Main.m, errors are divided by the distance of the middles of the eyes, and fail above 0.1; the same
over the points that are not occluded is reported beside.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from anymark.apps.annotations import first_centre_to_px
from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import (
    Benchmark,
    BoxRule,
    Face,
    lengths,
    note_count,
    part,
    points_box,
    readable,
)
from anymark.evaluate.ibug68 import EYES, OUTER_EYES, POINTS, REGIONS
from anymark.evaluate.mat_files import MatImages, read_arrays
from anymark.evaluate.metrics import failure_rate, mean_error
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores

IMAGES = ("COFW_test_color.mat", "COFW_test.mat")
ANNOTATIONS = ("test_annotations", "cofw68_test_annotations")
"""Names of the folder, in the benchmark's repository and in copies of it."""
FACES = 507
THRESHOLD = 0.10

FIRST_CENTRE = 1.0
"""What the labels call the centre of the first pixel: they are drawn over MATLAB's images as they are."""

SEEN = 0.5
"""A point counts as found to be occluded if it is seen with a probability below this."""


def read_cofw68(root: Path, calibrate: int = 0) -> Benchmark:
    """The faces whose labels can be scored; the rest is noted.

    Args:
        root: folder that holds both downloads.
        calibrate: take so many faces, spread evenly, for calibration: there are none to train on. They are not scored.

    Raises:
        AnymarkError: images or annotations are missing or cannot be read, or no face has usable labels.
    """
    images = MatImages(_below(root, IMAGES), "IsT")
    folder = _below(root, ANNOTATIONS)
    layout = load_layout("ibug68")
    notes: list[str] = []
    faces = readable(range(len(images)), partial(_face, folder, images, BoxRule.from_layout(layout)), notes)
    if not faces:
        raise AnymarkError(f"{folder}: no faces of COFW-68; {notes[-1]}")
    note_count("COFW-68", FACES, len(faces), notes)
    scored, calibration = part(faces, calibrate, "COFW-68")
    return Benchmark(
        name="COFW-68",
        layout=layout,
        faces=scored,
        calibration=calibration,
        rows={"all": ("cofw68",)},
        normalisers=("inter-pupil", "inter-ocular", "box"),
        threshold=THRESHOLD,
        regions=REGIONS,
        asked={"visible": lambda landmarks: landmarks.visible},
        notes=tuple(notes),
    )


def occlusion_details(scores: Scores, threshold: float) -> tuple[Detail, ...]:
    """What COFW-68 reports besides: errors of the points that are not occluded, and how well occlusion is told."""
    seen = scores.truth("visible") > 0
    found = np.isfinite(scores.nme)
    some = seen.any(1)
    errors = np.where(seen, scores.point_errors(), 0).sum(1)[some] / seen.sum(1)[some]
    errors[~found[some]] = np.inf
    hidden, said = ~seen[found], scores.answers["visible"][found] < SEEN
    right = int((hidden & said).sum())
    return (
        Detail(
            "points that are not occluded",
            {"all": {"NME": mean_error(errors), "FR": failure_rate(errors, threshold)}},
            percent=True,
        ),
        Detail(
            "occlusion",
            {"all": {"precision": _share(right, int(said.sum())), "recall": _share(right, int(hidden.sum()))}},
            percent=True,
        ),
    )


def _face(folder: Path, images: MatImages, rule: BoxRule, index: int) -> Face:
    path = folder / f"{index + 1}_points.mat"
    arrays = read_arrays(path, ["Points", "Occ"])
    points, occluded = arrays["Points"], arrays["Occ"].ravel()
    if points.shape != (POINTS, 2) or occluded.shape != (POINTS,):
        raise AnymarkError(
            f"{path}: Points {points.shape} and Occ {occluded.shape}, expected ({POINTS}, 2) and {POINTS}"
        )
    points = first_centre_to_px(points, FIRST_CENTRE)
    return Face(
        name=str(index + 1),
        group="cofw68",
        points_px=points,
        box_px=rule(points_box(points)),
        lengths_px=lengths(points, OUTER_EYES, EYES, str(path)),
        load=partial(images.pixels, index),
        truth={"visible": (occluded == 0).astype(np.float64)},
    )


def _below(root: Path, names: tuple[str, ...]) -> Path:
    """The file or folder of one of these names that lies least deep below `root`."""
    if not root.is_dir():
        raise AnymarkError(f"{root}: no such folder")
    for name in names:
        found = sorted(root.rglob(name), key=lambda path: (len(path.parts), path))
        if found:
            return found[0]
    raise AnymarkError(f"{root}: no {' or '.join(names)} in it or below")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
