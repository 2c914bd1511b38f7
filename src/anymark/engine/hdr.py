"""Radiance panoramas (.hdr), read with numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.files import reading

HELD_OUT_PANORAMAS = ("lobby", "park", "workshop")
"""Seen by evaluations and held-out samples only."""


def read_hdr(path: Path) -> npt.NDArray[np.float32]:
    """A Radiance picture (run-length encoded RGBE, top row first) as linear RGB (H, W, 3).

    Raises:
        AnymarkError: the file cannot be read or is of another kind.
    """
    with reading(path, "a readable .hdr"):
        data = path.read_bytes()
        header, _, rest = data.partition(b"\n\n")
        size, _, body = rest.partition(b"\n")
        axis_y, height, axis_x, width = size.split()
        if not header.startswith(b"#?") or (axis_y, axis_x) != (b"-Y", b"+X"):
            raise ValueError("not a Radiance picture with rows from the top")
        rgbe = _decode_rle(body, int(height), int(width))
    scale = np.ldexp(1.0, rgbe[..., 3].astype(np.int32) - 136)
    return (rgbe[..., :3] * scale[..., None]).astype(np.float32)


def _decode_rle(body: bytes, height: int, width: int) -> npt.NDArray[np.uint8]:
    rows = np.empty((height, 4, width), np.uint8)
    at = 0
    for row in rows:
        if body[at : at + 2] != b"\x02\x02" or body[at + 2] << 8 | body[at + 3] != width:
            raise ValueError("not run-length encoded row by row")
        at += 4
        for channel in row:
            x = 0
            while x < width:
                count = body[at]
                if count > 128:  # a run of one value
                    count -= 128
                    channel[x : x + count] = body[at + 1]
                    at += 2
                else:
                    channel[x : x + count] = np.frombuffer(body, np.uint8, count, at + 1)
                    at += 1 + count
                x += count
    return rows.transpose(0, 2, 1)
