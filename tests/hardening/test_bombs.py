"""Small files that would become huge: refused before they do."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymark.apps.maps import load_maps
from anymark.apps.rigs import load_rig
from anymark.arrays import MOST_BYTES, read_arrays
from anymark.detect.image import open_photo
from anymark.engine.samples import read_shards
from anymark.engine.tracked_clips import TrackedClip
from anymark.errors import AnymarkError
from anymark.photo_files import read_npz
from anymark.video.track import Track

READERS: dict[str, Callable[[Path], Any]] = {
    "arrays": lambda path: read_arrays(path, "arrays"),
    "tracks": Track.load,
    "rigs": load_rig,
    "dense maps": load_maps,
    "tracked clips": TrackedClip.load,
    "labels": lambda path: read_npz(path, ["points"]),
}


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz file of a few megabytes with arrays of zeros that take more than is allowed."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.npz"
    block = bytes(1 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("about", "points"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                count = MOST_BYTES // (2 << 20) + 1
                shape = {"descr": "|u1", "fortran_order": False, "shape": (count << 20,)}
                np.lib.format.write_array_header_1_0(member, shape)
                for _ in range(count):
                    member.write(block)
    assert path.stat().st_size < MOST_BYTES / 100
    return path


def refused(read: Callable[[], Any], message: str) -> None:
    """It is, in one line, with less than 100 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(AnymarkError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", READERS)
def test_archives_of_zeros_are_refused(bomb: Path, name: str) -> None:
    refused(lambda: READERS[name](bomb), r"bomb\.npz: .*its arrays take 0\.5 GB, \d+ times as much as the file")


def test_an_archive_of_zeros_in_a_shard_is_refused(bomb: Path, tmp_path: Path) -> None:
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        for suffix, content in (("jpg", b"x"), ("npz", bomb.read_bytes()), ("json", b"{}")):
            info = tarfile.TarInfo(f"0.{suffix}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    refused(lambda: list(read_shards([shard])), "its arrays take")


def test_large_arrays_that_are_as_large_in_the_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    np.savez(path, points=np.zeros(MOST_BYTES // 8 + 1))
    assert read_arrays(path, "arrays")["points"].nbytes > MOST_BYTES


def test_a_progressive_jpeg_must_fit_into_memory_with_all_its_coefficients(tmp_path: Path) -> None:
    """Others are decoded at a fraction of their size."""
    path = tmp_path / "large.jpg"
    Image.new("RGB", (64, 64)).save(path, progressive=True)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc2")
    content[at + 5 : at + 9] = (31_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    refused(lambda: open_photo(path), r"large\.jpg: too large")


def test_no_program_is_started_on_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand PostScript to Ghostscript, whatever the file's name is."""
    ran = tmp_path / "ran"
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {ran}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n")
    refused(lambda: open_photo(path), "not an image")
    assert not ran.exists()


def test_pictures_of_one_colour_and_a_billion_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (40_000, 30_000)).save(path)
    refused(lambda: open_photo(path), r"large\.png: too large")
