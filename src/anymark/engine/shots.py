"""How heads are shown: pose, expression, gaze, lens and place, drawn at random for each preset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from anymark.canonical.frame import FACING
from anymark.fit import Rig
from anymark.fit.problem import exponential, logarithm
from anymark.tables import ABOVE_0, check_ends, check_numbers

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
    occluded: float = 0.35
    """Share of the shots with something before the face."""
    passing: float = 0.0
    """Share of the sequences in which a hand passes before the face, from one side to the other."""
    with_sheet: float = 0.8
    """Share of the shots with the photo's hair and dress around the head."""
    with_hair: float = 0.85
    """Share of the shots with hair above the skull, where the photo's own cannot be shown."""
    from_below_deg: float = 0.0
    """How far the camera looks up at the face."""
    to_face: bool = False
    """Whether distances are to the face rather than to the middle of the head."""
    distortion: tuple[float, float] = (0.0, 0.0)
    """Radial distortion: 0 for none, below 0 for the barrel of a wide lens."""
    infrared: bool = False
    marks: Literal["none", "dots", "lines"] = "none"
    """Paint on the skin,"""
    paint: Literal["any", "black", "blue", "green", "light"] = "any"
    """of one colour for all heads, or of another for each,"""
    marked: float = 1.0
    """on this share of the heads."""

    def __post_init__(self) -> None:
        check_numbers(self, "uniform", "kept_expression", "extreme", "own_light", least=0, most=1)
        check_numbers(self, "occluded", "passing", "with_sheet", "with_hair", "marked", least=0, most=1)
        check_numbers(self, "yaw_deg", "pitch_deg", "roll_deg", "gaze_deg", least=0, most=90)
        check_numbers(self, "shift", least=0, most=1)
        check_numbers(self, "distance_mm", "face_share", least=ABOVE_0)
        check_numbers(self, "from_below_deg", least=-90, most=90)
        check_numbers(self, "distortion", least=-0.15, most=0.5)  # what a lens can undo up to the corners
        check_ends(self, "distance_mm", "face_share", "distortion")


PRESETS: dict[str, ShotConfig] = {
    "views": ShotConfig(),
    "pairs": ShotConfig(),
    "sequences": ShotConfig(uniform=0.2, own_light=0.5),
    "helmet": ShotConfig(
        yaw_deg=6.0,
        pitch_deg=5.0,
        roll_deg=4.0,
        uniform=0.0,
        distance_mm=(60.0, 160.0),
        face_share=(0.75, 1.1),
        kept_expression=0.2,
        extreme=0.4,
        own_light=0.2,
        occluded=0.0,
        with_sheet=0.3,
        from_below_deg=22.0,
        to_face=True,
        distortion=(-0.12, 0.0),
        infrared=True,
        marks="dots",
        marked=0.5,
    ),
    "marked": ShotConfig(yaw_deg=12.0, pitch_deg=6.0, roll_deg=5.0, uniform=0.0, occluded=0.0, marks="lines"),
}
"""What each preset of `anymark data build` draws from, unless a recipe says otherwise."""


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
    pitch = pitch + config.from_below_deg
    rotation = turned(*np.radians([yaw, pitch, roll]))
    low, high = np.log(config.distance_mm)
    distance = float(np.exp(rng.uniform(low, high)))
    if config.to_face:  # the middle of the face's points lies behind its surface
        distance += float(face_mm[:, 2].max() - face_mm[:, 2].mean())
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
    what: dict[str, object] = {"distance_mm": round(distance, 1), "expression_name": name}
    return Draw(rotation, translation, focal, principal, np.clip(expression, 0, 1), gaze, what)


def turned(yaw: float, pitch: float, roll: float) -> Array:
    """R_camera_head: yaw > 0 turns to the subject's left, the picture's right; pitch > 0 up; roll > 0 clockwise."""
    angles = (0.0, yaw, 0.0), (-pitch, 0.0, 0.0), (0.0, 0.0, -roll)
    y, x, z = (exponential(np.array([a]))[0] for a in angles)
    return FACING @ z @ x @ y


def angles(rotation: Array) -> tuple[float, float, float]:
    """The inverse of `turned`: yaw, pitch and roll in radians, yaw within half a turn, pitch within a quarter."""
    head = FACING.T @ rotation  # z(-roll) @ x(-pitch) @ y(yaw)
    pitch = -np.arcsin(np.clip(head[2, 1], -1, 1))
    return float(np.arctan2(-head[2, 0], head[2, 2])), float(pitch), float(-np.arctan2(-head[0, 1], head[1, 1]))


def frame(
    face_mm: Array, rotation: Array, distance: float, share: float, shift: Array, size: int
) -> tuple[Array, float, Array]:
    """Where a head and a lens must be for its face to have a share of the picture.

    Returns:
        t_camera_head_mm (3,), the focal length in pixels and the principal point (2,), the picture's middle.
    """
    centre = face_mm.mean(0)
    translation = np.array([0.0, 0.0, distance]) - rotation @ centre
    focal = 1.0
    for _ in range(3):  # moving it aside changes a near face's size a little
        seen = face_mm @ rotation.T + translation
        ratio = seen[:, :2] / np.maximum(seen[:, 2:], 1.0)
        low, high = ratio.min(0), ratio.max(0)
        focal = share * size / float((high - low).max())
        # the camera looks along the picture's middle, the face lies beside it: its rays are slanted, as in a photo
        translation[:2] -= ((low + high) / 2 - np.asarray(shift) * size / focal) * distance
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


def moved(keys: Sequence[Draw], frames: int) -> Iterator[Draw]:
    """Shots on a smooth way through others, all with the lens of the first."""
    for at in np.linspace(0, len(keys) - 1, frames):
        i = min(int(at), len(keys) - 2)
        a, b, part = keys[i], keys[i + 1], at - i
        part = part * part * (3 - 2 * part)  # it rests for a moment at each key
        turn = exponential(part * logarithm((b.R_camera_head @ a.R_camera_head.T)[None]))[0]
        gaze = None if a.gaze is None or b.gaze is None else a.gaze + part * (b.gaze - a.gaze)
        yield replace(
            a,
            R_camera_head=turn @ a.R_camera_head,
            t_camera_head_mm=a.t_camera_head_mm + part * (b.t_camera_head_mm - a.t_camera_head_mm),
            expression=a.expression + part * (b.expression - a.expression),
            gaze=gaze,
        )


def seen_from(draw: Draw, turn: Array, distance_mm: float) -> Draw:
    """A shot as another camera takes it, which looks at the place so far before the first, from elsewhere.

    Args:
        turn: (3, 3) the first camera's frame -> this one's.
    """
    middle = np.array([0.0, 0.0, distance_mm])
    place = turn @ (draw.t_camera_head_mm - middle) + middle
    return replace(draw, R_camera_head=turn @ draw.R_camera_head, t_camera_head_mm=place)
