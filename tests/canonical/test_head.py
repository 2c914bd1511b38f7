"""The canonical head: its mesh, parts and regions, and what one asks of its surface."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anymark.canonical import CanonicalHead, mm_to_uvw, uvw_to_mm
from anymark.canonical.head import SKIN
from anymark.errors import AnymarkError


@pytest.fixture(scope="module")
def head() -> CanonicalHead:
    return CanonicalHead.load()


def corners(head: CanonicalHead, ids: np.ndarray | slice = slice(None)) -> np.ndarray:
    return head.vertices_mm[head.triangles[ids]].astype(float)


def unpaired_edges(triangles: np.ndarray) -> tuple[int, bool]:
    """How many directed edges have no twin, and whether any edge occurs twice in one direction."""
    edges = [(row[k], row[(k + 1) % 3]) for row in triangles.tolist() for k in range(3)]
    return len(set(edges) - {(b, a) for a, b in edges}), len(set(edges)) != len(edges)


def test_is_small_and_in_the_package(head: CanonicalHead):
    assert 5_000 <= len(head.triangles) <= 10_000
    data = resources.files("anymark.canonical") / "data"
    shipped = [data / "head.npz", *(data / "layouts").iterdir()]
    assert sum(len(entry.read_bytes()) for entry in shipped) < 3_000_000


def test_lies_in_the_cube_with_a_margin(head: CanonicalHead):
    skin = head.vertices_mm[head.triangles[head.triangles_of(*SKIN)]].reshape(-1, 3)
    assert mm_to_uvw(skin).min() > 0.1
    assert mm_to_uvw(skin).max() < 0.95
    assert head.vertices_uvw().min() > 0
    assert head.vertices_uvw().max() < 1


@given(st.lists(st.tuples(*[st.floats(-500, 500)] * 3), min_size=1, max_size=20))
def test_uvw_round_trip(points: list[tuple[float, float, float]]):
    np.testing.assert_allclose(uvw_to_mm(mm_to_uvw(points)), points, atol=1e-9)


def test_parts_are_a_partition_and_regions_overlap_none(head: CanonicalHead):
    ids = np.concatenate([head.regions[name] for name in head.part_names])
    np.testing.assert_array_equal(np.sort(ids), np.arange(len(head.triangles)))
    for i, name in enumerate(head.part_names):
        np.testing.assert_array_equal(head.regions[name], np.flatnonzero(head.part == i))
    rest = [ids for name, ids in head.regions.items() if name not in head.part_names]
    assert all(len(ids) > 0 for ids in head.regions.values())
    assert len(np.concatenate(rest)) == len(np.unique(np.concatenate(rest)))


@pytest.mark.parametrize(
    "name",
    ["nose", "upper lip", "lower lip", "forehead", "chin", "jaw", "scalp", "neck", "left ear", "right ear",
     "left cheek", "right cheek", "left brow", "right brow", "left eyelids", "right eyelids", "left temple",
     "left iris", "right pupil", "tongue", "gums", "upper teeth", "lower right first molar"],
)  # fmt: skip
def test_regions_that_people_ask_for(head: CanonicalHead, name: str):
    assert len(head.triangles_of(name)) > 0


def test_regions_lie_where_their_names_say(head: CanonicalHead):
    def middle(name: str) -> np.ndarray:
        return corners(head, head.regions[name]).reshape(-1, 3).mean(0)

    for name in head.regions:
        if "left" in name:
            assert corners(head, head.regions[name])[..., 0].min() > -1, name
            np.testing.assert_allclose(middle(name), middle(name.replace("left", "right")) * (-1, 1, 1), atol=1e-3)
    assert middle("left ear")[0] > 60
    heights = [middle(name)[1] for name in ("scalp", "forehead", "left brow", "left eyelids", "nose", "upper lip")]
    heights += [middle(name)[1] for name in ("lower lip", "chin", "neck", "shoulders")]
    assert heights[1:] == sorted(heights[1:], reverse=True)
    assert middle("upper teeth")[1] > middle("lower teeth")[1]
    assert middle("nose")[2] > middle("left cheek")[2] > middle("left ear")[2] > middle("scalp")[2]


def test_pieces_are_whole(head: CanonicalHead):
    edges, doubled = unpaired_edges(head.triangles[head.triangles_of(*SKIN, "shoulders")])
    assert not doubled
    assert edges < 150  # the holes of the eyes and of the mouth, and the bust's lower end: no cracks between parts
    for name in ("left eye", "right eye", "upper left canine", "lower right first molar"):
        assert unpaired_edges(head.triangles[head.regions[name]]) == (0, False), name


def test_normals_point_outwards(head: CanonicalHead):
    for name in ("left eye", "right eye", "upper right canine", "lower left second molar"):
        a, b, c = np.moveaxis(corners(head, head.regions[name]), 1, 0)
        assert np.einsum("nd,nd->n", a, np.cross(b, c)).sum() > 0, name
    a, b, c = np.moveaxis(corners(head, head.regions["scalp"]), 1, 0)
    outward = (a + b + c) / 3 - (0, 20, 0)
    assert (np.einsum("nd,nd->n", np.cross(b - a, c - a), outward) > 0).all()
    a, b, c = np.moveaxis(corners(head, head.regions["forehead"]), 1, 0)
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


def test_flip_mirrors_the_mesh(head: CanonicalHead):
    np.testing.assert_array_equal(head.vertices_mm[head.flip], head.vertices_mm * np.array([-1, 1, 1], np.float32))
    mirrored = {frozenset(t) for t in head.flip[head.triangles].tolist()}
    assert mirrored == {frozenset(t) for t in head.triangles.tolist()}


def test_uv_gives_parts_their_tiles(head: CanonicalHead):
    assert head.uv.shape == (len(head.triangles), 3, 2)
    tiles = {"left eye": 4, "right eye": 5, "upper teeth": 3, "lower teeth": 3, "tongue": 2, "gums": 2, "nose": 0}
    for name, tile in tiles.items():
        uv = head.uv[head.regions[name]]
        assert uv[..., 0].min() >= tile
        assert uv[..., 0].max() <= tile + 1
    assert head.uv[..., 1].min() >= 0
    assert head.uv[..., 1].max() <= 1
    same_tile = np.ptp(np.floor(head.uv[..., 0]), axis=1) == 0
    assert same_tile.all()  # no triangle spans a seam
    first, second = head.uv[:, 1] - head.uv[:, 0], head.uv[:, 2] - head.uv[:, 0]
    turned = np.sign(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    face = head.regions["face"]
    assert abs(turned[face].mean()) > 0.95  # one winding: the texture is not folded


def test_arrays_are_read_only_and_loaded_once(head: CanonicalHead):
    assert CanonicalHead.load() is head
    with pytest.raises(ValueError, match="read-only"):
        head.vertices_mm[0] = 0


def test_unknown_region_is_one_clear_line(head: CanonicalHead):
    with pytest.raises(AnymarkError, match="no region named 'snout'; there are face") as error:
        head.triangles_of("snout")
    assert "\n" not in str(error.value)
    with pytest.raises(AnymarkError, match="cannot sample 0"):
        head.sample(0)


def test_sample_is_even_and_repeatable(head: CanonicalHead):
    sample = head.sample(4_000)
    np.testing.assert_array_equal(sample.points_mm, head.sample(4_000).points_mm)
    np.testing.assert_allclose(sample.barycentric.sum(1), 1)
    assert sample.barycentric.min() >= 0
    area = head.areas_mm2()
    skin = head.triangles_of(*SKIN)
    assert np.isin(sample.triangles, skin).all()
    for part in SKIN:
        want = 4_000 * area[head.regions[part]].sum() / area[skin].sum()
        assert abs(np.isin(sample.triangles, head.regions[part]).sum() - want) < 5 + 0.01 * want
    # within a triangle: the mean of the weights is the centre
    np.testing.assert_allclose(head.sample(4_000, ("nose",)).barycentric.mean(0), 1 / 3, atol=0.01)


def test_closest_point_of_surface_points_is_themselves(head: CanonicalHead):
    points = head.sample(300).points_mm
    np.testing.assert_allclose(head.closest_point(points).points_mm, points, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.floats(-200, 200)] * 3))
def test_closest_point_is_closer_than_any_other(point: tuple[float, float, float]):
    head = CanonicalHead.load()
    found = head.closest_point([point])
    distance = np.linalg.norm(found.points_mm[0] - point)
    others = np.vstack([head.vertices_mm, corners(head).mean(1)])
    assert distance <= np.linalg.norm(others - point, axis=1).min() + 1e-6
    rebuilt = found.barycentric[0] @ corners(head)[found.triangles[0]]
    np.testing.assert_allclose(rebuilt, found.points_mm[0])
    assert found.barycentric.min() >= -1e-9


def test_closest_point_takes_any_number(head: CanonicalHead):
    assert head.closest_point(np.zeros((0, 3))).points_mm.shape == (0, 3)
    assert head.closest_point(np.zeros((97, 3))).triangles.shape == (97,)
