"""The benchmarks on anymark's own data: labelled crops of heads (`photos`) and few-shot points (`facelab189`)."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import FACE_MESH_POINTS, OUTER_EYES
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import (
    Benchmark,
    BoxRule,
    Face,
    points_box,
    spread,
    stored_pixels,
)
from anymark.evaluate.metrics import box_size, point_pair_distance

Split = Literal["held-out", "train"]

SOURCES = ("faker", "sfhq", "sfhq_t2i", "congress")
"""The sets with held-out photos."""
SPLIT_CODE = {"train": 0, "held-out": 1}
"""2 in the labels: near-duplicates of held-out photos, in neither."""
BAD_LABEL_SD = 0.05
"""Training photos whose labels spread further over the teacher's looks, as a fraction of the inter-ocular distance, are
neither trained nor calibrated on."""

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
        labels = _read_labels(root / source / "labels.npz")
        tar = root / source / "crops.tar"
        members = _members(tar)
        for i in np.flatnonzero(labels["split"] == SPLIT_CODE[split]):
            scored.append(_photo(labels, int(i), source, tar, members))
        if calibrate:
            good = (labels["split"] == SPLIT_CODE["train"]) & ~(labels["label_sd"] > BAD_LABEL_SD)
            pool += [_photo(labels, int(i), source, tar, members) for i in np.flatnonzero(good)]
    chosen = [pool[i] for i in spread(calibrate, len(pool), f"{root}: the training split")]
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
    """The 468 points of MediaPipe's face mesh, without the irises."""
    whole = load_layout("mediapipe478")
    regions = {name: index[index < FACE_MESH_POINTS] for name, index in whole.regions.items()}
    return Layout(
        "mediapipe468",
        whole.points_mm[:FACE_MESH_POINTS],
        regions={name: index for name, index in regions.items() if index.size},
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
    labels = _read_npz(root / "points.npz", ("points", "name"))
    points, names = labels["points"].astype(np.float64), [str(name) for name in labels["name"]]
    if points.shape != (len(names), FACELAB_POINTS, 2):
        raise AnymarkError(f"{root / 'points.npz'}: points {points.shape}, expected (N, {FACELAB_POINTS}, 2)")
    if not np.isfinite(points).all():
        raise AnymarkError(f"{root / 'points.npz'}: a point is not finite")
    kept = max(calibrate, FACELAB_ANNOTATED)
    if len(names) <= kept:
        raise AnymarkError(f"{root}: {len(names)} photos, {kept} of them kept for calibration: none is left to score")
    rule = BoxRule.from_ibug68()
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


def _read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file) as npz:
            return {key: npz[key] for key in keys}
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise AnymarkError(f"{path}: not a file of labels ({error})") from None


def _read_labels(path: Path) -> dict[str, npt.NDArray[Any]]:
    labels = _read_npz(path, ("name", "landmarks_q64", "split", "label_sd"))
    points = labels["landmarks_q64"]
    if points.ndim != 3 or points.shape[1] < FACE_MESH_POINTS or points.shape[2] != 3:
        raise AnymarkError(f"{path}: landmarks {points.shape}, expected (N, 478, 3)")
    if len({len(values) for values in labels.values()}) != 1:
        raise AnymarkError(f"{path}: its arrays differ in length")
    return labels


def _members(tar_path: Path) -> dict[str, tuple[int, int]]:
    """Name without suffix -> offset and size of each file of an uncompressed tar, so that any can be read at once."""
    try:
        with tarfile.open(tar_path, "r:") as tar:
            return {Path(m.name).stem: (m.offset_data, m.size) for m in tar if m.isfile()}
    except (OSError, tarfile.TarError) as error:
        raise AnymarkError(f"{tar_path}: cannot be read ({error})") from None


def _photo(
    labels: Mapping[str, npt.NDArray[Any]], i: int, source: str, tar: Path, members: Mapping[str, tuple[int, int]]
) -> Face:
    name = Path(str(labels["name"][i])).stem
    if name not in members:
        raise AnymarkError(f"{tar}: no photo {name!r}, which labels.npz names")
    xyz = labels["landmarks_q64"][i, :FACE_MESH_POINTS].astype(np.float64) / 64
    xy = np.ascontiguousarray(xyz[:, :2])
    lengths = {
        "eyes 3D": point_pair_distance(xyz, *OUTER_EYES),
        "eyes 2D": point_pair_distance(xy, *OUTER_EYES),
        "box": box_size(xy),
    }
    if not min(lengths.values()) > 0:
        raise AnymarkError(f"{tar.parent / 'labels.npz'}: {name}: the corners of the eyes are one point")
    return Face(f"{source}/{name}", source, xy, points_box(xy), lengths, partial(_tar_pixels, tar, name, members[name]))


def _tar_pixels(tar: Path, name: str, place: tuple[int, int]) -> npt.NDArray[np.uint8]:
    try:
        with tar.open("rb") as file:
            file.seek(place[0])
            content = file.read(place[1])
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise AnymarkError(f"{tar}: {name} is not a readable image ({error})") from None
