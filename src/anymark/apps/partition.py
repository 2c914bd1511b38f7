"""Partitions of the head: which of its regions each point of the surface belongs to.

They are named regions of `CanonicalHead`, alone or together, or a picture painted in the head's texture coordinates,
where each colour is a region.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.head_pixels import HeadPixels
from anymark.apps.uv import UvPicture
from anymark.canonical import CanonicalHead
from anymark.errors import AnymarkError

PARSING = (
    "skin = face",
    "nose",
    "right eye",
    "left eye",
    "right brow",
    "left brow",
    "right ear",
    "left ear",
    "inner mouth = upper teeth + lower teeth + gums + tongue + gap",
    "upper lip",
    "lower lip",
    "neck",
)
"""The usual twelve classes of face parsing."""

GAP = "gap"
"""What is open between the lips: no triangle of the head, and a region all the same."""

MOST_REGIONS = 254
_OPAQUE = 128
_PALETTE = (
    (230, 159, 111), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (148, 103, 189), (127, 60, 60), (232, 72, 85), (255, 140, 160), (127, 127, 60), (70, 70, 180), (23, 190, 207),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Partition:
    """R regions that do not overlap; what belongs to none of them is nothing's."""

    names: tuple[str, ...]
    colours: npt.NDArray[np.uint8]
    """(R, 3) RGB to draw them in."""
    of_triangles: npt.NDArray[np.int16] | None = None
    """(T,) region of each triangle of the head, -1 for none; None: `picture` says it."""
    picture: UvPicture | None = None
    """Painted in the head's texture coordinates."""
    gap: int = -1
    """The region that what is open between the lips belongs to, -1 for none."""

    @classmethod
    def of_regions(cls, regions: Iterable[str] = PARSING) -> Partition:
        """Named regions, each as "NAME" or as "NAME = REGION + REGION ...", of those of `CanonicalHead` or `GAP`.

        A triangle that several of them hold belongs to the smallest.

        Raises:
            AnymarkError: no regions, too many, one that there is not, or a name given twice.
        """
        head = CanonicalHead.load()
        members: dict[str, list[str]] = {}
        for text in regions:
            name, equals, whole = (part.strip() for part in text.partition("="))
            if not name or name in members:
                raise AnymarkError(f"regions: {text!r} has {'no name' if not name else 'a name given twice'}")
            members[name] = (
                [_known(part.strip(), head) for part in whole.split("+")] if equals else [_known(name, head)]
            )
        if not 1 <= len(members) <= MOST_REGIONS:
            raise AnymarkError(f"{len(members)} regions; 1 to {MOST_REGIONS} can be told apart")
        of = np.full(len(head.triangles), -1, np.int16)
        size = np.full(len(of), len(of) + 1)
        gap = -1
        for i, names in enumerate(members.values()):
            if GAP in names:
                gap = i
            for name in names:
                ids = head.regions.get(name, np.zeros(0, np.int32))
                smaller = ids[len(ids) < size[ids]]
                of[smaller], size[smaller] = i, len(ids)
        return cls(tuple(members), palette(len(members)), of_triangles=of, gap=gap)

    @classmethod
    def of_picture(cls, path: Path | str) -> Partition:
        """Colours painted in the head's texture coordinates, see `anymark.apps.uv`; what is transparent is no region.

        Raises:
            AnymarkError: the picture cannot be read or has another shape, nothing is painted on it, or more colours
                than can be told apart, as a soft brush leaves.
        """
        picture = UvPicture.load(path)
        pixels = picture.rgba[picture.rgba[..., 3] >= _OPAQUE][:, :3]
        colours = np.unique(pixels, axis=0)
        if not len(colours):
            raise AnymarkError(f"{path}: nothing is painted on it")
        if len(colours) > MOST_REGIONS:
            said = f"{len(colours)} colours; {MOST_REGIONS} regions can be told apart: paint with a hard brush"
            raise AnymarkError(f"{path}: {said}")
        names = tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours.tolist())
        return cls(names, colours, picture=picture)

    def labels(self, pixels: HeadPixels) -> npt.NDArray[np.int16]:
        """Which region each place of a drawn head shows: of the shape of `pixels.raster`, -1 for none."""
        seen = pixels.raster.triangle
        if self.of_triangles is not None:
            return np.where(seen >= 0, self.of_triangles[seen], np.int16(-1))
        assert self.picture is not None
        rgba = self.picture.nearest(pixels.raster)
        order = np.unique(self.colours, axis=0)  # sorted, as they were found
        codes, wanted = _code(rgba[..., :3]), _code(order)
        at = np.searchsorted(wanted, codes).clip(max=len(wanted) - 1)
        known = (seen >= 0) & (rgba[..., 3] >= _OPAQUE) & (wanted[at] == codes)
        return np.where(known, at, -1).astype(np.int16)


def palette(count: int) -> npt.NDArray[np.uint8]:
    """(count, 3) RGB, told apart as well as so many can be."""
    if count <= len(_PALETTE):
        return np.array(_PALETTE[:count], np.uint8)
    turn = np.arange(count) * 0.618033988749895 % 1.0  # by the golden ratio round the circle of hues
    light = np.array([0.95, 0.7, 0.5])[np.arange(count) % 3]
    phase = np.abs((turn[:, None] * 6 + [0, 4, 2]) % 6 - 3) - 1
    return np.rint(255 * light[:, None] * (0.25 + 0.75 * np.clip(phase, 0, 1))).astype(np.uint8)


def _known(name: str, head: CanonicalHead) -> str:
    if name in head.regions or name == GAP:
        return name
    near = difflib.get_close_matches(name, [*head.regions, GAP], 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "anymark layout show head lists them"
    raise AnymarkError(f"no region named {name!r}; {hint}")


def _code(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Colours (..., 3) as whole numbers (...), in the order of their channels."""
    return (rgb.astype(np.int32) * (65536, 256, 1)).sum(-1).astype(np.int32)
