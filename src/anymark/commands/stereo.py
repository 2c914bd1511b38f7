"""`anymark stereo`: a head in 3D from photos of calibrated cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from anymark.apps.stereo import AWAY_PX, reconstruct
from anymark.commands.capture import read_cameras
from anymark.commands.on_pairs import WithDense, largest_head
from anymark.commands.said import say
from anymark.errors import AnymarkError
from anymark.files import check_writable


@dataclass(kw_only=True)
class StereoCommand(WithDense):
    """Reconstruct a head from two photos or more that were taken at one time: a coloured cloud of points."""

    photos: Positional[Annotated[tuple[Path, ...], arg(metavar="PHOTOS...", help_behavior_hint="(two or more)")]]
    """Photos of one head."""
    cameras: Annotated[Path, arg(metavar="FILE.json")]
    """Calibrated cameras, one a photo: a list of objects with focal_px, principal_px, R_camera_world and
    t_camera_world_mm (x right, y down, z forward). Photos must be free of lens distortion."""
    out: Annotated[Path, arg(metavar="FILE.ply")] = Path("stereo.ply")
    """Cloud to write: millimetres of the cameras' world."""
    step: Annotated[int, arg(metavar="N")] = 1
    """Every so-manieth pixel of the maps, along each axis."""
    away_px: Annotated[float, arg(metavar="PX")] = AWAY_PX
    """How far from its pixel a point may lie in a view that is believed."""

    def run(self) -> int:
        """Do it; returns the exit code.

        Raises:
            AnymarkError: bad photos, cameras or model, or too few points that two views agree about.
        """
        if len(self.photos) < 2:
            raise AnymarkError("stereo: at least two photos are needed")
        if self.step < 1 or not self.away_px > 0:
            raise AnymarkError("--step must be at least 1, and --away-px above 0")
        if self.out.suffix.lower() != ".ply":
            raise AnymarkError(f"{self.out}: a cloud's file must end in .ply")
        check_writable([self.out])
        cameras = read_cameras(self.cameras, len(self.photos), "photos")
        dense = self.load()
        photos, maps = zip(*(largest_head(dense, path) for path in self.photos), strict=True)
        cloud = reconstruct(maps, cameras, photos, step=self.step, away_px=self.away_px)
        cloud.save(self.out)
        say(f"{self.out}  {len(cloud)} points  residual {float(np.mean(cloud.residual_px)):.2f} px")
        return 0
