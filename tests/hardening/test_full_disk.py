"""A disk that is full: one line, what was there stays, and nothing half-written is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.exports.tracks import track
from tests.video.clips import write_clip

pytest.importorskip("resource", reason="limits of files are POSIX's")

RUN = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
{setup}
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from anymark.cli import main
sys.exit(main(sys.argv[1:]))
"""


def full_at(limit: int, folder: Path, *arguments: str, setup: str = "") -> subprocess.CompletedProcess[str]:
    """A command in a folder whose files cannot grow beyond so many bytes."""
    code = RUN.format(limit=limit, setup=setup)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )


def refused(done: subprocess.CompletedProcess[str], name: str, folder: Path) -> None:
    """It is, in one line that names the file, and left nothing behind."""
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("anymark: ")
    assert name in line
    assert "cannot write" in line
    assert "Traceback" not in done.stderr
    assert not list(folder.rglob("*.tmp"))


DRAW = """
from fractions import Fraction
import numpy as np
from anymark.errors import AnymarkError
from anymark.video import open_video
from anymark.video.write import write_video
rng = np.random.default_rng(0)
try:
    write_video("drawn.mp4", open_video("clip.mp4"), 90, lambda frame, pixels: rng.integers(0, 255, pixels.shape, "u1"))
except AnymarkError as error:
    print("anymark:", error, file=sys.stderr)
    sys.exit(2)
"""


@pytest.mark.parametrize("limit", [0, 3_000, 100_000, 400_000])
def test_a_video_that_is_drawn(tmp_path: Path, limit: int) -> None:
    write_clip(tmp_path / "clip.mp4", [np.zeros((120, 160, 3), np.uint8)] * 90)
    (tmp_path / "drawn.mp4").write_bytes(b"old")
    code = RUN.format(limit=limit, setup="").replace("from anymark.cli import main\nsys.exit(main(sys.argv[1:]))", DRAW)
    code = code.replace('write_video("drawn.mp4"', 'write_video(__import__("pathlib").Path("drawn.mp4")')
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    refused(done, "drawn.mp4", tmp_path)
    assert (tmp_path / "drawn.mp4").read_bytes() == b"old"


@pytest.mark.parametrize("format", ["nuke", "usd", "csv", "opencv"])
def test_a_track_that_is_converted(tmp_path: Path, format: str) -> None:
    track().save(tmp_path / "clip.npz")
    done = full_at(100, tmp_path, "convert", "clip.npz", "--to", format)
    refused(done, "clip", tmp_path)


def test_photos_of_which_results_are_wanted(tmp_path: Path) -> None:
    from PIL import Image

    from anymark.commands.demo import astronaut

    Image.open(astronaut()).save(tmp_path / "photo.png")
    (tmp_path / "found.json").write_text("old")
    done = full_at(500, tmp_path, "detect", "photo.png", "--json", "found.json", "--layout", "mediapipe478")
    refused(done, "found.json", tmp_path)
    assert (tmp_path / "found.json").read_text() == "old"
