"""The commands of dense maps, with networks whose answers are known: files that they write, and what they refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.apps.maps import load_maps, rgba_of
from anymark.apps.rigs import closest
from anymark.canonical import CanonicalHead
from anymark.cli import main
from anymark.detect.camera import Camera
from anymark.errors import AnymarkError
from anymark.evaluate.pose import turned_by_deg
from anymark.fit.problem import exponential
from anymark.video import open_video
from anymark.wavefront import read_obj
from tests.apps.test_rigs import shapes, skin
from tests.dense_maps import turned_camera
from tests.detect.synthetic import blobs, write_landmark_model, write_locator
from tests.detect.test_dense import write_dense_model
from tests.portraits import portrait

Refused = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    write_dense_model(folder / "dense")
    write_landmark_model(folder / "landmarks")
    write_locator(folder / "locator")
    return [f"--{option}={folder / name}" for option, name in
            (("dense", "dense"), ("model", "landmarks"), ("locator", "locator"))]  # fmt: skip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(blobs(160, 120, (60, 60))).save(folder / "one.png")
    Image.fromarray(blobs(160, 120, (90, 55), sigma=12)).save(folder / "two.png")
    Image.fromarray(np.zeros((120, 160, 3), np.uint8)).save(folder / "nobody.png")
    return folder


def test_dense_writes_a_picture_and_a_map(models: list[str], photos: Path, tmp_path: Path, capsys: Refused) -> None:
    assert (
        main(["dense", str(photos / "one.png"), f"--out={tmp_path}", "--ball", "0", "-20", "180", "40", *models]) == 0
    )
    assert "head 1/1" in capsys.readouterr().out
    (found,) = load_maps(tmp_path / "one.dense.anymark.npz")
    assert found.image_size_px == (160, 120)
    assert found.share > 0.02
    with Image.open(tmp_path / "one.dense.anymark.png") as drawn:
        assert drawn.size == (160, 120)
    with Image.open(tmp_path / "one.region.anymark.png") as region:
        assert region.mode == "L"
    rgba = rgba_of([found])
    at = found.at([60.5, 60.5])
    np.testing.assert_allclose(rgba[60, 60, 3], at.head, atol=1e-5)


def test_a_photo_without_a_head_has_a_map_that_says_so(
    models: list[str], photos: Path, tmp_path: Path, capsys: Refused
) -> None:
    assert main(["dense", str(photos / "nobody.png"), f"--out={tmp_path}", *models]) == 0
    assert "no head" in capsys.readouterr().out
    (found,) = load_maps(tmp_path / "nobody.dense.anymark.npz")
    assert found.share == 0


def test_exr_has_uvw_and_the_head(models: list[str], photos: Path, tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    assert main(["dense", str(photos / "one.png"), "--exr", f"--out={tmp_path}", *models]) == 0
    with openexr.File(str(tmp_path / "one.dense.anymark.exr")) as file:
        (channel,) = file.channels().values()
        pixels = channel.pixels
    np.testing.assert_allclose(pixels, rgba_of(load_maps(tmp_path / "one.dense.anymark.npz")), atol=1e-6)


def test_a_click_is_found_again(models: list[str], photos: Path, tmp_path: Path, capsys: Refused) -> None:
    clicks = [f"--click={photos / 'one.png'}@62,59", f"--click={photos / 'one.png'}@62,59"]
    assert main(["dense", str(photos / "one.png"), *clicks, f"--out={tmp_path}", *models]) == 0
    said = capsys.readouterr().out
    at = said.split("point ")[1].split(" px")[0]
    assert (
        np.abs(np.array([float(v) for v in at.split(",")]) - [62, 59]).max() < 2.0
    )  # less than half a pixel of the map


def test_match_writes_a_table_and_a_picture(models: list[str], photos: Path, tmp_path: Path) -> None:
    table, picture = tmp_path / "m.csv", tmp_path / "m.jpg"
    files = [str(photos / "one.png"), str(photos / "two.png")]
    assert (
        main(["match", *files, f"--out={table}", f"--draw={picture}", "--step", "1", "--most-mm", "60", *models]) == 0
    )
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 10
    moved = [[float(row[f"{a}2_px"]) - float(row[f"{a}1_px"]) for a in "xy"] for row in rows]
    assert np.abs(np.median(moved, 0) - [30, -5]).max() < 3  # as the blob did
    with Image.open(picture) as drawn:
        assert drawn.size == (320, 120)


def test_warp_moves_the_pixels_of_one_head_to_another(models: list[str], photos: Path, tmp_path: Path) -> None:
    painted = np.zeros((120, 160, 3), np.uint8)
    painted[..., 0] = 255
    Image.fromarray(painted).save(tmp_path / "paint.png")
    files = [str(photos / "one.png"), str(photos / "two.png")]
    out = tmp_path / "worn.png"
    assert main(["warp", *files, f"--picture={tmp_path / 'paint.png'}", f"--out={out}", *models]) == 0
    with Image.open(out) as worn:
        pixels = np.asarray(worn)
    assert np.abs(pixels[55, 90].astype(int) - [255, 0, 0]).max() < 10
    np.testing.assert_array_equal(pixels[5, 5], [0, 0, 0])


def cameras(path: Path, count: int, same: bool = False) -> str:
    listed = [
        {
            "focal_px": 300.0,
            "principal_px": [80, 60],
            "R_camera_world": np.diag([1.0, -1.0, -1.0]).tolist(),
            "t_camera_world_mm": [0 if same else 40.0 * i, 0, 600],
        }
        for i in range(count)
    ]
    path.write_text(json.dumps(listed))
    return f"--cameras={path}"


def test_stereo_says_what_is_wrong(models: list[str], photos: Path, tmp_path: Path, capsys: Refused) -> None:
    files = [str(photos / "one.png"), str(photos / "two.png")]
    two = cameras(tmp_path / "two.json", 2)
    cases = {
        "at least two photos": [files[0], cameras(tmp_path / "one.json", 1)],
        "3 cameras for 2 photos": [*files, cameras(tmp_path / "three.json", 3)],
        "in one place": [*files, cameras(tmp_path / "same.json", 2, same=True)],
        "must end in .ply": [*files, two, f"--out={tmp_path / 'x.obj'}"],
        "no head in it": [files[0], str(photos / "nobody.png"), two],
    }
    for said, arguments in cases.items():
        assert (
            main(
                ["stereo", *arguments, *models, *([] if "--out" in arguments[-1] else [f"--out={tmp_path / 'x.ply'}"])]
            )
            == 2
        )
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (tmp_path / "x.ply").exists()


def read_cloud(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3), colours (N, 3) and residuals (N,) of a .ply file."""
    header, rows = path.read_bytes().split(b"end_header\n", 1)
    assert b"property float residual_px" in header
    kinds = {**dict.fromkeys("xyz", "<f4"), **dict.fromkeys(("red", "green", "blue"), "u1"), "residual_px": "<f4"}
    found = np.frombuffer(rows, list(kinds.items()))
    points, colours = (np.stack([found[name] for name in some], -1) for some in ("xyz", ("red", "green", "blue")))
    return points, colours, found["residual_px"]


