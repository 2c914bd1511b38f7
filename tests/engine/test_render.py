"""The rasteriser against rays traced by hand, the pixel convention, and a real head."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anymark.engine import gl
from anymark.engine.mesh import Mesh
from anymark.engine.render import Buffers, Renderer, shrink, visible
from anymark.errors import AnymarkError
from anymark.fit.rig import Rig

SIZE = 64, 48
FOCAL, PRINCIPAL = 70.0, (35.3, 22.1)
CAMERA = FOCAL, PRINCIPAL
TWO = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
"""The triangles of a quadrilateral."""


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    try:
        made = Renderer(SIZE)
    except AnymarkError as error:
        pytest.skip(str(error))
    with made:
        yield made


def soup(seed: int, count: int = 60, spread: float = 120.0) -> Mesh:
    """Triangles at random, whose canonical place is that in the camera's frame."""
    rng = np.random.default_rng(seed)
    centre = np.stack([rng.uniform(-400, 400, count), rng.uniform(-300, 300, count), rng.uniform(700, 1300, count)], 1)
    corners = (centre[:, None] + rng.normal(0, spread, (count, 3, 3))).reshape(-1, 3)
    triangles = np.arange(3 * count).reshape(-1, 3)
    return Mesh(corners, triangles, corners, rng.integers(0, 300, count))


def quad(
    box_px: tuple[float, float, float, float],
    z: float | tuple[float, float] = 500.0,
    **attributes: np.ndarray,
) -> Mesh:
    """What covers a box of the image (left, top, right, bottom), facing the camera; z of its left and its right.

    With a texture, it covers the box.
    """
    left, top, right, bottom = box_px
    near, far = z if isinstance(z, tuple) else (z, z)
    xy = np.array([[left, top], [left, bottom], [right, bottom], [right, top]])
    depth = np.array([near, near, far, far])[:, None]
    corners = np.hstack([(xy - PRINCIPAL) / FOCAL * depth, depth])
    if "texture" in attributes and "uv" not in attributes:
        attributes["uv"] = np.array([[0, 1], [0, 0], [1, 0], [1, 1]], np.float32)[TWO]
    return Mesh(corners, TWO, corners, **attributes)


def pixels(shape: tuple[int, int] = (SIZE[1], SIZE[0])) -> np.ndarray:
    """(H, W, 2) pixel centres."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.stack([x, y], -1)


def nearest(mesh: Mesh, xy_px: np.ndarray) -> np.ndarray:
    """(H, W) the triangle that a ray through each point meets first, by Cramer's rule; -1 for none."""
    rays = np.concatenate([(xy_px - PRINCIPAL) / FOCAL, np.ones((*xy_px.shape[:-1], 1))], -1)
    a, b, c = np.moveaxis(mesh.vertices_camera_mm[mesh.triangles], 1, 0)
    weights = np.stack([rays @ np.cross(*pair).T for pair in ((b, c), (c, a), (a, b))])  # of signed volumes
    total = weights.sum(0)
    inside = (weights / total > 0).all(0)
    z = np.where(inside, np.einsum("nd,nd->n", a, np.cross(b, c)) / total, np.inf)
    return np.where(np.isfinite(z.min(-1)) & (z.min(-1) > 0), z.argmin(-1), -1)


def distance_px(buffers: Buffers) -> np.ndarray:
    """From where the seen points lie in the image to where they are seen, when their canonical place is that."""
    points = buffers.canonical_mm.astype(float)
    seen = buffers.part >= 0
    xy = np.array(buffers.principal_px) + buffers.focal_px * points[..., :2] / points[..., 2:]
    return np.linalg.norm((xy - pixels(seen.shape))[seen], axis=-1)


