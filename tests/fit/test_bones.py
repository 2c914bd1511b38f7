"""Bones inside of posed heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import CanonicalHead
from anymark.canonical.skull import Skull
from anymark.engine.heads import canonical_rig
from anymark.fit import Rig, posed_bones, rest_bones
from anymark.fit.problem import exponential


def test_the_canonical_heads_bones_are_its_own() -> None:
    head, skull = CanonicalHead.load(), Skull.load()
    assert np.abs(rest_bones(head.vertices_mm) - skull.vertices_mm).max() < 0.05
    larger = rest_bones(np.stack([1.1 * head.vertices_mm, head.vertices_mm + 5]))
    assert np.abs(larger[0] - 1.1 * skull.vertices_mm).max() < 0.05
    assert np.abs(larger[1] - skull.vertices_mm - 5).max() < 0.05


def test_the_mandible_moves_rigidly_with_the_lower_teeth() -> None:
    head, skull = CanonicalHead.load(), Skull.load()
    teeth = head.vertices_of("lower teeth")
    turn, shift = exponential(np.array([[0.25, 0.05, -0.03]]))[0], np.array([1.0, -6.0, -3.0])
    posed = head.vertices_mm.copy()
    posed[teeth] = posed[teeth] @ turn.T + shift
    moved = posed_bones(skull.vertices_mm, head.vertices_mm, posed)
    mandible, cranium = skull.vertices_of("mandible"), skull.vertices_of("skull")
    assert np.abs(moved[mandible] - (skull.vertices_mm[mandible] @ turn.T + shift)).max() < 0.01
    assert np.array_equal(moved[cranium], skull.vertices_mm[cranium])
    both = posed_bones(np.stack([skull.vertices_mm] * 2), np.stack([head.vertices_mm] * 2), np.stack([posed] * 2))
    assert np.allclose(both[1], moved, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_peoples_bones_stay_under_their_skin(shared: Path, seed: int) -> None:
    """Bones lie behind the skin that is nearest to them, whoever it is and however wide the mouth."""
    head = CanonicalHead.load()
    if not (shared / "assets" / "ict_facekit").is_dir():
        pytest.skip("needs ICT-FaceKit (docs/data.md)")
    rig = canonical_rig(Rig.load_ict(shared / "assets"), head)
    rng = np.random.default_rng(seed)
    identity = rng.normal(0, 1, len(rig.identity_mm))
    expression = np.zeros(len(rig.expression_mm))
    expression[rig.expression_names.index("jawOpen")] = 0.8
    rest, posed = rig.vertices_mm(identity, 0 * expression), rig.vertices_mm(identity, expression)
    bones = posed_bones(rest_bones(rest), rest, posed)
    own = outside(head, head.vertices_mm, Skull.load().vertices_mm)
    deep = own < -1  # the others look into the mouth, the nose or the sockets
    assert deep.mean() > 0.9
    for skin, inside in ((rest, rest_bones(rest)), (posed, bones)):
        assert (outside(head, skin, inside)[deep] > 0).mean() < 0.025
    assert (outside(head, rest, rest_bones(rest) + np.array([0, 0, 15]))[deep] > 0).mean() > 0.1  # it can fail


def outside(head: CanonicalHead, posed_mm: np.ndarray, bones_mm: np.ndarray) -> np.ndarray:
    """How far some vertices of the bones lie before the plane of the skin's nearest triangle, millimetres."""
    skin = np.isin(head.part, [head.part_names.index(part) for part in ("face", "scalp", "neck")])
    corners = posed_mm[head.triangles[skin]].astype(float)
    middle, normal = corners.mean(1), np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    some = bones_mm[::7]
    near = np.array([np.linalg.norm(middle - bone, axis=1).argmin() for bone in some])
    return ((some - middle[near]) * normal[near]).sum(1)
