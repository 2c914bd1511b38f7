"""`anymark layout marks` and `from-markers`: the template of a marker model, and its points as a layout for anyone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from tyro.conf import Positional, UseAppendAction, arg

from anymark.apps.placed import placed
from anymark.apps.points import Click
from anymark.commands.detect import expand, show_progress
from anymark.commands.said import complain, say
from anymark.detect.detector import Detector, Head
from anymark.detect.image import load_image
from anymark.detect.markers import MarkerDetector, framed
from anymark.detect.points import as_layout
from anymark.detect.template import Template
from anymark.detect.window import Crop
from anymark.errors import AnymarkError
from anymark.files import check_targets, check_writable

LEAST_PHOTOS = 3


@dataclass(kw_only=True)
class Marks:
    """Make the template of a marker model: points, and the lines between them, where they are in a picture.

    Either pixels of PHOTO that you name, or a layout of the head as it lies on the face of PHOTO.
    """

    photo: Positional[Annotated[Path, arg(metavar="PHOTO")]]
    """A picture framed as those of the two sets: its largest square in the middle counts."""
    out: Annotated[Path, arg(metavar="FILE.json")]
    """The template."""
    layout: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """A layout, whose edges become lines."""
    click: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="X,Y")]] = ()
    """A pixel, in the order of the points."""
    line: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="I,J,...")]] = ()
    """Points, counted from 0, that a painted line goes through."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def run(self) -> int:
        """Returns the exit code.

        Raises:
            AnymarkError: neither or both are given, a bad photo or one without a head, a point outside of its square.
        """
        if (self.layout is None) == (not self.click):
            raise AnymarkError("either --layout, or --click for each point")
        if self.layout is not None and self.line:
            raise AnymarkError("--line goes with --click: a layout has its own edges")
        check_writable([self.out])
        check_targets([self.out], [self.photo])
        pixels = load_image(self.photo)
        if self.layout is None:
            xy, lines = [_numbers("--click", text, 2) for text in self.click], [self._line(text) for text in self.line]
            pairs = np.array([pair for each in lines for pair in each], np.int32).reshape(-1, 2)
        else:
            layout = as_layout(self.layout)
            heads = Detector(self.model, self.locator).encode(pixels)
            if not heads:
                raise AnymarkError(f"{self.photo}: no face")
            xy = heads[0].query(layout).xy_px
            pairs = np.zeros((0, 2), np.int32) if layout.edges is None else layout.edges
        points = Crop(framed(pixels.shape[1::-1]).affine()).to_crop(np.asarray(xy, np.float64))
        template = Template.of(self.out.stem, points, pairs)
        template.save(self.out)
        print(f"{self.out}: {len(template)} points, {len(template.lines)} lines, {len(template.springs)} springs")
        return 0

    def _line(self, text: str) -> list[tuple[int, int]]:
        ids = [int(v) for v in _numbers("--line", text, None)]
        if len(ids) < 2:
            raise AnymarkError(f"--line {text}: at least two points are needed")
        return list(pairwise(ids))


@dataclass(kw_only=True)
class FromMarkers:
    """Place a marker model's points on the canonical head: an ordinary layout, which any model then finds on anybody.

    The marker model says where its points are in each of PHOTOS; the landmark model, which points of the head these
    are, all photos together.
    """

    markers: Positional[Annotated[Path, arg(metavar="DIR")]]
    """The marker model's folder."""
    photos: Positional[Annotated[tuple[str, ...], arg(metavar="PHOTOS...", help_behavior_hint="(several)")]]
    """Photos, folders and globs, framed as the pictures that it was trained on."""
    out: Annotated[Path, arg(metavar="FILE.json")]
    """The layout."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def run(self) -> int:
        """Returns the exit code: 2 where a photo was bad or shows no head.

        Raises:
            AnymarkError: a bad model or place to write to, or too few photos that show a head.
        """
        if self.out.suffix.lower() != ".json":
            raise AnymarkError(f"--out {self.out}: a layout's file must end in .json")
        check_writable([self.out])
        marks, detector = MarkerDetector(self.markers), Detector(self.model, self.locator)
        marks.load()
        detector.load()
        paths, problems = expand(self.photos)
        clicks: list[Click] = []
        for i, path in enumerate(paths):
            show_progress(i, len(paths))
            try:
                clicks.append(_click(load_image(path), path, marks, detector))
            except AnymarkError as error:
                problems.append(error)
        show_progress(len(paths), len(paths))
        for problem in problems:
            complain(problem)
        if len(clicks) < LEAST_PHOTOS:
            raise AnymarkError(f"{len(clicks)} photos with a head; at least {LEAST_PHOTOS} are needed")
        layout, error_px, used = placed(clicks, marks.layout, self.out.stem)
        layout.save(self.out)
        say(f"{self.out}: {len(layout)} points from {used} photos, {np.median(error_px):.2f} px off in the median")
        return 2 if problems else 0


def _click(pixels: npt.NDArray[np.uint8], path: Path, marks: MarkerDetector, detector: Detector) -> Click:
    heads: list[Head] = detector.encode(pixels)
    if not heads:
        raise AnymarkError(f"{path}: no face")
    (found,) = marks.detect(pixels)
    return Click(heads[0], found.xy_px)


def _numbers(option: str, text: str, count: int | None) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not np.isfinite(numbers).all() or (count is not None and len(numbers) != count):
        raise AnymarkError(f"{option} {text}: numbers with commas are needed")
    return numbers
