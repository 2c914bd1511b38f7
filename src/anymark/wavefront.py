"""Wavefront .obj files: vertices, faces and lines; texture coordinates, normals and materials are passed over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.files import atomic

MOST_VERTICES = 2**31 - 1


class Obj(NamedTuple):
    """What is in a file, in its order."""

    vertices: npt.NDArray[np.float64]
    """(V, 3)"""
    triangles: npt.NDArray[np.int64]
    """(T, 3) vertex ids; polygons become fans."""
    edges: npt.NDArray[np.int64]
    """(E, 2) vertex ids, of lines."""


def read_obj(path: Path) -> Obj:
    """Read a file.

    Raises:
        OSError: it cannot be read.
        AnymarkError: a line is not what it should be; the message names the line, not the file.
    """
    text = path.read_text("utf-8", "replace")
    points: list[list[str]] = []
    triangles: list[tuple[int, int, int]] = []
    edges: list[tuple[int, int]] = []
    line, number = "", 0
    try:
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if words[0] == "v":
                if len(words) < 4:
                    raise AnymarkError(f"line {number}: a vertex needs three numbers")
                points.append(words[1:4])
            elif words[0] == "f":
                index = list(_indices(words[1:], len(points)))
                triangles += [(index[0], index[k], index[k + 1]) for k in range(1, len(index) - 1)]
            elif words[0] == "l":
                edges += itertools.pairwise(_indices(words[1:], len(points)))
    except AnymarkError:
        raise
    except (ValueError, IndexError):
        raise _wrong(number, line) from None
    try:
        vertices = np.array(points, np.float64).reshape(-1, 3)
    except ValueError:  # which of them is told by trying again
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if words[:1] == ["v"] and not _are_numbers(words[1:4]):
                raise _wrong(number, line) from None
        raise
    return Obj(vertices, np.array(triangles, np.int64).reshape(-1, 3), np.array(edges, np.int64).reshape(-1, 2))


def write_obj(path: Path, vertices: npt.NDArray[np.floating], triangles: npt.NDArray[np.integer], comment: str) -> None:
    """Write vertices (V, 3) and triangles (T, 3), whole or not at all.

    Raises:
        AnymarkError: it cannot be written.
    """
    with atomic(path, "w") as file:
        file.write(f"# {comment}\n")
        file.writelines("v {:.3f} {:.3f} {:.3f}\n".format(*vertex) for vertex in vertices.tolist())
        file.writelines("f {} {} {}\n".format(*triangle) for triangle in (triangles + 1).tolist())


def _indices(words: list[str], count: int) -> Iterator[int]:
    """Vertex ids of a face's or line's words, such as 7/3/2; negative ones count from the last vertex so far."""
    for word in words:
        index = int(word.partition("/")[0])
        if not 0 < abs(index) <= MOST_VERTICES:
            raise ValueError
        yield index - 1 if index > 0 else count + index


def _are_numbers(words: list[str]) -> bool:
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False


def _wrong(number: int, line: str) -> AnymarkError:
    return AnymarkError(f"line {number} is not valid OBJ: {line.strip()[:60]}")
