"""The WFLW benchmark: 98 points on 2,500 test photos, and six subsets of them.

Root of the data, as its authors distribute it, here with what is read:

    WFLW_images/<event>/<file>.jpg
    WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt
    WFLW_annotations/list_98pt_test/list_98pt_test_{largepose,expression,illumination,makeup,occlusion,blur}.txt

A line of the first lists has 207 words: x and y of 98 points, a rectangle (4), six flags, and the image. A line of the
others has 197: the points and the image. Points may lie outside of the image.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from anymark.apps.annotations import check_first_centre, first_centre_to_px
from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import (
    Benchmark,
    BoxRule,
    Face,
    for_calibration,
    lengths,
    note_count,
    points_box,
    readable,
    stored_pixels,
)

POINTS = 98
OUTER_EYES = (60, 72)
PUPILS = ([96], [97])
REGIONS = {
    "jaw": np.arange(33),
    "brows": np.arange(33, 51),
    "nose": np.arange(51, 60),
    "eyes": np.r_[60:76, 96:98],
    "mouth": np.arange(76, 96),
}

SUBSETS = {
    "largepose": 326,
    "expression": 314,
    "illumination": 698,
    "makeup": 206,
    "occlusion": 736,
    "blur": 773,
}
"""Subset -> its faces in the published protocol; in the order of a line's flags."""

FACES = 2500
THRESHOLD = 0.10

_IMAGES = "WFLW_images"
_LISTS = Path("WFLW_annotations") / "list_98pt_rect_attr_train_test"
_SUBSET_LISTS = Path("WFLW_annotations") / "list_98pt_test"
_WORDS = 2 * POINTS + 4 + len(SUBSETS) + 1

_Line = tuple[int, list[str]]
"""Its number, and its words."""
_Subsets = dict[tuple[str, str], tuple[str, ...]]
"""First word and image of a face -> its subsets."""


def read_wflw(root: Path, calibrate: int = 0, first_centre: float = 0.0) -> Benchmark:
    """The test faces whose labels can be scored; the rest is noted.

    Args:
        root: folder that holds `WFLW_images` and `WFLW_annotations`.
        calibrate: take so many faces, spread evenly over the training list, for calibration.
        first_centre: what the labels call the centre of an image's first pixel. The authors do not say; readers take
            the labels as pixel indices, which makes it 0.

    Raises:
        AnymarkError: no images, no list, no face with usable labels, or a first centre that is not 0 to 1.
    """
    check_first_centre(first_centre)
    if not (root / _IMAGES).is_dir():
        raise AnymarkError(f"{root / _IMAGES}: no such folder")
    layout = load_layout("wflw98")
    rule = BoxRule.from_layout(layout)
    notes: list[str] = []

    def faces(split: Literal["train", "test"], subsets: _Subsets | None) -> list[Face]:
        path = root / _LISTS / f"list_98pt_rect_attr_{split}.txt"
        return readable(_lines(path), partial(_face, path, root / _IMAGES, rule, first_centre, subsets), notes)

    scored = faces("test", _subsets(root, notes))
    if not scored:
        raise AnymarkError(f"{root / _LISTS}: no test face of WFLW{f'; {notes[-1]}' if notes else ''}")
    note_count("WFLW", FACES, len(scored), notes)
    for name, count in SUBSETS.items():
        note_count(f"WFLW {name}", count, sum(name in face.subsets for face in scored), notes)
    training = faces("train", None) if calibrate else []
    return Benchmark(
        name="WFLW",
        layout=layout,
        faces=tuple(scored),
        calibration=tuple(training[i] for i in for_calibration(calibrate, len(training), f"{root}: the training list")),
        rows={**{n: (n,) for n in SUBSETS if any(n in face.subsets for face in scored)}, "all": ("wflw",)},
        normalisers=("inter-ocular", "inter-pupil", "box"),
        threshold=THRESHOLD,
        regions=REGIONS,
        notes=tuple(notes),
    )


def _face(path: Path, images: Path, rule: BoxRule, first_centre: float, subsets: _Subsets | None, line: _Line) -> Face:
    """The face of one line of the list at `path`; its flags say which subsets it is in where no lists do."""
    number, words = line
    where = f"{path}: line {number}"
    if len(words) != _WORDS:
        raise AnymarkError(f"{where} has {len(words)} words, expected {_WORDS}")
    image, flags = words[-1], words[-1 - len(SUBSETS) : -1]
    try:
        points = np.array(words[: 2 * POINTS], np.float64).reshape(POINTS, 2)
    except ValueError:
        raise AnymarkError(f"{where} does not begin with {2 * POINTS} numbers") from None
    if not np.isfinite(points).all():
        raise AnymarkError(f"{where}: a point is not finite")
    if not set(flags) <= {"0", "1"}:
        raise AnymarkError(f"{where}: the flags {' '.join(flags)} are not all 0 or 1")
    points = first_centre_to_px(points, first_centre)
    flagged = tuple(name for name, flag in zip(SUBSETS, flags, strict=True) if flag == "1")
    return Face(
        name=f"{image}:{number}",
        group="wflw",
        points_px=points,
        box_px=rule(points_box(points)),
        lengths_px=lengths(points, OUTER_EYES, PUPILS, where),
        load=partial(stored_pixels, images / image),
        subsets=flagged if subsets is None else subsets.get((words[0], image), ()),
    )


def _subsets(root: Path, notes: list[str]) -> _Subsets | None:
    """What the lists of the subsets say; None where these are not there."""
    found: _Subsets = {}
    for name in SUBSETS:
        path = root / _SUBSET_LISTS / f"list_98pt_test_{name}.txt"
        if not path.is_file():
            notes.append(f"{path}: no such file; subsets are those of the flags of the test list")
            return None
        for _, words in _lines(path):
            key = (words[0], words[-1])
            found[key] = (*found.get(key, ()), name)
    return found


def _lines(path: Path) -> list[_Line]:
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({error.strerror})") from None
    return [(i, line.split()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
