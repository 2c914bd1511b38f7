"""A head drawn by us, photographed by the renderer, and taken apart again: no photo, no rig."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from anymark.canonical import CanonicalHead
from anymark.canonical.frame import FACING
from anymark.canonical.meshes import vertex_normals
from anymark.engine.light import Environment
from anymark.engine.marks import Marks, paint
from anymark.engine.matte import person_matte
from anymark.engine.mesh import Mesh
from anymark.engine.occluders import glasses, mask, tube
from anymark.engine.pixels import sample, to_display
from anymark.engine.relief import sheet_of
from anymark.engine.render import Renderer
from anymark.engine.repose import Shot, Stage
from anymark.engine.shots import turned
from anymark.engine.texture import Atlas, Source, bake

SIDE, FOCAL = 256, 900.0
PRINCIPAL = np.array([SIDE / 2, SIDE / 2])
PLACE = np.array([0.0, 0.0, 900.0])


def skin(canonical_mm: np.ndarray) -> np.ndarray:
    """(N, 3) linear colours: a symmetric gradient over the head."""
    height = np.clip((canonical_mm[:, 1] + 120) / 260, 0, 1)
    side = np.clip(np.abs(canonical_mm[:, 0]) / 90, 0, 1)
    return np.stack([0.35 + 0.2 * height, 0.25 + 0.1 * side, 0.18 + 0.1 * height], 1).astype(np.float32)


@pytest.fixture(scope="module")
def photo(gl: None, head: CanonicalHead) -> Source:
    """The head from in front, unlit, before a blue wall."""
    placed = (head.vertices_mm @ FACING.T + PLACE).astype(np.float32)
    mesh = Mesh(placed, head.triangles, head.vertices_mm, head.part, colour=np.sqrt(skin(head.vertices_mm)))
    with Renderer((SIDE, SIDE)) as renderer:
        buffers = renderer.render([mesh], FOCAL, PRINCIPAL, supersample=2)
    colour = buffers.albedo**2 * buffers.alpha[..., None] + (1 - buffers.alpha[..., None]) * (0.05, 0.1, 0.5)
    xy = FOCAL * placed[:, :2] / placed[:, 2:] + PRINCIPAL
    return Source(
        to_display(colour),
        np.array([0.0, 0.0, SIDE, SIDE]),
        placed,
        xy.astype(np.float32),
        vertex_normals(placed, head.triangles),
        FOCAL,
        PRINCIPAL,
        buffers.depth_mm,
        np.isfinite(buffers.depth_mm).astype(np.float32),
    )


def test_texels_know_where_they_are(atlas: Atlas, head: CanonicalHead) -> None:
    """The picture of canonical places, read back at the triangles' corners, gives the corners."""
    places = atlas.at(head.vertices_mm)
    picture = atlas.picture(places, np.ones(len(places), np.float32))
    middle = atlas.uv.mean(1)
    x, y = middle[:, 0] * 2 * atlas.size, (1 - middle[:, 1]) * atlas.size
    found = sample(picture, np.stack([x, y], 1))
    wanted = head.vertices_mm[head.triangles[atlas.triangles]].mean(1)
    assert np.median(np.linalg.norm(found - wanted, axis=1)) < 1.0


def test_mirrored_texels_are_mirror_images(atlas: Atlas, head: CanonicalHead) -> None:
    places = atlas.at(head.vertices_mm)
    both = atlas.mirror >= 0
    assert both.mean() > 0.95
    apart = np.linalg.norm(places[both] * (-1, 1, 1) - places[atlas.mirror[both]], axis=1)
    assert np.median(apart) < 0.2


def test_a_photos_colours_come_back(atlas: Atlas, photo: Source, head: CanonicalHead) -> None:
    baked = bake(atlas, photo)
    found = baked.colour[atlas.rows, atlas.columns]
    canonical = atlas.at(head.vertices_mm)
    front = (atlas.part == 0) & (canonical[:, 2] > 60) & (np.abs(canonical[:, 0]) < 50)
    assert np.abs(found[front] - skin(canonical)[front]).mean() < 0.01
    skin_parts = atlas.part != head.part_names.index("scalp")
    assert np.quantile(found[skin_parts, 2], 0.999) < 0.35  # nothing of the wall
    assert np.isfinite(baked.colour).all()
    assert 0.3 < baked.seen < 0.9


