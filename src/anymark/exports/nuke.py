"""Nuke: Tracker4 and CornerPin2D nodes, as text that is pasted or opened.

Nuke's pixels begin at the outer corner of the bottom-left one, y up. Curves are those of Foundry's "Curve serialisation
format": keys `x<frame> value`, after K of values that hold until the next key.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.exports.conventions import Array, from_bottom, plain
from anymark.exports.shot import Shot
from anymark.files import atomic

_COLUMNS = (  # of a Tracker4's table: three numbers on each column's type and width, and its name
    *("5 1 20 enable e", "3 1 75 name name", "2 1 58 track_x track_x", "2 1 58 track_y track_y"),
    *("2 1 63 offset_x offset_x", "2 1 63 offset_y offset_y", "4 1 27 T T", "4 1 27 R R", "4 1 27 S S"),
    *("2 0 45 error error", "1 1 0 error_min error_min", "1 1 0 error_max error_max"),
    *(f"1 1 0 {box}_{side} {box}_{side}" for box in ("pattern", "search") for side in "xyrt"),
    "2 1 0 key_track key_track",
    *(f"2 1 0 key_{box}_{side} key_{box}_{side}" for box in ("search", "track") for side in "xyrt"),
    *(f"2 1 0 key_centre_offset_{axis} key_centre_offset_{axis}" for axis in "xy"),
)
_PATTERN, _SEARCH = "-16 -16 16 16", "-32 -32 32 32"  # boxes about a point, pixels; only tracking on uses them


def write_tracker(path: Path, shot: Shot) -> None:
    """A Tracker4 for each head, a track for each point: keys where the head was found, disabled where it was not, and
    where the point is hidden.

    Raises:
        AnymarkError: the file cannot be written.
    """
    lines: list[str] = []
    for node, head in enumerate(shot.track.ids):
        rows = shot.track.head(head)
        numbers = shot.frames[rows["frame"]]
        xy = from_bottom(rows["xy_px"].astype(np.float64), shot.track.size_px[1])
        lines += ["Tracker4 {", " inputs 0", f" tracks {{ {{ 1 {len(_COLUMNS)} {len(shot.point_names)} }}"]
        lines += [f"{'{ ' if i == 0 else ''}{{ {column} 1 }}" for i, column in enumerate(_COLUMNS)]
        lines += ["}", "{"]
        for i, name in enumerate(shot.point_names):
            cells = [
                *(_switch(shot, shot.seen(rows, i)), f'"head{head}_{name}"'),
                *(_curve(numbers, xy[:, i, axis]) for axis in (0, 1)),
                *(_still(shot, "K"), _still(shot, "K"), "1 0 0", _still(shot), "0 0"),
                *(_PATTERN, _SEARCH, *["{}"] * 11),  # nothing was tracked in Nuke
            ]
            lines.append(f" {{ {' '.join(cells)} }}")
        lines += ["}", "}", *_end(f"anymark_head{head}", node)]
    _write(path, lines)


def write_cornerpin(path: Path, shot: Shot) -> None:
    """A CornerPin2D that moves a picture with four points of a head, from where they are in the reference frame.

    Disabled in frames in which the head was not found.

    Raises:
        AnymarkError: the head was not found in the reference frame, or the file cannot be written.
    """
    (head,) = shot.track.ids
    rows = shot.track.head(head)
    numbers = shot.frames[rows["frame"]]
    reference = int(numbers[0]) if shot.reference is None else shot.reference
    (at,) = np.nonzero(numbers == reference)
    if not len(at):
        raise AnymarkError(f"head {head} was not found in frame {reference}, which cannot be the reference then")
    xy = from_bottom(rows["xy_px"][:, list(shot.corners)].astype(np.float64), shot.track.size_px[1])
    lines = ["CornerPin2D {", " inputs 0"]
    for i in range(4):
        lines.append(f" to{i + 1} {{{_curve(numbers, xy[:, i, 0])} {_curve(numbers, xy[:, i, 1])}}}")
    lines.append(" invert false")
    for i, (x, y) in enumerate(xy[at[0]].tolist()):
        lines.append(f" from{i + 1} {{{plain(x)} {plain(y)}}}")
    lines.append(f" disable {{{_switch(shot, ~shot.found(rows))}}}")
    names = ", ".join(shot.point_names[i] for i in shot.corners)
    lines.append(f' label "{names}\\nreference frame {reference}"')
    _write(path, [*lines, *_end(f"anymark_head{head}_cornerpin", 0)])


def _curve(numbers: npt.NDArray[np.int64], values: Array) -> str:
    keys = (f"x{number} {plain(value)}" for number, value in zip(numbers.tolist(), values.tolist(), strict=True))
    return f"{{curve {' '.join(keys)}}}"


def _switch(shot: Shot, on: npt.NDArray[np.bool_]) -> str:
    """A curve that is 0 or 1 and holds: a key where it changes."""
    return f"{{curve K {' '.join(f'x{number} {value:d}' for number, value in shot.changes(on))}}}"


def _still(shot: Shot, interpolation: str = "") -> str:
    return f"{{curve {interpolation} x{shot.frames[0]} 0}}".replace("  ", " ")


def _end(name: str, node: int) -> list[str]:
    return [f" name {name}", " selected true", f" xpos {110 * node}", " ypos 0", "}"]


def _write(path: Path, lines: list[str]) -> None:
    with atomic(path, "w") as file:
        file.write("\n".join(lines) + "\n")
