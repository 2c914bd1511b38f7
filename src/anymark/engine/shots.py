"""How heads are shown: pose, expression, gaze, lens and place, drawn at random for each preset."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anymark.fit import FACING, Rig
from anymark.fit.problem import exponential

Array = npt.NDArray[np.floating]

EXTREMES: dict[str, dict[str, float]] = {
    "eyes closed": {"eyeBlink": 1.0},
    "right wink": {"eyeBlink_R": 1.0, "cheekSquint_R": 0.5},
    "left wink": {"eyeBlink_L": 1.0, "cheekSquint_L": 0.5},
    "eyes wide": {"eyeWide": 1.0, "browInnerUp": 0.8, "browOuterUp": 0.8},
    "mouth wide open": {"jawOpen": 1.0},
    "scream": {"jawOpen": 0.9, "mouthStretch": 0.7, "browDown": 0.8, "eyeSquint": 0.8, "noseSneer": 0.6},
    "lips pressed": {"mouthPress": 0.9, "mouthRollLower": 0.6, "mouthRollUpper": 0.6},
    "cheeks puffed": {"cheekPuff": 1.0, "mouthPress": 0.4},
    "pucker": {"mouthPucker": 0.9},
    "funnel": {"mouthFunnel": 0.9, "jawOpen": 0.25},
    "grin": {"mouthSmile": 1.0, "mouthUpperUp": 0.5, "cheekSquint": 0.6, "jawOpen": 0.15},
    "frown": {"mouthFrown": 0.9, "browDown": 0.9, "mouthShrugLower": 0.5},
    "mouth to the right": {"mouthRight": 0.9, "jawRight": 0.6},
    "mouth to the left": {"mouthLeft": 0.9, "jawLeft": 0.6},
    "sneer": {"noseSneer": 0.9, "mouthUpperUp": 0.6, "browDown": 0.5},
}
"""Expressions that users complain of and portraits lack. A name without side means both."""


@dataclass(frozen=True)
class ShotConfig:
    """Laws that shots are drawn from. Angles in degrees; a pair holds the ends of a uniform law."""

    yaw_deg: float = 40.0
    """Standard deviation; a share of the shots is uniform over everything instead."""
    pitch_deg: float = 14.0
    roll_deg: float = 14.0
    uniform: float = 0.45
    """Share of the shots whose yaw is uniform within +-90, pitch within +-45 and roll within +-45."""
    distance_mm: tuple[float, float] = (280.0, 2500.0)
    """From the camera to the head; uniform in its logarithm: selfie to telephoto."""
    face_share: tuple[float, float] = (0.42, 0.58)
    """Longer side of the face's box over the side of the picture."""
    shift: float = 0.05
    """Standard deviation of the face's place, in sides of the picture."""
    kept_expression: float = 0.4
    """Share of the shots with the photo's own expression."""
    extreme: float = 0.25
    """Share of the shots with one of `EXTREMES`; the others take the expression of another photo."""
    gaze_deg: float = 14.0
    """Standard deviation of the direction of both eyes; half of the shots keep the photo's."""
    own_light: float = 0.35
    """Share of the shots under the photo's own light."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One shot's random choices."""

    R_camera_head: Array
    t_camera_head_mm: Array
    focal_px: float
    principal_px: Array
    expression: Array
    """(E,)"""
    gaze: Array | None
    """(2,) right and up, radians; None: the photo's."""
    what: dict[str, object] = field(default_factory=dict)
    """The choices in words, for the sample's record."""


def draw_shot(
    config: ShotConfig,
    rig: Rig,
    own: Array,
    population: Array,
    face_mm: Array,
    size: int,
    rng: np.random.Generator,
) -> Draw:
    """A shot of one head.

    Args:
        own: (E,) the photo's expression. population: (M, E) expressions of many photos.
        face_mm: (F, 3) points of the face in the head frame, which the picture is framed by.
        size: side of the picture, pixels.
    """
    if rng.random() < config.uniform:
        yaw, pitch, roll = rng.uniform(-1, 1, 3) * (90, 45, 45)
    else:
        yaw, pitch, roll = rng.normal(0, 1, 3) * (config.yaw_deg, config.pitch_deg, config.roll_deg)
        yaw, pitch, roll = np.clip(yaw, -90, 90), np.clip(pitch, -45, 45), np.clip(roll, -45, 45)
    rotation = turned(*np.radians([yaw, pitch, roll]))
    low, high = np.log(config.distance_mm)
    distance = float(np.exp(rng.uniform(low, high)))
    share, shift = rng.uniform(*config.face_share), rng.normal(0, config.shift, 2)
    translation, focal, principal = frame(face_mm, rotation, distance, share, shift, size)
    choice = rng.random()
    expression, name = own, "own"
    if choice < config.extreme:
        name = str(rng.choice(list(EXTREMES)))
        expression = extreme(rig, name, rng) + 0.3 * own
    elif choice > config.extreme + config.kept_expression:
        expression, name = population[rng.integers(len(population))] * rng.uniform(0.6, 1.3), "another's"
    gaze = rng.normal(0, np.radians(config.gaze_deg), 2) if rng.random() < 0.5 else None
    what = {"yaw_deg": float(yaw), "pitch_deg": float(pitch), "roll_deg": float(roll), "distance_mm": distance}
    return Draw(rotation, translation, focal, principal, np.clip(expression, 0, 1), gaze, {**what, "expression": name})


def turned(yaw: float, pitch: float, roll: float) -> Array:
    """R_camera_head: yaw > 0 turns to the subject's left, the picture's right; pitch > 0 up; roll > 0 clockwise."""
    angles = (0.0, yaw, 0.0), (-pitch, 0.0, 0.0), (0.0, 0.0, -roll)
    y, x, z = (exponential(np.array([a]))[0] for a in angles)
    return FACING @ z @ x @ y


def frame(
    face_mm: Array, rotation: Array, distance: float, share: float, shift: Array, size: int
) -> tuple[Array, float, Array]:
    """Where a head and a lens must be for its face to have a share of the picture.

    Returns:
        t_camera_head_mm (3,), the focal length in pixels and the principal point (2,), the picture's middle.
    """
    centre = face_mm.mean(0)
    translation = np.array([0.0, 0.0, distance]) - rotation @ centre
    seen = face_mm @ rotation.T + translation
    ratio = seen[:, :2] / np.maximum(seen[:, 2:], 1.0)
    low, high = ratio.min(0), ratio.max(0)
    focal = share * size / float((high - low).max())
    # the camera looks along the picture's middle, the face lies beside it: its rays are slanted, as in a real photo
    offset = (low + high) / 2 - np.asarray(shift) * size / focal
    translation[:2] -= offset * distance
    return translation, focal, np.array([size / 2, size / 2])


def extreme(rig: Rig, name: str, rng: np.random.Generator) -> Array:
    """(E,) one of `EXTREMES`, at 60 to 100 % of its strength, its shapes a little uneven."""
    out = np.zeros(len(rig.expression_names))
    strength = rng.uniform(0.6, 1.0)
    for shape, weight in EXTREMES[name].items():
        for i, own in enumerate(rig.expression_names):
            if own == shape or own.rpartition("_")[0] == shape:
                out[i] = weight * strength * rng.uniform(0.85, 1.0)
    return out
