"""Pictures of hands with and without painted marks, whose points are known: test sets for marker models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from anymark.canonical.meshes import vertex_normals
from anymark.detect.raster import rasterise
from anymark.engine.hands import Hand
from anymark.engine.pixels import to_display, to_linear
from anymark.engine.procedural import TONES
from anymark.fit.problem import exponential

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

PAINTS = np.array([(0.01, 0.01, 0.012), (0.015, 0.03, 0.25), (0.01, 0.16, 0.05)])
"""Black, blue and green, linear."""
_OVERSAMPLE = 2
_AWAY_MM = 600.0
_FILLS = 0.84  # of the picture's side, by the longer side of the resting hand
_LINE_MM, _DOT_MM, _SOFT_MM = 1.5, 4.0, 0.5  # half a line's width, a dot's radius, and their edge
_THICK_MM = 22.0  # a line's paint reaches no farther down than this


@dataclass(frozen=True, eq=False)
class Actor:
    """Whose hand it is."""

    tone: Floats
    """(3,) linear."""
    grain: npt.NDArray[np.float64]
    """(W, 4) waves of the skin's unevenness: a direction over a length, and a phase."""
    wide: float
    """Over the hand of the file."""


@dataclass(frozen=True, eq=False)
class Known:
    """A picture whose points are known."""

    pixels: npt.NDArray[np.uint8]
    """(S, S, 3)"""
    xy_px: Floats
    """(N, 2) where the points of the marks are."""
    visible: npt.NDArray[np.bool_]
    """(N,) which of them are seen."""
    take: int = 0
    """Pictures of one take are its frames, one after the other."""


@dataclass(frozen=True, eq=False)
class Take:
    """What changes from picture to picture."""

    vertices_mm: Floats
    R_camera_hand: Array
    shift: Array
    """(2,) of the hand's middle, in sides of the picture."""
    nearer: float
    """How much larger the hand is seen than at the usual distance."""
    light: Array
    """(3,) to the light, camera frame,"""
    ambient: float
    """and what of the light comes from everywhere."""
    exposure: float


