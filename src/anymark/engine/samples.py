"""Samples of heads with exact labels, in webdataset shards: plain tars of KEY.jpg, KEY.npz and KEY.json.

KEY.jpg is the picture. KEY.json holds the camera (focal_px, principal_px), the pose (R_camera_head row by row,
t_camera_head_mm), the coefficients, the data set, and what was drawn. KEY.npz holds, quantised to 1/64:

- vertices_q int16 (V, 3): the canonical head's vertices, posed, in the head frame, millimetres;
- xy_q int32 (V, 2): where they are in the picture, pixels;
- visible (V/8,) bits: which of them are seen;
- bones_q int16 (B, 3): the vertices of `anymark.canonical.skull.Skull` inside of this head, head frame, millimetres;
- canonical_q int16 (h, w, 3): the canonical point of the head at pixel (4 j + 2.5, 4 i + 2.5), -32768 where there is
  none; h and w are a quarter of the picture's;
- part uint8 (h, w): its part, 255 where there is none;
- covered (h w / 8,) bits: where something lies over the head, so that these maps tell of what is not seen there;
- places_q int16 (h, w, 3): the canonical point of what is seen there, hair about the head too; -32768 where it is
  neither head nor hair;
- sd_q uint8 (V,), of photos alone: standard deviation of xy along an axis, in sixteenths of a millimetre at the head.
  Renders are exact.

Any canonical point follows from the vertices of the triangle that it lies on.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.arrays import MOST_BYTES, load_arrays
from anymark.detect.image import identified
from anymark.engine.lens import Lens
from anymark.errors import AnymarkError
from anymark.files import atomic, read_json, reading

ENGINE = 7
"""Counts on whenever the same recipe gives other samples: no data set is begun by one and finished by another."""
RECIPE = "recipe.json"
"""The file that says what a data set is made of, from its beginning."""
INDEX = "index.json"
"""The file of a finished data set: its shards, the number of samples, what was left out."""
QUANTUM = 64.0
"""Steps a millimetre and a pixel."""
COARSE = 4
"""Pixels of the picture, along a side, for each cell of the maps."""
SD_QUANTUM = 16.0
"""Steps a millimetre of a label's standard deviation."""
NOTHING = -32768
FAR = 2**30
NO_PART = 255

