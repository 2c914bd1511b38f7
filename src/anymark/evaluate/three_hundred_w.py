"""The 300-W benchmark: 68 points on photos of helen, lfpw, afw and ibug, and its .pts files.

Root of the data, as its authors distribute it: `helen/{trainset,testset}`, `lfpw/{trainset,testset}`, `afw`, `ibug`, a
.pts beside each image. Common = helen/testset + lfpw/testset, 554 faces; challenging = ibug, 135; full = both, 689;
training = afw + helen/trainset + lfpw/trainset, 3148.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import Benchmark, BoxRule, Face, points_box, spread, stored_pixels
from anymark.evaluate.metrics import box_size, mean_pair_distance, point_pair_distance

Subset = Literal["common", "challenging", "full"]

POINTS = 68
COMMON = ("helen/testset", "lfpw/testset")
CHALLENGING = ("ibug",)
TRAINING = ("afw", "helen/trainset", "lfpw/trainset")
FACES = {"common": 554, "challenging": 135, "full": 689}
"""Faces of each subset in the published protocol."""

OUTER_EYES = (36, 45)
EYES = (list(range(36, 42)), list(range(42, 48)))
REGIONS = {"jaw": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68)}

THRESHOLD = 0.08
"""Of FR and AUC. Papers use 0.05, 0.07, 0.08 and 0.10 on 300-W: it is printed beside the numbers."""

FIRST_PIXEL = 0.5
"""A .pts file counts pixel centres from 1, so that the outer corner of the top-left pixel is (0.5, 0.5) in it."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


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
    rule = BoxRule.from_ibug68()
    notes: list[str] = []
    rows = {"common": COMMON, "challenging": CHALLENGING, "full": COMMON + CHALLENGING}
    rows = {name: groups for name, groups in rows.items() if subset in ("full", name)}
    faces = _faces(_pairs(root, rows[subset], notes), rule, notes)
    if not faces:
        why = f"; {notes[-1]}" if notes else ""
        raise AnymarkError(f"{root}: no faces of 300-W {subset} (looked for .pts in {', '.join(rows[subset])}){why}")
    for name, groups in rows.items():
        count = sum(face.group in groups for face in faces)
        if count != FACES[name]:
            notes.append(f"300-W {name} has {FACES[name]} faces in the protocol, {count} here")
    rows = {name: groups for name, groups in rows.items() if any(face.group in groups for face in faces)}
    training = _faces(_pairs(root, TRAINING, []), rule, notes) if calibrate else []
    chosen = spread(calibrate, len(training), f"{root}: the training folders {', '.join(TRAINING)}")
    return Benchmark(
        name=f"300-W {subset}",
        layout=load_layout("ibug68"),
        faces=tuple(faces),
        calibration=tuple(training[i] for i in chosen),
        rows=rows,
        normalisers=("inter-ocular", "inter-pupil", "box"),
        threshold=THRESHOLD,
        regions={name: np.arange(*ends, dtype=np.int32) for name, ends in REGIONS.items()},
        notes=tuple(notes),
    )


def read_pts(path: Path, count: int = POINTS) -> npt.NDArray[np.float64]:
    """Points (N, 2) of a .pts file, in anymark's pixels: (0, 0) is the outer corner of the top-left pixel.

    A header (`version`, `n_points`, braces) may be there or not; numbers may be parted by any blanks or a comma.

    Raises:
        AnymarkError: the file cannot be read, a line is not two finite numbers, or there are not `count` of them.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({error.strerror})") from None
    points: list[tuple[float, float]] = []
    for number, line in enumerate(text.replace("{", "\n").replace("}", "\n").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or re.match(r"(version|n_points)\b", words[0]):
            continue
        try:
            x, y = (float(word) for word in words)
        except ValueError:
            raise AnymarkError(f"{path}: line {number} is not a point: {line.strip()[:40]!r}") from None
        points.append((x, y))
    declared = re.search(r"n_points\s*:?\s*(\d+)", text)
    if declared and int(declared[1]) != len(points):
        raise AnymarkError(f"{path}: {len(points)} points, its header says {declared[1]}")
    if len(points) != count:
        raise AnymarkError(f"{path}: {len(points)} points, expected {count}")
    array = np.array(points, np.float64)
    if not np.isfinite(array).all():
        raise AnymarkError(f"{path}: a point is not finite")
    return array - FIRST_PIXEL


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


def _faces(pairs: Sequence[tuple[Path, Path, str]], rule: BoxRule, notes: list[str]) -> list[Face]:
    """The faces of these files; one without usable labels cannot be scored, so it is left out and noted."""
    faces = []
    for pair in pairs:
        try:
            faces.append(_face(*pair, rule))
        except AnymarkError as error:
            notes.append(f"{error}: left out")
    return faces


def _face(pts: Path, image: Path, group: str, rule: BoxRule) -> Face:
    points = read_pts(pts)
    eyes = point_pair_distance(points, *OUTER_EYES)
    if not eyes > 0:
        raise AnymarkError(f"{pts}: the outer corners of the eyes are one point")
    lengths = {"inter-ocular": eyes, "inter-pupil": mean_pair_distance(points, *EYES), "box": box_size(points)}
    if not min(lengths.values()) > 0:
        raise AnymarkError(f"{pts}: the points lie on one line")
    return Face(f"{group}/{pts.stem}", group, points, rule(points_box(points)), lengths, partial(stored_pixels, image))
