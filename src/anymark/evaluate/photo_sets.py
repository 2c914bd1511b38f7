"""The benchmarks on anymark's own data: labelled crops of heads (`photos`) and few-shot points (`facelab189`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS, OUTER_EYES
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import (
    Benchmark,
    BoxRule,
    Face,
    for_calibration,
    points_box,
    stored_pixels,
)
from anymark.evaluate.metrics import box_size, point_pair_distance
from anymark.photo_files import CROPS, PhotoLabels, PhotoTar, Split, read_labels, read_npz

SOURCES = ("faker", "sfhq", "sfhq_t2i", "congress")
"""The sets with held-out photos."""

THRESHOLD = 0.10

FACELAB_POINTS = 189
FACELAB_ANNOTATED = 10
"""The first photos by name are for calibration, and never scored: so all numbers are on the same other 92."""
FACELAB_EYES = (18, 27)
FACELAB_FRAME = (*range(71, 87), *range(109, 115), *range(125, 134))
"""Brows, fronts of the ears and jaw: what ibug68's box hangs on too."""
FACELAB_REGIONS = {
    "irises": [(0, 18)],
    "lids": [(18, 34)],
    "around the eyes": [(34, 50)],
    "nose": [(50, 71), (179, 183)],
    "brows": [(71, 87)],
    "mouth": [(87, 109)],
    "ears": [(109, 125), (185, 189)],
    "jaw": [(125, 134)],
    "hairline": [(134, 145)],
    "hair": [(145, 158)],
    "cheeks": [(158, 170)],
    "philtrum and chin": [(170, 179)],
    "neck": [(183, 185)],
}


def read_photos(root: Path, split: Split = "held-out", calibrate: int = 0) -> Benchmark:
    """Labelled crops, 468 points of MediaPipe's face mesh each; the irises are not scored.

    The NME is over the distance of the outer corners of the eyes with the labels' depth, so that profiles count as
    fairly as frontal faces.

    Args:
        root: folder of photo sets.
        split: which photos to score; near-duplicates of held-out photos are in neither.
        calibrate: take so many photos, spread evenly over the training split; they are not scored.

    Raises:
        AnymarkError: no photo set, or a file that is not what it should be.
    """
    sources = [source for source in SOURCES if (root / source).is_dir()]
    if not sources:
        raise AnymarkError(f"{root}: none of the photo sets {', '.join(SOURCES)}")
    scored: list[Face] = []
    pool: list[Face] = []
    for source in sources:
        labels = read_labels(root / source)
        if labels.layout != FACE_MESH_LAYOUT:
            raise AnymarkError(f"{labels.path}: of {labels.layout}; only sets of {FACE_MESH_LAYOUT} can be scored")
        tar = PhotoTar(root / source / CROPS, labels.names)
        scored += [_photo(labels, int(i), source, tar) for i in labels.chosen(split)]
        if calibrate:
            pool += [_photo(labels, int(i), source, tar) for i in labels.chosen("train", good=True)]
    chosen = [pool[i] for i in for_calibration(calibrate, len(pool), f"{root}: the training split")]
    taken = {face.name for face in chosen}
    return Benchmark(
        name=f"photos {split}",
        layout=face_mesh(),
        faces=tuple(face for face in scored if face.name not in taken),
        calibration=tuple(chosen),
        rows={**{source: (source,) for source in sources}, "all": tuple(sources)},
        normalisers=("eyes 3D", "eyes 2D", "box"),
        threshold=THRESHOLD,
        notes=tuple(f"{root / source}: no such folder" for source in SOURCES if source not in sources),
    )


def face_mesh() -> Layout:
    """The 468 points of MediaPipe's face mesh, without the irises, where its labels have them."""
    whole = load_layout(FACE_MESH_LAYOUT)
    regions = {name: index[index < FACE_MESH_POINTS] for name, index in whole.regions.items()}
    return Layout(
        "mediapipe468",
        whole.points_mm[:FACE_MESH_POINTS],
        regions={name: index for name, index in regions.items() if index.size},
        code=whole.code,
    )


def read_facelab189(root: Path, calibrate: int = 0) -> Benchmark:
    """102 neutral faces with 189 points each: eyes, nose, mouth, ears, hairline, hair and neck.

    Photos are ordered by name. The first 10 (or K, if more) are not scored; calibration takes the first K. So a layout
    that was calibrated on more than 10 has seen photos that it is scored on if it is given again without K. The face's
    box is that of brows, fronts of the ears and jaw, carried over by the rule of ibug68. The shipped layout was placed
    on the first 10 with the shipped model (scripts/build_facelab189.py).

    Raises:
        AnymarkError: a file is missing or not what it should be, or there are too few photos.
    """
    labels = read_npz(root / "points.npz", ("points", "name"))
    points, names = labels["points"].astype(np.float64), [str(name) for name in labels["name"]]
    if points.shape != (len(names), FACELAB_POINTS, 2):
        raise AnymarkError(f"{root / 'points.npz'}: points {points.shape}, expected (N, {FACELAB_POINTS}, 2)")
    if not np.isfinite(points).all():
        raise AnymarkError(f"{root / 'points.npz'}: a point is not finite")
    kept = max(calibrate, FACELAB_ANNOTATED)
    if len(names) <= kept:
        raise AnymarkError(f"{root}: {len(names)} photos, {kept} of them kept for calibration: none is left to score")
    rule = BoxRule.from_layout(load_layout("ibug68"))
    faces = []
    for i in sorted(range(len(names)), key=lambda i: names[i]):
        path = root / "neutral" / f"{names[i]}.jpg"
        lengths = {"eyes": point_pair_distance(points[i], *FACELAB_EYES), "box": box_size(points[i])}
        box = rule(points_box(points[i][list(FACELAB_FRAME)]))
        faces.append(Face(names[i], "neutral", points[i], box, lengths, partial(stored_pixels, path)))
    return Benchmark(
        name="facelab189",
        layout=load_layout("facelab189"),
        faces=tuple(faces[kept:]),
        calibration=tuple(faces[:calibrate]),
        rows={"all": ("neutral",)},
        normalisers=("eyes", "box"),
        threshold=THRESHOLD,
        regions={
            name: np.concatenate([np.arange(*ends, dtype=np.int32) for ends in parts])
            for name, parts in FACELAB_REGIONS.items()
        },
    )


def _photo(labels: PhotoLabels, i: int, source: str, tar: PhotoTar) -> Face:
    name = Path(labels.names[i]).stem
    xy = labels.points_px[i, :FACE_MESH_POINTS].astype(np.float64)
    xyz = np.column_stack([xy, labels.depth_px[i, :FACE_MESH_POINTS]]).astype(np.float64)
    lengths = {
        "eyes 3D": point_pair_distance(xyz, *OUTER_EYES),
        "eyes 2D": point_pair_distance(xy, *OUTER_EYES),
        "box": box_size(xy),
    }
    if not min(lengths.values()) > 0:
        raise AnymarkError(f"{labels.path}: {name}: the corners of the eyes are one point")
    box = labels.box_px[i].astype(np.float64)
    load = partial(tar.pixels, labels.names[i])
    return Face(f"{source}/{name}", source, xy, box, lengths, load, truth={"xyz_px": xyz})
