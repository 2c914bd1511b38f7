"""A head that was taken from a photo, and the scene in which it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.engine.lens import Lens
from anymark.engine.light import Environment
from anymark.engine.marks import Marks
from anymark.engine.repose import Subject

Array = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Scene:
    """What stays the same from one picture of a head to the next."""

    subject: Subject
    environment: Environment | None
    R_environment_camera: Array
    """y up."""
    shine: float
    with_sheet: bool
    with_hair: bool
    seed: int
    """Of what is drawn anew, and alike, for each picture."""
    occluded: bool
    lens: Lens | None
    infrared: bool
    marks: Marks | None


@dataclass(frozen=True, eq=False)
class Taken:
    """A photo's head, ready to be shown again."""

    subject: Subject
    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) this person with the photo's expression and gaze."""
    identity: Array
    expression: Array
    turns: Array
    """(2, 3, 3) of the eyes."""
    rest_mm: Array
    """(V, 3) this person without expression,"""
    bones_mm: Array
    """(B, 3) and the bones inside."""
    residual: float
