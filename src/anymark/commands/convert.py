"""`anymark convert`: a track as a file of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from anymark.commands.said import say
from anymark.exports import export, format_named
from anymark.files import check_targets
from anymark.video import Track


@dataclass(kw_only=True)
class Convert:
    """Write a track for another program: Nuke, Blender, Maya, After Effects, USD, OpenCV, COLMAP, or plain files.

    docs/exports.md says of each what lands where.
    """

    track: Positional[Annotated[Path, arg(metavar="TRACK.npz", help_behavior_hint="")]]
    """What `anymark track` wrote."""
    to: Annotated[str, arg(metavar="FORMAT", help_behavior_hint="")]
    """nuke, nuke-cornerpin, mmsolver, blender, usd, after-effects, opencv, colmap, csv, json, pts or npz."""
    out: Annotated[Path | None, arg(metavar="FILE|DIR")] = None
    """Where to; beside the track, unless given."""
    head: Annotated[int | None, arg(metavar="N")] = None
    """One head only; all unless given."""
    points: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ()
    """Some points only, by number, name or name of a region."""
    first: Annotated[int | None, arg(metavar="N")] = None
    """What the first frame is called; unless given, pictures keep their numbers, and clips begin as the program counts:
    at 1, or at 0."""
    corners: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ()
    """Four points, of nuke-cornerpin: by custom bottom left, bottom right, top right, top left."""
    reference: Annotated[int | None, arg(metavar="N")] = None
    """The frame in which nuke-cornerpin leaves everything as it is; the head's first one unless given."""
    mesh: bool = False
    """The head's surface, too, in blender and usd; the layout must have triangles."""

    def run(self) -> int:
        """Do it and say where it is; returns the exit code.

        Raises:
            AnymarkError: a bad track, format or option, or a place that cannot be written to.
        """
        kind = format_named(self.to)
        out = kind.beside(self.track) if self.out is None else self.out
        check_targets([out], [self.track])
        export(
            Track.load(self.track),
            out,
            kind.name,
            head=self.head,
            points=self.points or None,
            first=self.first,
            corners=self.corners or None,
            reference=self.reference,
            mesh=self.mesh,
        )
        say(f"{kind.name}: {out}")
        return 0
