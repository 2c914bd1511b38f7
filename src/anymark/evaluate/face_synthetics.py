"""The Face Synthetics benchmark (Wood et al. 2021): 70 points on renders of 512 x 512 pixels.

The folder of one of its downloads: `000000.png`, `000000_ldmks.txt`, 70 lines `x y`, and `000000_seg.png` side by side,
and so on. The points are iBUG's 68, then the pupils of the subject's right and left eye, all projected from 3D: hidden
ones too, and along the jaw they do not follow the outline that is seen. There is no official split, so what was scored
goes by the download's name.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.apps.annotations import check_first_centre, first_centre_to_px
from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import IRISES
from anymark.detect.image import identified
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import (
    Array,
    Benchmark,
    BoxRule,
    Face,
    lengths,
    part,
    points_box,
    readable,
    stored_pixels,
)
from anymark.evaluate.ibug68 import EYES, OUTER_EYES, REGIONS
from anymark.evaluate.ibug68 import POINTS as FIRST_POINTS
from anymark.spread import spread

POINTS = FIRST_POINTS + 2
THRESHOLD = 0.10

_LABELS = "_ldmks.txt"
_EYE_CLASSES = (3, 4)
_LEAST_EYE_PX = 6  # narrower ones, closed or far away, say nothing of half a pixel
_MEASURED = 200


def read_face_synthetics(root: Path, calibrate: int = 0, first_centre: float = 0.0) -> Benchmark:
    """The faces whose labels can be scored; the rest is noted.

    Args:
        root: folder with the files.
        calibrate: take so many faces, spread evenly, for calibration. They are not scored.
        first_centre: what the labels call the centre of the first pixel. The authors do not say; a note tells what the
            eyes in the segmentation say of it.

    Raises:
        AnymarkError: no such folder, no face with usable labels, or a first centre that is not 0 to 1.
    """
    check_first_centre(first_centre)
    if not root.is_dir():
        raise AnymarkError(f"{root}: no such folder")
    files = sorted(root.glob(f"*{_LABELS}"))
    layout = face_synthetics_layout()
    rule = BoxRule.from_layout(load_layout("ibug68"))
    notes: list[str] = []
    faces = readable(files, partial(_face, rule, first_centre), notes)
    if not faces:
        raise AnymarkError(f"{root}: no faces of Face Synthetics (*{_LABELS}){f'; {notes[-1]}' if notes else ''}")
    scored, calibration = part(faces, calibrate, "Face Synthetics")
    measured = measured_first_centre(root, faces, first_centre)
    if measured is not None:
        notes.append(
            f"the eyes in the segmentation put the centre of the first pixel at {measured:.2f}, "
            f"the labels were read with {first_centre:g} (--first-centre)"
        )
    return Benchmark(
        name=f"Face Synthetics {root.resolve().name}",
        layout=layout,
        faces=scored,
        calibration=calibration,
        rows={"all": ("face synthetics",)},
        normalisers=("inter-ocular", "inter-pupil", "box"),
        threshold=THRESHOLD,
        regions={**REGIONS, "pupils": np.arange(FIRST_POINTS, POINTS, dtype=np.int32)},
        notes=tuple(notes),
    )


def face_synthetics_layout() -> Layout:
    """iBUG's 68 points, then the middles of the right and the left iris."""
    first, mesh = load_layout("ibug68"), load_layout("mediapipe478")
    return Layout("facesynthetics70", np.vstack([first.points_mm, mesh.points_mm[list(IRISES)]]))


def measured_first_centre(root: Path, faces: list[Face], first_centre: float) -> float | None:
    """What the labels call the centre of the first pixel, as the eyes in the segmentation say; None if they are silent.

    Both corners of an eye lie at the ends of its pixels, so their middles agree, but for what the rendering of lashes
    and turned heads does to both sides alike: the median over many eyes is good to about a tenth of a pixel. Columns
    alone are measured: the two lids are not alike.
    """
    offsets = []
    for i in spread(len(faces), _MEASURED):
        path = root / f"{faces[i].name}_seg.png"
        try:
            with path.open("rb") as file, identified(file) as image:
                classes = np.asarray(image.convert("L") if image.mode != "P" else image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
        for eye in EYES:
            offsets += _eye_offset(faces[i].points_px[eye], np.isin(classes, _EYE_CLASSES))
    return first_centre - float(np.median(offsets)) if offsets else None


def _eye_offset(points_px: Array, mask: npt.NDArray[np.bool_]) -> list[float]:
    """By how much the middle of an eye's pixels lies to the right of the middle of its corners: one number or none."""
    corners = points_px[[0, 3], 0]
    across = abs(corners[1] - corners[0])
    low = np.floor(points_px.min(0) - across / 4).astype(int).clip(0)
    high = np.ceil(points_px.max(0) + across / 4).astype(int).clip(0)
    columns = np.flatnonzero(mask[low[1] : high[1], low[0] : high[0]].any(0))
    if len(columns) < _LEAST_EYE_PX:
        return []
    return [float(low[0] + (columns[0] + columns[-1] + 1) / 2 - corners.mean())]


def _face(rule: BoxRule, first_centre: float, path: Path) -> Face:
    name = path.name.removesuffix(_LABELS)
    image = path.with_name(f"{name}.png")
    if not image.is_file():
        raise AnymarkError(f"{path}: no {image.name} beside it")
    points = first_centre_to_px(_points(path), first_centre)
    first = points[:FIRST_POINTS]
    return Face(
        name=name,
        group="face synthetics",
        points_px=points,
        box_px=rule(points_box(first)),
        lengths_px=lengths(first, OUTER_EYES, EYES, str(path)),
        load=partial(stored_pixels, image),
    )


def _points(path: Path) -> Array:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({error.strerror})") from None
    rows = [line.split() for line in lines if line.strip()]
    if len(rows) != POINTS:
        raise AnymarkError(f"{path}: {len(rows)} points, expected {POINTS}")
    try:
        points = np.array(rows, np.float64)
    except ValueError:
        points = np.zeros(0)
    if points.shape != (POINTS, 2) or not np.isfinite(points).all():
        raise AnymarkError(f"{path}: not {POINTS} lines of two numbers")
    return points
