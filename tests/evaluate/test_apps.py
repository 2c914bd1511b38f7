"""Measurements of apps: clicked points, segmentation and capture, on truths that are known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from anymark.apps.partition import Partition
from anymark.apps.rigs import ict_on_head
from anymark.apps.segment import segment
from anymark.canonical import CanonicalHead, load_layout
from anymark.detect.detector import Detector, Head
from anymark.detect.landmarks import Landmarks
from anymark.detect.points import Points, as_layout
from anymark.engine.samples import COARSE, Sample
from anymark.evaluate.captured import capture_details
from anymark.evaluate.clicked import FLOWS, WHEN, Clip, by_flow, details, errors, eyes_px
from anymark.evaluate.segmented import Counted, segment_details, true_labels
from anymark.fit import Rig
from anymark.video import Frame
from tests.apps.heads import camera, landmarks

SIDE = 200


def sample(covered: bool = False) -> Sample:
    """A render of the canonical head, with its maps as moderngl would make them."""
    seen_by = camera()
    head = CanonicalHead.load()
    xy = seen_by.project(head.vertices_mm)
    from anymark.detect.raster import rasterise

    drawn = rasterise(xy, seen_by.in_camera_mm(head.vertices_mm)[:, 2], head.triangles, (240, 200))
    points = drawn.of_vertices(head.vertices_mm, head.triangles)[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    triangle = drawn.triangle[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    points[triangle < 0] = np.nan
    part = np.where(triangle < 0, -1, head.part[triangle]).astype(np.int16)
    return Sample(
        key="a",
        image=np.zeros((200, 240, 3), np.uint8),
        vertices_mm=head.vertices_mm,
        bones_mm=np.zeros((1, 3), np.float32),
        xy_px=xy.astype(np.float32),
        visible=np.ones(len(xy), bool),
        canonical_mm=points,
        part=part,
        covered=np.full(part.shape, covered),
        places_mm=points,
        record={},
    )


def test_true_labels_are_those_of_a_perfect_head() -> None:
    partition = Partition.of_regions()
    true = true_labels(sample(), partition)
    found = segment([landmarks(camera())], (240, 200), partition).labels[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    assert (true == found).mean() > 0.99
    assert len(np.unique(true)) > 10
    assert (true_labels(sample(covered=True), partition) == -1).all()


def test_intersection_over_union_is_of_all_pixels_together() -> None:
    partition = Partition.of_regions(["nose", "chin"])
    counts = [Counted(np.array([10, 0]), np.array([20, 10])), Counted(np.array([30, 5]), np.array([30, 10]))]
    rows = segment_details(partition, counts)[0].rows
    assert rows["nose"]["IoU"] == pytest.approx(40 / 50)
    assert rows["chin"]["IoU"] == pytest.approx(5 / 20)
    assert rows["mean"]["IoU"] == pytest.approx((0.8 + 0.25) / 2)


@pytest.fixture
def clip() -> Clip:
    """Noise that moves by (1.5, -0.75) pixels a frame; the second point is hidden in the third frame."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    picture = 128 + 500 * gaussian_filter(np.random.default_rng(0).normal(0, 1, (120, 160)), 3)
    rows, columns = np.mgrid[:120, :160].astype(float)
    step = np.array([1.5, -0.75])
    frames = []
    for i in range(5):
        moved = map_coordinates(picture, [rows - i * step[1], columns - i * step[0]], order=3, mode="nearest")
        frames.append(Frame(i, i, i / 25, np.repeat(np.clip(moved, 0, 255).astype(np.uint8)[..., None], 3, 2)))
    points = np.array([[50.0, 60.0], [90.0, 70.0]]) + step * np.arange(5)[:, None, None]
    seen = np.ones((5, 2), bool)
    seen[2, 1] = False
    return Clip("noise", tuple(frames), points, seen, 40.0)


@pytest.mark.parametrize("which", FLOWS)
def test_flow_follows_what_moves(clip: Clip, which: str) -> None:
    found = by_flow(clip, which)
    np.testing.assert_array_equal(found[0], clip.points_px[0])
    assert np.abs(found - clip.points_px).max() < (0.2 if which == "Lucas-Kanade" else 0.6)


