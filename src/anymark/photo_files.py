"""Photo sets: the reader of a folder's `labels.npz` and `crops.tar`, labelled square crops of heads.

labels.npz holds, of N crops: `name`; `landmarks_q64` (N, P, 3), in 64ths of a pixel, with relative depth, or (N, P, 2)
where it is unknown; `size` (N,), the crops' sides in pixels; `split` (N,), see `SPLIT_CODE`; `label_sd` (N,), the
labels' spread as a fraction of the inter-ocular distance, negative where unknown; `valid_box` (N, 4), the part of each
crop that lies inside its photo. Two more say which points these are: `layout`, a shipped layout's name or the name of
a layout's file in the folder (mediapipe478), and `box` (N, 4), the face's box (that of mediapipe478's first 468
points; any other layout must bring it). Pixels are the crop's: `docs/conventions.md`. Two texts, `what` and `licence`,
go on the cards of models that learn from the set.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.arrays import open_arrays
from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.detect.image import identified
from anymark.errors import AnymarkError

Split = Literal["held-out", "train", "calibration"]
SPLIT_CODE = {"train": 0, "held-out": 1}
"""2 in the labels: near-duplicates of held-out photos, in neither."""
SET_ASIDE = 20
"""Of the photos that are not held out one in so many is not trained on either, but calibrated on."""
BAD_LABEL_SD = 0.05
"""Training photos whose labels spread further over the teacher's looks, as a fraction of the inter-ocular distance, are
neither trained nor calibrated on."""

LABELS = "labels.npz"
CROPS = "crops.tar"
_KEYS = ("name", "landmarks_q64", "size", "split", "label_sd", "valid_box")
_KINDS = {"name": "U", "landmarks_q64": "iuf", "size": "iu", "split": "iu", "label_sd": "iuf", "valid_box": "iuf"}
_KINDS |= {"layout": "U", "box": "iuf"}
_KIND_NAMES = {"U": "text", "iu": "whole numbers", "iuf": "numbers"}
CARD_KEYS = ("what", "licence")


@dataclass(frozen=True, eq=False)
class PhotoLabels:
    """What labels.npz says of N crops, in their pixels."""

    path: Path
    """The file."""
    layout: str
    """What `load_layout` reads: a shipped layout's name, or a file's path."""
    names: tuple[str, ...]
    points_px: npt.NDArray[np.float32]
    """(N, P, 2), one row a point of the layout."""
    depth_px: npt.NDArray[np.float32]
    """(N, P) relative depth, smaller is nearer; NaN where unknown."""
    box_px: npt.NDArray[np.float32]
    """(N, 4) x0, y0, x1, y1 of the face."""
    size_px: npt.NDArray[np.integer]
    """(N,) sides of the crops."""
    valid_box_px: npt.NDArray[np.float32]
    """(N, 4) x0, y0, x1, y1 of the part that lies inside the photo."""
    split: npt.NDArray[np.integer]
    """(N,) see `SPLIT_CODE`."""
    label_sd: npt.NDArray[np.float32]
    """(N,) a fraction of the inter-ocular distance; NaN where unknown."""

    def chosen(self, split: Split, *, good: bool = False) -> npt.NDArray[np.int64]:
        """Indices of the photos of a split; of the `good` ones alone, without those above `BAD_LABEL_SD` and, where the
        set knows its labels' spread, those whose spread is unknown: the teacher found them in a single look."""
        mask = self.split == SPLIT_CODE["held-out" if split == "held-out" else "train"]
        if split != "held-out":
            aside = np.cumsum(mask) % SET_ASIDE == 0
            mask &= aside if split == "calibration" else ~aside
        bad = np.isnan(self.label_sd) if np.isfinite(self.label_sd).any() else np.zeros(len(mask), bool)
        return np.flatnonzero(mask & ~bad & ~(self.label_sd > BAD_LABEL_SD) if good else mask)


