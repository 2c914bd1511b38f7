"""The AFLW2000-3D benchmark: 68 points and the pose of 2,000 faces, up to full profile.

The folder as its authors distribute it: `image00002.jpg` and `image00002.mat` side by side, and so on. Read of a .mat
file are pt3d_68 (3, 68), whose x and y count, and Pose_Para (1, 7), which begins with pitch, yaw and roll in radians.
The points are those of a fitted face model: on the far side they lie where the face is, not along its outline.

Errors are divided by the root of the area of the 68 points' box, and reported by yaw: up to 30, up to 60, above. The
number that papers call the mean is that of the three rows, not that of all faces. Errors of pose are over the faces all
of whose angles are within 99 degrees.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.annotations import first_centre_to_px
from anymark.canonical import load_layout
from anymark.canonical.frame import FACING
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import (
    Array,
    Benchmark,
    BoxRule,
    Face,
    note_count,
    part,
    points_box,
    readable,
    stored_pixels,
)
from anymark.evaluate.ibug68 import POINTS, REGIONS
from anymark.evaluate.mat_files import read_arrays
from anymark.evaluate.metrics import box_size, mean_error
from anymark.evaluate.pose import difference_deg, turned_by_deg
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores

FACES = 2000
YAWS_DEG = (30.0, 60.0)
"""The rows of the table part here."""
MOST_DEG = 99.0
"""Faces with a larger angle are left out of the errors of pose, as everywhere since Hopenet."""
THRESHOLD = 0.10

FIRST_CENTRE = 1.0
"""What the labels call the centre of the first pixel: they are drawn over MATLAB's images as they are."""

POSE = "pitch_yaw_roll_deg"
"""Key of the labels' angles, see `pitch_yaw_roll_deg`."""

_ROWS = ("yaw 0-30", "yaw 30-60", "yaw 60-90")
_FOLDERS = ("", "AFLW2000", "AFLW2000-3D")


def read_aflw2000_3d(root: Path, calibrate: int = 0) -> Benchmark:
    """The faces whose labels can be scored; the rest is noted.

    Args:
        root: folder with the .jpg and .mat files, or the one that it lies in.
        calibrate: take so many faces, spread evenly, for calibration: there are none to train on. They are not scored.

    Raises:
        AnymarkError: no such folder, or no face with usable labels.
    """
    folder = next((root / name for name in _FOLDERS if any((root / name).glob("*.mat"))), None)
    if folder is None:
        raise AnymarkError(f"{root}: no such folder" if not root.is_dir() else f"{root}: no .mat files of AFLW2000-3D")
    layout = load_layout("ibug68")
    notes: list[str] = []
    faces = readable(sorted(folder.glob("*.mat")), partial(_face, BoxRule.from_layout(layout)), notes)
    if not faces:
        raise AnymarkError(f"{folder}: no faces of AFLW2000-3D; {notes[-1]}")
    note_count("AFLW2000-3D", FACES, len(faces), notes)
    scored, calibration = part(faces, calibrate, "AFLW2000-3D")
    return Benchmark(
        name="AFLW2000-3D",
        layout=layout,
        faces=scored,
        calibration=calibration,
        rows={**{row: (row,) for row in _ROWS if any(face.group == row for face in scored)}, "all": _ROWS},
        normalisers=("box",),
        threshold=THRESHOLD,
        regions=REGIONS,
        asked={POSE: lambda landmarks: pitch_yaw_roll_deg(landmarks.camera.R_camera_head)},
        notes=tuple(notes),
    )


def rotation(angles_deg: npt.ArrayLike) -> Array:
    """R_camera_head (..., 3, 3) of pitch, yaw and roll (..., 3) in degrees, as the data set's authors combine them: the
    inverse of pitch, then yaw, then roll about axes x to the right, y up and z out of the screen.

    So pitch > 0 is up, yaw > 0 to the subject's own right and roll > 0 clockwise on screen.
    """
    angles = np.radians(np.asarray(angles_deg, np.float64))
    pitch, yaw, roll = (_turned_back(axis, angles[..., axis]) for axis in range(3))
    return FACING @ pitch @ yaw @ roll