@pytest.mark.parametrize("seed", range(3))
def test_each_pixel_shows_what_the_ray_through_its_centre_meets(renderer: Renderer, seed: int):
    mesh = soup(seed)
    buffers = renderer.render([mesh], *CAMERA)
    wanted = nearest(mesh, pixels())
    nudges = 1 / 128 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])  # OpenGL rounds corners to 1/256
    sure = np.all([nearest(mesh, pixels() + nudge) == wanted for nudge in nudges], 0)
    assert sure.mean() > 0.95
    assert (wanted >= 0).mean() > 0.3
    assert (wanted < 0).any()
    np.testing.assert_array_equal(buffers.triangle[sure], wanted[sure])


@pytest.mark.parametrize("size", [SIZE, (33, 91)])
@pytest.mark.parametrize("spread", [10.0, 120.0, 2000.0])
def test_what_is_seen_projects_to_the_pixel_centre(renderer: Renderer, size: tuple[int, int], spread: float):
    with Renderer(size) as other:
        buffers = other.render([soup(5, 300, spread)], *CAMERA)
    assert buffers.part.shape == size[::-1]
    assert len(distance_px(buffers)) > 30
    assert distance_px(buffers).max() < 1e-3
    seen = buffers.part >= 0
    np.testing.assert_allclose(buffers.depth_mm[seen], buffers.canonical_mm[seen, 2], rtol=1e-6)


def test_corners_land_on_their_pixels_to_a_256th(renderer: Renderer):
    for left, top in ((10.5, 20.5), (11.498, 20.502), (11.502, 20.498)):
        buffers = renderer.render([quad((left, top, 40.2, 30.7))], *CAMERA)
        y, x = np.nonzero(buffers.part == 0)
        # pixel j is covered when its centre, j + 0.5, is
        assert (x.min(), x.max(), y.min(), y.max()) == (np.ceil(left - 0.5), 39, np.ceil(top - 0.5), 30)
        assert len(x) == (x.max() - x.min() + 1) * (y.max() - y.min() + 1)


def test_first_row_is_up_and_first_column_is_left(renderer: Renderer):
    buffers = renderer.render([quad((0, 0, 10, 5))], *CAMERA)
    wanted = np.zeros(SIZE[::-1], bool)
    wanted[:5, :10] = True
    np.testing.assert_array_equal(buffers.part == 0, wanted)


def test_nothing_has_its_own_values(renderer: Renderer):
    mesh = quad((0, 0, 32, 48))
    for meshes, empty in (([], np.s_[:]), ([mesh], np.s_[:, 32:])):
        buffers = renderer.render(meshes, *CAMERA)
        assert np.isnan(buffers.canonical_mm[empty]).all()
        assert np.isinf(buffers.depth_mm[empty]).all()
        for name, value in (("part", -1), ("triangle", -1), ("normal", 0), ("albedo", 0), ("alpha", 0)):
            assert (getattr(buffers, name)[empty] == value).all(), name
    assert np.isfinite(buffers.canonical_mm[:, :32]).all()
    assert (buffers.alpha[:, :32] == 1).all()
    dtypes = {name: getattr(buffers, name).dtype for name in ("part", "triangle", "canonical_mm", "depth_mm", "normal")}
    assert [*dtypes.values()] == [np.int16, np.int32, np.float32, np.float32, np.float32]


def test_labels_are_never_between_two(renderer: Renderer):
    meshes = [soup(1), soup(2)]
    buffers = renderer.render(meshes, *CAMERA)
    parts = [mesh.part for mesh in meshes if mesh.part is not None]
    part = np.concatenate([*parts, np.array([-1])])
    np.testing.assert_array_equal(buffers.part, part[buffers.triangle])
    assert buffers.triangle.max() >= 60, "ids count on from mesh to mesh"
    assert (buffers.triangle < 60).any()


