"""The benchmark of whole heads: samples of `anymark data build`, by how far the head is turned and by its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS, OUTER_EYES
from anymark.canonical.files import HEAD
from anymark.canonical.posed import points_on
from anymark.detect.detector import Detector
from anymark.detect.window import Window
from anymark.engine.samples import Sample, finished_shards, read_index, read_shards
from anymark.engine.shots import angles
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import Benchmark, Face, points_box
from anymark.evaluate.metrics import box_size, point_pair_distance

Complete = Callable[[Sample, Face], Face | str]
"""Adds to a face what else its sample knows, or says in words why the sample is left out."""

YAWS_DEG = (30.0, 60.0)
"""The rows of the table part here."""

THRESHOLD = 0.10


def read_samples(folder: Path, complete: Complete = lambda sample, face: face) -> Benchmark:
    """Every vertex of the head, hidden ones too: the dense NME of *Infinite 3D Landmarks* (table 2).

    The NME is over the distance of the outer corners of the eyes in 3D, so that profiles count as fairly as frontal
    faces; "box" is the square root of the area of the face's box.

    Args:
        folder: shards of `anymark data build`.
        complete: called with each sample; what it leaves out is counted in a note.

    Raises:
        AnymarkError: no finished data set there, one of its shards is damaged, or all samples are left out.
    """
    paths = finished_shards(folder)
    low, high = YAWS_DEG
    groups = [f"yaw 0-{low:g}", f"yaw {low:g}-{high:g}", f"yaw {high:g}-90"]
    faces: list[Face] = []
    left_out: Counter[str] = Counter()
    for sample in read_shards(paths):
        face = complete(sample, _face(sample, groups))
        if isinstance(face, str):
            left_out[face] += 1
        else:
            faces.append(face)
    total = len(faces) + left_out.total()
    notes = [f"{folder}: {count} of {total} samples left out: {why}" for why, count in left_out.items()]
    if left_out and not faces:
        raise AnymarkError(notes[0])
    if read_index(folder).get("split") == "train":
        notes.append(f"{folder}: made of photos that models are trained on, not of held-out ones")
    return Benchmark(
        name=f"samples {folder.resolve().name}",
        layout=load_layout(HEAD),
        faces=tuple(faces),
        calibration=(),
        rows={**{g: (g,) for g in groups if any(face.group == g for face in faces)}, "all": tuple(groups)},
        normalisers=("eyes 3D", "box"),
        threshold=THRESHOLD,
        notes=tuple(notes),
    )


def _face(sample: Sample, groups: list[str]) -> Face:
    rotation = np.array(sample.record["R_camera_head"])
    yaw = abs(np.degrees(angles(rotation)[0]))
    xyz = points_on(np.column_stack([sample.xy_px, sample.depth_px()]), FACE_MESH_LAYOUT).astype(np.float64)
    face = xyz[:FACE_MESH_POINTS]
    lengths = {"eyes 3D": point_pair_distance(face, *OUTER_EYES), "box": box_size(face[:, :2])}
    group = groups[int(np.searchsorted(YAWS_DEG, yaw))]
    points, box, image = sample.xy_px.astype(np.float64), points_box(face[:, :2]), sample.image
    return Face(sample.key, group, points, box, lengths, lambda: image)


def check_render(sample: Sample) -> None:
    """That all of a sample's labels are exact.

    Raises:
        AnymarkError: it is a photo, whose head is only fitted.
    """
    if sample.sd_mm is not None:
        raise AnymarkError(
            f"sample {sample.key}: a photo, whose head is fitted; this needs renders, whose head is known"
        )


def true_window(sample: Sample, detector: Detector) -> Window:
    """The window about the face of a sample."""
    face = points_on(sample.xy_px, FACE_MESH_LAYOUT)[:FACE_MESH_POINTS].astype(np.float64)
    return Window.from_box(points_box(face), detector.landmarker.window_scale)


def eyes_px(sample: Sample) -> float:
    """Distance of the outer corners of a sample's eyes in 3D, in pixels at the head's distance."""
    xyz = points_on(np.column_stack([sample.xy_px, sample.depth_px()]), FACE_MESH_LAYOUT)[:FACE_MESH_POINTS]
    right, left = xyz[list(OUTER_EYES)].astype(np.float64)
    return float(np.linalg.norm(right - left))
