"""Video files (mp4, mov, webm, mkv, avi, gif, ...) through PyAV."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.video.frames import Frame, Video, file_fingerprint

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNKNOWN_RATE = Fraction(25)  # for files that have neither time stamps nor a rate
_CONTAINERS = (
    "amv", "apng", "asf", "av1", "avi", "avs", "avs2", "avs3", "cavsvideo", "cine", "dhav", "dirac", "dv", "flic",
    "flv", "gif", "gxf", "h261", "h263", "h264", "hevc", "ivf", "jpegxl_anim", "lxf", "m4v", "matroska", "mjpeg", "mlv",
    "mov", "mpeg", "mpegts", "mpegvideo", "mpjpeg", "mxf", "nsv", "nut", "nuv", "obu", "ogg", "r3d", "rm", "smjpeg",
    "swf", "thp", "vc1", "vvc", "webm", "wtv", "yuv4mpegpipe",
)  # fmt: skip
"""What is opened: the demuxers of files that hold their pictures. Lists (hls, concat, image2, sdp) name other files."""


class Clip(Video):
    """A video file: its first video stream, cover pictures left out.

    Args:
        path: The file.
        threads: Threads of the decoder; None is all cores.

    Raises:
        AnymarkError: PyAV is not installed, or the file is no video or of a kind that cannot be decoded.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        self.name = str(path)
        self._threads = threads
        container, stream = self._opened(threads)
        if stream.time_base is None:
            raise AnymarkError(f"{self.name}: a video without a time base")
        self.time_base = stream.time_base
        self.rate = stream.average_rate or stream.guessed_rate
        self.duration_s = _duration_s(container, stream)
        lasting = round(self.duration_s * self.rate) if self.duration_s and self.rate else None
        self.expected = stream.frames or lasting
        container.close()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `Video.frames`; the frames before `start` are decoded too, for later ones rest on them."""
        for threads in (self._threads, 1):
            container, stream = self._opened(threads)
            with container:
                once = _Pass(stream, self.time_base, self.rate or _UNKNOWN_RATE, start, last_try=threads == 1)
                for frame in once.frames(container):
                    if frame.index >= start:
                        start = frame.index + 1
                        yield frame
            if once.complete:
                return

    def fingerprint(self) -> dict[str, object]:
        """See `Video.fingerprint`."""
        return file_fingerprint(self.name)

    def _opened(self, threads: int | None) -> tuple[InputContainer, VideoStream]:
        try:
            import av
            from av.stream import Disposition
        except ModuleNotFoundError:
            raise AnymarkError(f"{self.name}: video files need PyAV: pip install 'anymark[video]'") from None
        try:
            options = {"protocol_whitelist": "file", "format_whitelist": ",".join(_CONTAINERS)}
            # words are often not in UTF-8: cameras write Latin-1
            container = av.open(f"file:{self.name}", options=options, metadata_errors="replace")
        except av.FFmpegError as error:
            raise AnymarkError(f"{self.name}: not a video that can be read ({_said(error)})") from None
        videos = container.streams.video
        streams = [stream for stream in videos if not stream.disposition & Disposition.attached_pic]
        if not streams:
            container.close()
            raise AnymarkError(f"{self.name}: no video in this file")
        if streams[0].codec_context is None:
            container.close()
            raise AnymarkError(f"{self.name}: no decoder for this video is known")
        streams[0].thread_type = "AUTO"
        streams[0].codec_context.thread_count = threads or 0
        return container, streams[0]


class _Pass:
    """One pass over a stream: a frame for each packet that is a picture.

    Decoders give frames in the order in which they are shown. Where the packets' time stamps say that order too, one
    that is passed over has failed: it will not come any more. Where they only count packets (AVI) and the decoder
    changes the order, a frame comes with the time stamp of another. It gets the lowest that is left; so does, at its
    turn, each packet that the decoder complains of.

    Args:
        start: Frames before it need no pixels.
        last_try: Whether frames that are owed in the end have failed. An error while the decoder gives what its threads
            still hold takes what comes after it along: with threads, such a pass is not complete.
    """

    def __init__(self, stream: VideoStream, time_base: Fraction, rate: Fraction, start: int, last_try: bool) -> None:
        self.complete = True
        self._stream = stream
        self._codec = stream.codec_context.codec.canonical_name
        self._time_base = time_base
        self._step = max(1, round(1 / (rate * time_base)))  # of time stamps, where a file has none
        self._start = start
        self._last_try = last_try
        self._awaited: list[int] = []  # time stamps of packets, a heap
        self._last_awaited: int | None = None
        self._reordered = False  # packets have come in another order than that of their time stamps
        self._said = "no picture came of it"  # what the decoder complained of last
        self._complaints = 0  # of packets whose frames are still to be counted as failed
        self._index = 0
        self._last_pts: int | None = None
        self._upright: _Upright | None = None

    def frames(self, container: InputContainer) -> Iterator[Frame]:
        for packet in self._packets(container):
            if packet is not None:
                self._await(packet)
            for decoded in self._decoded(packet):
                pts = _stamp(decoded)
                if self._reordered or not self._stream.codec_context.has_b_frames:
                    while self._awaited and pts is not None and self._awaited[0] < pts:
                        yield self._failed()
                    if self._awaited and self._awaited[0] == pts:
                        heapq.heappop(self._awaited)
                else:
                    while self._awaited and self._complaints:
                        yield self._failed()
                    pts = heapq.heappop(self._awaited) if self._awaited else pts
                yield self._frame(decoded, pts)
        self.complete = self._last_try or not self._awaited
        while self._awaited and self.complete:
            yield self._failed()

    def _await(self, packet: Packet[VideoStream]) -> None:
        pts = _stamp(packet)
        if pts is None or packet.is_discard or not _is_shown(packet, self._codec):
            return
        self._reordered |= self._last_awaited is not None and pts < self._last_awaited
        self._last_awaited = pts
        heapq.heappush(self._awaited, pts)

    def _packets(self, container: InputContainer) -> Iterator[Packet[VideoStream] | None]:
        """The packets of the stream, then None; a file that breaks off ends there."""
        from av import FFmpegError

        try:
            for packet in container.demux(self._stream):
                if packet.size:
                    yield packet
        except FFmpegError as error:
            self._said = _said(error)
        yield None

    def _decoded(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        """What the decoder gives for a packet; for None, what it still holds."""
        from av import FFmpegError

        try:
            return self._stream.decode(packet)
        except FFmpegError as error:
            self._said = _said(error)
            self._complaints += 1
            return []

    def _failed(self) -> Frame:
        """The frame with the lowest time stamp that is left."""
        self._complaints = max(0, self._complaints - 1)
        return self._placed(heapq.heappop(self._awaited), None, self._said)

    def _frame(self, decoded: VideoFrame, pts: int | None) -> Frame:
        if self._index < self._start:  # not looked at: its colours need not be made
            return self._placed(pts, None, None)
        if decoded.is_corrupt:
            return self._placed(pts, None, "decoded with errors")
        if self._upright is None:
            self._upright = _Upright(decoded)
        return self._placed(pts, self._upright(_rgb(decoded)), None)

    def _placed(self, pts: int | None, pixels: npt.NDArray[np.uint8] | None, problem: str | None) -> Frame:
        """The next frame; a time stamp that is missing, or not after the last one, is counted on from that."""
        if pts is None:
            pts = 0 if self._last_pts is None else self._last_pts + self._step
        elif self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        self._last_pts = pts
        self._index += 1
        return Frame(self._index - 1, pts, float(pts * self._time_base), pixels, problem)


def _stamp(of: Packet[VideoStream] | VideoFrame) -> int | None:
    return of.dts if of.pts is None else of.pts


def _is_shown(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet is a picture to be shown: those of VP8 and VP9 may only be there for others to refer to."""
    if codec not in ("vp8", "vp9"):
        return True
    content = memoryview(packet)
    if codec == "vp8":
        return bool(content[0] & 0x10)
    if content[-1] & 0xE0 == 0xC0:  # several frames in one packet: the last one is shown
        return True
    header = content[0] << (content[0] & 0x30 == 0x30)  # profile 3 has one more bit before these
    return bool(header & 0x08 or header & 0x02)  # an earlier frame, or this one


