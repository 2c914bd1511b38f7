"""Hair above the skull, and heads that no photo lends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anymark.canonical import CanonicalHead
from anymark.canonical.frame import FACING
from anymark.canonical.meshes import vertex_normals
from anymark.engine.hair import Cap
from anymark.engine.procedural import procedural_subject
from anymark.engine.render import Renderer
from anymark.engine.repose import Picture, Shot, Stage
from anymark.engine.shots import turned
from anymark.engine.texture import Atlas, Source

SIDE, FOCAL = 192, 450.0
PRINCIPAL = np.array([SIDE / 2, SIDE / 2])
PLACE = np.array([0.0, 0.0, 900.0])


def test_hair_rises_from_the_hairline_and_nowhere_else(head: CanonicalHead, atlas: Atlas) -> None:
    raised = Cap(atlas).raised(head.vertices_mm, 20.0)
    moved = np.linalg.norm(raised - head.vertices_mm, axis=1)
    scalp = head.vertices_of("scalp")
    face = head.vertices_of("face")
    assert moved[face].max() == 0
    assert 12 < moved[scalp].max() < 30
    top = head.vertices_mm[:, 1].argmax()
    assert moved[top] > 12


@pytest.mark.parametrize("thick", [0.0, 16.0, 32.0])
def test_the_height_of_hair_is_read_from_where_the_person_ends(head: CanonicalHead, atlas: Atlas, thick: float) -> None:
    """A matte that ends so far above the skull, as the cap itself would have it end."""
    cap = Cap(atlas)
    placed = (head.vertices_mm @ FACING.T + PLACE).astype(np.float32)
    xy = FOCAL * placed[:, :2] / placed[:, 2:] + PRINCIPAL
    row, column = np.mgrid[:SIDE, :SIDE] + 0.5
    scalp = cap.ids
    normals = vertex_normals(placed, head.triangles)
    out = placed[scalp] + normals[scalp] * thick
    edge = FOCAL * out[:, :2] / out[:, 2:] + PRINCIPAL
    centre, radius = xy.mean(0), np.zeros(360)
    for points in (xy, edge):
        angle = np.degrees(np.arctan2(*(points - centre).T[::-1])).astype(int) % 360
        np.maximum.at(radius, angle, np.linalg.norm(points - centre, axis=1))
    radius = np.maximum.reduce([np.roll(radius, k) for k in range(-4, 5)])
    here = np.degrees(np.arctan2(row - centre[1], column - centre[0])).astype(int) % 360
    matte = (np.hypot(column - centre[0], row - centre[1]) <= radius[here]).astype(np.float32)
    depth = np.full((SIDE, SIDE), np.inf)
    box = np.array([0.0, 0.0, SIDE, SIDE])
    photo = np.zeros((SIDE, SIDE, 3), np.uint8)
    source = Source(photo, box, placed, xy.astype(np.float32), normals, FOCAL, PRINCIPAL, depth, matte)
    assert cap.measure(source) == pytest.approx(thick, abs=8)
    cut = replace(source, valid_box_px=np.array([0.0, SIDE / 2, SIDE, SIDE]))
    assert cap.measure(cut) is None  # where the photo shows no top of the head, nothing is known


@pytest.fixture(scope="module")
def pictures(gl: None, head: CanonicalHead, atlas: Atlas) -> dict[str, Picture]:
    stage, subject = Stage(head, atlas), procedural_subject(atlas, np.random.default_rng(3))
    subject = replace(subject, hair_mm=25.0)
    shot = Shot(head.vertices_mm, turned(0.0, 0.0, 0.0), PLACE, FOCAL, PRINCIPAL)
    with Renderer((SIDE, SIDE)) as renderer:
        return {
            "haired": stage.shoot(renderer, subject, shot),
            "bald": stage.shoot(renderer, subject, replace(shot, with_hair=False)),
        }


def test_hair_makes_the_head_larger_and_leaves_labels_alone(pictures: dict[str, Picture]) -> None:
    haired, bald = pictures["haired"], pictures["bald"]
    assert np.array_equal(haired.buffers.part, bald.buffers.part)
    top = [np.flatnonzero((p.alpha > 0.5).any(1))[0] for p in (haired, bald)]
    assert 0.5 * 25 < (top[1] - top[0]) * 900 / FOCAL < 1.5 * 25
    assert not bald.occluded.any()
    assert haired.occluded.any()
    parts = haired.buffers.part[haired.occluded]
    assert (parts == CanonicalHead.load().part_names.index("scalp")).mean() > 0.7


def test_drawn_people_differ_and_have_brows_and_lips(head: CanonicalHead, atlas: Atlas) -> None:
    at = atlas.at(head.vertices_mm)

    def mean(colour: np.ndarray, name: str) -> np.ndarray:
        inside = np.zeros(len(head.vertices_mm))
        inside[head.vertices_of(name)] = 1
        return colour[atlas.at(inside) > 0.9].mean(0)

    tones = []
    for seed in range(6):
        subject = procedural_subject(atlas, np.random.default_rng(seed))
        again = procedural_subject(atlas, np.random.default_rng(seed))
        assert np.array_equal(subject.skin.colour, again.skin.colour)
        colour = subject.skin.colour[atlas.rows, atlas.columns]
        assert len(colour) == len(at)
        assert 0 < colour.min() < colour.max() < 1
        forehead, lips = mean(colour, "forehead"), mean(colour, "lower lip")
        assert lips[0] / lips[1] > 1.1 * forehead[0] / forehead[1]  # redder
        assert np.abs(mean(colour, "left brow") - forehead).max() > 0.01
        tones.append(forehead)
    assert np.std(tones, 0).min() > 0.03