def test_stereo_finds_a_head_in_its_place_and_shape(tmp_path: Path, capsys: Refused) -> None:
    """The shipped model; a head wider than the canonical one, in a world that is not the head's frame."""
    head = CanonicalHead.load()
    wide = head.vertices_mm * np.array([1.12, 1.0, 1.0])
    turn, place = exponential(np.array([[0.4, -0.9, 0.3]]))[0], np.array([150.0, -40.0, 1500.0])
    seen_by = [turned_camera(yaw) for yaw in (-18.0, 0.0, 18.0)]
    listed = []
    for i, camera in enumerate(seen_by):
        Image.fromarray(portrait(camera, vertices_mm=wide)).save(tmp_path / f"{i}.png")
        to_camera = camera.R_camera_head @ turn.T
        at = camera.t_camera_head_mm - to_camera @ place
        lens = {"focal_px": camera.focal_px, "principal_px": camera.principal_px.tolist()}
        listed.append({**lens, "R_camera_world": to_camera.tolist(), "t_camera_world_mm": at.tolist()})
    (tmp_path / "cameras.json").write_text(json.dumps(listed))
    out = tmp_path / "head.ply"
    photos = [str(tmp_path / f"{i}.png") for i in range(3)]
    assert main(["stereo", *photos, f"--cameras={tmp_path / 'cameras.json'}", f"--out={out}"]) == 0
    points, colours, residual = read_cloud(out)
    assert capsys.readouterr().out.startswith(f"{out}  {len(points)} points  residual {residual.mean():.2f} px")
    assert len(points) > 10_000
    assert residual.max() < 3.0  # --away-px

    own = (points - place) @ turn  # from the world to the head's frame
    face = own[:, 1] > -90
    own, colours = own[face], colours[face]
    away = closest(wide, head.triangles, own)[2]
    assert np.median(away) < 2.5
    assert np.quantile(away, 0.9) < 8.0
    # it is where the rays meet, and not where the canonical head has these points
    aside = np.abs(own[:, 0]) > 50
    assert np.median(away[aside]) < 0.7 * np.median(closest(head.vertices_mm, head.triangles, own[aside])[2])
    front = own[:, 2] > 60  # which the middle camera sees
    x, y = seen_by[1].project(own[front]).astype(int).T
    shown = portrait(seen_by[1], vertices_mm=wide)[y, x]
    assert np.median(np.abs(shown.astype(int) - colours[front])) < 12

    assert main(["stereo", *photos, f"--cameras={tmp_path / 'cameras.json'}", f"--out={out}", "--step=4"]) == 0
    assert len(read_cloud(out)[0]) == pytest.approx(len(points) / 16, rel=0.2)