_QUALITY = 93


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture of one head."""

    key: str
    """Unique in its build; without dots, as webdataset wants."""
    image: npt.NDArray[np.uint8]
    """(S, S, 3) RGB."""
    vertices_mm: npt.NDArray[np.floating]
    """(V, 3) head frame."""
    bones_mm: npt.NDArray[np.floating]
    """(B, 3) vertices of the bones inside, head frame."""
    xy_px: npt.NDArray[np.floating]
    """(V, 2)"""
    visible: npt.NDArray[np.bool_]
    """(V,)"""
    canonical_mm: npt.NDArray[np.floating]
    """(S / 4, S / 4, 3), NaN where there is none."""
    part: npt.NDArray[np.integer]
    """(S / 4, S / 4), -1 where there is none."""
    covered: npt.NDArray[np.bool_]
    """(S / 4, S / 4) where hair, dress, a hand or another thing lies over the head; unknown, and False, in photos."""
    places_mm: npt.NDArray[np.floating]
    """(S / 4, S / 4, 3) the canonical point of what is seen, NaN where it is neither head nor hair. Hair has its places
    about the head. Photos show things before the head that this does not know of."""
    record: dict[str, Any]
    """The JSON file: focal_px, principal_px, R_camera_head, t_camera_head_mm, identity, expression, dataset, ..."""
    sd_mm: npt.NDArray[np.floating] | None = None
    """(V,) how far `xy_px` may be off along an axis, at the head; None: the labels are exact."""

    def depth_px(self) -> npt.NDArray[np.float32]:
        """(V,) depth behind the head's origin, in pixels at its distance."""
        rotation, translation = np.array(self.record["R_camera_head"]), np.array(self.record["t_camera_head_mm"])
        behind = self.vertices_mm @ rotation[2]
        return (behind * (self.record["focal_px"] / translation[2])).astype(np.float32)

    def project(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Where the picture shows points (..., 3) of the head frame, hidden ones too: (..., 2) pixels."""
        rotation, translation = np.array(self.record["R_camera_head"]), np.array(self.record["t_camera_head_mm"])
        seen = np.asarray(points_mm, np.float64) @ rotation.T + translation
        xy = self.record["focal_px"] * seen[..., :2] / seen[..., 2:] + np.array(self.record["principal_px"])
        if "distortion_k" in self.record:
            xy = Lens(self.record["distortion_k"], len(self.image)).distort(xy)
        return xy.astype(np.float32)


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write a shard, whole or not at all; returns how many samples it holds.

    Raises:
        AnymarkError: it cannot be written.
    """
    count = 0
    with atomic(path, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for sample in samples:
            _add(tar, sample)
            count += 1
    return count


def read_shards(paths: Sequence[Path]) -> Iterator[Sample]:
    """All samples of some shards, in their order.

    Raises:
        AnymarkError: a file cannot be read or holds what is no sample.
    """
    for path in paths:
        with reading(path, "a shard of samples"), tarfile.open(path, "r:") as tar:
            parts: dict[str, bytes] = {}
            key = ""
            for member in tar:
                stem, _, suffix = member.name.partition(".")
                if stem != key and parts:
                    yield _sample(key, parts)
                    parts = {}
                key = stem
                if member.issparse() or member.size > MOST_BYTES:  # a few bytes may stand for any number of zeros
                    raise ValueError(f"{member.name} is too large to be part of a sample")
                content = tar.extractfile(member)
                if content is not None:
                    parts[suffix] = content.read()
            if parts:
                yield _sample(key, parts)


def read_groups(folder: Path, mark: str = "-") -> Iterator[tuple[str, list[Sample]]]:
    """The samples of a data set that belong together, such as a head's views or a sequence's frames: what their keys
    begin with, up to the last `mark`, and they.

    Raises:
        AnymarkError: no finished data set there, or a damaged shard.
    """
    for name, group in groupby(read_shards(finished_shards(folder)), key=lambda s: s.key.rpartition(mark)[0]):
        yield name, list(group)


def finished_shards(folder: Path) -> list[Path]:
    """The shards of a data set of `anymark data build`, in their order.

    Raises:
        AnymarkError: there is none, it is not finished, or it holds no samples.
    """
    index = read_index(folder)
    if index["samples"] < 1:
        raise AnymarkError(f"{folder}: holds no samples")
    return [folder / name for name in index["shards"]]


def read_index(folder: Path) -> dict[str, Any]:
    """What a finished data set says of itself: its shards, their samples, the split of its photos, ...

    Raises:
        AnymarkError: there is no data set, or it is not finished.
    """
    if not (folder / INDEX).exists():
        begun = any(folder.glob("shard-*.tar"))
        reason = "not finished: run its anymark data build again" if begun else "no data set of anymark data build"
        raise AnymarkError(f"{folder}: {reason}")
    with reading(folder / INDEX, "an index of shards"):
        index = read_json(folder / INDEX, "an index of shards")
        shards = [str(name) for name in index["shards"]]
        if any(Path(name).name != name for name in shards):
            raise ValueError("a shard is in another folder")
        return {**index, "shards": shards, "samples": int(index["samples"])}


def count_samples(path: Path) -> int:
    """How many samples a shard holds.

    Raises:
        AnymarkError: it cannot be read.
    """
    with reading(path, "a shard of samples"), tarfile.open(path, "r:") as tar:
        return sum(name.endswith(".json") for name in tar.getnames())


def _add(tar: tarfile.TarFile, sample: Sample) -> None:
    picture, arrays = io.BytesIO(), io.BytesIO()
    Image.fromarray(sample.image).save(picture, "JPEG", quality=_QUALITY, subsampling=0)
    content: dict[str, Any] = {
        "vertices_q": quantised(sample.vertices_mm).astype(np.int16),
        "bones_q": quantised(sample.bones_mm).astype(np.int16),
        "xy_q": np.clip(np.round(sample.xy_px * QUANTUM), -FAR, FAR).astype(np.int32),
        "visible": np.packbits(sample.visible),
        "canonical_q": np.nan_to_num(quantised(sample.canonical_mm), nan=NOTHING).astype(np.int16),
        "part": np.where(sample.part < 0, NO_PART, sample.part).astype(np.uint8),
        "covered": np.packbits(sample.covered),
        "places_q": np.nan_to_num(quantised(sample.places_mm), nan=NOTHING).astype(np.int16),
    }
    if sample.sd_mm is not None:
        content["sd_q"] = np.clip(np.round(sample.sd_mm * SD_QUANTUM), 0, 255).astype(np.uint8)
    np.savez_compressed(arrays, **content)
    record = json.dumps(sample.record, allow_nan=False).encode()
    for suffix, data in (("jpg", picture.getvalue()), ("npz", arrays.getvalue()), ("json", record)):
        info = tarfile.TarInfo(f"{sample.key}.{suffix}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _sample(key: str, parts: dict[str, bytes]) -> Sample:
    with load_arrays(io.BytesIO(parts["npz"])) as arrays:
        vertices, bones, xy = (arrays[name].astype(np.float32) / QUANTUM for name in ("vertices_q", "bones_q", "xy_q"))
        visible = np.unpackbits(arrays["visible"], count=len(vertices)).astype(bool)
        canonical, places = (_map_mm(arrays[name]) for name in ("canonical_q", "places_q"))
        part = arrays["part"].astype(np.int16)
        covered = np.unpackbits(arrays["covered"], count=part.size).astype(bool).reshape(part.shape)
        sd = arrays["sd_q"] / np.float32(SD_QUANTUM) if "sd_q" in arrays else None
    with identified(io.BytesIO(parts["jpg"])) as image:
        pixels = np.asarray(image.convert("RGB"))
    part[part == NO_PART] = -1
    return Sample(
        key,
        pixels,
        vertices,
        bones,
        xy,
        visible,
        canonical,
        part,
        covered,
        places,
        json.loads(parts["json"]),
        sd,
    )


def _map_mm(values: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """A map of points in steps, NaN where there is none."""
    return np.where(values == NOTHING, np.float32(np.nan), values.astype(np.float32) / np.float32(QUANTUM))


def quantised(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Values in steps, within what 16 bits hold."""
    return np.clip(np.round(values * QUANTUM), NOTHING + 1, -NOTHING - 1)
