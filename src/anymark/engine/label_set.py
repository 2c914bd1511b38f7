"""Labelled crops -> a photo set: what is done so far, a file a photo; what is there twice; the set's two files.

Duplicates are found by the grey face alone, 16 x 16 pixels, correlated. Among the project's 10,520 crops of sfhq,
sfhq_t2i, congress and voteview no two different pictures correlate above 0.97, while 357 of sfhq_t2i's 363 pairs of
copies do. With more of the picture, portraits of different people before the same background did too.
"""

from __future__ import annotations

import csv
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.engine.label import THUMB_PX, Crop, Skipped
from anymark.errors import AnymarkError
from anymark.files import atomic, make_folder, read_json, write_json
from anymark.photo_files import CROPS, LABELS, SPLIT_CODE, read_npz

SAME_PICTURE = 0.97
"""Faces whose thumbs correlate more are one picture, of which the largest is kept."""
ALIKE = 0.94
"""Faces whose thumbs correlate more are in one group, and so on one side of the split."""
PARTS = ".parts"
"""Folder in the set's own, of what is done."""
SKIPPED = "skipped.csv"

_SETTINGS = "settings.json"
_BLOCK = 1024
_PER_FACE = (
    "landmarks_q64", "label_sd", "views", "size", "face_px", "grayscale", "valid_box", "thumb", "face",
)  # fmt: skip


class Parts:
    """What is done: a file a photo, named by the SHA-256 of the photo's file.

    Args:
        out: Folder of the photo set; it is made.
        settings: What the labels depend on; a folder is gone on with only under the same.

    Raises:
        AnymarkError: the folder holds something else, or the parts of other settings, or cannot be written.
    """

    def __init__(self, out: Path, settings: dict[str, str | float | bool]) -> None:
        self._folder = out / PARTS
        path = self._folder / _SETTINGS
        if not path.exists():
            self._start(out, path, settings)
            return
        before = read_json(path, "settings of anymark data label")
        for key, value in settings.items():
            if before.get(key) != value:
                raise AnymarkError(
                    f"{out}: was begun with {key} {before.get(key)}, not {value}; give that, another --out, "
                    f"or delete {self._folder}"
                )

    def _start(self, out: Path, path: Path, settings: dict[str, str | float | bool]) -> None:
        if (out / LABELS).exists() or (out / CROPS).exists():
            raise AnymarkError(f"{out}: holds a photo set that was not made here, or whose {PARTS} is gone")
        make_folder(self._folder)
        write_json(path, settings)

    def __contains__(self, digest: str) -> bool:
        return self._path(digest).exists()

    def save(self, digest: str, crops: Sequence[Crop], skipped: Sequence[Skipped]) -> None:
        """Keep what became of a photo.

        Raises:
            AnymarkError: the file cannot be written.
        """
        arrays = {key: np.array([getattr(crop, key) for crop in crops]) for key in _PER_FACE}
        webp = np.frombuffer(b"".join(crop.webp for crop in crops), np.uint8)
        ends = np.cumsum([len(crop.webp) for crop in crops], dtype=np.int64)
        rows = np.array([(skip.reason, skip.detail, str(skip.face)) for skip in skipped], np.str_).reshape(-1, 3)
        with atomic(self._path(digest), "wb") as file:
            np.savez(file, webp=webp, webp_ends=ends, skipped=rows, allow_pickle=False, **arrays)

    def load(self, digest: str) -> tuple[list[Crop], list[Skipped]]:
        """What became of a photo.

        Raises:
            AnymarkError: the file cannot be read.
        """
        arrays = read_npz(self._path(digest), ("webp", "webp_ends", "skipped", *_PER_FACE))
        ends = arrays["webp_ends"].tolist()
        content = arrays["webp"].tobytes()
        crops = [
            Crop(
                webp=content[start:end],
                landmarks_q64=arrays["landmarks_q64"][i],
                label_sd=float(arrays["label_sd"][i]),
                views=int(arrays["views"][i]),
                size=int(arrays["size"][i]),
                face_px=float(arrays["face_px"][i]),
                grayscale=bool(arrays["grayscale"][i]),
                valid_box=arrays["valid_box"][i],
                thumb=arrays["thumb"][i],
                face=int(arrays["face"][i]),
            )
            for i, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
        ]
        skipped = [Skipped(str(reason), str(detail), int(face)) for reason, detail, face in arrays["skipped"]]
        return crops, skipped

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.npz"


