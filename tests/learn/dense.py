"""Renders of the canonical head with all labels of a dense model, in the colours of the cube."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anymark.canonical import CanonicalHead
from anymark.canonical.frame import mm_to_uvw
from anymark.canonical.skull import Skull
from anymark.detect.raster import rasterise
from anymark.detect.visibility import Surface
from anymark.engine.samples import COARSE, RECIPE, Sample, write_shard
from anymark.files import write_json
from tests.dense_maps import turned_camera
from tests.samples import finish

SIDE = 64


def render(key: str, yaw_deg: float, sd_mm: float | None = None, side: int = SIDE) -> Sample:
    """A head turned so; a photo, for all that its labels say, where a standard deviation is given."""
    head = CanonicalHead.load()
    camera = turned_camera(yaw_deg, focal_px=150.0 * side / SIDE, away_mm=900.0, middle=side / 2)
    seen, xy = camera.in_camera_mm(head.vertices_mm), camera.project(head.vertices_mm)
    drawn = rasterise(xy, seen[:, 2], head.triangles, (side, side))
    points = drawn.of_vertices(head.vertices_mm, head.triangles)
    part = np.where(drawn.triangle >= 0, head.part[drawn.triangle], -1)
    points[part < 0] = np.nan
    image = np.nan_to_num(255 * (mm_to_uvw(points) - 0.2) / 0.6, nan=0).clip(0, 255).astype(np.uint8)
    cells = slice(COARSE // 2, None, COARSE)
    visible = Surface(lambda: head.vertices_mm, camera, 1.0).visible(head.vertices_mm, head.vertices_mm) > 0.5
    inside = ((xy > 0) & (xy < side)).all(1)
    return Sample(
        key,
        image,
        head.vertices_mm,
        Skull.load().vertices_mm,
        xy,
        visible & inside,
        points[cells, cells],
        part[cells, cells].astype(np.int16),
        np.zeros((side // COARSE, side // COARSE), bool),
        points[cells, cells],
        {
            "focal_px": camera.focal_px,
            "principal_px": camera.principal_px.tolist(),
            "R_camera_head": camera.R_camera_head.tolist(),
            "t_camera_head_mm": camera.t_camera_head_mm.tolist(),
            **({} if sd_mm is None else {"valid_box_px": [0.0, 0.0, side / 2, side]}),
        },
        None if sd_mm is None else np.full(len(head.vertices_mm), sd_mm),
    )


def write_pairs(folder: Path, count: int = 4) -> Path:
    """A finished data set of pairs."""
    folder.mkdir()
    yaws = np.linspace(-40, 30, count)
    samples = [
        render(f"head{i}-0-{letter}", yaw + turn)
        for i, yaw in enumerate(yaws)
        for letter, turn in zip("ab", (0, 20), strict=True)
    ]
    write_shard(folder / "shard-00000.tar", samples)
    finish(folder, "train")
    write_json(folder / RECIPE, {"preset": "pairs", "sources": {"faker": count}})
    return folder
