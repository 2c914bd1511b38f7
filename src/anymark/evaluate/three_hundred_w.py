"""The 300-W benchmark: 68 points on photos of helen, lfpw, afw and ibug, and its .pts files.

Root of the data, as its authors distribute it: `helen/{trainset,testset}`, `lfpw/{trainset,testset}`, `afw`, `ibug`, a
.pts beside each image. Common = helen/testset + lfpw/testset, 554 faces; challenging = ibug, 135; full = both, 689;
training = afw + helen/trainset + lfpw/trainset, 3148.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from anymark.apps.annotations import read_pts
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
from anymark.evaluate.ibug68 import EYES, IMAGE_SUFFIXES, OUTER_EYES, POINTS, REGIONS

Subset = Literal["common", "challenging", "full"]

COMMON = ("helen/testset", "lfpw/testset")
CHALLENGING = ("ibug",)
TRAINING = ("afw", "helen/trainset", "lfpw/trainset")
FACES = {"common": 554, "challenging": 135, "full": 689}
"""Faces of each subset in the published protocol."""

THRESHOLD = 0.08
"""Of FR and AUC. Papers use 0.05, 0.07, 0.08 and 0.10 on 300-W: it is printed beside the numbers."""


def read_300w(root: Path, subset: Subset = "full", calibrate: int = 0) -> Benchmark:
    """The faces of a subset, those of its folders that are there and whose labels can be scored; the rest is noted.

    Args:
        root: folder that holds `helen`, `lfpw`, `ibug`, `afw`; in any case.
        calibrate: take so many faces, spread evenly over the training folders, for calibration.

    Raises:
        AnymarkError: no such folder, or no face of the subset with usable labels.
    """
    if not root.is_dir():
        raise AnymarkError(f"{root}: no such folder")
    layout = load_layout("ibug68")
    rule = BoxRule.from_layout(layout)
    notes: list[str] = []
    rows = {"common": COMMON, "challenging": CHALLENGING, "full": COMMON + CHALLENGING}
    rows = {name: groups for name, groups in rows.items() if subset in ("full", name)}
    faces = readable(_pairs(root, rows[subset], notes), partial(_face, rule=rule), notes)
    if not faces:
        why = f"; {notes[-1]}" if notes else ""
        raise AnymarkError(f"{root}: no faces of 300-W {subset} (looked for .pts in {', '.join(rows[subset])}){why}")
    for name, groups in rows.items():
        note_count(f"300-W {name}", FACES[name], sum(face.group in groups for face in faces), notes)
    rows = {name: groups for name, groups in rows.items() if any(face.group in groups for face in faces)}
    training = readable(_pairs(root, TRAINING, []), partial(_face, rule=rule), notes) if calibrate else []
    chosen = for_calibration(calibrate, len(training), f"{root}: the training folders {', '.join(TRAINING)}")
    return Benchmark(
        name=f"300-W {subset}",
        layout=layout,
        faces=tuple(faces),
        calibration=tuple(training[i] for i in chosen),
        rows=rows,
        normalisers=("inter-ocular", "inter-pupil", "box"),
        threshold=THRESHOLD,
        regions=REGIONS,
        notes=tuple(notes),
    )


def _pairs(root: Path, groups: Sequence[str], notes: list[str]) -> list[tuple[Path, Path, str]]:
    """(.pts, image, group) of all faces of these folders, sorted; what is left out is noted."""
    found = []
    for group in groups:
        folder = _folder(root, group)
        if folder is None:
            notes.append(f"{root / group}: no such folder")
            continue
        files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        images = {_key(p): p for p in reversed(files) if p.suffix.lower() in IMAGE_SUFFIXES}
        # dlib's copy of the data holds a mirrored twin of every photo, which is not part of the protocol.
        marked = [p for p in files if p.suffix.lower() == ".pts" and not p.stem.endswith("_mirror")]
        for pts in marked:
            image = images.get(_key(pts))
            if image is None:
                notes.append(f"{pts}: no image beside it, left out")
            else:
                found.append((pts, image, group))
    return found


def _folder(root: Path, group: str) -> Path | None:
    """`group` below `root`, whatever the case of its names."""
    for name in group.split("/"):
        exact = root / name
        same = [exact] if exact.is_dir() else [p for p in sorted(root.iterdir()) if p.name.lower() == name]
        folders = [p for p in same if p.is_dir()]
        if not folders:
            return None
        root = folders[0]
    return root


def _key(path: Path) -> str:
    """What an image and its .pts have in common; ibug's `image_092 _01` has lost its blank in some copies."""
    return path.stem.replace(" ", "")


def _face(files: tuple[Path, Path, str], rule: BoxRule) -> Face:
    pts, image, group = files
    points = read_pts(pts, POINTS)
    divisors = lengths(points, OUTER_EYES, EYES, str(pts))
    return Face(f"{group}/{pts.stem}", group, points, rule(points_box(points)), divisors, partial(stored_pixels, image))