@dataclass(frozen=True)
class Summary:
    """What a set holds."""

    faces: int
    photos: int
    held_out: int
    groups: int
    median_sd: float
    """A fraction of the inter-ocular distance."""
    skipped: dict[str, int]
    """Reason -> how many faces, or photos, were left out for it."""


def pack(
    parts: Parts, photos: Sequence[tuple[Path, str]], unused: Sequence[tuple[Path, Skipped]], out: Path, held_out: float
) -> Summary:
    """Make the photo set of these photos, and a table of what is not in it.

    Args:
        parts: Holds every one of the photos.
        photos: Photos and the SHA-256 of their files, each once; the set keeps their order.
        unused: Photos that never came so far.
        out: Folder of the set.
        held_out: Fraction of the groups that are held out; which, their photos' content decides.

    Raises:
        AnymarkError: no face at all is labelled (the table is written), or a file cannot be read or written.
    """
    faces: list[_Face] = []
    skips = list(unused)
    for path, digest in photos:
        crops, skipped = parts.load(digest)
        skips += [(path, skip) for skip in skipped]
        faces += [_Face(path, digest, i, crop.face, crop.face_px, crop.thumb) for i, crop in enumerate(crops)]
    copy_of = copies(_stacked(faces), np.array([face.face_px for face in faces]))
    skips += [
        (face.path, Skipped("duplicate", f"of {_shown(faces[of].path)}, face {faces[of].number}", face.number))
        for i, (face, of) in enumerate(zip(faces, copy_of.tolist(), strict=True))
        if of != i
    ]
    kept = [face for i, face in enumerate(faces) if copy_of[i] == i]
    _write_skipped(out / SKIPPED, skips)
    counts: dict[str, int] = {}
    for _, skip in skips:
        counts[skip.reason] = counts.get(skip.reason, 0) + 1
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "no photos"
        raise AnymarkError(f"{out}: nothing was labelled ({why})")
    group = groups(_stacked(kept), [face.digest for face in kept])
    split = splits(group, [face.digest for face in kept], held_out)
    sd = _write(parts, kept, group, split, out)
    return Summary(
        faces=len(kept),
        photos=len({face.digest for face in kept}),
        held_out=int((split == SPLIT_CODE["held-out"]).sum()),
        groups=len(np.unique(group)),
        median_sd=float(np.median(sd)),
        skipped=counts,
    )


@dataclass(frozen=True, eq=False)
class _Face:
    """What is remembered of every face, its pixels not among it."""

    path: Path
    digest: str
    index: int
    """In its part."""
    number: int
    """In its photo, from 1."""
    face_px: float
    thumb: npt.NDArray[np.float32]


def copies(thumbs: npt.NDArray[np.float32], face_px: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """(N,) for each face the index of the one that is kept in its place, or its own.

    Args:
        thumbs: (N, K) rows of length 1.
        face_px: (N,) sizes; the larger face is kept, of equals the first.
    """
    copy_of = np.arange(len(thumbs))
    order = np.argsort(-face_px, kind="stable")
    kept = np.zeros(0, np.int64)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        if len(kept):
            likeness = thumbs[block] @ thumbs[kept].T
            best = likeness.argmax(1)
            found = likeness[np.arange(len(block)), best] > SAME_PICTURE
            copy_of[block[found]] = kept[best[found]]
            block = block[~found]
        likeness, new = thumbs[block] @ thumbs[block].T, list[int]()
        for i in range(len(block)):
            same = [j for j in new if likeness[i, j] > SAME_PICTURE]
            if same:
                copy_of[block[i]] = block[same[0]]
            else:
                new.append(i)
        kept = np.concatenate([kept, block[new]])
    return copy_of


def groups(thumbs: npt.NDArray[np.float32], digests: Sequence[str]) -> npt.NDArray[np.int32]:
    """(N,) groups, numbered from 0 in order: faces that are alike or in one photo, and what is chained by such.

    Args:
        thumbs: (N, K) rows of length 1.
        digests: N photos.
    """
    label = np.unique(np.array(digests), return_inverse=True)[1]
    for start in range(0, len(thumbs), _BLOCK):
        alike = thumbs[start : start + _BLOCK] @ thumbs.T > ALIKE
        for i in np.flatnonzero(alike.sum(1) > 1):
            joined = np.unique(label[alike[i]])
            label[np.isin(label, joined)] = joined[0]
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int32)


