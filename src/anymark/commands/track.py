"""`anymark track`: follow every head through a video."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from anymark.commands.clicked import asked_of_video
from anymark.commands.detect import DEFAULT_OUT
from anymark.commands.following import Following, complain_of_frames, progress, report
from anymark.commands.models import detector_of, only_template
from anymark.commands.said import complain
from anymark.detect.dense import DENSE
from anymark.detect.files import MARK
from anymark.detect.markers import MarkerDetector
from anymark.detect.model import kind_of
from anymark.errors import AnymarkError
from anymark.exports import check_target, export, format_named
from anymark.files import check_file, check_targets, remove_partial
from anymark.video.sequence import plain_stem
from anymark.video.write import check_drawing, draw_video, write_csv


@dataclass(kw_only=True)
class Track(Following):
    """Follow every head through a video, each under a number of its own.

    Writes an .npz file and prints a line a head. Where Ctrl-C, SIGTERM or worse stop it, the same command goes on, and
    what it writes in the end is the same to the byte.
    """

    video: Positional[Annotated[str, arg(metavar="VIDEO", help_behavior_hint="")]]
    """A video file, an image sequence (shot.%04d.png, shot.####.exr) or a folder of pictures."""
    layout: Annotated[str | None, arg(metavar="NAME|FILE")] = None
    """Points to look for; ibug68 unless --point or --marker-file is given."""
    point: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="[NAME=]X,Y[@FRAME]")]] = ()
    """A point of your own, added to the layout, if there is one: a pixel that you clicked in a frame (counted from 0,
    which is taken unless given); one NAME in several frames is one point. Or X,Y,Z in millimetres of the head frame."""
    marker_file: Annotated[Path | None, arg(metavar="FILE.csv")] = None
    """Clicked pixels as a table with the columns name, x_px, y_px and, if wanted, frame."""
    lock: bool = True
    """Lock clicked points onto what was clicked, to a fraction of a pixel, where it is seen (needs anymark[apps])."""
    save_points: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Write what was clicked as a layout, to be looked for in other clips and photos."""
    out: Annotated[Path, arg(metavar="DIR|FILE.npz")] = DEFAULT_OUT
    """Where the track goes: a file, or a folder for NAME.anymark.npz."""
    csv: bool = False
    """Write it as a CSV file beside that, too, a row a point."""
    draw: Annotated[Path | None, arg(metavar="FILE")] = None
    """Draw it on the video, as .mp4, .mov or .mkv, without sound."""
    export: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="FORMAT")]] = ()
    """Write it for another program beside that, too: nuke, blender, usd, ... (anymark convert lists them and has their
    options)."""

    def work(self) -> int:
        self.check_numbers()
        video = self.open(self.video)
        out = self._out()
        table = out.with_suffix(".csv") if self.csv else None
        for path in filter(None, (out, table, self.save_points)):
            check_file(path, made=out.parent)
        if self.draw is not None:
            check_drawing(self.draw, made=out.parent)
        kinds = [format_named(name) for name in self.export]
        for kind in kinds:
            if "corners" in kind.options:
                raise AnymarkError(f"--export {kind.name}: needs four corners: anymark convert has them")
            check_target(kind.beside(out), kind, made=out.parent)
        read = [Path(name) for name in (self.video, self.layout, self.marker_file) if name and os.path.isfile(name)]
        exports = [kind.beside(out) for kind in kinds]
        check_targets(filter(None, (out, table, self.draw, self.save_points, *exports)), read)
        if self.save_points is not None and not (self.point or self.marker_file):
            raise AnymarkError(f"--save-points {self.save_points}: no points were clicked")
        if kind_of(self.model) == "markers":
            refine = DENSE if self.refine else None
            detector = detector_of(self.model, self.locator, refine=refine, threads=self.threads, looks=self.looks)
            assert isinstance(detector, MarkerDetector)
            asked = {"layout": self.layout, "point": self.point, "marker_file": self.marker_file}
            layout, clicked = only_template(detector, **asked), None
        else:
            detector = self.detector()
            layout, clicked = asked_of_video(self.layout, self.point, self.marker_file, video, detector)
        with self.followed(video, layout, detector, out, clicked if self.lock else None) as track:
            for path in filter(None, (out, table, self.draw)):
                remove_partial(path)
            track.save(out)
            if clicked is not None and self.save_points is not None:
                clicked.layout.save(self.save_points)
            if table is not None:
                write_csv(table, track)
            if self.draw is not None:
                with progress("drawn", 0, len(track.pts)) as show:
                    draw_video(self.draw, video, track, show)
            failed = 0
            for kind, path in zip(kinds, exports, strict=True):
                try:
                    export(track, path, kind.name)
                except AnymarkError as error:  # the track and the other files are there all the same
                    failed += 1
                    complain(error)
            complain_of_frames(video, track)
            report(video, track)
        return 2 if failed else 0

    def _out(self) -> Path:
        if self.out.suffix.lower() == ".npz":
            return self.out
        return self.out / f"{plain_stem(self.video)}{MARK}.npz"
