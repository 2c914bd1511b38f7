"""What a head hides of itself: on the canonical head, turned."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

from anymark import Camera, CanonicalHead, load_layout
from anymark.detect.visibility import Surface
from anymark.engine.shots import turned

HEAD = CanonicalHead.load()


def camera(yaw: float, pitch: float = 0.0, roll: float = 0.0, distance: float = 700.0, focal: float = 1500.0) -> Camera:
    rotation = turned(*np.radians([yaw, pitch, roll]))
    return Camera(focal, np.array([256.0, 256.0]), rotation, np.array([0.0, 0.0, distance]))


def visible(layout: str, *pose: float) -> np.ndarray:
    """(N,) of a layout on the canonical head turned by yaw, pitch and roll."""
    points = load_layout(layout).points_mm
    return Surface(lambda: HEAD.vertices_mm, camera(*pose)).visible(points, points)


def of_region(layout: str, region: str, *pose: float) -> float:
    """The mean over a region."""
    return float(visible(layout, *pose)[load_layout(layout).regions[region]].mean())


@pytest.mark.parametrize("layout", ["ibug68", "wflw98", "mediapipe478", "irises"])
def test_a_frontal_face_is_seen_whole_lips_and_lids_included(layout: str) -> None:
    seen = visible(layout, 0)
    assert np.mean(seen > 0.5) > 0.99  # a nostril's rim may not be
    assert np.median(seen) > 0.99


@pytest.mark.parametrize(("yaw", "near", "far"), [(80, "right", "left"), (-80, "left", "right")])
def test_a_profile_hides_the_far_eye_and_ear(yaw: float, near: str, far: str) -> None:
    assert of_region("head", f"{near} iris", yaw) > 0.9
    assert of_region("head", f"{far} iris", yaw) < 0.05
    assert of_region("head", f"{far} eyelids", yaw) < 0.1
    assert of_region("head", f"{far} ear", yaw) < 0.01
    assert of_region("head", f"{near} ear", yaw) > 0.4  # its back is not seen
    assert of_region("head", f"{near} cheek", yaw) > 0.9
    assert of_region("head", f"{far} cheek", yaw) < 0.1


def test_from_the_front_both_ears_and_eyes_are_seen() -> None:
    for side in ("left", "right"):
        assert of_region("head", f"{side} iris", 0) > 0.9
        assert of_region("head", f"{side} ear", 0) > 0.3
        assert of_region("head", f"{side} brow", 0) > 0.98
        assert of_region("head", f"{side} cheek", 0) > 0.7  # it reaches round to the ear


def test_the_back_of_the_head_hides_the_face_and_is_seen_itself() -> None:
    for region in ("nose", "upper lip", "left iris", "right brow", "forehead", "chin"):
        assert of_region("head", region, 180) < 0.01, region
    seen = visible("head", 180)
    assert seen[HEAD.vertices_mm[:, 2] < -80].mean() > 0.95
    assert visible("head", 0)[HEAD.vertices_mm[:, 2] < -80].max() < 0.01


@pytest.mark.parametrize("pose", [(0,), (35, 10), (70, -20), (120, 0), (20, 40, 30)])
def test_mirrored_heads_hide_mirrored_points(pose: tuple[float, ...]) -> None:
    yaw, pitch, roll = (*pose, 0, 0)[:3]
    here, mirrored = visible("head", yaw, pitch, roll), visible("head", -yaw, pitch, -roll)[HEAD.flip]
    difference = np.abs(here - mirrored)  # cells are not mirrored, so the head's outline differs by one
    assert difference.mean() < 0.02
    assert np.mean(difference < 0.05) > 0.95


@pytest.mark.parametrize("yaw", [0, 45, 90, 180])
def test_bones_are_hidden_from_everywhere(yaw: float) -> None:
    for layout in ("skull", "mandible"):
        assert visible(layout, yaw).mean() < 0.03
        assert np.mean(visible(layout, yaw) > 0.5) < 0.01


def test_teeth_are_hidden_by_lips_and_seen_between_them() -> None:
    layout = load_layout("teeth")
    assert layout.names is not None
    seen = dict(zip(layout.names, visible("teeth", 0), strict=True))
    for side in ("left", "right"):
        assert max(value for name, value in seen.items() if f"{side} third molar" in name) < 0.01
        assert seen[f"upper {side} central incisor, edge"] > 0.9  # the mouth is a little open
        assert seen[f"upper {side} central incisor, face"] < 0.1  # behind the lip
    assert visible("teeth", 90).max() < 0.05


@pytest.mark.parametrize("yaw", [0, 60, 90])
def test_points_in_the_air_are_hidden_behind_the_head_only(yaw: float) -> None:
    points = np.array([[3, 0, 170], [3, 0, -140], [150, 0, 0], [-150, 0, 0], [3, 170, 0]], np.float32)
    view = camera(yaw)
    hidden = ray_cast(points.astype(float), -view.R_camera_head.T @ view.t_camera_head_mm) > 0
    assert hidden.any()
    assert not hidden.all()
    np.testing.assert_allclose(Surface(lambda: HEAD.vertices_mm, view).visible(points, points), ~hidden, atol=0.02)


def test_points_within_the_head_are_where_this_head_has_them() -> None:
    """A point in the brain that a network moved before the face is seen."""
    inside, moved = np.array([[0, 60, 20]], np.float32), np.array([[0, 20, 160]], np.float32)
    surface = Surface(lambda: HEAD.vertices_mm, camera(0))
    assert surface.visible(inside, inside) < 0.01
    assert surface.visible(inside, moved) > 0.99


def test_an_other_head_hides_other_points() -> None:
    """A bridge of the nose that is 10 cm high hides the far eye of a head that is turned a little."""
    across, up, _ = HEAD.vertices_mm.T
    bridge = np.exp(-((across / 12) ** 2) - ((up - 36) / 40) ** 2)
    grown = HEAD.vertices_mm + np.outer(bridge, [0, 0, 100]).astype(np.float32)
    points = load_layout("irises").points_mm
    left = slice(5, 10)
    assert visible("irises", 30)[left].min() > 0.9
    assert Surface(lambda: grown, camera(30)).visible(points, points)[left].max() < 0.1


def ray_cast(points: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """(N,) how far before points (N, 3) the first surface lies that faces the eye, in mm: slow, and exact."""
    a, b, c = (HEAD.vertices_mm[HEAD.triangles[:, i]].astype(float) for i in range(3))
    out = np.zeros(len(points))
    for i, point in enumerate(points):
        way = point - eye
        cross = np.cross(way, c - a)
        det = ((b - a) * cross).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = ((eye - a) * cross).sum(1) / det
            other = np.cross(eye - a, b - a)
            v, t = (way * other).sum(1) / det, ((c - a) * other).sum(1) / det
        hit = (det > 0) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < 1)
        if hit.any():
            out[i] = (1 - t[hit].min()) * np.linalg.norm(way)
    return out


@pytest.mark.parametrize("pose", [(0, 0), (30, 15), (60, -10), (90, 0), (150, 20)])
def test_it_agrees_with_rays_that_are_cast_at_every_triangle(pose: tuple[float, float]) -> None:
    found = HEAD.sample(400)
    points = found.points_mm.astype(np.float32)
    view = camera(*pose)
    a, b, c = np.moveaxis(HEAD.vertices_mm[HEAD.triangles[found.triangles]].astype(float), 1, 0)
    eye = -view.R_camera_head.T @ view.t_camera_head_mm
    normals, ways = np.cross(b - a, c - a), eye - points
    facing = (normals * ways).sum(1) / np.linalg.norm(normals, axis=1) / np.linalg.norm(ways, axis=1)
    before = ray_cast(points.astype(float), eye)
    clear = np.abs(facing) > 0.3  # at the rim, who can say
    seen = Surface(lambda: HEAD.vertices_mm, view).visible(points, points) > 0.5
    agree = (seen == ((facing > 0) & (before < 3)))[clear]
    assert agree.mean() > 0.98
    assert clear.mean() > 0.6


def test_it_is_worked_out_once_a_head_and_not_kept_for_ever() -> None:
    asked: list[int] = []

    def vertices() -> np.ndarray:
        asked.append(1)
        return HEAD.vertices_mm

    surface = Surface(vertices, camera(0))
    assert asked == []
    for layout in ("ibug68", "irises"):
        points = load_layout(layout).points_mm
        surface.visible(points, points)
    assert asked == [1]
    gone = weakref.ref(surface)
    del surface
    for yaw in range(8):
        visible("irises", yaw)
    gc.collect()
    assert gone() is None


def test_vertices_behind_the_camera_are_no_trouble() -> None:
    points = load_layout("ibug68").points_mm
    seen = Surface(lambda: HEAD.vertices_mm, camera(0, 0, 0, 50.0)).visible(points, points)
    assert ((seen >= 0) & (seen <= 1)).all()


def test_what_is_no_head_takes_no_more_memory() -> None:
    """Vertices anywhere, so that every triangle spans all of it."""
    anywhere = np.random.default_rng(0).uniform(-100, 100, HEAD.vertices_mm.shape).astype(np.float32)
    points = load_layout("ibug68").points_mm
    tracemalloc.start()
    seen = Surface(lambda: anywhere, camera(0)).visible(points, points)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ((seen >= 0) & (seen <= 1)).all()
    assert peak < 200e6