def test_the_nearest_wins_in_any_order(renderer: Renderer):
    near = quad((10, 10, 30, 30), 400.0, part=np.array([7, 7]))
    far = quad((20, 20, 50, 40), 401.0, part=np.array([9, 9]))
    for meshes in ([near, far], [far, near]):
        part = renderer.render(meshes, *CAMERA).part
        assert (part[10:30, 10:30] == 7).all()
        assert (part[30:40, 20:50] == 9).all()
        assert (part[20:40, 30:50] == 9).all()


def test_what_is_behind_the_camera_or_nearer_than_near_is_cut_off(renderer: Renderer):
    floor = np.array([[-3000, 100, -2000], [3000, 100, -2000], [0, 100, 9000]], np.float32)
    buffers = renderer.render([Mesh(floor, np.array([[0, 1, 2]]), floor)], *CAMERA, near_mm=500.0)
    assert distance_px(buffers).max() < 1e-3
    assert 500 <= buffers.depth_mm.min() < 530
    assert (buffers.part[:22] == -1).all(), "above the horizon"
    assert not np.isfinite(renderer.render([quad((0, 0, 64, 48), 900.0)], *CAMERA, far_mm=800.0).depth_mm).any()


def test_back_faces_are_seen_unless_culled(renderer: Renderer):
    front = quad((10, 10, 30, 30))
    back = Mesh(front.vertices_camera_mm, front.triangles[:, ::-1], front.canonical_mm)
    for mesh, z in ((front, -1), (back, 1)):
        buffers = renderer.render([mesh], *CAMERA)
        np.testing.assert_allclose(buffers.normal[10:30, 10:30], np.broadcast_to([0, 0, z], (20, 20, 3)), atol=1e-6)
    assert (renderer.render([front], *CAMERA, cull=True).part == 0).sum() == 400
    assert (renderer.render([back], *CAMERA, cull=True).part == 0).sum() == 0
    assert (renderer.render([back], *CAMERA).part == 0).sum() == 400


def test_normals_are_the_mean_of_the_triangles_by_area(renderer: Renderer):
    # a vertex before the camera, where a large triangle and a small one of another slope meet
    tip, up, left, right = [0, 0, 500], [0, -100, 480], [-300, 50, 560], [40, 40, 530]
    corners = np.array([tip, up, left, right], float)
    triangles = np.array([[0, 1, 2], [0, 3, 1]])
    crosses = [np.cross(corners[j] - corners[i], corners[k] - corners[i]) for i, j, k in triangles]
    total = np.sum(crosses, axis=0)
    wanted = total / np.linalg.norm(total)
    with Renderer((9, 9)) as small:
        buffers = small.render([Mesh(corners, triangles, corners)], 2000.0, (4.5, 4.5 + 1e-2))
    np.testing.assert_allclose(buffers.normal[4, 4], wanted, atol=1e-3)
    assert wanted[2] < 0, "towards the camera"


def test_normals_that_are_given_are_used_and_made_unit(renderer: Renderer):
    mesh = quad((10, 10, 30, 30), normals=np.tile([3.0, 0.0, -4.0], (4, 1)))
    normal = renderer.render([mesh], *CAMERA).normal
    np.testing.assert_allclose(normal[15, 15], [0.6, 0, -0.8], atol=1e-6)
    lengths = np.linalg.norm(renderer.render([soup(3)], *CAMERA).normal, axis=-1)
    assert np.minimum(abs(lengths - 1), lengths).max() < 1e-5


def test_texture_is_upright_and_not_mirrored(renderer: Renderer):
    picture = np.full((2, 2, 4), 255, np.uint8)
    picture[..., :3] = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]]
    albedo = renderer.render([quad((0, 0, 64, 48), texture=picture)], *CAMERA).albedo
    for (y, x), colour in {(5, 5): [1, 0, 0], (5, 59): [0, 1, 0], (43, 5): [0, 0, 1], (43, 59): [1, 1, 0]}.items():
        np.testing.assert_allclose(albedo[y, x], colour, atol=1e-6)


