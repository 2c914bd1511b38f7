"""`anymark match`: pixels of two photos that show the same points of a head."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw
from tyro.conf import Positional, arg

from anymark.apps.correspond import FAR_MM, Matches, match
from anymark.commands.on_pairs import Pixels, WithDense, beside, largest_head
from anymark.commands.said import say
from anymark.detect.write import check_picture, write_image
from anymark.errors import AnymarkError
from anymark.files import atomic, check_targets, check_writable
from anymark.spread import spread

_DRAWN = 120  # matches in the picture


@dataclass(kw_only=True)
class MatchCommand(WithDense):
    """Match two photos of heads: of one person, or of two.

    Writes a table of pixels, and with --draw a picture of some of them.
    """

    first: Positional[Annotated[Path, arg(metavar="FIRST")]]
    """A photo."""
    second: Positional[Annotated[Path, arg(metavar="SECOND")]]
    """Another."""
    out: Annotated[Path, arg(metavar="FILE.csv")] = Path("matches.csv")
    """Table to write: x_px, y_px of the first and of the second, gap_mm, and the point on the canonical head."""
    draw: Annotated[Path | None, arg(metavar="FILE")] = None
    """Picture of both with lines between some of the matches."""
    step: Annotated[int, arg(metavar="N")] = 2
    """Every so-manieth pixel of the first map, along each axis; for dense-small they are 128."""
    most_mm: Annotated[float, arg(metavar="MM")] = FAR_MM
    """How far apart on the head two may lie."""
    one_way: bool = False
    """Keep matches that are not each other's nearest, too."""

    def run(self) -> int:
        """Do it; returns the exit code.

        Raises:
            AnymarkError: a bad photo or model, or no head in one of them.
        """
        if self.step < 1 or not self.most_mm > 0:
            raise AnymarkError("--step must be at least 1, and --most-mm above 0")
        if self.out.suffix.lower() != ".csv":
            raise AnymarkError(f"--out {self.out}: a table's file must end in .csv")
        if self.draw is not None:
            check_picture("--draw", self.draw)
        targets = [self.out, *([self.draw] if self.draw is not None else [])]
        check_writable(targets)
        check_targets(targets, [self.first, self.second])
        dense = self.load()
        first, of_first = largest_head(dense, self.first)
        second, of_second = largest_head(dense, self.second)
        found = match(of_first, of_second, mutual=not self.one_way, most_mm=self.most_mm, step=self.step)
        with atomic(self.out, "w") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["x1_px", "y1_px", "x2_px", "y2_px", "gap_mm", "x_mm", "y_mm", "z_mm"])
            rows = np.column_stack([found.first_px, found.second_px, found.gap_mm, found.points_mm])
            writer.writerows(np.round(rows, 3).tolist())
        if self.draw is not None:
            write_image(self.draw, drawn(first, second, found))
        say(f"{self.out}  {len(found)} matches")
        return 0


def drawn(first: Pixels, second: Pixels, found: Matches) -> Image.Image:
    """Both photos side by side, with lines between some of the matches."""
    picture, start, scale = beside(first, second)
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for i in spread(len(found), _DRAWN):
        (x0, y0), (x1, y1) = found.first_px[i], found.second_px[i] * scale + (start, 0)
        colour = tuple(int(v) for v in np.clip((found.points_mm[i] + (120, 180, 120)) / 260 * 255, 40, 255))
        pen.line([(x0, y0), (x1, y1)], fill=colour, width=max(1, picture.shape[0] // 500))
    return image