def test_errors_are_told_apart_by_what_was_seen(clip: Clip) -> None:
    track = clip.points_px.copy()
    track[2, 1] += [4, 0]  # hidden then
    track[3:, 1] += [0, 8]  # seen again
    track[1, 0] += [2, 0]
    found = errors(clip, {"who": track})["who"]
    assert {when: len(values) for when, values in found.items()} == {"seen": 5, "hidden": 1, "seen again": 2, "all": 8}
    assert found["seen"].max() == pytest.approx(2 / 40)
    assert found["hidden"].tolist() == pytest.approx([4 / 40])
    assert found["seen again"].tolist() == pytest.approx([8 / 40] * 2)
    missed = errors(clip, {"who": np.full_like(track, np.nan)})["who"]
    assert np.isinf(missed["all"]).all()
    medians, lost = details([{"who": found}, {"who": missed}])
    assert list(medians.rows["who"]) == list(WHEN)
    assert lost.rows["who"]["all"] == pytest.approx((2 + 8) / 16)


def test_the_capture_table_has_one_view_first() -> None:
    rng = np.random.default_rng(0)
    names = ("68 landmarks, 1 view", "68 landmarks, 3 views", "500 landmarks, 1 view", "500 landmarks, 3 views")
    (table,) = capture_details([{name: rng.uniform(0, 2, (3, 4)) for name in names}])
    assert list(table.rows) == [names[0], names[2], names[1], names[3]]
    assert set(table.rows[names[0]]) == {"mean", "median", "std"}


def test_ict_lies_on_the_canonical_head_with_its_jaw_a_little_open() -> None:
    neutral = np.arange(12.0).reshape(4, 3)
    shapes = np.stack([np.ones((4, 3)), 2 * np.ones((4, 3))])
    rig = Rig(neutral, shapes[:1], shapes, ("smile", "jawOpen"), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(ict_on_head(rig).canonical_mm, neutral + 0.3 * 2, atol=1e-6)
    assert replace(rig).expression_names == ("smile", "jawOpen")


def test_markers_are_carried_between_two_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose answers are the truth finds every dot again; one that is off by a little, in the same way in both
    pictures, too, where its own answers for the vertices are off."""
    from anymark.evaluate import marked

    one, other = sample(), replace(sample(), key="b")
    face = landmarks(camera(), load_layout("mediapipe478"))

    class Perfect(Head):
        def __init__(self, off: np.ndarray) -> None:
            self.__dict__.update(camera=camera(), face=face, image_size_px=(240, 200), off=off)

        def query(self, points: Points) -> Landmarks:
            layout = as_layout(points)
            found = landmarks(camera(), layout)
            return replace(found, xy_px=found.xy_px + self.__dict__["off"].astype(np.float32))

    record = {
        "R_camera_head": camera().R_camera_head.tolist(),
        "t_camera_head_mm": [0.0, 20.0, 1000.0],
        "focal_px": 700.0,
    }
    one, other = (replace(each, record=record) for each in (one, other))
    for off, expected in ((np.zeros(2), 0.0), (np.array([3.0, 0.0]), 3.0)):
        monkeypatch.setattr(marked, "_read", lambda sample, detector, off=off: Perfect(off))
        found = marked.carried_errors(one, other, Detector())
        assert np.median(found["picked"]) < 0.01
        assert np.median(found["canonical"]) * eyes_px(other) == pytest.approx(expected, abs=0.05)


def test_other_evaluations_need_neither_opencv_nor_scipy() -> None:
    script = (
        "import sys\n"
        "for name in ('cv2', 'scipy'): sys.modules[name] = None\n"
        "from anymark.cli import main\n"
        "sys.exit(main(['eval', 'photos', '--help']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_anatomy_of_the_canonical_head_is_its_layout() -> None:
    from anymark.apps.anatomy import anatomy_layout
    from anymark.canonical.skull import Skull
    from anymark.evaluate.rigid import true_points

    whole = replace(sample(), bones_mm=Skull.load().vertices_mm)
    off = np.linalg.norm(true_points(whole) - anatomy_layout().points_mm, axis=1)
    assert off.max() < 0.6