def read_labels(folder: Path) -> PhotoLabels:
    """The labels of a photo set.

    Raises:
        AnymarkError: labels.npz is missing or not what it should be, or its layout cannot be read.
    """
    path = folder / LABELS
    arrays = read_npz(path, _KEYS, ("layout", "box"))
    for key, values in arrays.items():
        if values.dtype.kind not in _KINDS[key]:
            raise AnymarkError(f"{path}: {key} is of {values.dtype}, expected {_KIND_NAMES[_KINDS[key]]}")
    layout = str(arrays.pop("layout", FACE_MESH_LAYOUT))
    if Path(layout).suffix:
        layout = str(folder / layout)
    try:
        count = len(load_layout(layout))
    except AnymarkError as error:
        raise AnymarkError(f"{path}: {error}") from None
    points = arrays["landmarks_q64"].astype(np.float32) / np.float32(64)
    if points.ndim != 3 or points.shape[1] != count or points.shape[2] not in (2, 3):
        raise AnymarkError(f"{path}: landmarks {points.shape}, expected (N, {count}, 3) or (N, {count}, 2) of {layout}")
    if layout == FACE_MESH_LAYOUT and points.shape[2] == 2:  # errors are divided by a distance in 3D
        raise AnymarkError(f"{path}: landmarks of {layout} need their depth, (N, {count}, 3)")
    if len({values.shape[:1] for values in arrays.values()}) != 1:
        raise AnymarkError(f"{path}: its arrays differ in length")
    xy = np.ascontiguousarray(points[..., :2])
    if "box" in arrays:
        box = arrays["box"].astype(np.float32)
    elif layout == FACE_MESH_LAYOUT:
        box = np.hstack([xy[:, :FACE_MESH_POINTS].min(1), xy[:, :FACE_MESH_POINTS].max(1)])
    else:
        raise AnymarkError(f"{path}: lacks 'box', the faces' boxes (N, 4), which a set of {layout} needs")
    names = tuple(str(name) for name in arrays["name"])
    for key, good in (
        ("landmarks_q64", np.isfinite(points).all((1, 2))),
        ("size", arrays["size"] > 0),
        ("label_sd", np.isfinite(arrays["label_sd"])),
    ):
        if good.shape != (len(names),):
            raise AnymarkError(f"{path}: {key} {good.shape}, expected ({len(names)},)")
        if not good.all():
            raise AnymarkError(f"{path}: {names[int(good.argmin())]}: {key} is not finite, or not above 0")
    valid_box = arrays["valid_box"].astype(np.float32)
    for key, boxes in (("box", box), ("valid_box", valid_box)):
        if boxes.shape != (len(names), 4):
            raise AnymarkError(f"{path}: {key} {boxes.shape}, expected ({len(names)}, 4)")
        wrong = np.flatnonzero(~(np.isfinite(boxes).all(1) & (boxes[:, :2] < boxes[:, 2:]).all(1)))
        if len(wrong):
            raise AnymarkError(f"{path}: {names[wrong[0]]}: {key} is not x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return PhotoLabels(
        path=path,
        layout=layout,
        names=names,
        points_px=xy,
        depth_px=points[..., 2].copy() if points.shape[2] == 3 else np.full(xy.shape[:2], np.nan, np.float32),
        box_px=box,
        size_px=arrays["size"],
        valid_box_px=valid_box,
        split=arrays["split"],
        label_sd=np.where(arrays["label_sd"] < 0, np.nan, arrays["label_sd"]).astype(np.float32),
    )


def read_card(path: Path) -> dict[str, str]:
    """What a set's .npz file says for model cards: `what` its photos are and their `licence`, if anything.

    Raises:
        AnymarkError: the file cannot be read, or one of the two is no text.
    """
    arrays = read_npz(path, (), CARD_KEYS)
    for key, value in arrays.items():
        if value.dtype.kind != "U" or value.ndim:
            raise AnymarkError(f"{path}: {key} is not one text")
    return {key: str(value) for key, value in arrays.items()}


def read_npz(path: Path, keys: Iterable[str], optional: Iterable[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an .npz file.

    Raises:
        AnymarkError: the file cannot be read, or lacks one of `keys`.
    """
    with open_arrays(path, "a file of labels") as npz:
        return {key: npz[key] for key in (*keys, *(key for key in optional if key in npz))}


class PhotoTar:
    """The photos of an uncompressed tar, any of which can be read at once, by its name.

    A name that no member has is a member's without folder and suffix, if there is only one such.

    Raises:
        AnymarkError: the file cannot be read, or one of `names` is not in it or may be several.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self.path = path
        try:
            with tarfile.open(path, "r:") as tar:
                self._places = {posixpath.normpath(m.name): (m.offset_data, m.size) for m in tar if m.isfile()}
        except (OSError, tarfile.TarError) as error:
            raise AnymarkError(f"{path}: cannot be read ({error})") from None
        self._by_stem: dict[str, list[str]] = {}
        for member in self._places:
            self._by_stem.setdefault(PurePosixPath(member).stem, []).append(member)
        owner: dict[str, str] = {}
        for name in names:
            member = self._member(name)
            if owner.setdefault(member, name) != name:
                raise AnymarkError(f"{path}: {member!r} would be both {owner[member]!r} and {name!r} of the labels")

    def _member(self, name: str) -> str:
        member = posixpath.normpath(name)
        if member in self._places:
            return member
        found = self._by_stem.get(PurePosixPath(name).stem, [])
        if not found:
            raise AnymarkError(f"{self.path}: no photo {name!r}, which the labels name")
        if len(found) > 1:
            raise AnymarkError(f"{self.path}: photo {name!r} of the labels may be {found[0]!r} or {found[1]!r}")
        return found[0]

    def pixels(self, name: str) -> npt.NDArray[np.uint8]:
        """One photo, RGB (H, W, 3).

        Raises:
            AnymarkError: it is not a readable image, or there is none of this name, or several.
        """
        offset, size = self._places[self._member(name)]
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
            with identified(io.BytesIO(content)) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise AnymarkError(f"{self.path}: {name} is not a readable image ({error})") from None