def test_texture_and_colour_are_interpolated_in_perspective(renderer: Renderer):
    ramp = np.full((16, 256, 4), 255, np.uint8)
    ramp[..., :3] = np.arange(256)[None, :, None]
    z = 300.0, 1500.0
    # along the quadrilateral, a fraction u of the way from left to right is seen at this fraction of the image
    fraction = (np.arange(64) + 0.5) / 64
    u = fraction / z[1] / ((1 - fraction) / z[0] + fraction / z[1])
    buffers = renderer.render([quad((0, 0, 64, 48), z, texture=ramp)], *CAMERA)
    inner = (u > 0.02) & (u < 0.95)  # at the far end, texels are smaller than pixels
    np.testing.assert_allclose(
        buffers.albedo[5:40, inner, 0], np.tile((u[inner] * 256 - 0.5) / 255, (35, 1)), atol=1.5 / 255
    )
    colour = np.repeat([0.0, 0.0, 1.0, 1.0], 3).reshape(4, 3)
    np.testing.assert_allclose(
        renderer.render([quad((0, 0, 64, 48), z, colour=colour)], *CAMERA).albedo[..., 1],
        np.tile(u, (48, 1)),
        atol=1e-4,
    )


def test_texture_finer_than_the_pixels_is_averaged(renderer: Renderer):
    checks = np.full((512, 512, 4), 255, np.uint8)
    checks[..., :3] = 255 * (np.indices((512, 512)).sum(0) % 2)[..., None]
    albedo = renderer.render([quad((0, 0, 64, 48), texture=checks)], *CAMERA).albedo
    np.testing.assert_allclose(albedo, 0.5, atol=0.01)


def test_clear_texels_show_the_colour_and_do_not_bleed_without_one(renderer: Renderer):
    picture = np.tile(np.array([0, 255, 0, 0], np.uint8), (256, 256, 1))  # clear, though green
    picture[:, ::2] = 200, 100, 50, 255
    own = np.array([200, 100, 50]) / 255
    alone = renderer.render([quad((0, 0, 64, 48), texture=picture)], *CAMERA).albedo
    np.testing.assert_allclose(alone, np.broadcast_to(own, alone.shape), atol=0.01)
    blue = np.tile([0.0, 0.0, 1.0], (4, 1))
    over = renderer.render([quad((0, 0, 64, 48), texture=picture, colour=blue)], *CAMERA).albedo
    np.testing.assert_allclose(over, np.broadcast_to((own + blue[0]) / 2, over.shape), atol=0.01)
    assert (renderer.render([quad((0, 0, 64, 48))], *CAMERA).albedo == 1).all(), "white without either"


def test_supersampling_gives_coverage_and_leaves_labels_alone(renderer: Renderer):
    red = np.tile([1.0, 0.2, 0.0], (4, 1))
    mesh = quad((10.25, 10.5, 20.75, 20.0), colour=red)
    plain = renderer.render([mesh], *CAMERA)
    fine = renderer.render([mesh], *CAMERA, supersample=4)
    assert set(np.unique(plain.alpha)) == {0, 1}
    np.testing.assert_array_equal(plain.alpha > 0, plain.part >= 0)
    for name in ("part", "triangle", "canonical_mm", "depth_mm", "normal"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(fine, name))
    np.testing.assert_allclose(fine.alpha[15, 9:22], [0, 0.75, *[1] * 9, 0.75, 0], atol=1e-6)
    np.testing.assert_allclose(fine.alpha[9:21, 15], [0, 0.5, *[1] * 9, 0], atol=1e-6)
    covered = fine.alpha > 0
    np.testing.assert_allclose(fine.albedo[covered], np.broadcast_to(red[0], (covered.sum(), 3)), atol=1e-6)
    assert (fine.albedo[~covered] == 0).all()


