"""Skin and hair that no photo lends: for pictures and tests that must show nobody."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anymark.engine.pixels import Floats
from anymark.engine.repose import Subject
from anymark.engine.texture import Atlas, Skin

Array = npt.NDArray[np.floating]

TONES = np.array([(0.62, 0.41, 0.32), (0.52, 0.32, 0.23), (0.34, 0.19, 0.12), (0.14, 0.075, 0.05)])
"""Skins from light to dark, linear."""
HAIRS = np.array(
    [(0.01, 0.008, 0.007), (0.05, 0.026, 0.015), (0.20, 0.10, 0.045), (0.42, 0.28, 0.14), (0.35, 0.34, 0.33)]
)
"""Black, brown, auburn, fair, grey; linear."""
IRISES = np.array([(0.05, 0.025, 0.012), (0.09, 0.06, 0.03), (0.06, 0.12, 0.17), (0.08, 0.12, 0.08)])

_AMBIENT = 1 / 0.282095  # the first harmonic of light that is 1 everywhere
_RUDDY_MM = ((-48, -8, 70), (48, -8, 70), (0, 8, 122), (0, -75, 95))  # cheeks, tip of the nose, chin
_WAVES_MM = (
    (70.0, 0.05),
    (22.0, 0.035),
    (7.0, 0.03),
    (3.0, 0.03),
)  # wavelength and log contrast of the skin's unevenness


def procedural_subject(atlas: Atlas, rng: np.random.Generator) -> Subject:
    """A head with drawn skin, brows, lips, moles and hair, evenly lit, without a photo behind it."""
    at = atlas.at(atlas.head.vertices_mm)
    tone = _between(TONES, rng.random())
    hair = _between(HAIRS, rng.random() ** 1.5)
    colour = np.tile(tone, (len(at), 1)) * np.exp(_octaves(at, rng))[:, None]
    ruddy = np.sum([np.exp(-((at - np.array(c)) ** 2).sum(1) / (2 * 20.0**2)) for c in _RUDDY_MM], 0)
    colour *= 1 - ruddy[:, None] * np.array([0.0, 0.16, 0.14])
    lips = np.maximum(_region(atlas, "upper lip"), _region(atlas, "lower lip"))[:, None]
    colour *= 1 - lips * np.array([0.12, 0.45, 0.38])
    for _ in range(rng.integers(3, 12)):
        where = at[rng.integers(len(at))]
        spot = np.exp(-(((at - where) ** 2).sum(1) / (2 * rng.uniform(0.6, 1.6) ** 2)))
        colour *= 1 - 0.7 * spot[:, None]
    strands = np.exp(0.35 * _noise(at * (1, 0.12, 0.12), 3.0, rng) + 0.15 * _noise(at, 25.0, rng))[:, None]
    brows = np.maximum(_region(atlas, "right brow"), _region(atlas, "left brow"))
    brows = np.clip(brows * (0.75 + 0.3 * _noise(at * (0.4, 1, 1), 3.0, rng)), 0, 0.92)[:, None]
    colour = colour * (1 - brows) + hair * 0.7 * strands * brows
    scalp = _part(atlas, "scalp")[:, None]
    colour = colour * (1 - scalp) + hair * strands * scalp
    cloth = _part(atlas, "shoulders")[:, None]
    colour = colour * (1 - cloth) + rng.uniform(0.03, 0.5, 3) * np.exp(0.1 * _noise(at, 4.0, rng))[:, None] * cloth
    colour = np.clip(colour, 0.002, 0.95).astype(np.float32)
    picture = atlas.picture(colour, np.ones(len(at), np.float32))
    light = np.array([_AMBIENT, *[0.0] * 8], np.float32)
    iris = IRISES[rng.integers(len(IRISES))].astype(np.float32)
    return Subject(Skin(picture, 1.0), light, iris, hair_mm=float(rng.uniform(4, 30)))


def _between(colours: Array, place: float) -> Array:
    """A row of colours (K, 3), or between two of them; `place` from 0 to 1."""
    at = place * (len(colours) - 1)
    low = min(int(at), len(colours) - 2)
    return colours[low] * (low + 1 - at) + colours[low + 1] * (at - low)


def _noise(points_mm: Array, wavelength_mm: float, rng: np.random.Generator) -> Floats:
    """(N,) smooth, of variance about 1."""
    turns = rng.normal(0, 2 * np.pi / wavelength_mm, (3, 12))
    return (np.sin(points_mm @ turns + rng.uniform(0, 2 * np.pi, 12)).sum(1) / np.sqrt(6)).astype(np.float32)


def _octaves(points_mm: Array, rng: np.random.Generator) -> Floats:
    """(N,) the skin's unevenness, log."""
    return np.sum([contrast * _noise(points_mm, wave, rng) for wave, contrast in _WAVES_MM], 0)


def _part(atlas: Atlas, name: str) -> Floats:
    """(N,) 1 on texels of a part."""
    return (atlas.part == atlas.head.part_names.index(name)).astype(np.float32)


def _region(atlas: Atlas, name: str) -> Floats:
    """(N,) 1 within a region, 0 beside it, with a soft edge."""
    head = atlas.head
    inside = np.zeros(len(head.vertices_mm), np.float32)
    inside[head.vertices_of(name)] = 1
    return atlas.at(inside)
