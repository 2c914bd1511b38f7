"""What is exported: some heads and points of a track, and the numbers that its frames have in other programs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.errors import AnymarkError
from anymark.video.rows import Rows, row_dtype
from anymark.video.sequence import is_pattern
from anymark.video.track import Track

SEEN = 0.5
"""Points whose probability of being seen is less count as hidden, where a program knows no more than yes or no."""

_OF_POINTS = ("xy_px", "sigma_px", "visible", "xyz_mm")
_RATES = (Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 48, 50, Fraction(60000, 1001), 60)
_SAME_RATE = 3e-4  # relative; 29.97 and 30 differ by 1e-3
_SHORTEST_FRAME_S = 1 / 500  # time bases of videos are mostly finer
_VIDEOS = frozenset(
    f".{suffix}"
    for suffixes in ("mp4 m4v mov qt webm mkv avi gif apng webp mpg mpeg mxf", "ts mts m2ts wmv flv ogv 3gp y4m")
    for suffix in suffixes.split()
)


@dataclass(frozen=True, eq=False)
class Shot:
    """A track of which only what is asked for is left, and how it is to be written."""

    track: Track
    """With at least one head; see `select`."""
    first: int
    """Number of its first frame."""
    mesh: bool = False
    """Whether the head's surface is asked for: the layout has triangles then."""
    corners: tuple[int, ...] = ()
    """Four indices of points, of a corner pin."""
    reference: int | None = None
    """Number of the frame that a corner pin leaves as it is; None: the head's first one."""

    @cached_property
    def frames(self) -> npt.NDArray[np.int64]:
        """(F,) the number of each frame: pictures of a sequence keep the distances of theirs, clips count."""
        pts = self.track.pts
        return self.first + (pts - pts[0] if of_pictures(self.track) else np.arange(len(pts)))

    @cached_property
    def rate(self) -> Fraction:
        """Frames a second; of clips, on average, and a usual rate if that is one to the precision of time stamps."""
        track = self.track
        if of_pictures(track):
            return 1 / track.time_base
        lasts = float(track.time_s[-1] - track.time_s[0])
        if not lasts > 0:
            return Fraction(24)
        rate = (len(track.pts) - 1) / lasts
        usual = min(map(Fraction, _RATES), key=lambda one: abs(rate / one - 1))
        within = max(_SAME_RATE, float(track.time_base) / lasts)
        return usual if abs(rate / usual - 1) < within else Fraction(rate).limit_denominator(1001)

    @cached_property
    def point_names(self) -> list[str]:
        """N names that differ, of ASCII letters, digits and underscores, the first a letter."""
        layout, names = self.track.layout, dict[str, None]()
        for i, name in enumerate(map(identifier, layout.names or _numbered(range(len(layout))))):
            while name in names:
                name = f"{name}_{i}"
            names[name] = None
        return list(names)

    def seen(self, rows: Rows, point: int) -> npt.NDArray[np.bool_]:
        """(F,) whether a point is seen in each frame, of the rows of one head."""
        seen = np.zeros(len(self.frames), bool)
        seen[rows["frame"]] = rows["visible"][:, point] >= SEEN
        return seen

    def found(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """(F,) whether there is a row for each frame, of the rows of one head."""
        found = np.zeros(len(self.frames), bool)
        found[rows["frame"]] = True
        return found

    def changes(self, values: npt.NDArray[np.bool_]) -> list[tuple[int, bool]]:
        """Of (F,) values: the first frame's number, and that of each whose value is a new one, with the values."""
        at = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist()]
        return [(int(self.frames[i]), bool(values[i])) for i in at]


def of_pictures(track: Track) -> bool:
    """Whether the frames are pictures with numbers, which `pts` has then.

    A track knows its video's name only: a pattern, or a folder's, if it is not that of a video file.
    """
    if track.time_base <= _SHORTEST_FRAME_S:
        return False
    return is_pattern(track.video) or Path(track.video).suffix.lower() not in _VIDEOS


def identifier(name: str) -> str:
    """A name that every program takes."""
    plain = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    return plain if plain[:1].isalpha() else f"point_{plain}".rstrip("_")


def select(track: Track, head: int | None, points: Sequence[int | str] | None) -> Track:
    """The track with one head, or all if None, and some points, or all if None, in the order asked for.

    Points without names get their number as such, so that they can still be told.

    Raises:
        AnymarkError: it has no heads or none of that number, no frame decoded, or there is no such point.
    """
    if not track.ids or not all(track.size_px):
        raise AnymarkError(f"{track.video}: no heads in this track: nothing to export")
    if head is not None:
        if head not in track.ids:
            raise AnymarkError(f"no head {head} in this track; there {_listed(track.ids)}")
        track = replace(track, rows=track.head(head))
    if points is None:
        return track
    ids = [i for point in points for i in find(track.layout, point)]
    ids = np.array(list(dict.fromkeys(ids)), np.int64)
    if not len(ids):
        raise AnymarkError("no points to export")
    rows = np.zeros(len(track.rows), row_dtype(len(ids)))
    for name in rows.dtype.names or ():
        rows[name] = track.rows[name][:, ids] if name in _OF_POINTS else track.rows[name]
    return replace(track, rows=rows, layout=_part(track.layout, ids))


def find(layout: Layout, point: int | str) -> list[int]:
    """The points that are meant by a number, a name or a region's name.

    Raises:
        AnymarkError: there are none.
    """
    n, names = len(layout), layout.names or ()
    if isinstance(point, str):
        if point in names:
            return [names.index(point)]
        if point in layout.regions:
            return layout.regions[point].tolist()
        if not point.isdecimal():
            raise AnymarkError(
                f"layout {layout.name!r}: no point {point!r}{_hint(point, [*names, *layout.regions], n)}"
            )
        if len(point) > len(str(n)):  # Python refuses to read numbers of thousands of digits
            raise AnymarkError(f"layout {layout.name!r}: no point {point:.20}; there are 0 to {n - 1}")
    number = int(point)
    if not 0 <= number < n:
        raise AnymarkError(f"layout {layout.name!r}: no point {number}; there are 0 to {n - 1}")
    return [number]


def _hint(name: str, names: Collection[str], n: int) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are 0 to {n - 1}"


def _listed(ids: Sequence[int]) -> str:
    return f"{'is' if len(ids) == 1 else 'are'} {', '.join(map(str, ids))}"


def _numbered(ids: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"point {i}" for i in ids)


def _part(layout: Layout, ids: npt.NDArray[np.int64]) -> Layout:
    """The layout of some of its points, and of the edges, triangles and regions that are left among them."""
    place = np.full(len(layout), -1)
    place[ids] = np.arange(len(ids))

    def left(tuples: npt.NDArray | None) -> npt.NDArray | None:
        if tuples is None:
            return None
        kept = place[tuples][(place[tuples] >= 0).all(1)]
        return kept if len(kept) else None

    regions = {name: place[index][place[index] >= 0] for name, index in layout.regions.items()}
    return replace(
        layout,
        points_mm=layout.points_mm[ids],
        names=tuple(layout.names[i] for i in ids) if layout.names else _numbered(ids.tolist()),
        edges=left(layout.edges),
        triangles=left(layout.triangles),
        flip=None,  # a mirror image may be gone
        regions={name: index for name, index in regions.items() if len(index)},
        slides_mm=None if layout.slides_mm is None else layout.slides_mm[ids],
    )