def test_shrink_is_the_mean_of_each_block():
    image = np.random.default_rng(0).random((6, 9, 2)).astype(np.float32)
    np.testing.assert_allclose(shrink(image, 3), image.reshape(2, 3, 3, 3, 2).mean((1, 3)), rtol=1e-6)
    assert shrink(image, 3).dtype == np.float32


def test_a_frame_owes_nothing_to_earlier_ones(renderer: Renderer):
    rng = np.random.default_rng(0)
    texture = [rng.integers(0, 256, (8, 8, 4), dtype=np.uint8) for _ in range(12)]
    uv = [rng.random((2, 3, 2)) for _ in range(3)]
    boxes = [(2.0 + 5 * k, 3.0, 6.0 + 5 * k, 40.0) for k in range(12)]
    scenes = [
        [quad(boxes[0])],
        [quad(box, texture=picture) for box, picture in zip(boxes, texture, strict=True)],
        [quad(boxes[k], texture=texture[k], uv=uv[k]) for k in range(3)],
        [quad(boxes[k], texture=texture[k], uv=uv[2 - k]) for k in range(3)],
        [quad(boxes[k], texture=texture[k].copy(), uv=uv[0]) for k in (3, 4)],
        [soup(k, 20) for k in range(40)],
    ]
    wanted = []
    for scene in scenes:
        with Renderer(SIZE) as fresh:
            wanted.append(fresh.render(scene, *CAMERA))
    for k in rng.permutation(np.repeat(np.arange(len(scenes)), 3)):
        got = renderer.render(scenes[k], *CAMERA)
        for name in ("triangle", "albedo", "canonical_mm", "normal"):
            np.testing.assert_array_equal(getattr(got, name), getattr(wanted[k], name), err_msg=f"{k} {name}")


def test_new_arrays_in_an_old_ones_place_are_new(renderer: Renderer):
    for k in range(40):  # arrays die after each frame, and the next ones may be given their memory and id
        texture = np.full((2, 2, 4), (5 * k, 0, 0, 255), np.uint8)
        uv = np.full((2, 3, 2), 0.5)
        mesh = quad((0, 0, 64, 48), texture=texture, uv=uv)
        mesh = Mesh(mesh.vertices_camera_mm, TWO[k % 2 :].copy(), mesh.canonical_mm, None, uv[k % 2 :], None, texture)
        buffers = renderer.render([mesh], *CAMERA)
        np.testing.assert_allclose(buffers.albedo.max(), 5 * k / 255, atol=1e-6)
        assert buffers.triangle.max() == 1 - k % 2


def test_a_corner_has_the_uv_of_its_own_triangle(renderer: Renderer):
    # the left triangle shows the picture's left half alone, the right one the right half, on shared vertices
    picture = np.full((4, 8, 4), 255, np.uint8)
    picture[:, :4, :3], picture[:, 4:, :3] = (255, 0, 0), (0, 0, 255)
    uv = np.array([[[0.2, 0.5]] * 3, [[0.8, 0.5]] * 3])
    buffers = renderer.render([quad((0, 0, 64, 48), texture=picture, uv=uv)], *CAMERA)
    for triangle, colour in ((0, [1, 0, 0]), (1, [0, 0, 1])):
        assert np.unique(buffers.albedo[buffers.triangle == triangle], axis=0).tolist() == [colour]


