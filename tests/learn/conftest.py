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
from anymark.learn.train import log


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


DISCS = {33: (255, 0, 0), 263: (0, 0, 255), 1: (255, 255, 255), 152: (0, 255, 0)}
"""Point -> colour of the disc on it: outer corners of the right and left eye, nose, chin."""
BLUE = {"faker": 60, "congress": 65, "own": 68}
"""Blue of a set's first picture, all over it but for the discs; the next one has 10 more. It tells photos apart."""


def write_photo_set(folder: Path, points: np.ndarray, size: int, **labels: object) -> None:
    """A photo set of faces with these points (N, 478, 3); `labels` are put over those of labels.npz."""
    folder.mkdir()
    count = len(points)
    with tarfile.open(folder / "crops.tar", "w") as tar:
        for i in range(count):
            y, x = np.mgrid[:size, :size] + 0.5
            image = np.stack([x / size * 255, y / size * 255, np.full_like(x, BLUE[folder.name] + 10 * i)], -1)
            for k, colour in DISCS.items():
                image[np.hypot(x - points[i, k, 0], y - points[i, k, 1]) < size * 0.03] = colour
            buffer = io.BytesIO()
            Image.fromarray(image.astype(np.uint8)).save(buffer, "WEBP", lossless=True)
            info = tarfile.TarInfo(f"{i:05d}.webp")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    split = np.zeros(count, np.uint8)
    split[-2:] = 1, 2
    own: dict[str, object] = {
        "name": np.array([f"{i:05d}.webp" for i in range(count)]),
        "landmarks_q64": np.round(points * 64).astype(np.int16),
        "label_sd": np.where(np.arange(count) == 0, 0.5, 0.005).astype(np.float32),  # the first label is bad
        "split": split,
        "size": np.full(count, size, np.int32),
        "valid_box": np.tile(np.array([[0, 0, size, size]], np.float32), (count, 1)),
    }
    np.savez(folder / "labels.npz", **{key: np.asarray(value) for key, value in (own | labels).items()})


def photo_shown(image: torch.Tensor) -> tuple[str, int]:
    """Which set's photo, and which of it, a window (3, S, S) shows."""
    side = image.shape[1]
    blue = round(float(image[2, side // 4 : -side // 4, side // 4 : -side // 4].median()) * 255)
    return next((source, (blue - first) // 10) for source, first in BLUE.items() if (blue - first) % 10 == 0)


@pytest.fixture(scope="session")
def photo_root(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> Path:
    """Two photo sets in the format of ../shared/photos, drawn by us."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(7)
    for source, count, size in (("faker", 12, 96), ("congress", 6, 64)):
        write_photo_set(root / source, np.stack([project(layout, size, rng) for _ in range(count)]), size)
    return root


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _progress_of_the_last_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SHOWN_EVERY_S", float("inf"))  # or logs would depend on how busy the machine is


@pytest.fixture(autouse=True)
def _no_other_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANYMARK_ASSETS", raising=False)
