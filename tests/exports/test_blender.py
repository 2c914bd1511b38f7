"""The script for Blender: its numbers, projected as Blender does, and where bpy is installed, what Blender builds."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymark import AnymarkError
from anymark.exports import export
from tests.exports.readers import rotation
from tests.exports.tracks import FOUND, FRAMES, LAYOUT, NAMES, SIZE, track


def scene_of(path: Path) -> tuple[dict[str, Any], Any]:
    """What is in a script, and its own function that unpacks numbers; nothing is built."""
    script = runpy.run_path(str(path))
    return json.loads(script["SCENE"]), script["unpacked"]


def test_blender_sees_the_points_where_they_are(tmp_path: Path) -> None:
    shot = track()
    export(shot, tmp_path / "a.py")
    scene, unpacked = scene_of(tmp_path / "a.py")
    assert scene["size"] == list(SIZE)
    assert [head["head"] for head in scene["heads"]] == [1, 2]
    for head in scene["heads"]:
        rows = shot.head(head["head"])
        assert unpacked(head["frames"]).tolist() == [frame + 1 for frame in FOUND[head["head"]]]
        names = ("lens_mm", "shift", "places_m", "turns", "points_m")
        for row, lens, shift, place, turn, points in zip(rows, *(unpacked(head[n]) for n in names), strict=True):
            world = points @ rotation(*turn).T + place
            # the camera looks along y, so that depth is y; the film is as wide as the picture, and shifts are parts of
            # that, too
            film = world[:, [0, 2]] / world[:, 1:2] * lens / scene["film_back_mm"] - shift
            drawn = film * [SIZE[0], -SIZE[0]] + [SIZE[0] / 2, SIZE[1] / 2]
            assert np.abs(drawn - row["xy_px"]).max() < 0.01


def test_rate_and_frames_and_where_heads_are_hidden(tmp_path: Path) -> None:
    export(track("s.%04d.png"), tmp_path / "a.py", head=2)
    scene, _ = scene_of(tmp_path / "a.py")
    assert (scene["fps"] / scene["fps_base"], scene["frames"]) == (24, [1001, 1010])
    assert scene["heads"][0]["hidden"] == [[1001, True], [1003, False], [1004, True], [1005, False], [1008, True]]


def test_a_mesh_needs_triangles(tmp_path: Path) -> None:
    export(track(), tmp_path / "a.py", mesh=True)
    scene, unpacked = scene_of(tmp_path / "a.py")
    np.testing.assert_array_equal(unpacked(scene["triangles"]), LAYOUT.triangles)
    export(track(), tmp_path / "b.py")
    assert scene_of(tmp_path / "b.py")[0]["triangles"] is None
    with pytest.raises(AnymarkError, match="has no triangles"):
        export(track(), tmp_path / "c.py", points=["eyes"], mesh=True)


@pytest.fixture
def bpy() -> Any:
    """Blender as a module, with nothing in it; 300 MB, so it is in nobody's environment by default."""
    return pytest.importorskip("bpy", reason="Blender (pip install bpy) builds the scene")


def test_blender_builds_the_scene(tmp_path: Path, bpy: Any) -> None:
    from bpy_extras.object_utils import world_to_camera_view

    bpy.ops.wm.read_factory_settings(use_empty=True)
    shot = track()
    export(shot, tmp_path / "a.py", mesh=True)
    runpy.run_path(str(tmp_path / "a.py"), run_name="__main__")
    scene = bpy.context.scene
    assert (scene.render.resolution_x, scene.render.resolution_y) == SIZE
    assert scene.render.fps / scene.render.fps_base == pytest.approx(25)
    assert (scene.frame_start, scene.frame_end) == (1, 9)
    assert scene.camera.name == "head1 camera"
    objects = bpy.data.objects
    for frame in range(FRAMES):
        scene.frame_set(frame + 1)
        for head, found in FOUND.items():
            assert objects[f"head{head}"].hide_viewport == (frame not in found)
            assert objects[f"head{head} mesh"].hide_render == (frame not in found)
    for row in shot.rows:
        scene.frame_set(int(row["frame"]) + 1)
        head, camera = f"head{row['head']}", objects[f"head{row['head']} camera"]
        places = [objects[f"{head} {name}"].matrix_world.translation for name in NAMES]
        mesh = objects[f"{head} mesh"].evaluated_get(bpy.context.evaluated_depsgraph_get())
        corners = [mesh.matrix_world @ vertex.co for vertex in mesh.to_mesh().vertices]
        for seen in (places, corners):
            film = np.array([world_to_camera_view(scene, camera, place) for place in seen])
            drawn = np.column_stack([film[:, 0] * SIZE[0], (1 - film[:, 1]) * SIZE[1]])
            assert np.abs(drawn - row["xy_px"]).max() < 0.01, (head, row["frame"])


def test_the_script_needs_nothing_of_ours(tmp_path: Path) -> None:
    export(track(), tmp_path / "a.py")
    text = (tmp_path / "a.py").read_text()
    assert {line.split()[1] for line in text.splitlines() if line.startswith("import")} <= (
        set(sys.stdlib_module_names) | {"numpy"}
    )
    assert "from anymark" not in text
