"""Which photos a command line means: files, folders and globs."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from anymark.errors import AnymarkError

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pnm", ".jp2", ".tga"}
)
"""Files of a folder that are taken as photos."""

MARK = ".anymark"
"""Comes before the suffix of what we write; such files in a folder are our own drawings, not photos."""


def photos(name: str) -> list[Path]:
    """The photos that one argument means: itself, a folder's images (sorted, without sub-folders) or a glob's.

    A file that is named outright is taken as it is, so that what is wrong with it can be said when it is opened.

    Raises:
        AnymarkError: a folder without images, or a glob that fits nothing.
    """
    path = Path(name)
    if path.is_dir():
        found = _images(path.iterdir())
        if not found:
            raise AnymarkError(f"{name}: no images in this folder")
        return found
    if not path.exists() and glob.has_magic(name):
        found = _images(map(Path, glob.glob(name, recursive=True)))
        if not found:
            raise AnymarkError(f"{name}: no image fits")
        return found
    return [path]


def output_names(paths: Iterable[Path]) -> list[str]:
    """A name for what is written about each photo, without suffix: stem and `.anymark`, numbered where stems clash."""
    taken: set[str] = set()
    names: list[str] = []
    for path in paths:
        name, number = path.stem + MARK, 1
        while name.casefold() in taken:  # some file systems do not tell A from a
            number += 1
            name = f"{path.stem}-{number}{MARK}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if p.suffix.lower() in SUFFIXES and not p.stem.endswith(MARK) and p.is_file())
