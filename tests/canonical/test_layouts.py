"""The shipped layouts: where their points lie and how they mirror."""

from __future__ import annotations

import numpy as np
import pytest

from anymark.canonical import CanonicalHead, Layout, available_layouts, load_layout, mm_to_uvw
from anymark.canonical.head import SKIN

SIZES = {
    "dense-500": 500,
    "dense-50k": 50_000,
    "dense-5k": 5_000,
    "ears": 66,
    "eyes": 58,
    "facelab189": 189,
    "head": 4451,
    "ibug68": 68,
    "irises": 10,
    "mandible": 300,
    "mediapipe478": 478,
    "skull": 500,
    "teeth": 64,
    "wflw98": 98,
}


def test_the_shipped_layouts_are_these():
    assert {name: len(load_layout(name)) for name in available_layouts()} == SIZES


def test_layouts_of_known_data_sets_say_so():
    codes = {name: load_layout(name).code for name in available_layouts()}
    assert {name: code for name, code in codes.items() if code is not None} == {
        "ibug68": "ibug68",
        "irises": "mediapipe478",
        "mediapipe478": "mediapipe478",
        "wflw98": "wflw98",
    }


@pytest.fixture(params=sorted(SIZES))
def layout(request) -> Layout:
    return load_layout(request.param)


def test_flip_mirrors_points_names_and_regions(layout: Layout):
    assert layout.flip is not None
    mirrored = layout.points_mm * (-1, 1, 1)
    assert np.abs(layout.points_mm[layout.flip] - mirrored).max() < 1

    def other(name: str) -> str:
        return name.replace("left", "@").replace("right", "left").replace("@", "right")

    if layout.names is not None:
        assert [other(name) for name in layout.names] == [layout.names[i] for i in layout.flip]
    for name, index in layout.regions.items():
        assert set(layout.flip[index]) == set(layout.regions[other(name)]), name


def test_left_is_the_subjects_left(layout: Layout):
    for name, index in layout.regions.items():
        x = layout.points_mm[index, 0].mean()
        assert x > 2 or "left" not in name, name
        assert x < -2 or "right" not in name, name


def test_edges_mirror_to_edges(layout: Layout):
    if layout.edges is None:
        pytest.skip("a cloud of points")
    edges = {frozenset(edge) for edge in layout.edges.tolist()}
    flipped = {frozenset(edge) for edge in layout.flip[layout.edges].tolist()}
    assert len(edges) == len(layout.edges)
    # MediaPipe draws one edge of the nose on one side only
    assert len(edges - flipped) <= (6 if layout.name == "mediapipe478" else 0)


def test_points_lie_in_the_cube(layout: Layout):
    uvw = mm_to_uvw(layout.points_mm)
    assert uvw.min() > 0
    assert uvw.max() < 1


@pytest.mark.parametrize(
    ("name", "tolerance_mm"),
    [
        ("dense-500", 0.01),
        ("dense-5k", 0.01),
        ("ears", 0.01),
        ("teeth", 0.01),
        ("irises", 1.0),
        ("eyes", 2.0),
        ("ibug68", 5.0),
        ("wflw98", 5.0),
        ("mediapipe478", 2.0),
    ],
)
def test_points_lie_on_the_head(name: str, tolerance_mm: float):
    points = load_layout(name).points_mm[:1000]
    on_head = CanonicalHead.load().closest_point(points).points_mm
    assert np.linalg.norm(on_head - points, axis=1).max() < tolerance_mm


@pytest.mark.parametrize("name", ["dense-500", "dense-5k", "dense-50k"])
def test_dense_layouts_are_uniform_by_area(name: str):
    head, layout = CanonicalHead.load(), load_layout(name)
    area = head.areas_mm2()
    density = len(layout) / area[head.triangles_of(*SKIN)].sum()
    on_parts = sum(len(layout.regions[part]) for part in SKIN)
    assert on_parts == len(layout)
    for region in (*SKIN, "nose", "forehead", "chin", "left cheek", "right temple"):
        want = density * area[head.regions[region]].sum()
        # far below the scatter of independent draws, sqrt(want)
        assert abs(len(layout.regions[region]) - want) < 4 + 0.7 * np.sqrt(want), region


