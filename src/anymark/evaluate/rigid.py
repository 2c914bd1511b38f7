"""How well bones, teeth and eyes are laid into heads, on renders whose own are known.

The truth is what the same fit makes of the true points; a body's place is told by where it has its vertices, in the
skull's own frame, so that the pose of the whole head does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from anymark.apps.anatomy import BODIES, EYES, Anatomy, anatomy_layout, fit_anatomy
from anymark.canonical import CanonicalHead
from anymark.canonical.posed import points_on, points_on_bones
from anymark.detect.detector import Detector
from anymark.engine.samples import Sample
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import true_window

Array = npt.NDArray[np.float64]


def true_points(sample: Sample) -> Array:
    """(N, 3) the points of `anatomy_layout` in a render's head, head frame."""
    head = CanonicalHead.load()
    teeth = points_on(sample.vertices_mm, "teeth")
    half = len(teeth) // 2
    balls = [sample.vertices_mm[head.vertices_of(eye)] for eye in EYES]
    skull, mandible = (points_on_bones(sample.bones_mm, body) for body in ("skull", "mandible"))
    return np.concatenate([skull, teeth[:half], mandible, teeth[half:], *balls]).astype(np.float64)


def anatomy_errors(sample: Sample, detector: Detector) -> dict[str, float]:
    """What is wrong in one render: millimetres and degrees."""
    (head,) = detector.encode(sample.image, [true_window(sample, detector)])
    landmarks = head.query(anatomy_layout())
    found = fit_anatomy([landmarks])
    sure = np.ones_like(landmarks.sigma_px)
    true = fit_anatomy([replace(landmarks, xyz_mm=true_points(sample).astype(np.float32), sigma_px=sure)])
    errors = {f"{name}, mm": _apart(found, true, i) for i, name in enumerate(BODIES)}
    angle = np.degrees(np.arccos(np.clip((found.gaze_head * true.gaze_head).sum(-1), -1, 1)))
    opening = float(found.jaw_opening_mm[0] - true.jaw_opening_mm[0])
    return {
        **errors,
        "jaw opening, mm": abs(opening),
        "jaw opening, bias": opening,
        "gaze, degrees": float(angle.mean()),
    }


def anatomy_details(of_renders: Sequence[Mapping[str, float]]) -> tuple[Detail, ...]:
    """Means and medians."""
    rows = {}
    for name in of_renders[0]:
        values = np.array([each[name] for each in of_renders])
        rows[name] = {"mean": float(values.mean()), "median": float(np.median(values))}
    return (Detail(f"{len(of_renders)} renders", rows),)


def _apart(found: Anatomy, true: Anatomy, body: int) -> float:
    """Mean distance of a body's vertices from their true places, in the frames of the skulls; that of the skull, in the
    head's."""
    places = []
    for each in (found, true):
        vertices = each.vertices_mm(0, body)
        if body:
            vertices = (vertices - each.t_head_body_mm[0, 0]) @ each.R_head_body[0, 0]
        places.append(vertices)
    return float(np.linalg.norm(places[0] - places[1], axis=1).mean())