def splits(group: npt.NDArray[np.int32], digests: Sequence[str], held_out: float) -> npt.NDArray[np.uint8]:
    """(N,) codes of `SPLIT_CODE`; whether a group is held out depends on the smallest digest of its photos alone."""
    smallest: dict[int, str] = {}
    for number, digest in zip(group.tolist(), digests, strict=True):
        smallest[number] = min(digest, smallest.get(number, digest))
    chosen = {number for number, digest in smallest.items() if int(digest[:8], 16) < held_out * 2**32}
    codes = [SPLIT_CODE["held-out" if number in chosen else "train"] for number in group.tolist()]
    return np.array(codes, np.uint8)


def _write(
    parts: Parts, faces: Sequence[_Face], group: npt.NDArray[np.int32], split: npt.NDArray[np.uint8], out: Path
) -> npt.NDArray[np.float32]:
    """The set's files; returns label_sd. The labels come last: a set is not there without them."""
    (out / LABELS).unlink(missing_ok=True)
    width = max(5, len(str(len(faces) - 1)))
    names = [f"{number:0{width}d}.webp" for number in range(len(faces))]
    crops: list[Crop] = []
    with atomic(out / CROPS, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for name, crop in zip(names, _crops(parts, faces), strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(crop.webp)
            tar.addfile(info, io.BytesIO(crop.webp))
            crops.append(replace(crop, webp=b""))
    sd = np.array([crop.label_sd for crop in crops], np.float32)
    with atomic(out / LABELS, "wb") as file:
        np.savez_compressed(
            file,
            name=np.array(names),
            landmarks_q64=np.array([crop.landmarks_q64 for crop in crops], np.int16),
            label_sd=sd,
            views=np.array([crop.views for crop in crops], np.int8),
            split=split,
            group=group,
            size=np.array([crop.size for crop in crops], np.int32),
            face_px_in_source=np.array([crop.face_px for crop in crops], np.float32),
            grayscale=np.array([crop.grayscale for crop in crops], np.uint8),
            valid_box=np.array([crop.valid_box for crop in crops], np.float32),
            origin=np.array([_shown(Path(face.path.name)) for face in faces]),
        )
    return sd


def _crops(parts: Parts, faces: Iterable[_Face]) -> Iterator[Crop]:
    """The crops of these faces; a photo's stand together, so each part is read once."""
    digest, crops = "", list[Crop]()
    for face in faces:
        if face.digest != digest:
            digest, crops = face.digest, parts.load(face.digest)[0]
        yield crops[face.index]


def _stacked(faces: Sequence[_Face]) -> npt.NDArray[np.float32]:
    return np.array([face.thumb for face in faces], np.float32).reshape(len(faces), THUMB_PX**2)


def _write_skipped(path: Path, rows: Iterable[tuple[Path, Skipped]]) -> None:
    with atomic(path, "w") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("photo", "face", "reason", "detail"))
        table.writerows((_shown(photo), skip.face or "", skip.reason, skip.detail) for photo, skip in rows)


def _shown(path: Path) -> str:
    """A name may hold bytes that no file takes."""
    return os.fsencode(path).decode("utf-8", "replace")