FRAMES, BLANK, FOCAL_PX, WIDER = 5, 2, 700.0, 1.5


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Camera]]:
    """A wide head that turns and opens its mouth, as shot.0000.png and so on, the middle one blank; and its cameras."""
    folder = tmp_path_factory.mktemp("clip")
    vertices = CanonicalHead.load().vertices_mm.astype(np.float64)
    chin, wide = shapes(vertices)
    seen_by = [turned_camera(yaw, FOCAL_PX) for yaw in np.linspace(-20, 20, FRAMES)]
    for i, camera in enumerate(seen_by):
        own = vertices + WIDER * wide + 2 * i / (FRAMES - 1) * chin
        picture = np.full((256, 256, 3), 102, np.uint8) if i == BLANK else portrait(camera, vertices_mm=own)
        Image.fromarray(picture).save(folder / f"shot.{i:04d}.png")
    return folder, seen_by


def headtrack(performance: tuple[Path, list[Camera]], out: Path, *options: str) -> dict[str, np.ndarray]:
    """The .npz of the performance."""
    clip = str(performance[0] / "shot.%04d.png")
    assert main(["headtrack", clip, f"--focal={FOCAL_PX}", f"--out={out}", "--threads=1", *options]) == 0
    with np.load(out / "shot.headtrack.anymark.npz") as found:
        return dict(found)


def test_headtrack_follows_a_known_performance(
    performance: tuple[Path, list[Camera]], tmp_path: Path, capsys: Refused
) -> None:
    """The shipped models and a rig of the user's, in centimetres."""
    vertices, triangles = skin()
    chin, wide = shapes(vertices)
    content = {"neutral": vertices / 10, "triangles": triangles, "canonical_mm": vertices}
    kinds = {"identity": wide[None] / 10, "expression": 2 * chin[None] / 10, "expression_names": ["jawOpen"]}
    np.savez(tmp_path / "rig.npz", **content, **kinds)
    out = tmp_path / "out"
    found = headtrack(performance, out, f"--rig={tmp_path / 'rig.npz'}", "--meshes")
    assert "4 of 5 frames  5000 points" in capsys.readouterr().out

    turns = np.stack([camera.R_camera_head for camera in performance[1]])
    off = turned_by_deg(found["R_world_head"], turns)
    assert np.median(off) < 2.0
    assert off.max() < 4.5  # the blank frame, too: the head turns on in between
    steps = [np.einsum("nij,nkj->nik", each[1:], each[:-1]) for each in (found["R_world_head"], turns)]
    assert turned_by_deg(*steps).max() < 3.0  # of 10 degrees
    np.testing.assert_allclose(found["t_world_head_mm"], np.tile([0, 0, 900.0], (FRAMES, 1)), atol=50)
    assert 0.5 < found["identity"][0] < 2.0  # nought is what it starts from
    opened = found["expression"][:, 0]
    assert opened[-1] - opened[0] > 0.15
    assert np.diff(opened).min() > -0.05
    assert np.isnan(found["residual_px"]).tolist() == [i == BLANK for i in range(FRAMES)]
    assert np.nanmax(found["residual_px"]) < 4.0

    with (out / "shot.headtrack.anymark.csv").open() as file:
        table = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["jawOpen"]) for row in table], opened, atol=1e-4)
    assert [row["residual_px"] == "" for row in table] == [i == BLANK for i in range(FRAMES)]
    (first, *others) = sorted((out / "shot.headtrack.meshes.anymark").glob("*.obj"))
    assert len(others) == FRAMES - 1
    assert np.ptp(read_obj(first).vertices[:, 0]) > 1.02 * np.ptp(vertices[:, 0])
    drawn = [frame.pixels for frame in open_video(str(out / "shot.headtrack.anymark.mp4"))]
    assert len(drawn) == FRAMES
    for i, pixels in enumerate(drawn):
        with Image.open(performance[0] / f"shot.{i:04d}.png") as photo:
            change = np.abs(np.asarray(photo).astype(int) - pixels).mean(2)
        assert change[:20].mean() < 4  # above the head
        assert (change[90:166, 108:148].mean() > 15) == (i != BLANK)  # the rig lies over the face


