"""Small readers of other programs' files, written from their descriptions and not from our writers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

Words = list["str | Words"]


def words(text: str) -> Words:
    """Words of a Tcl-like text; a group in braces is a list, one in quotes a string."""
    stack: list[Words] = [[]]
    for open_, close, quoted, word in re.findall(r'(\{)|(\})|"((?:[^"\\]|\\.)*)"|([^\s{}"]+)', text):
        if open_:
            stack.append([])
        elif close:
            group = stack.pop()
            stack[-1].append(group)
        else:
            stack[-1].append(word or quoted)
    assert len(stack) == 1, "braces do not match"
    return stack[0]


def nuke_nodes(path: Path) -> list[tuple[str, dict[str, str | Words]]]:
    """Class and knobs of each node."""
    nodes = words(path.read_text())
    found = []
    for kind, body in zip(nodes[::2], nodes[1::2], strict=True):
        assert isinstance(kind, str)
        assert isinstance(body, list)
        found.append((kind, dict(zip(body[::2], body[1::2], strict=True))))
    return found


def nuke_curve(group: Words) -> dict[float, float]:
    """Keys of a curve, by frame; see Foundry's "Curve serialisation format"."""
    assert group[0] == "curve"
    keys: dict[float, float] = {}
    at: float | None = None
    for word in group[1:]:
        assert isinstance(word, str)
        if re.fullmatch(r"x-?[\d.]+", word):
            at = float(word[1:])
        elif word not in ("K", "L", "S", "R", "C"):
            assert at is not None
            keys[at], at = float(word), None
    return keys


def held(keys: dict[float, float], frame: float) -> float:
    """Of a curve whose keys all hold: its value in a frame; the first key's before that."""
    before = [at for at in keys if at <= frame]
    return keys[max(before)] if before else keys[min(keys)]


def keyframes(path: Path) -> tuple[dict[str, str], list[npt.NDArray[np.float64]]]:
    """After Effects: what the header says, and the table (K, 4) of frames, x, y and z of each block of positions."""
    lines = path.read_text().split("\n")
    assert lines[0] == "Adobe After Effects 8.0 Keyframe Data"
    assert lines[-2:] == ["End of Keyframe Data", ""]
    header: dict[str, str] = {}
    blocks: list[list[list[float]]] = []
    for line in lines[1:-2]:
        cells = line.split("\t")
        if line == "Transform\tPosition":
            blocks.append([])
        elif blocks and cells[0] == "" and len(cells) > 1:
            if cells[1] == "Frame":
                assert cells[2:] == ["X pixels", "Y pixels", "Z pixels", ""]
            else:
                blocks[-1].append([float(cell) for cell in cells[1:5]])
        elif len(cells) == 3:
            header[cells[1]] = cells[2]
    return header, [np.array(block) for block in blocks]


def pts_file(path: Path) -> npt.NDArray[np.float64]:
    """(N, 2) of a .pts file of 300-W."""
    found = re.fullmatch(r"version: 1\nn_points: (\d+)\n\{\n(.*)\n\}\n", path.read_text(), re.DOTALL)
    assert found
    points = np.array([line.split() for line in found[2].split("\n")], float)
    assert len(points) == int(found[1])
    return points


def colmap_lines(path: Path) -> list[list[str]]:
    """Words of the lines that are no comments."""
    return [line.split() for line in path.read_text().split("\n")[:-1] if not line.startswith("#")]


def rotation(w: float, x: float, y: float, z: float) -> npt.NDArray[np.float64]:
    """Of a unit quaternion: v -> q v q*, column by column."""

    def times(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.concatenate([[a[0] * b[0] - a[1:] @ b[1:]], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])

    q = np.array([w, x, y, z])
    return np.stack([times(times(q, np.append(0, axis)), q * [1, -1, -1, -1])[1:] for axis in np.eye(3)], 1)
