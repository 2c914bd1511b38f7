"""Which photos a command line means: files, folders and globs."""

from __future__ import annotations

import glob
import os
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
        AnymarkError: an empty name, a folder without images or that cannot be read, or a glob that fits nothing.
    """
    if not name:  # an unset variable of a script; to pathlib, the current folder
        raise AnymarkError("an empty name given as a photo")
    path = Path(name)
    if os.path.isdir(path):
        try:
            found = _images(path.iterdir())
        except OSError as error:
            raise AnymarkError(f"{name}: {(error.strerror or str(error)).lower()}") from None
        if not found:
            raise AnymarkError(f"{name}: no images in this folder")
        return found
    if not os.path.exists(path) and glob.has_magic(name):
        found = _images(map(Path, glob.glob(name, recursive=True)))
        if not found:
            raise AnymarkError(f"{name}: no image fits")
        return found
    return [path]


def output_names(paths: Iterable[Path]) -> list[str]:
    """A name for what is written about each photo, without suffix: stem and `.anymark`, numbered where stems clash."""
    return [stem + MARK for stem in unique([path.stem for path in paths])]


def unique(stems: Iterable[str]) -> list[str]:
    """Stems, numbered where they clash."""
    taken: set[str] = set()
    names: list[str] = []
    for stem in stems:
        name, number = stem, 1
        while name.casefold() in taken:  # some file systems do not tell A from a
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(p for p in paths if p.suffix.lower() in SUFFIXES and not p.stem.endswith(MARK) and os.path.isfile(p))