def test_what_one_side_hides_the_other_side_shows(atlas: Atlas, photo: Source, head: CanonicalHead) -> None:
    """Half of the photo is no photo: the subject's left comes from the right."""
    half = replace(photo, valid_box_px=np.array([0.0, 0.0, SIDE / 2, SIDE]))
    found = bake(atlas, half).colour[atlas.rows, atlas.columns]
    canonical = atlas.at(head.vertices_mm)
    hidden = (atlas.part == 0) & (canonical[:, 2] > 60) & (canonical[:, 0] > 8) & (canonical[:, 0] < 45)
    assert np.abs(found[hidden] - skin(canonical)[hidden]).mean() < 0.015


def test_the_same_pose_gives_the_same_photo(head: CanonicalHead, atlas: Atlas, photo: Source) -> None:
    stage = Stage(head, atlas)
    subject = stage.take(photo, FACING, PLACE, None)
    shot = Shot(head.vertices_mm, FACING, PLACE, FOCAL, PRINCIPAL, with_sheet=False)
    with Renderer((SIDE, SIDE)) as renderer:
        picture = stage.shoot(renderer, subject, shot)
    face = (picture.buffers.part == 0) & (picture.buffers.normal[..., 2] < -0.7)
    error = to_display(picture.colour)[face].astype(int) - photo.photo[face].astype(int)
    assert face.sum() > 3000
    assert np.abs(error).mean() < 4


def test_a_lamp_at_one_side_lights_that_side(head: CanonicalHead, atlas: Atlas, photo: Source) -> None:
    panorama = np.full((32, 64, 3), 0.1, np.float32)
    panorama[12:20, 14:18] = 30.0  # towards +x
    stage = Stage(head, atlas)
    subject = stage.take(photo, FACING, PLACE, None)
    shot = Shot(
        head.vertices_mm, FACING, PLACE, FOCAL, PRINCIPAL, Environment.of(panorama), np.eye(3), with_sheet=False
    )
    with Renderer((SIDE, SIDE)) as renderer:
        picture = stage.shoot(renderer, subject, shot)
    face = picture.buffers.part == 0
    x = picture.buffers.canonical_mm[..., 0]
    light = picture.colour.mean(-1)
    assert light[face & (x > 30)].mean() > 1.5 * light[face & (x < -30)].mean()


def test_skin_beside_eyes_and_teeth_is_no_brighter_than_they(head: CanonicalHead, atlas: Atlas, photo: Source) -> None:
    """A pixel of the skin that eyes or teeth reach into shows a mixture of the two, not white."""
    stage = Stage(head, atlas)
    subject = stage.take(photo, FACING, PLACE, None)
    names, near = list(head.part_names), np.array([0.0, 0.0, 380.0])
    shot = Shot(head.vertices_mm, FACING, near, FOCAL, PRINCIPAL, with_sheet=False, with_hair=False)
    with Renderer((SIDE, SIDE)) as renderer:
        picture = stage.shoot(renderer, subject, shot)
    part, light = picture.buffers.part, picture.colour.mean(-1)
    eyes = np.isin(part, [names.index(name) for name in ("right eye", "left eye")])
    rim = cv2.dilate(eyes.astype(np.uint8), np.ones((3, 3))).astype(bool) & (part == names.index("face"))
    assert rim.sum() > 40
    most = max(np.quantile(light[eyes], 0.99), np.quantile(light[part == names.index("face")], 0.99))
    assert light[rim].max() < 1.1 * most


