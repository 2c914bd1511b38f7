"""Tracks for other programs: a table as CSV, and the video with the landmarks drawn on it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from anymark.detect.draw import draw
from anymark.errors import AnymarkError
from anymark.files import atomic, cannot_write, check_file
from anymark.video.frames import Frame, Video
from anymark.video.track import Track, blocks

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_POINT = ("point", "name", "x_px", "y_px", "sigma_px", "visible", "x_mm", "y_mm", "z_mm")
CSV_COLUMNS = ("frame", "pts", "time_s", "head", *_POINT)

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffixes that a drawn video may have."""

_CODECS = ("libx264", "libopenh264")  # the first one that is there


def write_csv(path: Path, track: Track) -> None:
    """A row a point, frames counted from 0, heads from 1 and points from 0; heads and frames as in the track.

    Raises:
        AnymarkError: the file cannot be written.
    """
    names = track.layout.names or ("",) * len(track.layout)
    with atomic(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for block in blocks(track.rows):
            for row in block:
                frame = int(row["frame"])
                start = (frame, int(track.pts[frame]), round(float(track.time_s[frame]), 6), int(row["head"]))
                numbers = [row["xy_px"], row["sigma_px"], row["visible"], row["xyz_mm"]]
                table = np.column_stack(numbers).astype(np.float64).round(3).tolist()
                writer.writerows((*start, i, names[i], *values) for i, values in enumerate(table))


def draw_video(path: Path, video: Video, track: Track, progress: Callable[[int], None] = lambda done: None) -> None:
    """The video with its landmarks, without sound; frames keep their times, and those that failed to decode are left
    out. Odd sides gain a pixel, right or below.

    Args:
        path: .mp4, .mov or .mkv.
        video: What the track is of.
        track: The track.
        progress: Called with how many frames are done.

    Raises:
        AnymarkError: see `check_drawing`; or the path cannot be written, or a frame has another size than the first.
    """
    starts = np.searchsorted(track.rows["frame"], np.arange(len(track.pts) + 1))

    def drawn(frame: Frame, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        rows = range(starts[frame.index], starts[frame.index + 1])
        return np.asarray(draw(pixels, [track.landmarks(row) for row in rows]))

    write_video(path, video, len(track.pts), drawn, progress)


def write_video(
    path: Path,
    video: Video,
    count: int,
    drawn: Callable[[Frame, npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """A video made of another's frames, without sound, as `draw_video` says.

    Args:
        path: .mp4, .mov or .mkv.
        video: Its frames.
        count: So many of them, from the first on.
        drawn: A frame and its pixels (H, W, 3), which are not to be written into -> what is to be seen, of that size.
        progress: Called with how many frames are done.

    Raises:
        AnymarkError: as `draw_video`.
    """
    check_drawing(path)
    import av

    try:
        _encode(path, video, count, drawn, progress)
    except av.FFmpegError as error:  # what its writer raised, such as that the disk is full, lies beneath
        beneath = error.__cause__ or error.__context__
        raise cannot_write(path, beneath if isinstance(beneath, OSError) else OSError(str(error))) from None


def _encode(
    path: Path,
    video: Video,
    count: int,
    drawn: Callable[[Frame, npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
    progress: Callable[[int], None],
) -> None:
    import av

    with atomic(path, "wb") as file, av.open(file, "w", format=CONTAINERS[path.suffix.lower()]) as output:
        encoder: _Encoder | None = None
        for frame in video:
            if frame.index >= count:
                break
            if frame.pixels is not None:
                picture = drawn(frame, frame.pixels)
                encoder = encoder or _Encoder(output, picture.shape[1::-1], video.time_base, video.rate)
                if picture.shape[1::-1] != encoder.size_px:
                    raise AnymarkError(f"{video.name}: frame {frame.index} has another size, and cannot be drawn")
                encoder.add(picture, frame.pts)
            progress(frame.index + 1)
        if encoder is not None:
            encoder.end()


def check_drawing(path: Path, made: Path | None = None) -> None:
    """That a video can be drawn to a path.

    Args:
        path: The path.
        made: A folder that will be there by then, with those that it lies in.

    Raises:
        AnymarkError: it has another suffix than .mp4, .mov and .mkv, is a folder or lies in none, or there is no PyAV
            with an encoder.
    """
    if path.suffix.lower() not in CONTAINERS:
        raise AnymarkError(f"{path}: videos are drawn as {', '.join(CONTAINERS)}")
    check_file(path, made)
    try:
        import av
    except ModuleNotFoundError:
        raise AnymarkError(f"{path}: drawing a video needs PyAV: pip install 'anymark[video]'") from None
    if not any(name in av.codecs_available for name in _CODECS):
        raise AnymarkError(f"{path}: this PyAV has no H.264 encoder")


class _Encoder:
    """One H.264 stream of a file."""

    def __init__(
        self, output: OutputContainer, size_px: tuple[int, int], time_base: Fraction, rate: Fraction | None
    ) -> None:
        import av

        name = next(name for name in _CODECS if name in av.codecs_available)
        options = {"crf": "18", "preset": "veryfast"} if name == "libx264" else {}
        made = output.add_stream(name, rate=rate and rate.limit_denominator(65535), options=options)
        stream = cast("VideoStream", made)
        stream.width, stream.height = (side + side % 2 for side in size_px)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        self.size_px = size_px
        self._time_base = time_base  # the stream's becomes the container's when the first packet is written
        self._output, self._stream = output, stream
        self._first_pts: int | None = None

    def add(self, pixels: npt.NDArray[np.uint8], pts: int) -> None:
        """A picture (H, W, 3) to be shown at a time."""
        from av import VideoFrame

        width, height = self.size_px
        if width % 2 or height % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        self._first_pts = pts if self._first_pts is None else self._first_pts
        frame.pts, frame.time_base = pts - self._first_pts, self._time_base
        self._output.mux(self._stream.encode(frame))

    def end(self) -> None:
        """No more pictures."""
        self._output.mux(self._stream.encode(None))
