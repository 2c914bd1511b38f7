"""The track of a video: all its frames and heads, in memory and as an .npz file.

The file is read by `Track.load`, or by `numpy.load` alone; docs/video.md lists what is in it. The same track gives the
same bytes.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.arrays import open_arrays
from anymark.canonical import Layout
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError
from anymark.files import atomic
from anymark.video.frames import Video
from anymark.video.rows import Rows, row_dtype, to_landmarks, tracked
from anymark.video.tracker import Tracker

FORMAT = 1

_ROWS_AT_ONCE = 1024  # bounds memory
_LAYOUT_TABLES = ("edges", "triangles", "flip", "slides_mm")


@dataclass(frozen=True, eq=False)
class Track:
    """F frames of a video and R rows, one for each head and frame, in the order of frames and then of heads."""

    video: str
    """As it was named when it was tracked."""
    size_px: tuple[int, int]
    """(width, height), upright, of the first frame that decoded; 0 x 0 if none did."""
    time_base: Fraction
    """Seconds of one unit of `pts`."""
    layout: Layout
    """N points."""
    smooth: str
    """none, causal or offline."""
    pts: npt.NDArray[np.int64]
    """(F,) time stamps as the file has them; in image sequences, numbers of pictures."""
    time_s: npt.NDArray[np.float64]
    """(F,) the same in seconds."""
    decoded: npt.NDArray[np.bool_]
    """(F,) False where a frame failed to decode."""
    rows: Rows
    """(R,) a structured array: `rows["xy_px"]` is (R, N, 2), and so on; see `anymark.video.rows.row_dtype`."""

    @classmethod
    def of(cls, video: Video, tracker: Tracker) -> Track:
        """Follow all heads through a video, with a tracker that has not seen any frame yet.

        Raises:
            AnymarkError: the video cannot be read, or a frame's numbers are not finite.
        """
        frames: list[tuple[int, float, bool]] = []
        rows: list[Rows] = [np.zeros(0, row_dtype(len(tracker.layout)))]
        size = (0, 0)
        for frame, heads in tracked(video, tracker):
            rows.append(heads)
            frames.append((frame.pts, frame.time_s, frame.pixels is not None))
            if frame.pixels is not None and not any(size):
                size = (frame.pixels.shape[1], frame.pixels.shape[0])
        return cls(
            video=video.name,
            size_px=size,
            time_base=video.time_base,
            layout=tracker.layout,
            smooth="none",
            pts=np.array([pts for pts, _, _ in frames], np.int64),
            time_s=np.array([time_s for _, time_s, _ in frames], np.float64),
            decoded=np.array([decoded for _, _, decoded in frames], bool),
            rows=np.concatenate(rows),
        )

    def __repr__(self) -> str:
        heads = f"{len(self.ids)} heads, {self.smooth!r}"
        return f"Track({self.video!r}, {len(self.pts)} frames, {self.layout.name!r}, {heads})"

    @property
    def ids(self) -> list[int]:
        """The numbers of the heads."""
        return np.unique(self.rows["head"]).tolist()

    def head(self, number: int) -> Rows:
        """The rows of one head, by frame."""
        return self.rows[self.rows["head"] == number]

    def landmarks(self, row: int) -> Landmarks:
        """One row as landmarks, as the detector gave them but for smoothing and to the precision of float32."""
        return to_landmarks(self.rows[row], self.layout)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an .npz file; it is complete or not there at all.

        Raises:
            AnymarkError: the path does not end in .npz, or cannot be written.
        """
        if Path(path).suffix.lower() != ".npz":
            raise AnymarkError(f"{path}: tracks are saved as .npz")
        layout = self.layout
        about = {
            "format": FORMAT,
            "video": self.video,
            "size_px": list(self.size_px),
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "layout": layout.name,
            "smooth": self.smooth,
            "regions": {name: ids.tolist() for name, ids in layout.regions.items()},
            "code": layout.code,
            "model": layout.model,
        }
        tables: dict[str, npt.NDArray[Any]] = {
            "about": np.array(json.dumps(about)),
            "points_mm": layout.points_mm,
            "pts": self.pts,
            "time_s": self.time_s,
            "decoded": self.decoded,
        }
        if layout.names is not None:
            tables["names"] = np.array(layout.names)
        tables |= {key: value for key in _LAYOUT_TABLES if (value := getattr(layout, key)) is not None}
        with atomic(Path(path), "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, table in tables.items():
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, table, allow_pickle=False)
            for name in self.rows.dtype.names or ():
                with archive.open(_member(name), "w", force_zip64=True) as member:
                    for part in _npy(self.rows, name):
                        member.write(part)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Track:
        """Read what `save` wrote.

        Raises:
            AnymarkError: there is no such file, or it is not a whole track.
        """
        with open_arrays(path, "a whole track") as file:
            about = json.loads(str(file["about"]))
            if about["format"] != FORMAT:
                raise AnymarkError(f"{path}: format {about['format']!r}; this anymark reads {FORMAT}")
            code = about["code"]
            layout = Layout(
                about["layout"],
                file["points_mm"],
                names=tuple(file["names"].tolist()) if "names" in file else None,
                regions={name: np.array(ids, np.int64) for name, ids in about["regions"].items()},
                code=tuple(code) if isinstance(code, list) else code,
                model=about["model"],
                **{key: file[key] for key in _LAYOUT_TABLES if key in file},
            )
            rows = np.zeros(len(file["frame"]), row_dtype(len(layout)))
            for name in rows.dtype.names or ():
                rows[name] = file[name]
            track = cls(
                video=about["video"],
                size_px=tuple(about["size_px"]),
                time_base=Fraction(*about["time_base"]),
                layout=layout,
                smooth=about["smooth"],
                pts=file["pts"],
                time_s=file["time_s"],
                decoded=file["decoded"],
                rows=rows,
            )
            _check(track)
            return track


def _check(track: Track) -> None:
    """What `save` writes fits together; strangers' files may not.

    Raises:
        ValueError: it does not.
    """
    for text in (track.video, track.smooth):
        if not isinstance(text, str) or not text.isprintable():
            raise ValueError("a name that is no line of text")
    if len(track.size_px) != 2 or not all(type(side) is int and 0 <= side < 1e6 for side in track.size_px):
        raise ValueError("a size that is none")
    if not track.time_base > 0:
        raise ValueError("a time base that is not positive")
    frames = len(track.pts)
    for array, kind in ((track.pts, "i"), (track.time_s, "f"), (track.decoded, "b")):
        if array.shape != (frames,) or array.dtype.kind != kind or not np.isfinite(array).all():
            raise ValueError("its tables of frames do not fit together")
    number = track.rows["frame"]
    if len(number) and (number[0] < 0 or number[-1] >= frames or (np.diff(number) < 0).any()):
        raise ValueError("rows of frames that are not there, or out of their order")
    for name in track.rows.dtype.names or ():
        if not np.isfinite(track.rows[name]).all():
            raise ValueError(f"{name} is not finite")


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy")  # dated 1980, as numpy does


def _npy(rows: Rows, name: str) -> Iterator[bytes]:
    """One field of all rows as an .npy file, a part at a time."""
    dtype, shape = rows.dtype[name].base, rows.dtype[name].shape
    header = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(rows), *shape)}
    np.lib.format.write_array_header_1_0(header, about)
    yield header.getvalue()
    for block in blocks(rows):
        yield block[name].tobytes()


def blocks(rows: Rows) -> Iterator[Rows]:
    """Rows, some at a time, which may come from a file that is larger than memory."""
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[first : first + _ROWS_AT_ONCE]