def _turned_back(axis: int, angle: npt.ArrayLike) -> Array:
    """(..., 3, 3) the inverse of a right-handed rotation by `angle` (...) about an axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = np.zeros((*np.shape(angle), 3, 3)) + np.eye(3)
    out[..., i, i] = out[..., j, j] = np.cos(angle)
    out[..., i, j] = np.sin(angle)
    out[..., j, i] = -np.sin(angle)
    return out


def pitch_yaw_roll_deg(R_camera_head: npt.ArrayLike) -> Array:  # noqa: N803
    """The inverse of `rotation`, with yaw from -90 to 90: (..., 3, 3) -> (..., 3)."""
    r = FACING @ np.asarray(R_camera_head, np.float64)
    pitch, roll = np.arctan2(r[..., 1, 2], r[..., 2, 2]), np.arctan2(r[..., 0, 1], r[..., 0, 0])
    return np.degrees(np.stack([pitch, np.arcsin(np.clip(-r[..., 0, 2], -1, 1)), roll], -1))


def pose_differences_deg(found: Array, labels: Array) -> Array:
    """Found less labelled pitch, yaw and roll (M, 3). Two triples are one rotation: the one nearer to the label counts,
    as a yaw of 95 degrees would else be one of 85 with pitch and roll upside down."""
    both = np.stack([found, (180, 180, 180) + found * (1, -1, 1)])
    difference = difference_deg(both, labels)
    return difference[np.abs(difference).sum(2).argmin(0), np.arange(len(labels))]


def pose_details(scores: Scores) -> tuple[Detail, ...]:
    """What AFLW2000-3D reports besides: the mean of the rows by yaw, and errors of pose.

    A bias is the mean of found less labelled; that of pitch also holds how the face model of the labels is inclined
    against our head.
    """
    rows = [mean_error(scores.nme[scores.benchmark.row(row)]) for row in scores.benchmark.rows if row != "all"]
    labels, found = scores.truth(POSE), scores.answers[POSE]
    counted = (np.abs(labels) <= MOST_DEG).all(1) & np.isfinite(scores.nme)
    labels, found = labels[counted], found[counted]
    nothing = float("nan")
    errors: dict[str, dict[str, float]] = {}
    if len(labels):
        difference = pose_differences_deg(found, labels)
        for name, axis in (("yaw", 1), ("pitch", 0), ("roll", 2)):
            errors[name] = {
                "error": float(np.abs(difference[:, axis]).mean()),
                "bias": float(difference[:, axis].mean()),
            }
        errors["mean"] = {"error": float(np.abs(difference).mean()), "bias": nothing}
        between = turned_by_deg(rotation(found), rotation(labels))
        errors["whole rotation"] = {"error": float(between.mean()), "bias": nothing}
    return (
        Detail("NME, mean of the rows by yaw", {"all": {"box": float(np.mean(rows))}}, percent=True),
        Detail(f"pose, degrees (n={len(labels)})", errors),
    )


def _face(rule: BoxRule, path: Path) -> Face:
    arrays = read_arrays(path, ["pt3d_68", "Pose_Para"])
    points, pose = arrays["pt3d_68"], arrays["Pose_Para"].ravel()
    if points.shape != (3, POINTS) or len(pose) < 3:
        raise AnymarkError(f"{path}: pt3d_68 {points.shape}, expected (3, {POINTS}), and {len(pose)} of Pose_Para")
    image = path.with_suffix(".jpg")
    if not image.is_file():
        raise AnymarkError(f"{path}: no {image.name} beside it")
    points = first_centre_to_px(points[:2].T, FIRST_CENTRE)
    size = box_size(points)
    if not size > 0:
        raise AnymarkError(f"{path}: the points lie on one line")
    angles = np.degrees(pose[:3])
    return Face(
        name=path.stem,
        group=_ROWS[int(np.searchsorted(YAWS_DEG, abs(angles[1])))],
        points_px=points,
        box_px=rule(points_box(points)),
        lengths_px={"box": size},
        load=partial(stored_pixels, image),
        truth={POSE: angles},
    )