def test_visible_is_what_nothing_hides(renderer: Renderer):
    buffers = renderer.render([quad((20, 10, 40, 30), 500.0)], *CAMERA)

    def at(x: float, y: float, z: float) -> list[float]:
        return [(x - PRINCIPAL[0]) / FOCAL * z, (y - PRINCIPAL[1]) / FOCAL * z, z]

    points = {
        (30, 20, 500): True,
        (30, 20, 501.9): True,
        (30, 20, 502.2): False,
        (30, 20, 300): True,
        (30, 20, 900): False,
        (5, 5, 900): True,
        (20.3, 20, 900): True,  # less than a pixel from the outline
        (21.1, 20, 900): False,
        (0.1, 0.1, 900): True,
        (63.9, 47.9, 900): True,
        (64.1, 20, 900): False,
        (30, -0.1, 400): False,
        (30, 20, -500): False,
        (30, 20, 0): False,
    }
    xyz = np.array([at(*p) for p in points])
    assert visible(buffers, xyz).tolist() == [*points.values()]
    assert visible(buffers, xyz[2:3], tolerance_mm=3.0).tolist() == [True]
    facing = np.array([[0, 0, -1.0], [0, 0, 1.0], [1.0, 0, 0]])
    before = np.array(
        [at(30, 20, 500)] * 3
    )  # left of the principal point: a normal to the right faces away... a little
    assert visible(buffers, before, facing).tolist() == [True, False, True]
    assert visible(buffers, np.array([[np.nan] * 3])).tolist() == [False]
    assert visible(buffers, np.zeros((0, 3))).shape == (0,)


def test_a_slope_does_not_hide_itself(renderer: Renderer):
    # 40 mm of depth a pixel
    mesh = quad((10, 5, 50, 40), (400.0, 2000.0))
    weights = np.random.default_rng(0).dirichlet([1, 1, 1], 500)
    points = weights @ mesh.vertices_camera_mm[:3]
    assert visible(renderer.render([mesh], *CAMERA), points).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vertices_camera_mm": np.zeros((3, 2))}, "vertices_camera_mm must be (3, 3), not (3, 2)"),
        ({"canonical_mm": np.zeros((4, 3))}, "canonical_mm must be (3, 3), not (4, 3)"),
        ({"vertices_camera_mm": np.full((3, 3), np.nan)}, "vertices_camera_mm is not finite"),
        ({"triangles": np.array([[0, 1, 3]])}, "a vertex outside 0..2"),
        ({"triangles": np.array([[0, 1, -1]])}, "a vertex outside 0..2"),
        ({"part": np.zeros(2, int)}, "part must be (1,), not (2,)"),
        ({"texture": np.zeros((2, 2, 4), np.uint8)}, "a texture needs uv"),
        ({"texture": np.zeros((2, 2, 3), np.uint8), "uv": np.zeros((1, 3, 2))}, "must be (H, W, 4), not (2, 2, 3)"),
    ],
)
def test_a_mesh_says_what_is_wrong_with_it(change: dict[str, np.ndarray], message: str):
    good = {"vertices_camera_mm": np.eye(3), "triangles": np.array([[0, 1, 2]]), "canonical_mm": np.eye(3)}
    Mesh(**good)
    with pytest.raises(AnymarkError) as error:
        Mesh(**(good | change))
    assert message in str(error.value)


def test_a_renderer_says_what_is_wrong(renderer: Renderer):
    for arguments in (
        {"focal_px": 0.0, "principal_px": (0, 0)},
        {"focal_px": float("nan"), "principal_px": (0, 0)},
        {"focal_px": 1.0, "principal_px": (0, 0, 0)},
        {"focal_px": 1.0, "principal_px": (0, 0), "near_mm": 0.0},
        {"focal_px": 1.0, "principal_px": (0, 0), "near_mm": 10.0, "far_mm": 5.0},
        {"focal_px": 1.0, "principal_px": (0, 0), "supersample": 0},
    ):
        with pytest.raises(AnymarkError, match="renderer"):
            renderer.render([], **arguments)
    for size in ((0, 5), (1_000_000, 5)):
        with pytest.raises(AnymarkError, match=r"^renderer: .*0 x 5"):
            Renderer(size)
    closed = Renderer((4, 4))
    closed.close()
    closed.close()
    with pytest.raises(AnymarkError, match="closed"):
        closed.render([], *CAMERA)


def test_another_thread_is_refused(renderer: Renderer):
    errors: list[AnymarkError] = []

    def draw() -> None:
        try:
            renderer.render([], *CAMERA)
        except AnymarkError as error:
            errors.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    assert "one thread" in str(errors[0])


