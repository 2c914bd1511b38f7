"""`anymark segment`: which region of the head each pixel shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from tyro.conf import UseAppendAction, arg

from anymark.apps.partition import Partition
from anymark.apps.segment import Segmentation, segment
from anymark.commands.following import progress
from anymark.commands.on_heads import Heads, OnHeads, Pixels, Place, naming
from anymark.commands.said import say
from anymark.detect.landmarks import Landmarks
from anymark.detect.write import write_image
from anymark.errors import AnymarkError
from anymark.files import write_json
from anymark.video import Frame, Video
from anymark.video.write import check_drawing, write_video


@dataclass(kw_only=True)
class Segment(OnHeads):
    """Tell the regions of heads apart in photos and clips: face parsing by default, or any partition of the head.

    Of a photo: NAME.anymark.png, the regions over it, and NAME.labels.anymark.png, a picture of a palette whose numbers
    NAME.regions.anymark.json names. Of a clip: NAME.anymark.mp4, and the labels as a folder of frames.
    """

    region: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="NAME[=REGION+REGION...]")]] = ()
    """A region to tell apart, of the head's own (anymark layout show head) or several of them under a name; give it
    once for each."""
    painted: Annotated[Path | None, arg(metavar="FILE.png")] = None
    """Regions painted on the head's texture coordinates, a colour each (anymark layout template)."""
    masks: bool = False
    """Write a soft mask of each region, too, grey."""

    def prepare(self) -> None:
        """The partition."""
        if self.painted is not None and self.region:
            raise AnymarkError("--region and --painted: regions are either named or painted")
        if self.painted is not None:
            self._partition = Partition.of_picture(self.painted)
        else:
            self._partition = Partition.of_regions(self.region) if self.region else Partition.of_regions()
        names = [_file_name(region).casefold() for region in self._partition.names]
        for name in names if self.masks else ():
            if names.count(name) > 1:
                raise AnymarkError(f"--masks: two regions would both be written as {name}")

    def photo(self, name: str, pixels: Pixels, heads: list[Landmarks], out: Place) -> None:
        """The photo's three files."""
        with naming(name):
            found = segment(heads, (pixels.shape[1], pixels.shape[0]), self._partition)
        write_image(out("segment", ".png"), found.over(pixels))
        write_image(out("labels", ".png"), found.picture())
        if self.masks:
            for region, mask in zip(self._partition.names, _pictures(found), strict=True):
                write_image(out(_file_name(region), ".png"), mask)
        self._write_names(out)
        say(f"{name}  {_shares(found)}")

    def clip(self, video: Video, heads: Heads, out: Place) -> None:
        """The clip's files."""
        check_drawing(out("segment", ".mp4"))
        labels = out.frames("labels", ".png", video)
        masks = (
            [out.frames(_file_name(region), ".png", video) for region in self._partition.names] if self.masks else []
        )

        def drawn(frame: Frame, pixels: Pixels) -> Pixels:
            with naming(f"{video.name}: frame {frame.index}"):
                found = segment(heads.of(frame), (pixels.shape[1], pixels.shape[0]), self._partition)
            write_image(labels[frame], found.picture())
            for folder, mask in zip(masks, _pictures(found) if masks else (), strict=True):
                write_image(folder[frame], mask)
            return np.asarray(found.over(pixels))

        with progress("segmented", 0, len(heads)) as show:
            write_video(out("segment", ".mp4"), video, len(heads), drawn, show)
        self._write_names(out)
        say(f"{video.name}  {len(heads)} frames  {out('segment', '.mp4')}")

    def _write_names(self, out: Place) -> None:
        """Which number of the labels is which region."""
        colours = self._partition.colours.tolist()
        named = [
            {"label": i, "name": name, "colour": colour}
            for i, (name, colour) in enumerate(zip(self._partition.names, colours, strict=True), 1)
        ]
        write_json(out("regions", ".json"), {"background": 0, "regions": named}, indent=2)


def _pictures(found: Segmentation) -> list[Image.Image]:
    return [Image.fromarray(np.rint(255 * mask).astype(np.uint8)) for mask in found.masks]


def _shares(found: Segmentation) -> str:
    """How much of the picture each region takes."""
    labels = found.labels
    counts = [int((labels == i).sum()) for i in range(len(found.partition.names))]
    return ", ".join(f"{name} {count} px" for name, count in zip(found.partition.names, counts, strict=True) if count)


def _file_name(region: str) -> str:
    return "mask-" + re.sub(r"[^\w-]+", "-", region).strip("-")