class _Upright:
    """Turns and mirrors pictures as the display matrix of a clip's first frame says; makes views, no copies."""

    def __init__(self, frame: VideoFrame) -> None:
        a, b, c, d = _display_matrix(frame)
        self._transposed = abs(b) + abs(c) > abs(a) + abs(d)
        right, down = (c, b) if self._transposed else (a, d)
        self._step_x, self._step_y = (-1 if right < 0 else 1), (-1 if down < 0 else 1)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self._transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: self._step_y, :: self._step_x]


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """a, b, c and d of x' = a x + c y and y' = b x + d y, up to scale: from stored pixels to shown ones."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # the frame has data of a kind that this PyAV has no name for; the angle can still be had
        quarters = round(frame.rotation / 90) % 4  # counter-clockwise
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[quarters]
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d


def _rgb(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """(H, W, 3) as stored; transparency is laid on white, as in photos."""
    if not any(part.is_alpha for part in frame.format.components):
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    rgba = np.asarray(frame.to_ndarray(format="rgba"), np.uint8)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min() == 255:
        return colour
    mixed = colour * alpha.astype(np.uint16) + 255 * (255 - alpha.astype(np.uint16))
    return np.rint(mixed / np.float32(255)).astype(np.uint8)


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """How long a stream lasts; a container that does not say may say how long its longest one does."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None or len(container.streams) > 1 else container.duration / 1e6


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
