"""`anymark layout`: which points there are, and points of one's own from annotated photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from anymark.canonical import Layout, available_layouts, load_layout
from anymark.commands.layout_calibrate import Calibrate


@dataclass
class List:
    """Say which layouts come with anymark."""

    def run(self) -> int:
        """A line each. Returns the exit code."""
        layouts = [load_layout(name) for name in available_layouts()]
        width = max(len(layout.name) for layout in layouts)
        for layout in layouts:
            print(f"{layout.name:{width}}  {len(layout):6,} points")
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
        print(f"{layout.name}: {len(layout):,} points{_code(layout)}")
        for name, index in layout.regions.items():
            print(f"  {name}: {_ranges(index)}")
        print("point      x       y       z  mm of the head frame: +x the subject's left, +y up, +z out of the face")
        for number, (x, y, z) in enumerate(layout.points_mm.tolist()):
            name = "" if layout.names is None else f"  {layout.names[number]}"
            print(f"{number:5d} {x:7.1f} {y:7.1f} {z:7.1f}{name}{_slide(layout, number)}")
        return 0


@dataclass
class LayoutCommand:
    """Say what layouts there are, or make one from annotated photos."""

    what: OmitArgPrefixes[
        OmitSubcommandPrefixes[
            Annotated[Calibrate, subcommand("calibrate")]
            | Annotated[List, subcommand("list")]
            | Annotated[Show, subcommand("show")]
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
