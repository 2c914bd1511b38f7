"""What a studio draws, without photos."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from anymark.canonical import CanonicalHead
from anymark.canonical.skull import Skull
from anymark.engine.procedural import procedural_subject
from anymark.engine.scene import Taken
from anymark.engine.shots import Draw, ShotConfig, moved, turned
from anymark.engine.studio import Studio
from anymark.engine.texture import Atlas


class Drawing(Studio):
    """Draws shots at random; half of them keep the photo's gaze."""

    def __init__(self) -> None:
        head = CanonicalHead.load()
        self._face = head.vertices_of("face")

    def draw(self, taken: Taken, config: ShotConfig, rng: np.random.Generator) -> Draw:
        gaze = rng.normal(0, 0.3, 2) if rng.random() < 0.5 else None
        return Draw(
            turned(*rng.normal(0, 0.1, 3)), np.array([0, 0, 900.0]), 300.0, np.full(2, 64.0), rng.random(3), gaze
        )


@pytest.mark.parametrize("seed", range(12))
def test_eyes_move_smoothly_through_a_sequence(seed: int, head: CanonicalHead, atlas: Atlas) -> None:
    subject, none = procedural_subject(atlas, np.random.default_rng(0)), np.zeros(3)
    vertices, bones = head.vertices_mm, Skull.load().vertices_mm
    taken = Taken(subject, vertices, none, none, np.eye(3)[None].repeat(2, 0), vertices, bones, 0.0)
    keys = Drawing().draws(taken, ShotConfig(), np.random.default_rng(seed))
    gazes = [shot.gaze for shot in moved(keys, 61)]
    assert all(gaze is None for gaze in gazes) or not any(gaze is None for gaze in gazes)
    if gazes[0] is not None:
        places = np.array(gazes)
        assert np.abs(np.diff(places, axis=0)).max() <= 0.12 * np.ptp(places, axis=0).max() + 1e-9


def test_paint_leaves_all_else_as_it_was(head: CanonicalHead, atlas: Atlas) -> None:
    subject, none = procedural_subject(atlas, np.random.default_rng(0)), np.zeros(3)
    vertices, bones = head.vertices_mm, Skull.load().vertices_mm
    taken = Taken(subject, vertices, none, none, np.eye(3)[None].repeat(2, 0), vertices, bones, 0.0)
    studio = Drawing()
    studio.head, studio.stage, studio.environments = head, SimpleNamespace(atlas=atlas), [None] * 5  # type: ignore[assignment]
    first, then = np.random.default_rng(5), np.random.default_rng(5)
    painted = studio.scene(taken, ShotConfig(marks="lines"), first)
    plain = studio.scene(taken, ShotConfig(), then)
    assert painted.marks is not None
    assert plain.marks is None
    assert not np.array_equal(painted.subject.skin.colour, plain.subject.skin.colour)
    assert (painted.R_environment_camera == plain.R_environment_camera).all()
    assert first.random() == then.random()
