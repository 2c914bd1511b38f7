"""8. Exports: one track for Nuke, Blender, USD, After Effects and others.

    uv run --all-extras python examples/08_exports.py

On your own clip: anymark track clip.mp4 --point mole=455,322 --export nuke --export blender
                  anymark convert clip.anymark.npz --to usd --mesh
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from _clips import RATE, moving

from anymark import Detector
from anymark.exports import FORMATS, export
from anymark.video import Frame, Track, Tracker
from anymark.video.frames import Video


class Moving(Video):
    """The examples' clip."""

    def __init__(self) -> None:
        self.name, self.rate = "moving.mp4", Fraction(int(RATE))
        self.time_base, self.expected, self.duration_s = 1 / self.rate, None, None

    def frames(self, start: int = 0) -> Iterator[Frame]:
        return (frame for frame in moving() if frame.index >= start)

    def fingerprint(self) -> dict[str, object]:
        return {}


track = Track.of(Moving(), Tracker(Detector(), "ibug68", max_heads=1))
with tempfile.TemporaryDirectory() as folder:
    for name, kind in FORMATS.items():
        corners = {"corners": [36, 45, 54, 48]} if "corners" in kind.options else {}
        path = Path(folder) / f"face{kind.suffix}"
        export(track, path, name, **corners)
        print(f"{name:15} {kind.program:18} {kind.summary}")
