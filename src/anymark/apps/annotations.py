"""Photos that were annotated by hand: .pts files beside them, tables, or our own JSON.

Points are kept in anymark's pixels of the upright photo, whatever the files count from; see docs/conventions.md.

- `.pts`, one face of the image of the same name beside it; the centre of the first pixel is (1, 1).
- `.csv` with columns image, point, x and y (or x_px and y_px) and, if wanted, face, in any order. A point is a number,
  counted from 0, or a name of the layout's. The centre of the first pixel is (0.5, 0.5), so what `anymark detect --csv`
  wrote can be corrected and given back.
- `.json`, what `anymark detect` wrote, corrected; a point may be null.

Points without a row, or null, are not labelled. Images are looked for beside the table, then from the current folder.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.apps.queries import View
from anymark.canonical import Layout
from anymark.canonical.face_mesh import OUTER_EYES
from anymark.detect.detector import Detector, Head
from anymark.detect.files import SUFFIXES
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]

PTS = ".pts"
FIRST_CENTRES = {PTS: 1.0, ".csv": 0.5, ".json": 0.5}
"""What each kind of file calls the centre of the first pixel, along both axes, unless it is said otherwise."""

FARTHEST = 1.5
"""Of the middle of a face's labels to the middle of the head's box, in longer sides of the box: no farther do they
belong to it."""

_NUMBER = re.compile(r"\d{1,7}", re.ASCII)  # of a point; tables are as long as the largest says


@dataclass(frozen=True, eq=False)
class LabelledFace:
    """One annotated face of a photo."""

    name: str
    """What messages call it."""
    photo: Path
    points_px: Array
    """(N, 2) pixels of the upright photo; NaN where a point is not labelled."""


def first_centre_to_px(points: Array, first_centre: float) -> Array:
    """Points (..., 2) of a data set that calls the centre of its top-left pixel `first_centre` along both axes (0 or 1
    for most, 0.5 for anymark's own) -> anymark's pixels, where (0, 0) is that pixel's outer corner."""
    return points + (0.5 - first_centre)


def check_first_centre(first_centre: float) -> None:
    """That it may be what a data set calls the centre of its first pixel.

    Raises:
        AnymarkError: it is not 0 to 1.
    """
    if not 0 <= first_centre <= 1:
        raise AnymarkError(f"--first-centre {first_centre:g}: must be 0 to 1")


def annotation_files(name: str) -> list[Path]:
    """The files of labels that an argument means: itself, the .pts beside an image, or all .pts of a folder, sorted.

    Raises:
        AnymarkError: there is none, or it is of another kind.
    """
    path = Path(name)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() == PTS)
        if not found:
            raise AnymarkError(f"{name}: no {PTS} files in this folder; give .csv and .json files by name")
        return found
    if path.suffix.lower() in SUFFIXES:
        beside = [file for file in (path.with_suffix(PTS), path.with_suffix(PTS.upper())) if file.is_file()]
        if not beside:
            raise AnymarkError(f"{name}: no {path.with_suffix(PTS).name} beside it")
        return beside[:1]
    if path.suffix.lower() not in FIRST_CENTRES:
        raise AnymarkError(f"{name}: no labels; {', '.join(FIRST_CENTRES)}, images with a {PTS} beside, folders are")
    return [path]


def read_annotations(path: Path, layout: Layout | None = None, first_centre: float | None = None) -> list[LabelledFace]:
    """The annotated faces of one file.

    Args:
        path: .pts, .csv or .json.
        layout: whose points the labels are, if that is known: how many there are, and what they are called.
        first_centre: what the file calls the centre of the first pixel; None takes that of its kind.

    Raises:
        AnymarkError: the file or one of its images is missing, or it is not what it should be.
    """
    count = None if layout is None else len(layout)
    kind = path.suffix.lower()
    centre = FIRST_CENTRES[kind] if first_centre is None else first_centre
    if kind == PTS:
        return [LabelledFace(str(path), _beside(path), read_pts(path, count, centre))]
    found = _read_csv(path, layout) if kind == ".csv" else _read_json(path)
    for face in found:
        if count not in (None, len(face.points_px)):
            raise AnymarkError(f"{face.name}: {len(face.points_px)} points, expected {count}")
    labelled = [face for face in found if np.isfinite(face.points_px).any()]
    if not labelled:
        raise AnymarkError(f"{path}: no labels")
    return [replace(face, points_px=first_centre_to_px(face.points_px, centre)) for face in labelled]


def read_pts(path: Path, count: int | None = None, first_centre: float = FIRST_CENTRES[PTS]) -> Array:
    """Points (N, 2) of a .pts file, in anymark's pixels.

    A header (`version`, `n_points`, braces) may be there or not; numbers may be parted by any blanks or a comma.

    Raises:
        AnymarkError: the file cannot be read, a line is not two finite numbers, or there are none, or not `count` of
            them.
    """
    text = _text(path)
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
    if not points or count not in (None, len(points)):
        raise AnymarkError(f"{path}: {len(points)} points, expected {'some' if count is None else count}")
    array = np.array(points, np.float64)
    if not np.isfinite(array).all():
        raise AnymarkError(f"{path}: a point is not finite")
    return first_centre_to_px(array, first_centre)


