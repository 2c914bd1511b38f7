"""Training data from shards of samples (`anymark data build`), each labelled with the whole head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.face_mesh import FACE_MESH_POINTS
from anymark.canonical.files import HEAD
from anymark.engine.samples import read_shards
from anymark.errors import AnymarkError
from anymark.evaluate.photo_files import FACE_MESH_LAYOUT
from anymark.learn.data.photos import PhotoSet


def load_shards(folder: Path, *, limit: int | None = None) -> PhotoSet:
    """All samples of a data set as one set of photos with the layout `head`.

    The face's box is that of the 468 points of MediaPipe's face mesh, as everywhere.

    Args:
        limit: at most so many samples, from the first shards.

    Raises:
        AnymarkError: the folder holds no finished shards, or one of them is damaged.
    """
    paths = sorted(folder.glob("shard-*.tar"))
    if not paths:
        raise AnymarkError(f"{folder}: no shards (is it a folder of anymark data build?)")
    head = CanonicalHead.load()
    on_head = head.closest_point(load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS])
    corners, weights = head.triangles[on_head.triangles], on_head.barycentric.astype(np.float32)
    names, images, points, depths, boxes = [], [], [], [], []
    for sample in read_shards(paths):
        record = sample.record
        rotation, translation = np.array(record["R_camera_head"]), np.array(record["t_camera_head_mm"])
        away = sample.vertices_mm @ rotation[2] + translation[2]
        face = np.einsum("nk,nkd->nd", weights, sample.xy_px[corners])
        names.append(sample.key)
        images.append(sample.image.transpose(2, 0, 1))
        points.append(sample.xy_px)
        depths.append(((away - translation[2]) * record["focal_px"] / translation[2]).astype(np.float32))
        boxes.append(np.concatenate([face.min(0), face.max(0)]))
        if limit is not None and len(names) >= limit:
            break
    side = images[0].shape[1]
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
        valid_box_px=torch.tensor([0.0, 0.0, side, side]).expand(len(names), 4).contiguous(),
        label_sd=torch.full((len(names),), float("nan")),
    )
