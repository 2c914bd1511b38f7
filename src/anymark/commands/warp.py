"""`anymark warp`: the skin of one head on another, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from PIL import Image
from tyro.conf import Positional, arg

from anymark.apps.correspond import warp
from anymark.commands.on_pairs import WithDense, largest_head
from anymark.commands.said import say
from anymark.detect.write import check_picture, write_image
from anymark.errors import AnymarkError
from anymark.files import check_targets, check_writable


@dataclass(kw_only=True)
class WarpCommand(WithDense):
    """Lay the pixels of one photo's head over another's: each goes where the same point of the head is.

    Parts that the source does not show stay as they are.
    """

    source: Positional[Annotated[Path, arg(metavar="SOURCE")]]
    """Photo whose pixels are taken."""
    target: Positional[Annotated[Path, arg(metavar="TARGET")]]
    """Photo that they are laid over."""
    picture: Annotated[Path | None, arg(metavar="FILE")] = None
    """Take the pixels of this picture instead, drawn over the source and of its size: a grid, paint, a mask."""
    out: Annotated[Path, arg(metavar="FILE")] = Path("warp.png")
    """Picture to write, .png or .jpg."""

    def run(self) -> int:
        """Do it; returns the exit code.

        Raises:
            AnymarkError: a bad photo or model, or no head in one of them.
        """
        from anymark.detect.image import load_image

        check_picture("--out", self.out)
        check_writable([self.out])
        check_targets([self.out], [self.source, self.target, *([self.picture] if self.picture else [])])
        dense = self.load()
        source, of_source = largest_head(dense, self.source)
        target, of_target = largest_head(dense, self.target)
        if self.picture is not None:
            drawn = load_image(self.picture)
            if drawn.shape != source.shape:
                size, own = drawn.shape[1::-1], source.shape[1::-1]
                raise AnymarkError(f"{self.picture}: {size[0]} x {size[1]} px; the source is {own[0]} x {own[1]}")
            source = drawn
        found = warp(of_source, of_target)
        write_image(self.out, Image.fromarray(found.apply(source, target)))
        say(f"{self.out}  {100 * float((found.weight > 0).mean()):.0f} % of the target")
        return 0
