"""Samples of the canonical head before a camera, with a grey square for a picture, and finished sets of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anymark.canonical import CanonicalHead
from anymark.canonical.skull import Skull
from anymark.engine.samples import COARSE, INDEX, Sample, count_samples
from anymark.files import write_json


def grey_sample(key: str, rotation: np.ndarray, place: np.ndarray, side: int, focal: float, level: int = 128) -> Sample:
    """The head at R_camera_head (3, 3) and t_camera_head_mm (3,), through the middle of a lens; all of it visible."""
    head = CanonicalHead.load()
    seen = head.vertices_mm @ rotation.T + place
    cells = (side // COARSE, side // COARSE)
    return Sample(
        key,
        np.full((side, side, 3), level, np.uint8),
        head.vertices_mm,
        Skull.load().vertices_mm,
        focal * seen[:, :2] / seen[:, 2:] + side / 2,
        np.ones(len(seen), bool),
        np.full((*cells, 3), np.nan, np.float32),
        np.full(cells, -1),
        np.zeros(cells, bool),
        np.full((*cells, 3), np.nan, np.float32),
        {
            "focal_px": focal,
            "principal_px": [side / 2, side / 2],
            "R_camera_head": rotation.tolist(),
            "t_camera_head_mm": place.tolist(),
        },
    )


def finish(folder: Path, split: str = "held-out") -> None:
    """Write the index of the shards there, as `anymark data build` does at its end."""
    shards = sorted(path.name for path in folder.glob("shard-*.tar"))
    samples = sum(count_samples(folder / name) for name in shards)
    write_json(folder / INDEX, {"shards": shards, "samples": samples, "split": split})
