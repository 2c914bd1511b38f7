"""The commands that do something with whole heads, as a user runs them, with the shipped model on the astronaut."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from anymark import CanonicalHead, Detector, Layout, load_layout
from anymark.cli import main
from anymark.video import Track
from tests.apps.test_rigs import landmark_ids, shapes, skin, write_obj

COUNT, FIRST = 4, 1001
TIP = CanonicalHead.load().closest_point([[0.0, 4.0, 140.0]]).points_mm[0].tolist()
"""Of the nose."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png, the astronaut's upper half; shot.1001.png and so on, the same moving by two pixels a frame; gravel.png."""
    folder = tmp_path_factory.mktemp("files")
    photo = skimage.data.astronaut()
    Image.fromarray(photo[:320, 60:420]).save(folder / "a.png")
    for i in range(COUNT):
        Image.fromarray(photo[:320, 60 + 2 * i : 420 + 2 * i]).save(folder / f"shot.{FIRST + i:04d}.png")
    Image.fromarray(skimage.data.gravel()).save(folder / "gravel.png")
    spot = np.zeros((128, 128, 4), np.uint8)
    spot[50:66, 82:96] = 200, 0, 0, 255
    Image.fromarray(spot).save(folder / "spot.png")
    return folder


@pytest.fixture
def files(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, the files in the one above."""
    monkeypatch.chdir(tmp_path)
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_segment(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "a.png", "gravel.png", "shot.####.png", "--masks"]) == 2
    out, err = capsys.readouterr()
    assert err == "anymark: gravel.png: no face\n"
    assert out.startswith("a.png  skin ")
    names = json.loads(Path("anymark-out/a.regions.anymark.json").read_text())["regions"]
    assert [each["name"] for each in names][:2] == ["skin", "nose"]
    labels = np.asarray(Image.open("anymark-out/a.labels.anymark.png"))
    assert labels.shape == (320, 360)
    assert set(np.unique(labels)) <= set(range(13))
    nose = np.asarray(Image.open("anymark-out/a.mask-nose.anymark.png"))
    assert (nose[labels == 2] > 80).all()
    numbered = sorted(path.name for path in Path("anymark-out/shot.labels.anymark").iterdir())
    assert numbered == [f"{FIRST + i:06d}.png" for i in range(COUNT)]  # as the sequence's
    assert Path("anymark-out/shot.segment.anymark.mp4").stat().st_size > 1000
    assert not list(Path("anymark-out").glob("*.part"))


def test_segment_s_bad_regions(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in (
        (["--region", "noze"], "no region named 'noze'; did you mean nose"),
        (["--painted", "a.png"], "a.png: 360 x 320; a picture on the head is square"),
        (["--painted", "spot.png", "--region", "nose"], "regions are either named or painted"),
    ):
        assert main(["segment", "a.png", *options]) == 2
        assert said in capsys.readouterr().err
    assert not Path("anymark-out").exists()


def test_paint(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paint", "a.png", "shot.%04d.png", "--picture", "spot.png", "--alpha", "--smooth", "causal"]) == 0
    before, after = (np.asarray(Image.open(name)).astype(int) for name in ("a.png", "anymark-out/a.paint.anymark.png"))
    alpha = np.asarray(Image.open("anymark-out/a.alpha.anymark.png"))
    assert (alpha > 200).sum() > 20
    assert (before == after)[alpha == 0].all()
    changed = (after - before)[alpha > 200]
    assert changed[:, 1].mean() < -40  # red paint takes the green out
    assert len(list(Path("anymark-out/shot.alpha.anymark").glob("*.png"))) == COUNT
    capsys.readouterr()
    assert main(["paint", "a.png", "--picture", "spot.png", "--opacity", "2"]) == 2
    assert "--opacity 2: must be 0 to 1" in capsys.readouterr().err


def test_the_uv_pass_is_an_exr(files: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    assert main(["paint", "a.png", "--picture", "spot.png", "--st"]) == 0
    with openexr.File("anymark-out/a.st.anymark.exr") as file:
        st = file.channels()["RGBA"].pixels
    assert st.shape == (320, 360, 4)
    assert st.dtype == np.float32
    face = (st[..., 3] > 0.5) & (st[..., 0] < 1)
    assert face.sum() > 2000
    assert st[face][:, :2].min() > 0


def test_texture(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["texture", "a.png", "shot.####.png", "--texture", "head.png", "--size", "128"]) == 0
    assert "of the face's tile was seen" in capsys.readouterr().out
    texture, confidence = (np.asarray(Image.open(name)) for name in ("head.png", "head.confidence.png"))
    assert (texture.shape, confidence.shape) == ((128, 256, 3), (128, 256))
    assert confidence[:, :128].mean() > 2 * confidence[:, 128:].mean()
    skin_tone = texture[40:60, 40:88].reshape(-1, 3).mean(0)
    assert skin_tone[0] > skin_tone[2] > 60
    assert main(["texture", "a.png", "--texture", "head.jpg"]) == 2
    assert "a texture is written as .png" in capsys.readouterr().err


def test_anatomy(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["anatomy", "a.png", "shot.####.png"]) == 0
    assert "jaw open by" in capsys.readouterr().out
    (one,) = rows(Path("anymark-out/a.anatomy.anymark.csv"))
    assert 5 < float(one["jaw_opening_mm"]) < 30  # she laughs
    assert abs(float(one["left_gaze_yaw_deg"])) < 15
    clip = rows(Path("anymark-out/shot.anatomy.anymark.csv"))
    assert [int(row["frame"]) for row in clip] == list(range(COUNT))
    head = json.loads(Path("anymark-out/shot.anatomy.anymark.json").read_text())["heads"][0]
    turn = np.array(head["frames"][0]["bodies"]["mandible"]["R_camera_body"])
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-4)
    assert Path("anymark-out/a.head1.skull.anymark.obj").read_text().count("\nf ") > 1000


@pytest.fixture
def rig() -> Path:
    vertices, triangles = skin()
    content = {"neutral": vertices / 10, "triangles": triangles, "canonical_mm": vertices}
    kinds = {"identity": shapes(vertices)[1:] / 10, "expression": shapes(vertices)[:1] / 10}
    np.savez("rig.npz", **content, **kinds, expression_names=["jawOpen"])
    return Path("rig.npz")


def test_capture(files: Path, rig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", "shot.####.png", "--rig", str(rig), "--layout", "dense-500", "--meshes"]) == 0
    assert "4 of 4 frames" in capsys.readouterr().out
    table = rows(Path("anymark-out/shot.capture.anymark.csv"))
    assert list(table[0]) == ["frame", "time_s", "residual_px", "jawOpen"]
    assert all(0 <= float(row["jawOpen"]) <= 1 and float(row["residual_px"]) < 10 for row in table)
    with np.load("anymark-out/shot.capture.anymark.npz") as found:
        assert found["expression"].shape == (COUNT, 1)
        assert (found["t_world_head_mm"][:, 2] > 100).all()
        turn = found["R_world_head"]
        np.testing.assert_allclose(turn @ turn.swapaxes(1, 2), np.tile(np.eye(3), (COUNT, 1, 1)), atol=1e-6)
    assert len(list(Path("anymark-out/shot.capture.meshes.anymark").glob("*.obj"))) == COUNT
    assert Path("anymark-out/shot.capture.anymark.mp4").exists()


def test_a_rig_without_identities_and_names(files: Path) -> None:
    vertices, triangles = skin()
    content = {
        "neutral": vertices,
        "triangles": triangles,
        "canonical_mm": vertices,
        "expression": shapes(vertices)[:1],
    }
    np.savez("rig.npz", **content)
    options = ["--rig", "rig.npz", "--unit-mm", "1", "--layout", "dense-500", "--meshes"]
    assert main(["capture", "shot.####.png", *options]) == 0
    assert list(rows(Path("anymark-out/shot.capture.anymark.csv"))[0])[-1] == "expression000"


def test_a_gif_that_moves_is_a_clip(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [Image.open(f"shot.{FIRST + i:04d}.png") for i in range(COUNT)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:], duration=40)
    frames[0].save("still.gif")
    for frame in frames:
        frame.close()
    assert main(["segment", "clip.gif", "still.gif", "--region", "nose"]) == 0
    out = capsys.readouterr().out
    assert "clip.gif  4 frames" in out
    assert "still.gif  nose " in out


def test_capture_from_two_cameras(files: Path, rig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = {"R_camera_world": np.eye(3).tolist(), "t_camera_world_mm": [0, 0, 0]}
    still = {"focal_px": 900, "principal_px": [180, 160], **world}
    Path("cameras.json").write_text(json.dumps([still, still]))
    clips = ["shot.####.png", "shot.%04d.png"]
    options = ["--rig", str(rig), "--layout", "dense-500"]
    assert main(["capture", *clips, *options]) == 2
    assert "2 clips: --cameras must say where they stand" in capsys.readouterr().err
    assert main(["capture", *clips, *options, "--cameras", "cameras.json"]) == 0
    Path("cameras.json").write_text(json.dumps([still]))
    assert main(["capture", *clips, *options, "--cameras", "cameras.json"]) == 2
    assert "1 cameras for 2 clips" in capsys.readouterr().err


def test_shapes_of_another_topology(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vertices, triangles = skin()
    Path("rig").mkdir()
    write_obj(Path("rig/neutral.obj"), vertices / 10, triangles)
    write_obj(Path("rig/smile.obj"), vertices[:100] / 10, triangles[:0])
    Path("rig/landmarks.txt").write_text(" ".join(map(str, landmark_ids(vertices).tolist())))
    assert main(["capture", "shot.####.png", "--rig", "rig"]) == 2
    assert "rig/smile.obj: another topology: 100 vertices" in capsys.readouterr().err


def test_clicked_points_are_tracked_saved_and_exported(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (head,) = Detector().encode("shot.1001.png")
    x, y = head.query([TIP]).xy_px[0].tolist()  # the tip of the nose
    points = ["--point", f"nose={x:.2f},{y:.2f}", "--point", "5,5,110"]
    saved = ["--save-points", "nose.json", "--export", "nuke", "--out", "t.npz"]
    assert main(["track", "shot.####.png", *points, *saved]) == 0
    track = Track.load("t.npz")
    assert track.layout.names == ("5,5,110", "nose")
    xy = track.head(1)["xy_px"][:, 1]
    expected = [x, y] - 2 * np.arange(COUNT)[:, None] * np.array([1, 0])
    np.testing.assert_allclose(xy, expected, atol=0.15)  # locked: to a fraction of a pixel
    assert "Tracker4" in Path("t.nk").read_text()
    layout = load_layout("nose.json")
    assert layout.names == ("nose",)
    assert main(["detect", "a.png", "--layout", "nose.json", "--csv", "found.csv"]) == 0
    found = rows(Path("found.csv"))[0]
    assert np.hypot(float(found["x_px"]) - x, float(found["y_px"]) - y) < 1
    assert capsys.readouterr().err == ""


def test_bad_clicks_and_formats(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in (
        (["--point", "10,10@99"], "shot.####.png: frame 99 is not there"),
        (["--point", "1,2,3,4"], "--point 1,2,3,4: pixels"),
        (["--export", "nuk"], "nuk: no such format; did you mean nuke?"),
        (["--export", "nuke-cornerpin"], "needs four corners"),
        (["--marker-file", "a.png"], "a.png: not a table"),
    ):
        assert main(["track", "shot.####.png", *options]) == 2
        assert said in capsys.readouterr().err
    assert not Path("anymark-out/shot.anymark.npz").exists()


def test_layouts_are_picked_and_drawn(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (head,) = Detector().encode("a.png")
    x, y = head.query([TIP]).xy_px[0].tolist()
    Path("dots.csv").write_text(f"name,x_px,y_px\ntip,{x},{y}\nbackground,20,20\n")
    assert main(["layout", "pick", "a.png", "--marker-file", "dots.csv", "--out", "mine.json"]) == 0
    err = capsys.readouterr().err
    assert "a.png: background: clicked " in err
    assert "off the head; its nearest point is taken" in err
    layout = load_layout("mine.json")
    assert layout.names == ("tip", "background")
    assert np.linalg.norm(layout.points_mm[0] - TIP) < 3
    assert main(["layout", "guide", "mine.json", "--photo", "a.png", "--out", "guide.png"]) == 0
    assert main(["layout", "guide", "ibug68", "--out", "three.png"]) == 0
    photo, three = (np.asarray(Image.open(name).convert("RGB")) for name in ("guide.png", "three.png"))
    assert three.shape[1] == 3 * three.shape[0]
    for picture in (photo, three):
        assert (np.abs(picture.astype(int) - [230, 40, 60]).sum(2) < 30).sum() > 50  # dots
    assert main(["layout", "template", "uv.png", "--size", "128"]) == 0
    with Image.open("uv.png") as template:
        assert template.size == (128, 128)
    assert main(["layout", "guide", "ibug68", "--photo", "gravel.png", "--out", "guide.png"]) == 2
    assert "gravel.png: no face" in capsys.readouterr().err
    assert main(["layout", "pick", "a.png", "--out", "mine.json"]) == 2
    assert "no points given" in capsys.readouterr().err


def test_dots_of_a_guide_are_where_the_points_are() -> None:
    from anymark.apps.guide import SIDE_PX, guide_on_head

    picture = np.asarray(guide_on_head(Layout("nose", np.array([TIP]))))[:, SIDE_PX : 2 * SIDE_PX]
    dot = np.argwhere(np.abs(picture.astype(int) - [230, 40, 60]).sum(2) < 30).mean(0)
    assert dot[1] == pytest.approx(SIDE_PX / 2, abs=3)
    assert CanonicalHead.load().vertices_mm[:, 1].max() > 0
    assert 0.35 < dot[0] / SIDE_PX < 0.6
