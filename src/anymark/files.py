"""Files out: each is written whole or not at all, and none over another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from anymark.errors import AnymarkError


@contextmanager
def atomic(path: Path, mode: Literal["w", "wb"]) -> Iterator[IO[Any]]:
    """A file that appears under its name, whole, when the block ends well, and not at all otherwise.

    Raises:
        AnymarkError: the file cannot be written.
    """
    if not path.name:
        raise AnymarkError(f"{path}: cannot write (a folder)")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") if mode == "wb" else open(temporary, "w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        raise AnymarkError(f"{path}: cannot write ({(error.strerror or str(error)).lower()})") from None
    finally:
        with suppress(OSError):  # gone by now, or never there
            temporary.unlink()


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    """One JSON object.

    Raises:
        AnymarkError: the file cannot be written.
    """
    with atomic(path, "w") as file:
        file.write(json.dumps(content, indent=indent, allow_nan=False) + "\n")


def check_targets(targets: Iterable[Path], inputs: Iterable[Path] = ()) -> None:
    """That each file to be written is another one than the rest, and none that is read.

    Raises:
        AnymarkError: a file would be written over.
    """
    read, written = {os.path.realpath(path) for path in inputs}, set[str]()
    for target in targets:
        place = os.path.realpath(target)
        if place in read:
            raise AnymarkError(f"{target}: would overwrite what is read")
        if place in written:
            raise AnymarkError(f"{target}: is to be written twice, one over the other")
        written.add(place)
