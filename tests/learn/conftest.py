"""A small data set whose labels are exact: coloured discs on a gradient."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anymark.canonical import Layout, load_layout


@pytest.fixture(scope="session")
def layout() -> Layout:
    return load_layout("mediapipe478")


def project(layout: Layout, size: float, rng: np.random.Generator) -> np.ndarray:
    """(478, 3) pixels: the layout seen from in front, a little moved and turned."""
    p = layout.points_mm.astype(float) - [0, 5, 0]
    angle = rng.normal(0, 0.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = size * 0.4 / 180
    xy = p[:, :2] @ turn.T * [scale, -scale] + size / 2 + rng.normal(0, size * 0.005, 2)
    return np.c_[xy, -p[:, 2] * scale]


@pytest.fixture(scope="session")
def photo_root(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> Path:
    """Two photo sets in the format of ../shared/photos, drawn by us."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(7)
    for source, count, size in (("faker", 12, 96), ("congress", 6, 64)):
        folder = root / source
        folder.mkdir()
        points = np.stack([project(layout, size, rng) for _ in range(count)])
        with tarfile.open(folder / "crops.tar", "w") as tar:
            for i in range(count):
                y, x = np.mgrid[:size, :size] + 0.5
                image = np.stack([x / size * 255, y / size * 255, np.full_like(x, 60 + 10 * i)], -1)
                for k, colour in ((33, (255, 0, 0)), (263, (0, 0, 255)), (1, (255, 255, 255)), (152, (0, 255, 0))):
                    image[np.hypot(x - points[i, k, 0], y - points[i, k, 1]) < size * 0.03] = colour
                buffer = io.BytesIO()
                Image.fromarray(image.astype(np.uint8)).save(buffer, "WEBP", lossless=True)
                info = tarfile.TarInfo(f"{i:05d}.webp")
                info.size = buffer.tell()
                buffer.seek(0)
                tar.addfile(info, buffer)
        split = np.zeros(count, np.uint8)
        split[-2:] = 1, 2
        np.savez(
            folder / "labels.npz",
            name=np.array([f"{i:05d}.webp" for i in range(count)]),
            landmarks_q64=np.round(points * 64).astype(np.int16),
            label_sd=np.where(np.arange(count) == 0, 0.5, 0.005).astype(np.float32),  # the first label is bad
            views=np.full(count, 8, np.int8),
            split=split,
            group=np.arange(count, dtype=np.int32),
            size=np.full(count, size, np.int32),
            face_px_in_source=np.full(count, 100, np.float32),
            grayscale=np.zeros(count, np.uint8),
            valid_box=np.tile(np.array([[0, 0, size, size]], np.float32), (count, 1)),
        )
    return root


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(2)
