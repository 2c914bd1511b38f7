"""Points in 2D: Nuke, mmSolver, After Effects, .pts, JSON and CSV, read back by readers of our own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from anymark import AnymarkError
from anymark.exports import export
from anymark.video import Track
from tests.exports.readers import held, keyframes, nuke_curve, nuke_nodes, pts_file
from tests.exports.tracks import FOUND, FRAMES, HIDDEN, LAYOUT, NAMES, SIZE, track

HEIGHT = SIZE[1]


def of(shot: Track, head: int, frame: int) -> np.void:
    (row,) = shot.rows[(shot.rows["head"] == head) & (shot.rows["frame"] == frame)]
    return row


# Nuke


def test_a_tracker_has_every_head_and_point(tmp_path: Path) -> None:
    shot = track()
    export(shot, tmp_path / "a.nk")
    nodes = nuke_nodes(tmp_path / "a.nk")
    assert [(kind, knobs["name"]) for kind, knobs in nodes] == [
        ("Tracker4", "anymark_head1"),
        ("Tracker4", "anymark_head2"),
    ]
    for head, (_, knobs) in enumerate(nodes, 1):
        assert knobs["inputs"] == "0"  # or it would take another node's output where it is pasted
        size, columns, points = knobs["tracks"]
        assert size == ["1", "31", "6"]
        assert [column[3] for column in columns][:5] == ["enable", "name", "track_x", "track_y", "offset_x"]
        assert len(columns) == 31
        assert len(points) == 6
        for i, (enable, name, x, y, *rest) in enumerate(points):
            assert len(rest) == 27
            assert name == f"head{head}_{NAMES[i]}"
            xs, ys = nuke_curve(x), nuke_curve(y)
            assert list(xs) == list(ys) == [frame + 1 for frame in FOUND[head]]
            for frame in FOUND[head]:
                expected = of(shot, head, frame)["xy_px"][i]
                assert xs[frame + 1] == pytest.approx(expected[0], abs=1e-4)
                assert HEIGHT - ys[frame + 1] == pytest.approx(expected[1], abs=1e-4)
            for frame in range(FRAMES):
                seen = frame in FOUND[head] and (head, frame, i) != HIDDEN
                assert held(nuke_curve(enable), frame + 1) == seen, (head, i, frame)


def test_pixels_of_nuke_begin_at_the_bottom_left(tmp_path: Path) -> None:
    shot = track()
    shot.rows["xy_px"][0, 0] = (0.5, HEIGHT - 0.5)  # the centre of the bottom-left pixel
    export(shot, tmp_path / "a.nk", points=[0], head=1)
    ((_, knobs),) = nuke_nodes(tmp_path / "a.nk")
    (((_, _, x, y, *_),),) = knobs["tracks"][2:]
    assert (nuke_curve(x)[1], nuke_curve(y)[1]) == (0.5, 0.5)


def test_pictures_and_clips_of_ones_own_numbers(tmp_path: Path) -> None:
    export(track("s.%04d.exr"), tmp_path / "a.nk", head=1, points=[0])
    export(track("s.%04d.exr"), tmp_path / "b.nk", head=1, points=[0], first=1)
    export(track(), tmp_path / "c.nk", head=1, points=[0], first=1001)
    numbers = []
    for name in "abc":
        ((_, knobs),) = nuke_nodes(tmp_path / f"{name}.nk")
        numbers.append(list(nuke_curve(knobs["tracks"][2][0][2])))
    assert numbers == [[1001, 1002, 1003, 1005, 1009, 1010], [1, 2, 3, 5, 9, 10], [1001, 1002, 1003, 1005, 1008, 1009]]


def test_a_corner_pin_moves_the_reference_frame_onto_every_other(tmp_path: Path) -> None:
    shot = track()
    export(shot, tmp_path / "a.nk", "nuke-cornerpin", head=1, corners=["mouth, right", 3, "left eye", "1"], reference=5)
    ((kind, knobs),) = nuke_nodes(tmp_path / "a.nk")
    assert kind == "CornerPin2D"
    for k, i in enumerate((2, 3, 0, 1), 1):
        x, y = map(nuke_curve, knobs[f"to{k}"])
        assert list(x) == list(y) == [frame + 1 for frame in FOUND[1]]
        for frame in FOUND[1]:
            expected = of(shot, 1, frame)["xy_px"][i]
            np.testing.assert_allclose((x[frame + 1], HEIGHT - y[frame + 1]), expected, atol=1e-4)
        assert [float(value) for value in knobs[f"from{k}"]] == [x[5], y[5]]
    (disable,) = knobs["disable"]
    assert [held(nuke_curve(disable), f + 1) for f in range(FRAMES)] == [f not in FOUND[1] for f in range(FRAMES)]


def test_a_corner_pin_s_reference_is_the_first_frame_of_the_head(tmp_path: Path) -> None:
    export(track(), tmp_path / "a.cornerpin.nk", head=2, corners=[0, 1, 2, 3])
    ((_, knobs),) = nuke_nodes(tmp_path / "a.cornerpin.nk")
    assert float(knobs["from1"][0]) == nuke_curve(knobs["to1"][0])[3]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": 1}, "a corner pin needs its corners"),
        ({"head": 1, "corners": [0, 1, 2]}, "four different points are needed, not 0, 1, 2"),
        ({"head": 1, "corners": [0, 1, 2, 2]}, "four different points are needed"),
        ({"head": 1, "corners": [0, 1, 2, "mouth"]}, "'mouth' is a region"),
        ({"head": 1, "corners": [0, 1, 2, 9]}, "no point 9"),
        ({"head": 1, "corners": [0, 1, 2, 3], "reference": 4}, "head 1 was not found in frame 4"),
        ({"corners": [0, 1, 2, 3]}, "nuke-cornerpin holds one head, and there are 1, 2"),
        ({"head": 1, "corners": [0, 1, 2, 3], "points": [0]}, "nuke-cornerpin has no use for points"),
    ],
)
def test_bad_corner_pins(tmp_path: Path, options: dict, said: str) -> None:
    with pytest.raises(AnymarkError, match=said):
        export(track(), tmp_path / "a.nk", "nuke-cornerpin", **options)
    assert not list(tmp_path.iterdir())


# mmSolver


def test_markers_of_mmsolver(tmp_path: Path) -> None:
    shot = track()
    export(shot, tmp_path / "a.uv")
    data = json.loads((tmp_path / "a.uv").read_text())
    assert (data["version"], data["num_points"], data["is_undistorted"]) == (3, 12, None)
    assert [point["name"] for point in data["points"]][5:7] == ["head1_lip", "head2_left_eye"]
    assert len({point["id"] for point in data["points"]}) == 12
    for k, point in enumerate(data["points"]):
        head, i = divmod(k, 6)
        assert point["set_name"] == f"head{head + 1}"
        seen = [frame for frame in FOUND[head + 1] if (head + 1, frame, i) != HIDDEN]
        assert [one["frame"] for one in point["per_frame"]] == [frame + 1 for frame in seen]
        for one, frame in zip(point["per_frame"], seen, strict=True):
            u, v = one["pos"]
            expected = of(shot, head + 1, frame)
            np.testing.assert_allclose((u * SIZE[0], (1 - v) * SIZE[1]), expected["xy_px"][i], atol=1e-4)
            assert one["pos_dist"] == one["pos"]
            assert 0 < one["weight"] <= expected["visible"][i] + 1e-4
        middle = np.median(shot.head(head + 1)["xyz_mm"][:, i], axis=0)
        np.testing.assert_allclose([point["3d"][axis] * 10 for axis in "xyz"], middle, atol=1e-3)
        assert all(type(point["3d"][f"{axis}_lock"]) is bool for axis in "xyz")


def test_surer_points_weigh_more_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    shot = track()
    shot.rows["visible"] = 1
    shot.rows["sigma_px"] = 1
    shot.rows["sigma_px"][:, 2], shot.rows["sigma_px"][:, 3] = 4, 0.1
    shot.rows["visible"][:, 5] = 0.4
    export(shot, tmp_path / "a.uv", head=1)
    points = json.loads((tmp_path / "a.uv").read_text())["points"]
    assert [point["per_frame"][0]["weight"] for point in points] == [1, 1, 0.25, 1, 1]


# After Effects


def test_keyframes_of_one_point(tmp_path: Path) -> None:
    shot = track()
    export(shot, tmp_path / "a.txt", head=1, points=["nose tip"])
    assert "Layer" not in (tmp_path / "a.txt").read_text()
    header, (block,) = keyframes(tmp_path / "a.txt")
    assert header == {
        "Units Per Second": "25",
        "Source Width": "640",
        "Source Height": "360",
        "Source Pixel Aspect Ratio": "1",
        "Comp Pixel Aspect Ratio": "1",
    }
    assert block[:, 0].tolist() == list(FOUND[1])
    np.testing.assert_allclose(block[:, 1:3], shot.head(1)["xy_px"][:, 4], atol=1e-4)
    assert (block[:, 3] == 0).all()


def test_keyframes_of_many_points_are_layers(tmp_path: Path) -> None:
    shot = track("s.%04d.png")
    export(shot, tmp_path / "a.txt")
    header, blocks = keyframes(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text().split("\n").count("Layer") == len(blocks) == 12
    assert header["Units Per Second"] == "24"
    assert blocks[0][:, 0].tolist() == [0, 1, 2, 4, 8, 9]  # a composition begins at 0, with the first picture
    np.testing.assert_allclose(blocks[7][:, 1:3], shot.head(2)["xy_px"][:, 1], atol=1e-4)


# plain files


def test_pts_count_pixel_centres_from_1(tmp_path: Path) -> None:
    shot = track()
    shot.rows["xy_px"][0, 0] = (0.5, 0.5)
    export(shot, tmp_path / "points", "pts")
    names = sorted(path.name for path in (tmp_path / "points").iterdir())
    assert len(names) == 9
    assert names[:2] == ["000000_head1.pts", "000001_head1.pts"]
    assert pts_file(tmp_path / "points" / names[0])[0].tolist() == [1, 1]
    np.testing.assert_allclose(
        pts_file(tmp_path / "points" / "000004_head2.pts") - 0.5, of(shot, 2, 4)["xy_px"], atol=1e-4
    )


def test_json_has_everything(tmp_path: Path) -> None:
    shot = track("s.%04d.png")
    export(shot, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert (data["format"], data["video"], data["size"], data["fps"]) == (1, "s.%04d.png", [640, 360], 24)
    assert data["names"] == list(LAYOUT.names or ())
    assert [frame["frame"] for frame in data["frames"]] == shot.pts.tolist()
    assert [frame["decoded"] for frame in data["frames"]] == shot.decoded.tolist()
    assert [[head["head"] for head in frame["heads"]] for frame in data["frames"]][:5] == [[1], [1], [1, 2], [], [1, 2]]
    head = data["frames"][4]["heads"][1]
    row = of(shot, 2, 4)
    np.testing.assert_allclose(np.array(head["points"])[:, :2], row["xy_px"], atol=1e-3)
    np.testing.assert_allclose(head["camera"]["t_camera_head_mm"], row["t_camera_head_mm"], atol=1e-3)


def test_csv_and_npz_of_some_points(tmp_path: Path) -> None:
    shot = track()
    export(shot, tmp_path / "a.csv", head=2, points=["lip", 0])
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [row["name"] for row in rows[:2]] == ["lip", "left eye"]
    export(shot, tmp_path / "a.npz", head=2, points=["lip", 0])
    back = Track.load(tmp_path / "a.npz")
    assert back.ids == [2]
    assert back.layout.names == ("lip", "left eye")
    np.testing.assert_array_equal(back.rows["xyz_mm"], shot.head(2)["xyz_mm"][:, [5, 0]])
