"""How well a model knows pose and lens: its cameras against those that samples were rendered with.

Cameras are compared as seen from one principal point, the picture's own, since that of a crop turns the head with it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from anymark.detect.camera import Camera
from anymark.engine.samples import Sample
from anymark.evaluate.benchmark import Array, Benchmark, Face
from anymark.evaluate.pose import difference_deg, turned_by_deg
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, read_samples
from anymark.evaluate.score import Scores

NEAR = 0.2
"""A focal length counts as near if it is off by at most this part of the true one."""

_CAMERA = "camera"
_ANGLES = ("yaw", "pitch", "roll")


def read_cameras(folder: Path) -> Benchmark:
    """Renders of `anymark data build`, with their cameras; those through a lens that bends are left out and counted.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, photos, or no sample through a pinhole.
    """
    benchmark = read_samples(folder, _with_camera)
    return replace(benchmark, asked={_CAMERA: lambda landmarks: _packed(landmarks.camera)})


def camera_errors(found: Camera, true: Camera) -> dict[str, float]:
    """What is wrong with a camera that was found, as seen from the true one's principal point.

    "rotation" is the angle between the two rotations; "yaw", "pitch" and "roll" are found less true; all in degrees.
    "focal" and "distance", of the head frame's origin, are the logarithms of found over true.
    """
    found = found.about(true.principal_px)
    difference = difference_deg(np.array(found.yaw_pitch_roll_deg), np.array(true.yaw_pitch_roll_deg))
    lengths = (float(np.linalg.norm(camera.t_camera_head_mm)) for camera in (found, true))
    return {
        "rotation": float(turned_by_deg(found.R_camera_head[None], true.R_camera_head[None])[0]),
        **dict(zip(_ANGLES, difference.tolist(), strict=True)),
        "focal": math.log(found.focal_px / true.focal_px),
        "distance": math.log(next(lengths) / next(lengths)),
    }


def all_camera_errors(scores: Scores) -> dict[str, Array]:
    """`camera_errors` of the M faces: name -> (M,); NaN where a face was missed."""
    nothing = dict.fromkeys(("rotation", *_ANGLES, "focal", "distance"), math.nan)
    each = [
        camera_errors(_unpacked(found), _unpacked(true)) if np.isfinite(found).all() else nothing
        for found, true in zip(scores.answers[_CAMERA], scores.truth(_CAMERA), strict=True)
    ]
    return {name: np.array([errors[name] for errors in each]) for name in nothing}


def camera_details(scores: Scores) -> tuple[Detail, ...]:
    """Errors of pose, their biases, and errors of focal length and distance, by how far heads are turned."""
    errors = all_camera_errors(scores)
    pose: dict[str, dict[str, float]] = {}
    bias: dict[str, dict[str, float]] = {}
    lens: dict[str, dict[str, float]] = {}
    for row in scores.benchmark.rows:
        of_row = scores.benchmark.row(row)
        of_row = of_row[np.isfinite(errors["rotation"][of_row])]
        if not len(of_row):
            continue
        here = {name: values[of_row] for name, values in errors.items()}
        pose[row] = {
            "n": len(of_row),
            "rotation": float(here["rotation"].mean()),
            "median": float(np.median(here["rotation"])),
            **{name: float(np.abs(here[name]).mean()) for name in _ANGLES},
        }
        bias[row] = {name: float(here[name].mean()) for name in _ANGLES}
        lens[row] = {
            "focal length": float(np.median(np.abs(here["focal"]))),
            f"within {100 * NEAR:g} %": float((np.abs(np.expm1(here["focal"])) <= NEAR).mean()),
            "distance": float(np.median(np.abs(here["distance"]))),
        }
    return (
        Detail("pose: mean errors, degrees", pose),
        Detail("pose: mean of found less true, degrees", bias),
        Detail("lens: median of |log(found / true)|, %", lens, percent=True),
    )


def _with_camera(sample: Sample, face: Face) -> Face | str:
    check_render(sample)
    record = sample.record
    if "distortion_k" in record:
        return "no pinhole camera sees what their lens does"
    true = Camera(
        record["focal_px"],
        np.array(record["principal_px"]),
        np.array(record["R_camera_head"]),
        np.array(record["t_camera_head_mm"]),
    )
    return replace(face, truth={_CAMERA: _packed(true)})


def _packed(camera: Camera) -> Array:
    """(15,)"""
    return np.concatenate(
        [camera.R_camera_head.ravel(), camera.t_camera_head_mm, [camera.focal_px], camera.principal_px]
    )


def _unpacked(numbers: Array) -> Camera:
    return Camera(float(numbers[12]), numbers[13:], numbers[:9].reshape(3, 3), numbers[9:12])
