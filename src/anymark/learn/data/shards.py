"""Training data from shards of samples (`anymark data build`), each labelled with the whole head."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from anymark.canonical.face_mesh import FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.canonical.posed import points_on, points_on_bones
from anymark.engine.samples import Sample, finished_shards, read_shards
from anymark.errors import AnymarkError
from anymark.evaluate.photo_files import FACE_MESH_LAYOUT
from anymark.learn.data.photos import PhotoSet

_FEWER = 8  # every so-manieth vertex says how far labels inside of it may be off


def load_shards(folder: Path, *, inside: Sequence[str] = (), limit: int | None = None) -> PhotoSet:
    """All samples of a data set as one set of photos with the layout `head`.

    The face's box is that of the 468 points of MediaPipe's face mesh, as everywhere.

    Args:
        inside: layouts on the bones, labelled as well.
        limit: at most so many samples, from the first shards.

    Raises:
        AnymarkError: the folder holds no finished data set, or one of its shards is damaged.
    """
    paths = finished_shards(folder)
    names, images, points, depths, boxes, valid, sds, further = [], [], [], [], [], [], [], []
    for sample in _read(paths, limit):
        record = sample.record
        face = points_on(sample.xy_px, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS]
        names.append(sample.key)
        images.append(sample.image.transpose(2, 0, 1))
        points.append(sample.xy_px)
        depths.append(sample.depth_px())
        boxes.append(np.concatenate([face.min(0), face.max(0)]))
        valid.append(record.get("valid_box_px", (0, 0, *sample.image.shape[1::-1])))  # renders fill their pictures
        pixels = record["focal_px"] / record["t_camera_head_mm"][2]  # a millimetre at the head
        sds.append(np.zeros(len(sample.xy_px)) if sample.sd_mm is None else sample.sd_mm * pixels)
        bones = [points_on_bones(sample.bones_mm, name) for name in inside]
        further.append(_further(sample, np.concatenate(bones), sds[-1]) if bones else np.zeros((0, 3)))
    if any(image.shape != images[0].shape for image in images):
        raise AnymarkError(f"{folder}: pictures of different sizes")
    return PhotoSet(
        source=folder.name,
        layout=HEAD,
        names=tuple(names),
        images=torch.from_numpy(np.stack(images)),
        points_px=torch.from_numpy(np.stack(points)),
        depth_px=torch.from_numpy(np.stack(depths)),
        box_px=torch.from_numpy(np.stack(boxes).astype(np.float32)),
        valid_box_px=torch.tensor(valid, dtype=torch.float32),
        label_sd=torch.full((len(names),), float("nan")),
        point_sd_px=torch.from_numpy(np.stack(sds).astype(np.float32)),
        further_px=torch.from_numpy(np.stack(further).astype(np.float32)),
        further=tuple(inside),
    )


def _further(
    sample: Sample, points_mm: npt.NDArray[np.floating], sd_px: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """(M, 3) where a picture shows points (M, 3) of the head frame, and how far these may be off: as the skin about."""
    near = np.zeros(len(points_mm))
    if sd_px.any():
        away = np.linalg.norm(points_mm[:, None] - sample.vertices_mm[None, ::_FEWER], axis=-1)
        near = sd_px[::_FEWER][away.argmin(1)]
    return np.column_stack([sample.project(points_mm), near])


def _read(paths: Sequence[Path], limit: int | None) -> Iterator[Sample]:
    """The samples in their order; many shards at once, as decoding takes most of the time."""
    if limit is not None:
        yield from islice(read_shards(paths), limit)
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[Future[list[Sample]]] = deque()
        for path in paths:  # few ahead: what is read is copied only where it is taken
            waiting.append(pool.submit(lambda path=path: list(read_shards([path]))))
            if len(waiting) > 2 * (os.cpu_count() or 1):
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