def labelled_view(detector: Detector, face: LabelledFace) -> View:
    """The head that a face's labels belong to, found in the whole photo as for anyone who asks.

    Its length is the distance of the outer corners of its eyes as if they were seen from straight ahead.

    Raises:
        AnymarkError: the photo cannot be read, or there is no head where the labels are.
    """
    low, high = np.nanmin(face.points_px, 0), np.nanmax(face.points_px, 0)

    def apart(head: Head) -> float:
        x0, y0, x1, y1 = head.box_px
        middle = np.array([x0 + x1, y0 + y1]) / 2
        return float(np.linalg.norm((low + high) / 2 - middle)) / max(x1 - x0, y1 - y0)

    try:
        head = min(detector.encode(face.photo), key=apart, default=None)
    except AnymarkError as error:
        raise AnymarkError(f"{face.name}: {error}") from None
    if head is None or apart(head) > FARTHEST:
        raise AnymarkError(f"{face.name}: no head found where it is labelled")
    right, left = head.query("mediapipe478").xyz_mm[list(OUTER_EYES)].astype(np.float64)
    depth = float(head.camera.in_camera_mm((right + left) / 2)[2])
    return View(head, face.points_px, math.dist(right, left) * head.camera.focal_px / depth)


def _read_csv(path: Path, layout: Layout | None) -> list[LabelledFace]:
    """As the file counts pixels."""
    try:
        rows = list(csv.reader(_text(path).splitlines(), strict=True))
    except csv.Error as error:
        raise AnymarkError(f"{path}: not valid CSV: {error}") from None
    header = [cell.strip().lower().removesuffix("_px") for cell in rows[0]] if rows else []
    missing = [key for key in ("image", "point", "x", "y") if key not in header]
    if missing:
        raise AnymarkError(f"{path}: no column {missing[0]!r}; image, point, x and y are needed")
    column = {key: header.index(key) for key in ("image", "point", "x", "y", "face") if key in header}
    names = {} if layout is None or layout.names is None else {name: i for i, name in enumerate(layout.names)}
    faces: dict[tuple[str, str], dict[int, tuple[float, float]]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        try:
            cells = {key: row[i].strip() for key, i in column.items()}
            x, y = float(cells["x"]), float(cells["y"])
        except (ValueError, IndexError):
            raise AnymarkError(f"{path}: line {number}: x and y must be numbers") from None
        if not np.isfinite([x, y]).all():
            raise AnymarkError(f"{path}: line {number}: not finite")
        point = names.get(cells["point"], int(cells["point"]) if _NUMBER.fullmatch(cells["point"]) else -1)
        if point < 0 or (layout is not None and point >= len(layout)):
            whose = "a number from 0" if layout is None else f"a point of layout {layout.name!r}"
            raise AnymarkError(f"{path}: line {number}: {cells['point']!r} is not {whose}")
        face = faces.setdefault((cells["image"], cells.get("face", "")), {})
        if point in face:
            raise AnymarkError(f"{path}: line {number}: point {cells['point']} of {cells['image']} is there twice")
        face[point] = x, y
    count = len(layout) if layout is not None else 1 + max((max(points) for points in faces.values()), default=0)
    found = []
    for (image, face), points in faces.items():
        table = np.full((count, 2), np.nan)
        table[list(points)] = list(points.values())
        found.append(LabelledFace(f"{path}: {image}{f' face {face}' if face else ''}", _image(path, image), table))
    return found


def _read_json(path: Path) -> list[LabelledFace]:
    """As the file counts pixels."""
    try:
        data = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise AnymarkError(f"{path}: not valid JSON: {error}") from None
    images = data.get("images", [data]) if isinstance(data, dict) else None
    if not isinstance(images, list):
        raise AnymarkError(f"{path}: not what anymark detect writes")
    found = []
    for entry in images:
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise AnymarkError(f"{path}: not what anymark detect writes: an image without its name")
        name = f"{path}: {entry['image']}"
        faces = entry.get("faces")
        if not isinstance(faces, list):
            raise AnymarkError(f"{name}: no list of faces")
        for number, face in enumerate(faces, 1):
            points = face.get("points") if isinstance(face, dict) else None
            which = f"{name} face {number}"
            found.append(LabelledFace(which, _image(path, entry["image"]), _table(points, which)))
    return found


def _table(points: Any, name: str) -> Array:
    """(N, 2) of JSON's points [x, y, ...] or null."""
    try:
        table = np.array([(np.nan, np.nan) if point is None else point[:2] for point in points], np.float64)
    except (TypeError, ValueError, KeyError, OverflowError):
        table = np.zeros(0)
    if table.shape[1:] != (2,) or np.isinf(table).any():
        raise AnymarkError(f"{name}: points must be a list of [x, y] or null")
    return table


def _beside(path: Path) -> Path:
    """The image of a .pts file."""
    try:
        same = sorted(file for file in path.parent.iterdir() if file.stem == path.stem)
    except OSError as error:
        raise AnymarkError(f"{path.parent}: {(error.strerror or str(error)).lower()}") from None
    return _first((file for file in same if file.suffix.lower() in SUFFIXES), f"{path}: no image beside it")


def _image(table: Path, name: str) -> Path:
    found = (path for path in (table.parent / name, Path(name)) if os.path.isfile(path))
    return _first(found, f"{table}: no image {name}")


def _first(paths: Iterable[Path], missing: str) -> Path:
    for path in paths:
        return path
    raise AnymarkError(missing)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None
