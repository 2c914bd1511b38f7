"""Training data from shards of samples (`anymark data build`), each labelled with the whole head."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.canonical.posed import points_on, points_on_bones
from anymark.engine.samples import Sample, finished_shards, read_index, read_shards
from anymark.errors import AnymarkError
from anymark.learn.data.photos import PhotoSet


def load_shards(folder: Path, *, inside: Sequence[str] = (), limit: int | None = None) -> PhotoSet:
    """All samples of a data set as one set of photos with the layout `head`.

    The face's box is that of the 468 points of MediaPipe's face mesh, as everywhere.

    Args:
        inside: layouts on the bones, labelled as well.
        limit: at most so many samples, from the first shards.

    Raises:
        AnymarkError: the folder holds no finished data set, or one of its shards is damaged.
    """
    paths, count = finished_shards(folder), int(read_index(folder)["samples"])
    count = count if limit is None else min(count, limit)
    names: list[str] = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    for sample in _read(paths, limit):
        for key, value in _labels(sample, tuple(inside)).items():
            if key not in arrays:  # filled in place: a list of samples would hold everything twice
                arrays[key] = np.empty((count, *value.shape), value.dtype)
            if len(names) == count or value.shape != arrays[key].shape[1:]:
                raise AnymarkError(f"{folder}: more samples than its index says, or pictures of different sizes")
            arrays[key][len(names)] = value
        names.append(sample.key)
    if len(names) < count:
        raise AnymarkError(f"{folder}: fewer samples than its index says")
    return PhotoSet(
        source=folder.name,
        layout=HEAD,
        names=tuple(names),
        label_sd=torch.full((count,), float("nan")),
        further=tuple(inside),
        **{key: torch.from_numpy(array) for key, array in arrays.items()},
    )


def _labels(sample: Sample, inside: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """One row of each of a set's tensors."""
    record, size = sample.record, sample.image.shape[1::-1]
    face = points_on(sample.xy_px, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS]
    pixels = record["focal_px"] / record["t_camera_head_mm"][2]  # a millimetre at the head
    sd = np.zeros(len(sample.xy_px), np.float32) if sample.sd_mm is None else (sample.sd_mm * pixels).astype(np.float32)
    further, further_mm = np.zeros((2, 0, 3), np.float32)
    if inside:
        further_mm = np.concatenate([points_on_bones(sample.bones_mm, name) for name in inside])
        further = np.column_stack([sample.project(further_mm), sd[_skin_about(inside)]])
    camera = np.concatenate(
        [np.ravel(record[key]) for key in ("R_camera_head", "t_camera_head_mm", "focal_px", "principal_px")]
    )
    if "distortion_k" in record:  # no pinhole camera sees what such a lens does
        camera[:] = np.nan
    return {
        "images": sample.image.transpose(2, 0, 1),
        "points_px": sample.xy_px,
        "depth_px": sample.depth_px(),
        "box_px": np.concatenate([face.min(0), face.max(0)]).astype(np.float32),
        "valid_box_px": np.array(record.get("valid_box_px", (0, 0, *size)), np.float32),  # renders fill their pictures
        "point_sd_px": sd,
        "points_mm": sample.vertices_mm.astype(np.float16),  # to an eighth of a millimetre, in half the memory
        # what hides a head in a photo nobody labelled
        "visible": np.where(sample.sd_mm is None, sample.visible, np.nan).astype(np.float16),
        "camera": camera.astype(np.float32),
        "further_px": further,
        "further_mm": further_mm.astype(np.float16),
    }


@cache
def _skin_about(layouts: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """The head's vertex that is nearest to each point of some layouts: bones may be off as far as it may."""
    head = CanonicalHead.load()
    return np.concatenate(
        [np.linalg.norm(load_layout(name).points_mm[:, None] - head.vertices_mm, axis=-1).argmin(1) for name in layouts]
    )


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