def test_headtrack_with_ict_facekit(performance: tuple[Path, list[Camera]], assets: Path, tmp_path: Path) -> None:
    found = headtrack(performance, tmp_path, f"--assets={assets}")
    assert found["identity"].shape == (100,)
    assert found["expression"].shape == (FRAMES, 53)
    assert found["expression"].min() >= 0
    assert found["expression"].max() <= 1
    turns = np.stack([camera.R_camera_head for camera in performance[1]])
    assert turned_by_deg(found["R_world_head"], turns).max() < 4.5
    jaw = found["expression"][:, found["expression_names"].tolist().index("jawOpen")]
    assert jaw[-1] > jaw[0] + 0.03


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dense"], "no photos given"),
        (["dense", "{one}", "--ball", "0", "0", "0", "0"], "radius of 0"),
        (["dense", "{one}", "--ball", "9000", "0", "0", "5"], "beside the canonical head"),
        (["dense", "{one}", "--volume", "{halves}"], "of booleans"),
        (["match", "{one}", "{two}", "--out", "m.txt"], "must end in .csv"),
        (["match", "{one}", "{two}", "--draw", "m.foo"], "must end in .png"),
        (["dense", "{one}", "--click", "{one}"], "FILE@X,Y"),
        (["dense", "{one}", "--click", "{one}@2,2"], "not on the head"),
        (["dense", "{one}", "--volume", "{one}"], "not an .npy file"),
        (["dense", "{one}", "--volume", "{cut}"], "not an .npy file"),
        (["dense", "{one}", "--dense", "{one}"], "no such model"),
        (["match", "{one}", "{nobody}"], "no head in it"),
        (["match", "{one}", "{one}", "--step", "0"], "--step"),
        (["warp", "{one}", "{nobody}"], "no head in it"),
        (["warp", "{one}", "{two}", "--out", "x.gif"], "must end in"),
        (["warp", "{one}", "{two}", "--out", "{two}"], "two.png"),
        (["headtrack", "{photos}/none.mp4"], "none.mp4"),
    ],
)
def test_bad_input_is_one_line(
    models: list[str],
    photos: Path,
    tmp_path: Path,
    capsys: Refused,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    np.save(tmp_path / "halves.npy", np.full((2, 2, 2), 0.5))
    names = {name: photos / f"{name}.png" for name in ("one", "two", "nobody")}
    names |= {"photos": photos, "cut": tmp_path / "cut.npz", "halves": tmp_path / "halves.npy"}
    filled = [text.format(**names) for text in arguments]
    before = (photos / "two.png").read_bytes()
    given = models if "--dense" not in filled else models[1:]
    assert main([filled[0], *filled[1:], *given]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert (photos / "two.png").read_bytes() == before


def test_a_bad_photo_does_not_stop_the_others(models: list[str], photos: Path, tmp_path: Path, capsys: Refused) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    assert main(["dense", str(photos), f"--out={tmp_path / 'out'}", *models]) == 2
    assert "broken.png" in capsys.readouterr().err
    written = {path.name for path in (tmp_path / "out").glob("*.npz")}
    assert written == {f"{name}.dense.anymark.npz" for name in ("one", "two", "nobody")}


def test_maps_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(AnymarkError, match="not a file of dense maps"):
        load_maps(path)
    with pytest.raises(AnymarkError, match="no such file"):
        load_maps(tmp_path / "none.npz")


def test_importing_the_authors_weights_needs_a_yes(tmp_path: Path, capsys: Refused) -> None:
    pytest.importorskip("timm")
    arguments = ["import", str(tmp_path / "m.safetensors"), str(tmp_path / "out"), "--photos", str(tmp_path)]
    assert main(arguments) == 2
    assert "CC-BY-NC" in capsys.readouterr().err