def test_no_opengl_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    moderngl = pytest.importorskip("moderngl", reason="needs the extra data: pip install 'anymark[data]'")
    monkeypatch.setattr(gl, "_contexts", {})

    def refuse(**_: object) -> None:
        raise RuntimeError("libEGL.so not loaded")

    monkeypatch.setattr(moderngl, "create_standalone_context", refuse)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(AnymarkError, match=r"^.*libEGL.so not loaded.* libegl1 .*libgl1-mesa-dri$"):
        Renderer(SIZE)


def test_no_moderngl_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gl, "_contexts", {})
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(AnymarkError, match=r"pip install 'anymark\[data\]'"):
        Renderer(SIZE)


def _in_worker(seed: int) -> Buffers:
    with Renderer(SIZE) as own:
        return own.render([soup(seed)], *CAMERA)


def test_spawned_workers_draw_the_same(renderer: Renderer):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        drawn = pool.map(_in_worker, [0, 1], chunksize=1)
    for seed, got in enumerate(drawn):
        wanted = renderer.render([soup(seed)], *CAMERA)
        np.testing.assert_array_equal(got.triangle, wanted.triangle)
        np.testing.assert_array_equal(got.canonical_mm, wanted.canonical_mm)


IBUG = {"right jaw": 0, "chin": 8, "nose tip": 30, "right mouth corner": 48, "left mouth corner": 54, "left brow": 24}


@pytest.fixture(scope="module")
def ict(shared: Path) -> Rig:
    return Rig.load_ict(shared / "assets")


def posed(rig: Rig, yaw_degrees: float) -> np.ndarray:
    """Vertices in the camera's frame: facing the camera at 1 m, then turned about the vertical."""
    sin, cos = np.sin(np.radians(yaw_degrees)), np.cos(np.radians(yaw_degrees))
    turn = np.diag([1.0, -1.0, -1.0]) @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return rig.neutral_mm @ turn.T + [0, 0, 1000]


def test_landmarks_of_a_head_are_seen_where_they_project(renderer: Renderer, ict: Rig):
    focal, principal = 1100.0, np.array([192.0, 185.0])
    vertices = posed(ict, 0)
    with Renderer((384, 384)) as large:
        buffers = large.render([Mesh(vertices, ict.triangles, ict.neutral_mm)], focal, principal)
        turned = large.render([Mesh(posed(ict, 90), ict.triangles, ict.neutral_mm)], focal, principal)
    points = ict.landmarks["ibug68"]
    at, home = points.on(vertices), points.on(ict.neutral_mm)
    xy = principal + focal * at[:, :2] / at[:, 2:]
    seen = visible(buffers, at)
    index = np.array([IBUG[name] for name in IBUG if name != "right jaw"])
    assert seen[index].all()
    assert seen.mean() > 0.8
    j, i = np.floor(xy[index]).astype(int).T
    # half a pixel is 0.45 mm; on a slope a little more
    assert np.linalg.norm(buffers.canonical_mm[i, j] - home[index], axis=1).max() < 1.5

    # the subject's left, +x, is on the image's right; the chin is below the nose
    assert xy[IBUG["left mouth corner"], 0] > 192 > xy[IBUG["right mouth corner"], 0]
    assert xy[IBUG["chin"], 1] > xy[IBUG["nose tip"], 1]
    half = buffers.part >= 0
    half[:, :200] = False
    assert (buffers.canonical_mm[half, 0] > 0).all()

    # a head that has turned to its left shows its right side alone
    side = visible(turned, points.on(posed(ict, 90)))
    assert side[[2, 30, 48]].all()
    assert not side[[14, 45, 54]].any()
    back = np.array([[0.0, 60.0, -92.0]]) * [1, -1, -1] + [0, 0, 1000]
    assert not visible(buffers, back).any()
