"""The reader of AFLW2000-3D: points and angles in .mat files, and errors of pose by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

savemat = pytest.importorskip("scipy.io").savemat

from anymark.canonical import load_layout  # noqa: E402
from anymark.canonical.frame import FACING  # noqa: E402
from anymark.detect.camera import Camera  # noqa: E402
from anymark.errors import AnymarkError  # noqa: E402
from anymark.evaluate.aflw2000_3d import (  # noqa: E402
    POSE,
    pitch_yaw_roll_deg,
    pose_details,
    pose_differences_deg,
    read_aflw2000_3d,
    rotation,
)
from anymark.evaluate.score import Scores  # noqa: E402
from tests.evaluate.public import face, lies_on, write_aflw2000_3d  # noqa: E402


def test_points_lie_on_their_pixels(tmp_path: Path):
    write_aflw2000_3d(tmp_path, 2)
    (labelled,) = read_aflw2000_3d(tmp_path).faces
    image = np.where(labelled.load() > 200, 255, 0)  # a JPEG smears its dots a little
    assert labelled.name == "image00002"
    assert lies_on(labelled.points_px, image)


def test_errors_are_over_the_root_of_the_area_of_the_points(tmp_path: Path):
    write_aflw2000_3d(tmp_path, 2)
    (labelled,) = read_aflw2000_3d(tmp_path).faces
    width, height = np.ptp(face("ibug68"), axis=0)
    assert labelled.lengths_px == {"box": pytest.approx(np.sqrt(width * height))}


def test_rows_part_at_30_and_60_degrees_of_yaw(tmp_path: Path):
    for i, yaw in enumerate((0, -29.9, 30.1, -59.9, 60.1, -95)):
        write_aflw2000_3d(tmp_path, i, (-20, yaw, 40))
    benchmark = read_aflw2000_3d(tmp_path)
    rows = {row: benchmark.row(row).tolist() for row in benchmark.rows}
    assert rows == {"yaw 0-30": [0, 1], "yaw 30-60": [2, 3], "yaw 60-90": [4, 5], "all": [0, 1, 2, 3, 4, 5]}
    assert benchmark.faces[1].truth[POSE] == pytest.approx([-20, -29.9, 40])


def test_the_data_sets_folder_may_lie_in_the_root(tmp_path: Path):
    write_aflw2000_3d(tmp_path / "AFLW2000", 2)
    assert len(read_aflw2000_3d(tmp_path).faces) == 1


def test_calibration_is_never_scored(tmp_path: Path):
    for i in range(4):
        write_aflw2000_3d(tmp_path, i)
    benchmark = read_aflw2000_3d(tmp_path, calibrate=2)
    assert [f.name[-1] for f in benchmark.calibration] == ["0", "3"]
    assert [f.name[-1] for f in benchmark.faces] == ["1", "2"]


def test_a_head_that_is_not_turned_has_no_angles():
    assert (rotation(np.zeros(3)) == FACING).all()
    assert pitch_yaw_roll_deg(FACING) == pytest.approx([0, 0, 0])


@pytest.mark.parametrize(
    ("angles", "yaw_pitch_roll"),
    [((20, 0, 0), (0, 20, 0)), ((0, 20, 0), (-20, 0, 0)), ((0, 0, 20), (0, 0, 20))],
)
def test_single_angles_are_anymarks_but_for_the_sign_of_yaw(
    angles: tuple[float, ...], yaw_pitch_roll: tuple[float, ...]
):
    camera = Camera(500.0, np.zeros(2), rotation(np.array(angles)), np.array([0, 0, 900.0]))
    assert camera.yaw_pitch_roll_deg == pytest.approx(yaw_pitch_roll)


def test_angles_and_rotations_are_inverse():
    angles = np.random.default_rng(0).uniform(-89, 89, (50, 3))
    rotations = rotation(angles)
    assert pitch_yaw_roll_deg(rotations) == pytest.approx(angles)
    assert np.linalg.det(rotations) == pytest.approx(np.ones(50))
    one = SimpleNamespace(camera=Camera(500.0, np.zeros(2), rotations[7], np.array([0, 0, 900.0])))
    assert pitch_yaw_roll_deg(one.camera.R_camera_head) == pytest.approx(angles[7])


def test_order_of_the_angles_is_the_authors():
    # R = R_x R_y R_z with R_y = [[0, 0, -1], [0, 1, 0], [1, 0, 0]] at 90 degrees, R_z = [[0, 1, 0], [-1, 0, 0], ...]
    assert rotation(np.array([0, 90, 90])) == pytest.approx(
        FACING @ np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]), abs=1e-12
    )


def test_beyond_profile_the_same_rotation_has_no_error():
    labels = np.array([[10.0, 95.0, -5.0], [3.0, -98.0, 20.0], [1.0, 2.0, 3.0]])
    found = pitch_yaw_roll_deg(rotation(labels))
    assert np.abs(found - labels).max() > 100
    assert pose_differences_deg(found, labels) == pytest.approx(np.zeros((3, 3)), abs=1e-9)


def test_differences_go_the_short_way_round():
    difference = pose_differences_deg(np.array([[0.0, 0, 175]]), np.array([[0.0, 0, -175]]))
    assert difference == pytest.approx(np.array([[0, 0, -10]]))


def scored(benchmark, found_deg: np.ndarray, nme: list[float]) -> Scores:
    points = np.stack([f.points_px for f in benchmark.faces])
    sigma, errors = np.ones(points.shape[:2]), {"box": np.array(nme)}
    return Scores(benchmark, load_layout("ibug68"), points, sigma, errors, (), {POSE: found_deg})


def test_pose_details_by_hand(tmp_path: Path):
    labels = [(0, 0, 0), (10, 45, 0), (0, 70, 0), (0, 0, 120), (0, 0, 0)]
    for i, angles in enumerate(labels):
        write_aflw2000_3d(tmp_path, i, angles)
    found = np.array([(1, 3, 0), (14, 44, 0), (0, 70, 2), (0, 0, 0), (np.nan,) * 3])  # the fourth is beyond 99 degrees
    scores = scored(read_aflw2000_3d(tmp_path), found, [0.02, 0.03, 0.07, 0.04, np.inf])
    mean, pose = pose_details(scores)
    assert mean.rows["all"]["box"] == pytest.approx(((0.02 + 0.04) / 2 + 0.03 + 0.07) / 3)
    assert pose.title == "pose, degrees (n=3)"
    assert {name: row["error"] for name, row in pose.rows.items()} == {
        "yaw": pytest.approx(4 / 3),
        "pitch": pytest.approx(5 / 3),
        "roll": pytest.approx(2 / 3),
        "mean": pytest.approx(11 / 9),
        "whole rotation": pytest.approx((np.sqrt(10) + np.sqrt(17) + 2) / 3, rel=0.1),
    }
    assert pose.rows["yaw"]["bias"] == pytest.approx(2 / 3)
    assert pose.table().splitlines()[4].split() == ["mean", "1.22", "-"]


def test_where_no_pose_counts_there_is_no_number(tmp_path: Path):
    write_aflw2000_3d(tmp_path, 0, (0, 100, 0))
    _, pose = pose_details(scored(read_aflw2000_3d(tmp_path), np.zeros((1, 3)), [0.02]))
    assert pose.rows == {}
    assert pose.table() == "pose, degrees (n=0)"


def test_damaged_files_are_left_out_and_named(tmp_path: Path):
    for i in range(6):
        write_aflw2000_3d(tmp_path, i)
    (tmp_path / "image00000.mat").write_bytes((tmp_path / "image00000.mat").read_bytes()[:300])
    savemat(tmp_path / "image00001.mat", {"pt3d_68": np.ones((3, 68))})
    savemat(tmp_path / "image00002.mat", {"pt3d_68": np.ones((3, 21)), "Pose_Para": np.zeros((1, 7))})
    savemat(tmp_path / "image00003.mat", {"pt3d_68": np.ones((3, 68)), "Pose_Para": np.zeros((1, 7))})
    (tmp_path / "image00004.jpg").unlink()
    benchmark = read_aflw2000_3d(tmp_path)
    assert [f.name for f in benchmark.faces] == ["image00005"]
    said = ("cannot be read", "lacks 'Pose_Para'", "pt3d_68 (3, 21)", "lie on one line", "no image00004.jpg beside it")
    for i, message in enumerate(said):
        assert [n for n in benchmark.notes if f"image0000{i}.mat: " in n and message in n and n.endswith(": left out")]
    assert "AFLW2000-3D has 2000 faces in the protocol, 1 here" in benchmark.notes


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(AnymarkError, match="nothing: no such folder"):
        read_aflw2000_3d(tmp_path / "nothing")
    with pytest.raises(AnymarkError, match=r"no \.mat files of AFLW2000-3D"):
        read_aflw2000_3d(tmp_path)
    write_aflw2000_3d(tmp_path, 0).write_bytes(b"")
    with pytest.raises(AnymarkError, match=r"no faces of AFLW2000-3D; .*image00000\.mat") as caught:
        read_aflw2000_3d(tmp_path)
    assert "\n" not in str(caught.value)