def draw_actor(rng: np.random.Generator) -> Actor:
    """Somebody."""
    at = rng.random() * (len(TONES) - 1)
    low = int(at)
    tone = TONES[low] + (at - low) * (TONES[min(low + 1, len(TONES) - 1)] - TONES[low])
    lengths = np.exp(rng.uniform(np.log(4), np.log(60), 24))
    directions = rng.normal(0, 1, (24, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    grain = np.column_stack([2 * np.pi * directions / lengths[:, None], rng.uniform(0, 2 * np.pi, 24)])
    return Actor(tone.astype(np.float32), grain, float(rng.uniform(0.92, 1.1)))


def draw_take(hand: Hand, rng: np.random.Generator, strength: float = 1.0) -> Take:
    """A pose before a camera that looks at the back of the hand; nothing has framed it to the pixel.

    Args:
        strength: of the pose, 0 for a hand at rest.
    """
    vertices, _ = hand.any_pose(rng, strength)
    turn = exponential(rng.normal(0, 1, (1, 3)) * np.radians([[14, 14, 12]]))[0]
    light = rng.normal(0, 1, 3)
    light[2] = -abs(light[2]) - 0.7
    return Take(
        vertices,
        turn @ hand.towards_back,
        rng.normal(0, 0.035, 2),
        float(np.exp(rng.normal(0, 0.07))),
        light / np.linalg.norm(light),
        float(rng.uniform(0.35, 0.7)),
        float(np.exp(rng.normal(0, 0.2))),
    )


def picture_of(
    hand: Hand,
    actor: Actor,
    take: Take,
    background: npt.NDArray[np.uint8],
    size: int,
    paint: npt.NDArray[np.floating] | None,
) -> Known:
    """Draw a hand before a background (S, S, 3).

    Args:
        paint: (3,) linear colour of the marks; None for none.
    """
    side = size * _OVERSAMPLE
    wide = np.array([1.0, 1.0, actor.wide])  # z is across the fingers
    posed = take.vertices_mm * wide
    middle = (hand.vertices_mm * wide).mean(0)
    seen = (posed - middle) @ take.R_camera_hand.T
    depth = seen[:, 2] + _AWAY_MM
    longest = float(np.ptp(hand.vertices_mm, axis=0).max())
    focal = take.nearer * _FILLS * side * _AWAY_MM / longest
    xy = seen[:, :2] / depth[:, None] * focal + side * (0.5 + take.shift)
    normals = vertex_normals(posed, hand.triangles) @ take.R_camera_hand.T
    drawn = rasterise(xy, depth, hand.triangles, (side, side))
    on = drawn.triangle >= 0
    rest = drawn.of_vertices(hand.vertices_mm, hand.triangles)[on]
    rest_normals = drawn.of_vertices(vertex_normals(hand.vertices_mm, hand.triangles), hand.triangles)[on]
    colour = _skin(actor, rest)
    if paint is not None:
        cover = _painted(hand, rest, rest_normals)[:, None]
        colour = colour * (1 - cover) + np.asarray(paint, np.float32) * cover
    facing = drawn.of_vertices(normals, hand.triangles)[on] @ take.light
    lit = take.ambient + (1 - take.ambient) * np.clip((facing + 0.25) / 1.25, 0, 1) * 1.6
    canvas = to_linear(np.asarray(Image.fromarray(background).resize((side, side), Image.Resampling.BILINEAR)))
    canvas[on] = colour * (lit * take.exposure)[:, None]
    small = canvas.reshape(size, _OVERSAMPLE, size, _OVERSAMPLE, 3).mean((1, 3))
    _, ids, _ = hand.landmarks
    at = xy[ids] / _OVERSAMPLE
    return Known(to_display(small), at.astype(np.float32), _seen(xy[ids], depth[ids], drawn.nearness))


def _seen(xy: Array, depth: Array, nearness: Floats) -> npt.NDArray[np.bool_]:
    """(N,) which points nothing lies before."""
    side = len(nearness)
    inside = ((xy >= 0) & (xy < side)).all(1)
    column, row = np.clip(xy.astype(int), 0, side - 1).T
    return inside & (1 / np.maximum(nearness[row, column], 1e-9) > depth - 4.0)


def _skin(actor: Actor, rest_mm: Floats) -> Floats:
    waves = np.sin(rest_mm @ actor.grain[:, :3].T + actor.grain[:, 3])
    return (actor.tone * np.exp(0.05 * waves.sum(1, keepdims=True) / np.sqrt(len(actor.grain)) * 2)).astype(np.float32)


def _painted(hand: Hand, rest_mm: Floats, normals: Floats) -> Floats:
    """(P,) how much of the paint lies at places of the resting hand: lines along the back of the hand and of each
    finger, with a dot on each joint, straight as seen from above."""
    up = hand.turns[0][:, 1]
    _, ids, lines = hand.landmarks
    out = np.zeros(len(rest_mm), np.float32)
    for a, b in lines:
        start, end = (hand.vertices_mm[ids[i]].astype(np.float64) for i in (a, b))
        along = end - start
        along = along - (along @ up) * up
        to = rest_mm - start
        height = to @ up
        flat = to - height[:, None] * up
        share = np.clip(flat @ along / max(float(along @ along), 1e-9), 0, 1)
        away = np.linalg.norm(flat - share[:, None] * along, axis=1)
        level = height - share * ((end - start) @ up)
        here = (normals @ up > 0.05) & (np.abs(level) < _THICK_MM)
        dot = np.linalg.norm(flat - along, axis=1)  # a knot at the farther end
        near = np.minimum(away - _LINE_MM, dot - _DOT_MM)
        out = np.maximum(out, np.where(here, np.clip((_SOFT_MM - near) / _SOFT_MM, 0, 1), 0))
    return out.astype(np.float32)
