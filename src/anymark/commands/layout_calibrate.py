"""`anymark layout calibrate`: a layout of one's own from a few annotated photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from anymark.apps.annotations import (
    LabelledFace,
    annotation_files,
    check_first_centre,
    labelled_view,
    read_annotations,
)
from anymark.apps.calibrate import LEAST_GAIN, Calibration, Moving, calibrate
from anymark.apps.queries import View
from anymark.apps.sheet import Tile, contact_sheet
from anymark.canonical import Layout
from anymark.commands.detect import show_progress
from anymark.commands.said import complain
from anymark.detect.detector import Detector
from anymark.detect.image import open_photo
from anymark.detect.points import as_layout
from anymark.detect.window import Window
from anymark.detect.write import check_picture, write_image
from anymark.errors import AnymarkError
from anymark.files import check_targets, check_writable

_SHOWN = 1.2  # side of what is drawn of a face over that of its points


@dataclass(kw_only=True)
class Calibrate:
    """Make a layout that finds points where you put them on a few photos.

    Prints for each point how far it moved and its error before, after, and on heads left out: what to expect on other
    photos. A bad file, and a face that is not found, is named on stderr; the others are used, and the exit code is 2.
    """

    labels: Positional[Annotated[tuple[str, ...], arg(metavar="LABELS...", help_behavior_hint="(one or more)")]]
    """Annotated photos: .pts files or the images beside them, folders of these; .csv with image, point, x, y; .json as
    `anymark detect` writes it, corrected."""
    out: Annotated[Path, arg(metavar="FILE.json")]
    """The new layout, which --layout of all commands takes."""
    layout: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """The layout that was annotated, or one near to it, to start from. Without it, points are looked for on all of the
    head."""
    move: Moving = "points"
    """What may change: each of the points, with as few as five photos; the data set code, a few numbers that move all
    points together; or first the code and then the points."""
    first_centre: Annotated[float | None, arg(metavar="X")] = None
    """What your files call the centre of the first pixel; 1 for .pts, 0.5 for .csv and .json unless given."""
    draw: Annotated[Path | None, arg(metavar="FILE")] = None
    """Draw all faces, .png or .jpg: labels red, what the new layout finds green."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def run(self) -> int:
        """Do it; returns the exit code: 0, or 2 where a file was bad or a face not found.

        Raises:
            AnymarkError: nothing can be done at all: bad options, a bad layout, model or place to write to, no labels.
        """
        self._check()
        layout = None if self.layout is None else as_layout(self.layout)
        faces, problems = self._faces(layout)
        read = [face.photo for face in faces] + [Path(name) for name in (*self.labels, self.layout) if name]
        check_targets(filter(None, (self.out, self.draw)), read)
        detector = Detector(self.model, self.locator)
        detector.load()
        found: list[tuple[LabelledFace, View]] = []
        for number, face in enumerate(faces):
            show_progress(number, len(faces))
            try:
                found.append((face, labelled_view(detector, face)))
            except AnymarkError as error:
                problems.append(error)
        show_progress(len(faces), len(faces))
        for problem in problems:
            complain(problem)
        if not found:
            raise AnymarkError("no annotated head is left to calibrate on")
        result = calibrate([view for _, view in found], layout, self.out.stem, self.move)
        made = replace(result.layout, name=self.out.stem)
        made.save(self.out)
        print(_report(result))
        if self.draw is not None:
            write_image(self.draw, contact_sheet(_tile(face, view, made) for face, view in found))
        print(self.out)
        return 2 if problems else 0

    def _check(self) -> None:
        if not self.labels:
            raise AnymarkError("no labels given: anymark layout calibrate LABELS...")
        if self.out.suffix.lower() != ".json":
            raise AnymarkError(f"--out {self.out}: a layout's file must end in .json")
        if self.draw is not None:
            check_picture("--draw", self.draw)
        check_writable([path for path in (self.out, self.draw) if path is not None])
        if self.move == "code" and self.layout is None:
            raise AnymarkError("--move code moves the points of a layout: give --layout too")
        if self.first_centre is not None:
            check_first_centre(self.first_centre)

    def _faces(self, layout: Layout | None) -> tuple[list[LabelledFace], list[AnymarkError]]:
        """The annotated faces of all files, as many points each, and what is wrong with files that are left out."""
        files: dict[Path, None] = {}  # in order, each once
        faces: list[LabelledFace] = []
        problems: list[AnymarkError] = []
        for name in self.labels:
            try:
                files.update(dict.fromkeys(annotation_files(name)))
            except AnymarkError as error:
                problems.append(error)
        for file in files:
            try:
                faces += read_annotations(file, layout, self.first_centre)
            except AnymarkError as error:
                problems.append(error)
        for face in faces:
            if len(face.points_px) != len(faces[0].points_px):
                counts = f"{len(face.points_px)} points, {faces[0].name} has {len(faces[0].points_px)}"
                raise AnymarkError(f"{face.name}: {counts}")
        return faces, problems


def _report(result: Calibration) -> str:
    """A row a point, the mean of all, and what it comes to."""
    layout = result.layout
    labels = np.isfinite(result.before).sum(0)
    columns = [_means(errors, labels) for errors in (result.before, result.after, result.left_out)]
    names = layout.names or ("",) * len(layout)
    width = max(6, *(len(name) for name in names))
    lines = [f"point  {'':{width}}  labels  moved mm  before %  after %  left out %"]
    for number, (name, moved, *errors) in enumerate(zip(names, result.moved_mm, *columns, strict=True)):
        lines.append(f"{number:5d}  {name:{width}}  {labels[number]:6d}  {moved:8.1f}  {_row(errors)}")
    before, after, left_out = result.errors
    lines.append(f"  all  {'':{width}}  {labels.sum():6d}  {result.moved_mm.mean():8.1f}  {_row(result.errors)}")
    heads = f"{len(result.before)} head{'s' * (len(result.before) != 1)}"
    lines.append(
        f"{heads}: {100 * before:.2f} % of the distance of the outer corners of the eyes before, "
        f"{100 * after:.2f} % after, {100 * left_out:.2f} % on heads left out"
    )
    if layout.slides_mm is not None:
        lines.append("points slide with the turn of the head, as on heads left out that is nearer to the labels")
    if left_out > (1 - LEAST_GAIN) * before:
        lines.append("on heads left out the new layout is no better: more photos are needed, or --move code")
    return "\n".join(lines)


def _means(errors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) of (V, N); NaN for points without a label."""
    return np.where(labels > 0, np.nansum(errors, 0) / np.maximum(labels, 1), np.nan)


def _row(errors: tuple[float, ...] | list[float]) -> str:
    before, after, left_out = (f"{100 * error:.2f}" if np.isfinite(error) else "-" for error in errors)
    return f"{before:>8}  {after:>7}  {left_out:>10}"


def _tile(face: LabelledFace, view: View, layout: Layout) -> Tile:
    found = view.head.query(layout).xy_px.astype(np.float64)
    both = np.concatenate([found, face.points_px])
    low, high = np.nanmin(both, 0), np.nanmax(both, 0)
    window = Window((low + high) / 2, _SHOWN * max(*(high - low), view.length_px))
    error = np.nanmean(np.linalg.norm(view.answers(layout) - view.labels, axis=1))
    return Tile(f"{100 * error:.2f} %  {face.photo.name}", open_photo(face.photo), window, face.points_px, found)