@pytest.mark.parametrize("name", ["dense-500", "dense-5k"])
def test_dense_points_keep_apart(name: str):
    head, points = CanonicalHead.load(), load_layout(name).points_mm
    distance2 = (points**2).sum(1)[:, None] + (points**2).sum(1) - 2 * points @ points.T
    np.fill_diagonal(distance2, np.inf)
    nearest = np.sqrt(np.maximum(distance2.min(1), 0))
    grid = np.sqrt(head.areas_mm2()[head.triangles_of(*SKIN)].sum() / len(points))
    assert np.median(nearest) > 0.7 * grid  # independent draws: 0.47
    assert nearest.min() > 0.1 * grid


def test_mediapipe_points_are_those_that_models_are_trained_on():
    points = load_layout("mediapipe478").points_mm
    nose, chin, left_iris = (
        (0.0, -2.60765171, 129.686752),
        (-5.67275638e-05, -82.5094376, 97.1267624),
        (32.9018478, 36.1711998, 94.5416565),
    )
    np.testing.assert_array_equal(points[[1, 152, 473]], np.array([nose, chin, left_iris], np.float32))


def test_iris_rings_run_towards_left_up_right_down():
    for name, start in (("mediapipe478", 468), ("mediapipe478", 473), ("irises", 0), ("irises", 5)):
        centre, *ring = load_layout(name).points_mm[start : start + 5, :2]
        np.testing.assert_allclose(ring - centre, 6.0 * np.array([(1, 0), (0, 1), (-1, 0), (0, -1)]), atol=1e-4)
    np.testing.assert_array_equal(load_layout("irises").flip, [5, 8, 7, 6, 9, 0, 3, 2, 1, 4])


def test_ibug68_reads_like_a_face():
    x, y, z = load_layout("ibug68").points_mm.T
    assert (np.diff(x[:17]) > 0).all()  # the jaw from the subject's right to the left
    assert y[:17].argmin() == 8
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    assert z.argmax() == 30  # the nose's tip
    assert x[36] < x[39] < 0 < x[42] < x[45]
    assert y[[37, 38]].min() > y[[40, 41]].max()
    assert x[48] < x[60] < 0 < x[64] < x[54]
    assert y[51] > y[62] > y[66] > y[57]
    gaps = np.linalg.norm(np.diff(load_layout("ibug68").points_mm[:17], axis=0), axis=1)
    assert gaps.max() < 2 * gaps.min()


def test_wflw98_shares_ibug68s_points():
    wflw, ibug = load_layout("wflw98").points_mm, load_layout("ibug68").points_mm
    np.testing.assert_allclose(wflw[0:33:2], ibug[:17], atol=0.5)
    np.testing.assert_allclose(wflw[51:60], ibug[27:36], atol=1e-4)
    np.testing.assert_allclose(wflw[76:96], ibug[48:68], atol=1e-4)
    np.testing.assert_allclose(wflw[[60, 72]], ibug[[36, 45]], atol=1e-4)


def test_every_tooth_has_a_point():
    names = load_layout("teeth").names
    assert names is not None
    teeth = {name.split(",")[0] for name in names}
    assert len(teeth) == 32
    assert "upper left central incisor" in teeth
    points = load_layout("teeth").points_mm
    upper = np.array([name.startswith("upper") for name in names])
    front = np.array(["incisor" in name for name in names])
    assert points[upper, 1].min() > points[~upper & front, 1].max()  # the mouth is open


def test_points_slide_with_the_side_that_the_head_is_seen_from():
    points = np.array([(70, -40, 30), (-70, -40, 30)], np.float32)
    slides = np.array([[(4, 0, -8), (0, 2, 0)], [(4, 0, 8), (0, 2, 0)]], np.float32)
    layout = Layout("jaw", points, names=("left", "right"), slides_mm=slides)
    assert layout.seen_from(np.array([0.0, 0.0, 1.0])).points_mm == pytest.approx(points)
    seen = layout.seen_from(np.array([0.5, -0.5, 0.5**0.5]))
    assert seen.points_mm == pytest.approx(np.array([[72, -41, 26], [-68, -41, 34]]))
    assert (seen.name, seen.names, seen.slides_mm) == ("jaw", ("left", "right"), None)
    assert (layout.points_mm == points).all()


def test_points_slide_no_further_than_the_cube():
    layout = Layout("far", np.array([(190.0, 0, 0)]), slides_mm=np.array([[(500.0, 0, 0), (0, -9, 0)]]))
    assert layout.seen_from(np.array([1.0, 0.0, 0.0])).points_mm[0] == pytest.approx([200, 0, 0], abs=1e-5)


def test_points_that_do_not_slide_cost_nothing():
    layout = load_layout("ibug68")
    assert layout.seen_from(np.array([1.0, 0.0, 0.0])) is layout
