"""Hands: posed within their limits, and drawn with marks where truth says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.engine.hand_pictures import PAINTS, draw_actor, draw_take, picture_of
from anymark.engine.hands import Hand, read_hand
from anymark.engine.marker_sets import hand_sequence, hand_template, read_truth, write_pictures
from anymark.errors import AnymarkError


@pytest.fixture(scope="module")
def hand(shared: Path) -> Hand:
    return read_hand(shared / "assets" / "hands" / "left.glb")


def test_a_hand_at_rest_is_that_of_the_file(hand: Hand) -> None:
    still = np.zeros(len(hand.names))
    vertices, joints = hand.posed(still, still)
    np.testing.assert_allclose(vertices, hand.vertices_mm, atol=1e-3)
    np.testing.assert_allclose(joints, hand.joints_mm, atol=1e-4)
    np.testing.assert_allclose(hand.weights.sum(1), 1, atol=1e-5)
    assert 150 < np.ptp(hand.vertices_mm, axis=0).max() < 260  # millimetres


def test_bones_keep_their_lengths_and_a_finger_bends_towards_the_palm(hand: Hand) -> None:
    bend = np.zeros(len(hand.names))
    joint, tip = (hand.names.index(f"index {bone}") for bone in ("phalanx-proximal", "tip"))
    bend[joint] = -np.pi / 3
    _, joints = hand.posed(bend, np.zeros(len(bend)))
    for j, parent in enumerate(hand.parents):
        if parent >= 0:
            before, after = (np.linalg.norm(at[j] - at[parent]) for at in (hand.joints_mm, joints))
            assert after == pytest.approx(before, abs=1e-4)
    back = hand.turns[0][:, 1]
    assert (joints[tip] - hand.joints_mm[tip]) @ back < -20  # away from the back of the hand
    other = hand.names.index("ring tip")
    np.testing.assert_allclose(joints[other], hand.joints_mm[other], atol=1e-4)


def test_marks_are_painted_where_truth_says(hand: Hand) -> None:
    rng = np.random.default_rng(0)
    actor, take = draw_actor(rng), draw_take(hand, rng, 0.3)
    ground = np.full((128, 128, 3), 128, np.uint8)
    plain, marked = (picture_of(hand, actor, take, ground, 128, paint) for paint in (None, PAINTS[1]))
    changed = np.abs(plain.pixels.astype(int) - marked.pixels).sum(-1) > 40
    np.testing.assert_array_equal(plain.xy_px, marked.xy_px)
    _, _, lines = hand.landmarks
    joined = marked.xy_px[lines[marked.visible[lines].all(1)]]
    for x, y in [*marked.xy_px[marked.visible], *joined.mean(1)]:  # dots, and the middles of lines
        assert changed[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].any()
    assert 0.002 < changed.mean() < 0.1
    assert marked.visible.mean() > 0.7


def test_sets_come_with_their_truth(hand: Hand, tmp_path: Path) -> None:
    grounds = np.full((2, 64, 64, 3), 90, np.uint8)
    actor = draw_actor(np.random.default_rng(1))
    frames = list(hand_sequence(hand, grounds, 64, actor, 6, painted=False, seed=3))
    assert write_pictures(tmp_path / "s", frames, truth=True) == 6
    points, visible, _ = read_truth(tmp_path / "s")
    assert points.shape == (6, 25, 2)
    assert visible.shape == (6, 25)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    assert 0 < steps.mean() < 0.1  # it moves, smoothly
    template = hand_template(hand)
    assert len(template) == 25
    assert len(template.lines) == 24
    assert np.linalg.norm(points.mean(0) - template.points, axis=1).mean() < 0.4


def test_what_is_no_hand_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.glb").write_bytes(b"glTF nothing")
    with pytest.raises(AnymarkError, match=r"no\.glb: not a readable hand"):
        read_hand(tmp_path / "no.glb")
