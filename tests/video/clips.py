"""Small video files of our own making."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def write_clip(
    path: Path,
    pictures: Iterable[Picture],
    times: Sequence[int] | None = None,
    *,
    codec: str = "libx264rgb",
    pix_fmt: str = "rgb24",
    unit: Fraction = Fraction(1, 1000),
    torn: Collection[int] = (),
    turned: tuple[float, bool, bool] | None = None,
) -> Path:
    """A lossless video file.

    Args:
        path: Its suffix chooses the container.
        pictures: (H, W, 3) each.
        times: Of each picture, in units of `unit`; 40 apart unless given.
        codec: libx264rgb, png, ffv1, gif, ...
        torn: Numbers of packets whose content is spoilt.
        turned: Display matrix: degrees counter-clockwise, mirrored left to right, upside down.
    """
    options = {"crf": "0", "preset": "ultrafast"} if codec.startswith("libx264") else {}
    with av.open(str(path), "w") as output:
        stream, packets = None, 0
        for number, picture in enumerate(pictures):
            if stream is None:
                stream = output.add_stream(codec, rate=25, options=options)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.time_base = stream.codec_context.time_base = unit
                if turned is not None:
                    stream.set_display_rotation(*turned)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = 40 * number if times is None else times[number], unit
            for packet in stream.encode(frame):
                output.mux(_torn(packet) if packets in torn else packet)
                packets += 1
        for packet in stream.encode(None) if stream else ():
            output.mux(_torn(packet) if packets in torn else packet)
            packets += 1
    return path


def _torn(packet: av.Packet) -> av.Packet:
    content = bytearray(bytes(packet))
    kept = len(content) // 3
    content[kept:] = np.random.default_rng(0).integers(0, 255, len(content) - kept, np.uint8).tobytes()
    spoilt = av.Packet(bytes(content))
    for key in ("pts", "dts", "duration", "time_base", "stream", "is_keyframe"):
        setattr(spoilt, key, getattr(packet, key))
    return spoilt
