"""Contact sheets of samples: renders with their labels, photos with the heads of their fits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.canonical import CanonicalHead, mm_to_uvw
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.posed import points_on
from anymark.engine.mesh import Mesh
from anymark.engine.render import Renderer
from anymark.engine.samples import Sample, read_shards
from anymark.spread import spread

Pixels = npt.NDArray[np.uint8]

_PALETTE = np.random.default_rng(4).integers(60, 256, (32, 3)).astype(np.uint8)
_DRAWN = 3  # every so-manieth vertex
_LABEL, _FITTED = (255, 40, 40), (0, 255, 0)
_LIGHT = np.array([-0.35, -0.45, -0.82])  # where it comes from, camera frame


def contact_sheet(shards: Sequence[Path], count: int, columns: int = 4, tile: int = 192) -> Pixels:
    """(H, W, 3) RGB: `count` samples spread over the shards, each with its key.

    Renders: picture, visible points, parts, canonical colours. Photos: picture; labels (red) under the fit's points
    (green); the fitted head half-transparent; canonical colours. These are of what is seen: head, and hair about it.

    Raises:
        AnymarkError: a shard cannot be read, or there are photos among the samples and OpenGL cannot be had.
    """
    chosen = [shards[i] for i in spread(len(shards), count)]
    each = -(-count // max(1, len(chosen)))
    samples = [sample for shard in chosen for sample in _spread(shard, each)][:count]
    with ExitStack() as stack:
        renderer: Renderer | None = None
        tiles = []
        for sample in samples:
            if "points_px" not in sample.record:
                tiles.append(panels(sample, tile))
                continue
            renderer = renderer or stack.enter_context(Renderer((tile, tile)))
            tiles.append(_fit_panels(sample, tile, renderer))
    for sample, panel in zip(samples, tiles, strict=True):
        _write(panel, sample.key)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    if not rows:
        return np.zeros((tile, 4 * tile * columns, 3), np.uint8)
    width = rows[0].shape[1]
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _spread(shard: Path, count: int) -> list[Sample]:
    samples = list(read_shards([shard]))
    return [samples[i] for i in spread(len(samples), count)]


def panels(sample: Sample, tile: int) -> Pixels:
    """A render: picture, visible points, parts and canonical colours, side by side."""
    picture = _resized(sample.image, tile)
    head = CanonicalHead.load()
    vertex_part = np.zeros(len(head.vertices_mm), np.int64)
    vertex_part[head.triangles.ravel()] = np.repeat(head.part, 3)
    points = (picture * 0.6).astype(np.uint8)
    drawn = np.flatnonzero(sample.visible)[::_DRAWN]
    _dots(points, sample.xy_px[drawn] * (tile / len(sample.image)), _PALETTE[vertex_part[drawn]])
    part = cv2.resize(sample.part, (tile, tile), interpolation=cv2.INTER_NEAREST)
    parts = np.where((np.asarray(part) >= 0)[..., None], _PALETTE[np.maximum(part, 0)], picture // 3)
    return np.hstack([picture, points, parts.astype(np.uint8), _colours(sample, tile)])


def _fit_panels(sample: Sample, tile: int, renderer: Renderer) -> Pixels:
    head, record = CanonicalHead.load(), sample.record
    picture, scale = _resized(sample.image, tile), tile / len(sample.image)
    focal, principal = record["focal_px"] * scale, np.array(record["principal_px"]) * scale
    seen = sample.vertices_mm @ np.array(record["R_camera_head"]).T + np.array(record["t_camera_head_mm"])
    seen = seen.astype(np.float32)
    fitted = points_on(seen, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS]
    points = picture.copy()
    _dots(points, np.array(record["points_px"]) * scale, np.tile(_LABEL, (len(record["points_px"]), 1)))
    _dots(points, fitted[:, :2] / fitted[:, 2:] * focal + principal, np.tile(_FITTED, (len(fitted), 1)))
    buffers = renderer.render([Mesh(seen, head.triangles, head.vertices_mm)], focal, principal)
    shade = 60 + 190 * np.clip(buffers.normal @ _LIGHT, 0, 1)[..., None]
    skin = (buffers.part >= 0)[..., None]
    blended = np.where(skin, 0.5 * shade + 0.5 * picture, picture).astype(np.uint8)
    return np.hstack([picture, points, blended, _colours(sample, tile)])


def _colours(sample: Sample, tile: int) -> Pixels:
    """What is seen of the head and of its hair, in the colours of the unit cube."""
    uvw = mm_to_uvw(sample.places_mm)
    colours = np.where(np.isnan(uvw), 0, np.clip((uvw - 0.2) / 0.6, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.resize(colours, (tile, tile), interpolation=cv2.INTER_NEAREST), np.uint8)


def _resized(image: Pixels, tile: int) -> Pixels:
    return np.array(Image.fromarray(image).resize((tile, tile), Image.Resampling.LANCZOS), np.uint8)


def _write(picture: Pixels, text: str) -> None:
    """White on black at the lower left, in place."""
    place = 3, len(picture) - 5
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, width, cv2.LINE_AA)


def _dots(picture: Pixels, xy_px: npt.NDArray[np.floating], colours: npt.NDArray[np.integer]) -> None:
    """One pixel each, in place; those outside are left out."""
    column, row = np.floor(xy_px).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < picture.shape[1]) & (row < picture.shape[0])
    picture[row[inside], column[inside]] = colours[inside]
