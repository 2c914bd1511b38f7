"""OpenCV and COLMAP: files read back, and points projected as these programs do it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anymark import AnymarkError
from anymark.exports import export
from tests.exports.readers import colmap_lines, rotation
from tests.exports.tracks import FOUND, HIDDEN, SIZE, track

# OpenCV


def test_opencv_projects_the_points_onto_pixels(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV's files are read by OpenCV")
    shot = track()
    export(shot, tmp_path / "a.opencv.json")
    file = cv2.FileStorage(str(tmp_path / "a.opencv.json"), cv2.FILE_STORAGE_READ)
    views = file.getNode("views")
    assert views.size() == len(shot.rows)
    for i, row in enumerate(shot.rows):
        view = views.at(i)
        assert (view.getNode("frame").real(), view.getNode("head").real()) == (row["frame"], row["head"])
        k, r, vector, t, image, points = (
            view.getNode(name).mat() for name in ("K", "R", "rvec", "t", "image_points", "object_points")
        )
        np.testing.assert_allclose(image + 0.5, row["xy_px"], atol=1e-4)  # whole numbers are pixel centres
        np.testing.assert_allclose(points, row["xyz_mm"], atol=1e-4)
        np.testing.assert_allclose(cv2.Rodrigues(vector)[0], r, atol=1e-5)
        drawn, _ = cv2.projectPoints(points, vector, t, k, None)
        assert np.abs(drawn[:, 0] - image).max() < 0.01


def test_opencv_s_file_is_plain_json_too(tmp_path: Path) -> None:
    shot = track("s.%04d.png")
    export(shot, tmp_path / "a.json", "opencv", head=1, points=["lip"])
    data = json.loads((tmp_path / "a.json").read_text())
    assert (data["image_width"], data["image_height"], data["fps"], data["point_names"]) == (*SIZE, 24, ["lip"])
    assert [view["frame"] for view in data["views"]] == [1001, 1002, 1003, 1005, 1009, 1010]
    assert data["views"][0]["visible"]["data"] == [pytest.approx(float(shot.head(1)["visible"][0, 5]))]


# COLMAP


def test_colmap_sees_the_still_head_where_it_says(tmp_path: Path) -> None:
    shot = track()
    shot.rows["xyz_mm"] = shot.rows["xyz_mm"][0]  # of a head that does not talk, nothing is lost
    for row in shot.rows:
        seen = row["xyz_mm"] @ row["R_camera_head"].T + row["t_camera_head_mm"]
        row["xy_px"] = row["principal_px"] + row["focal_px"] * seen[:, :2] / seen[:, 2:]
    export(shot, tmp_path / "a.colmap", head=1)
    cameras = {line[0]: line[1:] for line in colmap_lines(tmp_path / "a.colmap" / "cameras.txt")}
    points = {line[0]: np.array(line[1:4], float) for line in colmap_lines(tmp_path / "a.colmap" / "points3D.txt")}
    lines = colmap_lines(tmp_path / "a.colmap" / "images.txt")
    assert len(lines) == 2 * len(FOUND[1])
    for pose, seen, row in zip(lines[::2], lines[1::2], shot.head(1), strict=True):
        model, width, height, focal, *principal = cameras[pose[8]]
        assert (model, int(width), int(height)) == ("SIMPLE_PINHOLE", *SIZE)
        assert pose[9] == f"{row['frame'] + 1:06d}.png"
        for i, (x, y, point) in enumerate(np.reshape(seen, (-1, 3))):
            np.testing.assert_allclose((float(x), float(y)), row["xy_px"][i], atol=1e-3)
            if (1, row["frame"], i) == HIDDEN:
                assert point == "-1"
                continue
            before = rotation(*map(float, pose[1:5])) @ points[point] + np.array(pose[5:8], float)
            drawn = np.array(principal, float) + float(focal) * before[:2] / before[2]
            assert np.abs(drawn - row["xy_px"][i]).max() < 0.01


def test_a_talking_head_s_points_are_medians_with_their_errors(tmp_path: Path) -> None:
    shot = track("s.%04d.png")
    export(shot, tmp_path / "model", "colmap", head=1)
    points = colmap_lines(tmp_path / "model" / "points3D.txt")
    rows = shot.head(1)
    np.testing.assert_allclose(
        np.array([line[1:4] for line in points], float), np.median(rows["xyz_mm"], axis=0), atol=1e-4
    )
    assert all(float(line[7]) > 0.5 for line in points)
    # of point 0, hidden in one of six frames, five observations: (image, which of its points)
    assert points[0][8:] == ["1", "0", "2", "0", "3", "0", "5", "0", "6", "0"]
    names = [line[9] for line in colmap_lines(tmp_path / "model" / "images.txt")[::2]]
    assert names == ["s.1001.png", "s.1002.png", "s.1003.png", "s.1005.png", "s.1009.png", "s.1010.png"]


def test_colmap_holds_one_head(tmp_path: Path) -> None:
    with pytest.raises(AnymarkError, match="colmap holds one head, and there are 1, 2: choose one"):
        export(track(), tmp_path / "a.colmap")
    assert not list(tmp_path.iterdir())
