"""Arrays out of .npz files, of which anyone may have written them: numbers alone, and no more than memory holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from anymark.files import reading

MOST_BYTES = 512_000_000
"""Of the arrays of one file, where they are also more than"""
MOST_INFLATED = 100
"""times as large as the file. Numbers of pictures and heads are packed to a quarter at best, masks to a fiftieth."""


@contextmanager
def open_arrays(path: str | os.PathLike[str], what: str) -> Iterator[NpzFile]:
    """The arrays of an .npz file, each read when it is asked for.

    Args:
        what: that the file should be, as in "a track".

    Raises:
        AnymarkError: it is missing, damaged, something else or a decompression bomb, or the block raises anything.
    """
    with reading(path, what), open(path, "rb") as file, load_arrays(file) as arrays:
        yield arrays


def read_arrays(path: str | os.PathLike[str], what: str) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz file.

    Args:
        what: that the file should be.

    Raises:
        AnymarkError: it is missing, damaged, something else or a decompression bomb.
    """
    with open_arrays(path, what) as arrays:
        return {key: arrays[key] for key in arrays.files}


def load_arrays(file: BufferedIOBase) -> NpzFile:
    """An opened .npz file.

    Raises:
        ValueError: it is none, or a decompression bomb.
    """
    magic = file.read(6)
    if not magic.startswith(b"PK"):  # numpy would advise to unpickle it
        raise ValueError("one array, not an .npz file" if magic == b"\x93NUMPY" else "not an .npz file")
    packed = file.seek(0, os.SEEK_END)
    file.seek(0)
    arrays = cast(NpzFile, np.load(file, allow_pickle=False))
    assert arrays.zip is not None
    size = sum(member.file_size for member in arrays.zip.infolist())
    if size > MOST_BYTES and size > MOST_INFLATED * packed:
        arrays.close()
        raise ValueError(f"its arrays take {size / 1e9:.1f} GB, {size / packed:.0f} times as much as the file")
    return arrays