def test_a_turned_head_keeps_its_sheet_behind_it(head: CanonicalHead, atlas: Atlas, photo: Source) -> None:
    sheet = sheet_of(photo, 200.0)
    inside = np.isfinite(photo.depth_mm)
    at = np.clip(sheet.xy_px.astype(int), 0, SIDE - 1)
    on_head = inside[at[:, 1], at[:, 0]]
    deep = cv2.erode(inside.astype(np.uint8), np.ones((15, 15)))[at[:, 1], at[:, 0]] > 0
    depth = photo.depth_mm[at[:, 1], at[:, 0]]
    assert (sheet.points_camera_mm[deep, 2] > depth[deep] - 8).mean() > 0.95
    outside = sheet.points_camera_mm[~on_head, 2]
    assert outside.min() > depth[on_head].min()
    assert sheet.alpha[inside].mean() < 0.3


def test_dots_are_painted_where_they_are_told(atlas: Atlas, head: CanonicalHead) -> None:
    place = head.closest_point([[0.0, 10.0, 120.0], [40.0, -20.0, 90.0]]).points_mm.astype(np.float32)
    plain = np.full((atlas.size, 2 * atlas.size, 3), 0.5, np.float32)
    dots = Marks(place, np.zeros((0, 2), np.int32), 3.0, np.zeros(3, np.float32))
    found = paint(atlas, plain, dots)[atlas.rows, atlas.columns].mean(1)
    distance = np.linalg.norm(atlas.at(head.vertices_mm)[:, None] - place, axis=2).min(1)
    assert found[distance < 2.5].max() < 0.1
    assert found[distance > 4.5].min() > 0.49
    joined = paint(atlas, plain, replace(dots, lines=np.array([[0, 1]], np.int32)))[atlas.rows, atlas.columns].mean(1)
    assert (joined < 0.1).sum() > (found < 0.1).sum()


def test_a_person_before_a_wall_is_cut_out() -> None:
    y, x = np.mgrid[:200, :160]
    head = ((x - 80) / 30) ** 2 + ((y - 80) / 42) ** 2 < 1
    body = (y > 118) & (np.abs(x - 80) < 18 + (y - 118))
    hair = (((x - 80) / 38) ** 2 + ((y - 70) / 46) ** 2 < 1) & ~head
    photo = np.full((200, 160, 3), (60, 110, 190), np.uint8)
    photo[body], photo[hair], photo[head] = (150, 40, 40), (40, 25, 15), (205, 160, 130)
    noise = np.random.default_rng(0).integers(-8, 9, photo.shape)
    photo = np.clip(photo + noise, 0, 255).astype(np.uint8)
    matte = person_matte(photo, head, np.array([0.0, 0, 160, 200]))
    person = head | body | hair
    assert ((matte > 0.5) == person).mean() > 0.95
    padded = person_matte(photo, head, np.array([0.0, 40, 160, 200]))
    assert padded[:40].max() == 0


def test_wires_have_their_thickness() -> None:
    path = np.array([[0.0, 0, 0], [10, 0, 0], [20, 5, 0]])
    vertices, triangles = tube(path, 1.5)
    assert np.linalg.norm(vertices.reshape(3, -1, 3) - path[:, None], axis=2) == pytest.approx(1.5)
    assert triangles.max() == len(vertices) - 1


@pytest.mark.parametrize("seed", range(4))
def test_glasses_and_masks_sit_before_the_face(seed: int, gl: None, head: CanonicalHead) -> None:
    rng = np.random.default_rng(seed)
    normals = vertex_normals(head.vertices_mm, head.triangles)
    things = [*glasses(head, head.vertices_mm, rng), *mask(head, head.vertices_mm, normals, rng)]
    rotation, away = turned(0.0, 0.0, 0.0), np.array([0.0, 0.0, 900.0])

    def mesh(vertices: np.ndarray, triangles: np.ndarray) -> Mesh:
        return Mesh((vertices @ rotation.T + away).astype(np.float32), triangles, np.zeros_like(vertices))

    with Renderer((SIDE, SIDE)) as renderer:
        face = renderer.render([mesh(head.vertices_mm, head.triangles)], FOCAL, PRINCIPAL)
        for thing in things:
            seen = renderer.render([mesh(thing.vertices_mm, thing.triangles)], FOCAL, PRINCIPAL)
            both = (seen.part >= 0) & (face.part >= 0)
            assert both.sum() > 100
            assert (seen.depth_mm[both] < face.depth_mm[both] + 0.5).mean() > 0.85, thing.name
