"""Image sequences: pictures with numbers in their names, or the pictures of a folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.detect.files import MARK, SUFFIXES
from anymark.detect.image import load_image
from anymark.errors import AnymarkError
from anymark.video.exr import check_openexr, read_exr
from anymark.video.frames import Frame, Video, file_fingerprint

PICTURES = SUFFIXES | {".exr"}
"""Suffixes of pictures that a sequence may consist of."""

_PLACE = re.compile(r"%0?(\d{0,2})d|#{1,99}")


class ImageSequence(Video):
    """Pictures in the order of their numbers; `Frame.pts` is the number in a picture's name.

    In a folder whose names do not all have a number at the same place, pictures are sorted by name and numbered from 0.

    Args:
        source: `shot.%04d.png`, `shot.####.exr` or a folder.
        rate: Frames a second.
        exposure_stops: For .exr; see `anymark.video.exr`.

    Raises:
        AnymarkError: there are no such pictures, OpenEXR is needed and not installed, or an exposure is given where
            there is no .exr.
    """

    def __init__(
        self, source: str | os.PathLike[str], rate: Fraction = Fraction(24), exposure_stops: float = 0.0
    ) -> None:
        self.name = str(source)
        self.rate = rate
        self.time_base = 1 / rate
        self._exposure_stops = exposure_stops
        self._pictures = _of_folder(Path(source)) if os.path.isdir(source) else _of_pattern(Path(source))
        self.expected, self.duration_s = len(self._pictures), None
        exr = next((path for _, path in self._pictures if path.suffix.lower() == ".exr"), None)
        if exr is not None:
            check_openexr(exr)
        elif exposure_stops:
            raise AnymarkError(f"{source}: an exposure is for .exr pictures")

    @property
    def gaps(self) -> list[int]:
        """The first number of each gap in the numbering."""
        numbers = [number for number, _ in self._pictures]
        return [a + 1 for a, b in pairwise(numbers) if b > a + 1]

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `Video.frames`."""
        for index, (number, path) in enumerate(self._pictures[start:], start):
            pixels, problem = None, None
            try:
                pixels = self._read(path)
            except AnymarkError as error:
                problem = str(error)
            yield Frame(index, number, float(number * self.time_base), pixels, problem)

    def fingerprint(self) -> dict[str, object]:
        """See `Video.fingerprint`."""
        digest = hashlib.sha256()
        for number, path in self._pictures:
            try:
                about = [number, path.name, file_fingerprint(path)]
            except OSError as error:
                raise AnymarkError(f"{path}: {(error.strerror or str(error)).lower()}") from None
            digest.update(json.dumps(about).encode())
        return {"pictures": len(self._pictures), "names, sizes and times": digest.hexdigest()}

    def _read(self, path: Path) -> npt.NDArray[np.uint8]:
        return read_exr(path, self._exposure_stops) if path.suffix.lower() == ".exr" else load_image(path)


def is_pattern(name: str) -> bool:
    """Whether a name has a place for a number: %d, %04d or ####."""
    return len(_PLACE.findall(Path(name).name)) > 0


def picture_name(pattern: str, number: int) -> str:
    """The name of the picture with a number, of a sequence's pattern."""

    def filled(place: re.Match[str]) -> str:
        return f"{number:0{_digits(place)}d}"

    return _PLACE.sub(filled, Path(pattern).name)


def _digits(place: re.Match[str]) -> int:
    """How many a number has at least."""
    return len(place[0]) if place[0].startswith("#") else int(place[1] or 1)


def plain_stem(source: str) -> str:
    """A video's name without its suffix and the number's place: `shot` of shot.%04d.png."""
    path = Path(os.path.abspath(source))
    stem = path.name if path.is_dir() else _PLACE.sub("", path.stem)
    return stem.rstrip("._- ") or "video"


def _of_pattern(pattern: Path) -> list[tuple[int, Path]]:
    places = list(_PLACE.finditer(pattern.name))
    if len(places) != 1:
        raise AnymarkError(f"{pattern}: one place for the number is needed, such as %04d or ####")
    place = places[0]
    digits = _digits(place)
    head, tail = pattern.name[: place.start()], pattern.name[place.end() :]
    fits = re.compile(rf"{re.escape(head)}(\d{{{digits},}}){re.escape(tail)}")
    found = [(int(match[1]), path) for path in _listed(pattern.parent) if (match := fits.fullmatch(path.name))]
    # a number of more digits than asked for has no zeros in front: %04d makes 12345 of 12345, and 01234 of nothing
    found = [(number, path) for number, path in found if path.name == f"{head}{number:0{digits}d}{tail}"]
    if not found:
        raise AnymarkError(f"{pattern}: no such pictures")
    return sorted(found)


def _of_folder(folder: Path) -> list[tuple[int, Path]]:
    found = [path for path in _listed(folder) if path.suffix.lower() in PICTURES and not path.stem.endswith(MARK)]
    if not found:
        raise AnymarkError(f"{folder}: no pictures in this folder")
    return _numbered(found) or list(enumerate(sorted(found)))


def _numbered(paths: Sequence[Path]) -> list[tuple[int, Path]]:
    """The pictures by the last number in their names, if these are otherwise the same and no number comes twice."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", path.name) for path in paths]
    if len({match and (match[1], match[3]) for match in parts}) != 1:
        return []
    numbers = [int(match[2]) for match in parts if match]
    return sorted(zip(numbers, paths, strict=True)) if len(set(numbers)) == len(paths) else []


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise AnymarkError(f"{folder}: {(error.strerror or str(error)).lower()}") from None
