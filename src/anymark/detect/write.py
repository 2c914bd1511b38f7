"""Results on disk: JSON, CSV and pictures, each written whole or not at all.

JSON of one image::

    {"format": 2, "layout": "ibug68", "image": "photo.jpg", "size": [width, height],
     "faces": [{"score": 0.98, "box_px": [x0, y0, x1, y1],
                "window": {"centre_px": [x, y], "side_px": s, "roll_rad": r},
                "crop": [[a, b, x], [c, d, y]],
                "camera": {"focal_px": f, "principal_px": [x, y], "R_camera_head": [[...], ...],
                           "t_camera_head_mm": [x, y, z]},
                "points": [[x, y, sigma, visible], ...], "xyz_mm": [[x, y, z], ...]}]}

JSON of many: ``{"format": 2, "layout": ..., "images": [{"image": ..., "size": ..., "faces": ...}, ...]}``.

CSV has a row a point, see `CSV_COLUMNS`; faces count from 1, points from 0. Pixels are those of the photo, upright,
(0, 0) = outer corner of its top-left pixel; millimetres those of the head frame.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from anymark.canonical import Layout
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError
from anymark.files import atomic, write_json

FORMAT = 2
PICTURES = (".png", ".jpg", ".jpeg")
"""Suffixes of the pictures that are written."""


CSV_COLUMNS = ("image", "face", "point", "name", "x_px", "y_px", "sigma_px", "visible", "x_mm", "y_mm", "z_mm")


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in one image."""

    name: str
    """The image's path as the user gave it."""
    size_px: tuple[int, int]
    """(width, height), upright."""
    layout: Layout
    faces: Sequence[Landmarks]

    def to_dict(self) -> dict[str, Any]:
        """One entry of the JSON above."""
        return {"image": self.name, "size": list(self.size_px), "faces": [face.to_dict() for face in self.faces]}


def check_picture(option: str, path: Path) -> None:
    """That a picture can be written under this name.

    Args:
        option: what asked for it.

    Raises:
        AnymarkError: it is neither a PNG nor a JPEG by its suffix.
    """
    if path.suffix.lower() not in PICTURES:
        raise AnymarkError(f"{option} {path}: must end in .png or .jpg")


def write_image(path: Path, image: Image.Image) -> None:
    """A picture, JPEG or PNG by its suffix."""
    with atomic(path, "wb") as file:
        if path.suffix.lower() in (".jpg", ".jpeg"):
            image.save(file, "JPEG", quality=92, subsampling=0)
        else:
            image.save(file, "PNG", compress_level=3)


def write_found(path: Path, found: Found) -> None:
    """One JSON file of one image."""
    write_json(path, {"format": FORMAT, "layout": found.layout.name} | found.to_dict())


@contextmanager
def json_file(path: Path, layout: Layout) -> Iterator[Callable[[Found], None]]:
    """One JSON file of many images; call what it yields once an image."""
    with atomic(path, "w") as file:
        file.write(f'{{"format": {FORMAT}, "layout": {json.dumps(layout.name)}, "images": [')
        separator = "\n"

        def add(found: Found) -> None:
            nonlocal separator
            file.write(separator + json.dumps(found.to_dict()))
            separator = ",\n"

        yield add
        file.write("\n]}\n")


@contextmanager
def csv_file(path: Path) -> Iterator[Callable[[Found], None]]:
    """One CSV file of many images; call what it yields once an image."""
    with atomic(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)

        def add(found: Found) -> None:
            names = found.layout.names or ("",) * len(found.layout)
            for number, face in enumerate(found.faces, 1):
                numbers = face.to_dict()
                rows = zip(names, numbers["points"], numbers["xyz_mm"], strict=True)
                writer.writerows(
                    (found.name, number, index, name, *point, *xyz_mm)
                    for index, (name, point, xyz_mm) in enumerate(rows)
                )

        yield add
