"""Which formats there are, and the one way to write them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anymark.errors import AnymarkError
from anymark.exports.after_effects import write_keyframes
from anymark.exports.blender import write_script
from anymark.exports.colmap import write_model
from anymark.exports.mmsolver import write_uv
from anymark.exports.nuke import write_cornerpin, write_tracker
from anymark.exports.opencv import write_cameras
from anymark.exports.plain import write_pts, write_whole
from anymark.exports.shot import Shot, find, of_pictures, select
from anymark.exports.usd import write_scene
from anymark.files import check_file, make_folder
from anymark.video.track import Track
from anymark.video.write import write_csv

_CORNERS = 4
_NUMBERED = frozenset({"points", "first"})
_MESHED = _NUMBERED | {"mesh"}


@dataclass(frozen=True)
class Format:
    """What a program reads."""

    name: str
    summary: str
    """What is in it, in a few words."""
    program: str
    """What reads it."""
    suffix: str
    """That files and folders of this format get by default."""
    write: Callable[[Path, Shot], None]
    options: frozenset[str] = _NUMBERED
    """Those of `export` that it takes, beside the head."""
    first: int = 1
    """What a clip's first frame is called in that program."""
    counts: bool = False
    """Whether the first picture of a sequence is called so, too, and does not keep its number."""
    one_head: bool = False
    """Whether it cannot hold several."""
    folder: bool = False
    """Whether it is a folder of files."""

    def beside(self, path: str | os.PathLike[str]) -> Path:
        """The file, or folder, of this format beside a track's .npz file."""
        return Path(path).with_suffix(self.suffix)


FORMATS = {
    one.name: one
    for one in (
        Format("nuke", "a Tracker4 node a head, a track a point", "Nuke", ".nk", write_tracker),
        Format(
            "nuke-cornerpin",
            "a CornerPin2D node of four points of a head",
            "Nuke",
            ".cornerpin.nk",
            write_cornerpin,
            frozenset({"first", "corners", "reference"}),
            one_head=True,
        ),
        Format("mmsolver", "a marker a point, with weights", "mmSolver for Maya", ".uv", write_uv),
        Format("blender", "a script that builds cameras, heads and points", "Blender", ".py", write_script, _MESHED),
        Format("usd", "a scene of cameras, heads and points", "USD", ".usda", write_scene, _MESHED),
        Format(
            "after-effects",
            "positions of points, to be pasted",
            "After Effects",
            ".txt",
            write_keyframes,
            first=0,
            counts=True,
        ),
        Format("opencv", "K, R and t, and points in 2D and 3D", "OpenCV", ".opencv.json", write_cameras, first=0),
        Format(
            "colmap", "a sparse model of one head in text", "COLMAP", ".colmap", write_model, one_head=True, folder=True
        ),
        Format(
            "csv",
            "a row a point",
            "anything",
            ".csv",
            lambda path, shot: write_csv(path, shot.track),
            frozenset({"points"}),
        ),
        Format("json", "the whole track as plain JSON", "anything", ".json", write_whole, first=0),
        Format("pts", "a file a head and frame, as of 300-W", "anything", ".pts", write_pts, first=0, folder=True),
        Format(
            "npz",
            "the track itself",
            "numpy",
            ".npz",
            lambda path, shot: shot.track.save(path),
            frozenset({"points"}),
        ),
    )
}
"""By name."""


def format_named(name: str) -> Format:
    """One of `FORMATS`.

    Raises:
        AnymarkError: there is none of that name.
    """
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FORMATS)}"
        raise AnymarkError(f"{name}: no such format; {hint}")
    return FORMATS[name]


def format_of(path: Path) -> Format:
    """The format of a file, by the longest suffix that it ends in.

    Raises:
        AnymarkError: none has such a suffix.
    """
    found = [one for one in FORMATS.values() if path.name.lower().endswith(one.suffix)]
    if not found:
        raise AnymarkError(f"{path}: no format has this suffix; say which is meant: {', '.join(FORMATS)}")
    return max(found, key=lambda one: len(one.suffix))


def export(
    track: Track,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    head: int | None = None,
    points: Sequence[int | str] | None = None,
    first: int | None = None,
    corners: Sequence[int | str] | None = None,
    reference: int | None = None,
    mesh: bool = False,
) -> None:
    """Write a track for another program; each file is complete or not there at all.

    Args:
        path: A file, or a folder, which is made, of formats that are one. Files in it of the same names are replaced.
        format: One of `FORMATS`; by the path's suffix if None.
        head: The one to write; all if None.
        points: Those to write, by number, name or name of a region; all if None.
        first: What the first frame is called. If None: of image sequences, the number of its picture; of clips, 1 or 0,
            as the program counts.
        corners: Four points, of nuke-cornerpin.
        reference: The frame, by its number there, in which nuke-cornerpin leaves everything as it is; the head's first
            frame if None.
        mesh: Whether to write the surface, too, in blender and usd.

    Raises:
        AnymarkError: no such format, head or point, an option that the format does not take or that it lacks, a track
            without heads or a layout without triangles, or the file cannot be written.
    """
    path = Path(path)
    kind = format_of(path) if format is None else format_named(format)
    given = {"points": points, "first": first, "corners": corners, "reference": reference, "mesh": mesh or None}
    for name, value in given.items():
        if value is not None and name not in kind.options:
            raise AnymarkError(f"{kind.name} has no use for {name}")
    check_target(path, kind)
    pinned = _corners(track, corners) if "corners" in kind.options else ()
    track = select(track, head, points)
    if kind.one_head and len(track.ids) > 1:
        raise AnymarkError(f"{kind.name} holds one head, and there are {', '.join(map(str, track.ids))}: choose one")
    if mesh and track.layout.triangles is None:
        raise AnymarkError(f"layout {track.layout.name!r} has no triangles, so there is no mesh")
    if first is None:
        first = int(track.pts[0]) if of_pictures(track) and not kind.counts else kind.first
    if kind.folder:
        make_folder(path)
    kind.write(path, Shot(track, first, mesh, pinned, reference))


def check_target(path: Path, kind: Format, made: Path | None = None) -> None:
    """That a file, or folder, of a format can be at a path.

    Args:
        path: The path.
        kind: The format.
        made: A folder that will be there by then.

    Raises:
        AnymarkError: it cannot, or a file has another suffix than the format's.
    """
    if kind.folder:
        if path.exists() and not path.is_dir():
            raise AnymarkError(f"{path}: cannot write ({kind.name} is a folder, and this is none)")
        if not path.exists():
            check_file(path, made)
        return
    suffix = Path(kind.suffix).suffix or kind.suffix
    if path.suffix.lower() != suffix:
        raise AnymarkError(f"{path}: files of {kind.name} end in {suffix}")
    check_file(path, made)


def _corners(track: Track, corners: Sequence[int | str] | None) -> tuple[int, ...]:
    """Four points of the layout.

    Raises:
        AnymarkError: there are not four, or not these.
    """
    if corners is None:
        raise AnymarkError("a corner pin needs its corners: four points, by number or name")
    found = [find(track.layout, corner) for corner in corners]
    for corner, points in zip(corners, found, strict=True):
        if len(points) != 1:
            raise AnymarkError(f"corners: {corner!r} is a region, not a point")
    four = tuple(points[0] for points in found)
    if len(set(four)) != _CORNERS or len(four) != _CORNERS:
        raise AnymarkError(f"corners: four different points are needed, not {', '.join(map(str, corners))}")
    return four
