"""`anymark layout`: which points there are, and points of one's own from annotated photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, UseAppendAction, arg, subcommand

from anymark.canonical import Layout, available_layouts, load_layout
from anymark.commands.layout_calibrate import Calibrate
from anymark.commands.layout_markers import FromMarkers, Marks
from anymark.commands.on_heads import is_video
from anymark.commands.said import say
from anymark.detect.detector import Detector
from anymark.detect.image import load_image
from anymark.detect.points import as_layout
from anymark.detect.write import write_image
from anymark.errors import AnymarkError
from anymark.files import check_targets, check_writable
from anymark.video import open_video


@dataclass
class List:
    """Say which layouts come with anymark."""

    def run(self) -> int:
        """A line each. Returns the exit code."""
        layouts = [load_layout(name) for name in available_layouts()]
        width = max(len(layout.name) for layout in layouts)
        for layout in layouts:
            say(f"{layout.name:{width}}  {len(layout):6,} points")
        return 0


@dataclass(kw_only=True)
class Show:
    """Say what a layout is: its regions, its data set code, and each point."""

    layout: Positional[Annotated[str, arg(metavar="NAME|FILE")]]

    def run(self) -> int:
        """Returns the exit code.

        Raises:
            AnymarkError: no such layout, or a file that is none.
        """
        layout = load_layout(self.layout)
        say(f"{layout.name}: {len(layout):,} points{_code(layout)}")
        for name, index in layout.regions.items():
            say(f"  {name}: {_ranges(index)}")
        print("point      x       y       z  mm of the head frame: +x the subject's left, +y up, +z out of the face")
        for number, (x, y, z) in enumerate(layout.points_mm.tolist()):
            name = "" if layout.names is None else f"  {layout.names[number]}"
            say(f"{number:5d} {x:7.1f} {y:7.1f} {z:7.1f}{name}{_slide(layout, number)}")
        return 0


@dataclass(kw_only=True)
class Pick:
    """Make a layout of pixels that were clicked in a photo, or in a frame or a few of a clip."""

    photo: Positional[Annotated[str, arg(metavar="PHOTO|VIDEO", help_behavior_hint="")]]
    point: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="[NAME=]X,Y[@FRAME]")]] = ()
    """A pixel that was clicked, in a frame counted from 0 (which is taken unless given); one NAME in several frames is
    one point."""
    marker_file: Annotated[Path | None, arg(metavar="FILE.csv")] = None
    """Clicked pixels as a table with the columns name, x_px, y_px and, if wanted, frame."""
    off_surface: bool = False
    """Let points leave the head's surface as far as several frames ask for: for beards, glasses, teeth."""
    out: Annotated[Path, arg(metavar="FILE.json")]
    """Where the layout goes."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def run(self) -> int:
        """Returns the exit code.

        Raises:
            AnymarkError: a bad photo, video, point, model or place to write to.
        """
        from anymark.commands.clicked import clicks_of, find_in

        check_writable([self.out])
        check_targets([self.out], [Path(self.photo), *([self.marker_file] if self.marker_file else [])])
        clicked = clicks_of(self.point, self.marker_file)
        if is_video(self.photo):
            frames = ((frame.index, frame.pixels) for frame in open_video(self.photo))
        else:
            frames = enumerate([load_image(self.photo)])
        layout = find_in(self.photo, clicked, frames, Detector(self.model, self.locator), not self.off_surface).layout
        layout.save(self.out)
        for name, (x, y, z) in zip(layout.names or (), layout.points_mm.tolist(), strict=True):
            say(f"{name}  {x:.1f},{y:.1f},{z:.1f} mm")
        return 0


@dataclass(kw_only=True)
class Template:
    """Draw the head's texture coordinates, to paint over: anymark paint, anymark segment --painted."""

    out: Positional[Annotated[Path, arg(metavar="FILE.png")]]
    size: Annotated[int, arg(metavar="N")] = 2048
    """Side of a tile in pixels."""
    tiles: Annotated[int, arg(metavar="N")] = 1
    """How many tiles: 1 is face and ears, 2 the back of the head with them, 6 all, with mouth, teeth and eyes."""

    def run(self) -> int:
        """Returns the exit code.

        Raises:
            AnymarkError: a number out of its range, or it cannot be written.
        """
        from anymark.apps.uv import TILES, template

        if not 64 <= self.size <= 8192 or not 1 <= self.tiles <= TILES:
            raise AnymarkError(f"--size must be 64 to 8192 and --tiles 1 to {TILES}")
        if self.out.suffix.lower() != ".png":
            raise AnymarkError(f"{self.out}: a template is written as .png")
        check_writable([self.out])
        write_image(self.out, template(self.size, self.tiles))
        return 0


@dataclass(kw_only=True)
class Guide:
    """Draw a layout's points with their numbers, large, where they are to be put: a guide for make-up artists."""

    layout: Positional[Annotated[str, arg(metavar="NAME|FILE")]]
    photo: Annotated[Path | None, arg(metavar="PHOTO")] = None
    """A photo of the one who is to be marked, or the first frame without dots; the canonical head without one."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """Where the picture goes."""
    model: Annotated[str, arg(metavar="NAME|DIR")] = "small"
    """Landmark model."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""

    def run(self) -> int:
        """Returns the exit code.

        Raises:
            AnymarkError: no such layout, a bad photo or one without a head, a bad model or place to write to.
        """
        from anymark.apps.guide import guide_on_head, guide_on_photo

        layout = as_layout(self.layout)
        check_writable([self.out])
        check_targets([self.out], [Path(self.layout), *([self.photo] if self.photo else [])])
        if self.photo is None:
            write_image(self.out, guide_on_head(layout))
            return 0
        photo = load_image(self.photo)
        heads = Detector(self.model, self.locator).encode(photo)
        if not heads:
            raise AnymarkError(f"{self.photo}: no face")
        write_image(self.out, guide_on_photo(photo, heads[0].query(layout)))
        return 0


@dataclass
class LayoutCommand:
    """Say what layouts there are, make one from annotated photos or clicks, or draw one."""

    what: OmitArgPrefixes[
        OmitSubcommandPrefixes[
            Annotated[Calibrate, subcommand("calibrate")]
            | Annotated[FromMarkers, subcommand("from-markers")]
            | Annotated[Guide, subcommand("guide")]
            | Annotated[List, subcommand("list")]
            | Annotated[Marks, subcommand("marks")]
            | Annotated[Pick, subcommand("pick")]
            | Annotated[Show, subcommand("show")]
            | Annotated[Template, subcommand("template")]
        ]
    ]

    def run(self) -> int:
        """As the subcommand's."""
        return self.what.run()


def _code(layout: Layout) -> str:
    if layout.code is None:
        return ""
    if isinstance(layout.code, str):
        return f", labelled as {layout.code}"
    whose = "" if layout.model is None else f" of the model {layout.model}"
    return f", data set code {' '.join(f'{number:.3f}' for number in layout.code)}{whose}"


def _ranges(index: np.ndarray) -> str:
    """Indices as "0-16, 20"."""
    parts = np.split(index, np.flatnonzero(np.diff(index) != 1) + 1) if len(index) else []
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


def _slide(layout: Layout, number: int) -> str:
    """How far a point goes on a head that is seen from 90 degrees to a side, or above, of the front."""
    if layout.slides_mm is None:
        return ""
    aside, above = np.linalg.norm(layout.slides_mm[number], axis=1)
    return f"  slides {aside:.1f} sideways, {above:.1f} up"
