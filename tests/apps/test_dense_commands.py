"""The commands of dense maps, with networks whose answers are known: files that they write, and what they refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark.apps.maps import load_maps, rgba_of
from anymark.cli import main
from anymark.errors import AnymarkError
from tests.detect.synthetic import blobs, write_landmark_model, write_locator
from tests.detect.test_dense import write_dense_model

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
