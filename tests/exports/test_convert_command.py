"""`anymark convert`, and what `export` refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anymark import AnymarkError
from anymark.cli import main
from anymark.exports import FORMATS, export, format_named
from anymark.video import Track, Tracker, open_video
from tests.exports.readers import nuke_curve, nuke_nodes
from tests.exports.tracks import LAYOUT, track
from tests.video.fakes import LAYOUT as FIVE
from tests.video.fakes import FakeDetector, picture


@pytest.fixture
def npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A track's file in the current folder."""
    monkeypatch.chdir(tmp_path)
    track().save("clip.anymark.npz")
    return "clip.anymark.npz"


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "npz"])
def test_every_format_lies_beside_the_track(npz: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    corners = ["--corners", "0", "1", "2", "mouth, left"] if name == "nuke-cornerpin" else []
    options = ["--head", "1", *corners]
    assert main(["convert", npz, "--to", name, *options]) == 0
    out = Path("clip.anymark" + FORMATS[name].suffix)
    assert capsys.readouterr().out == f"{name}: {out}\n"
    assert out.is_dir() == FORMATS[name].folder
    assert out.exists()
    assert not [path for path in Path().rglob(".*")]


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_is_known_by_its_suffix_and_the_same_twice(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    options: dict[str, Any] = {"head": 1} | ({"corners": [0, 1, 2, 3]} if name == "nuke-cornerpin" else {})
    written = []
    for stem in ("a", "b"):
        out = kind.beside(tmp_path / f"{stem}.npz")
        export(track(), out, **options)
        export(track(), out, name, **options)  # over itself
        files = sorted(out.iterdir()) if kind.folder else [out]
        written.append([(path.name.removeprefix(stem), path.read_bytes()) for path in files])
    assert written[0] == written[1]


def test_options_go_where_they_belong(npz: str) -> None:
    options = ["--out", "x.nk", "--head", "2", "--points", "lip", "eyes", "mouth, left", "--first", "101"]
    assert main(["convert", npz, "--to", "nuke", *options]) == 0
    ((_, knobs),) = nuke_nodes(Path("x.nk"))
    points = knobs["tracks"][2]
    assert [point[1] for point in points] == ["head2_lip", "head2_left_eye", "head2_right_eye", "head2_mouth_left"]
    assert points[0][2][1] == "x103"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--to nuk", "nuk: no such format; did you mean nuke?"),
        ("--to zzz", "zzz: no such format; there are nuke, nuke-cornerpin,"),
        ("--to nuke --head 7", "no head 7 in this track; there are 1, 2"),
        ("--to nuke --points nose", "layout 'six': no point 'nose'"),
        ("--to nuke --out a.txt", "a.txt: files of nuke end in .nk"),
        ("--to opencv --out a.yml", "a.yml: files of opencv end in .json"),
        ("--to nuke --out none/a.nk", "none/a.nk: cannot write (its folder does not exist)"),
        ("--to pts --out none/a", "none/a: cannot write (its folder does not exist)"),
        ("--to pts --out clip.anymark.npz", "clip.anymark.npz: would overwrite what is read"),
        ("--to npz", "clip.anymark.npz: would overwrite what is read"),
        ("--to nuke-cornerpin --head 1 --corners 0 1 2", "corners: four different points are needed, not 0, 1, 2"),
        ("--to nuke-cornerpin --head 1", "a corner pin needs its corners"),
        ("--to nuke --mesh", "nuke has no use for mesh"),
        ("--to csv --first 3", "csv has no use for first"),
        ("--to blender --points eyes --mesh", "layout 'six' has no triangles, so there is no mesh"),
    ],
)
def test_what_is_refused(npz: str, command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", npz, *command.split()]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"anymark: {said}")
    assert len(err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == [npz]


def test_a_track_that_is_none(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "gone.npz", "--to", "nuke"]) == 2
    assert capsys.readouterr().err.startswith("anymark: gone.npz: no such file")


def test_a_track_without_heads(tmp_path: Path) -> None:
    empty = replace(track(), rows=track().rows[:0])
    for name, kind in FORMATS.items():
        options: dict[str, Any] = {"corners": [0, 1, 2, 3]} if name == "nuke-cornerpin" else {}
        with pytest.raises(AnymarkError, match="no heads in this track"):
            export(empty, kind.beside(tmp_path / "a.npz"), **options)
    assert not list(tmp_path.iterdir())


def test_a_suffix_that_is_no_format_s(tmp_path: Path) -> None:
    with pytest.raises(AnymarkError, match=r"a\.fbx: no format has this suffix"):
        export(track(), tmp_path / "a.fbx")


def test_a_file_where_a_folder_is_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.pts").write_text("")
    with pytest.raises(AnymarkError, match="pts is a folder, and this is none"):
        export(track(), tmp_path / "a.pts")


def test_one_photo_is_a_track_of_one_frame(tmp_path: Path) -> None:
    whole = track(layout=replace(LAYOUT, names=None, triangles=None))
    one = replace(whole, pts=whole.pts[:1], time_s=whole.time_s[:1], decoded=whole.decoded[:1], rows=whole.rows[:1])
    for name, kind in FORMATS.items():
        options: dict[str, Any] = {"corners": [0, 1, 2, 3]} if name == "nuke-cornerpin" else {}
        export(one, kind.beside(tmp_path / "a.npz"), **options)
        assert kind.beside(tmp_path / "a.npz").exists()


def test_pictures_are_followed_and_converted(tmp_path: Path) -> None:
    for number in (1001, 1002, 1004):
        Image.fromarray(picture((40 + number - 1001, 50, 12, 0))).save(tmp_path / f"{number}.png")
    followed = Track.of(open_video(tmp_path, rate=25), Tracker(FakeDetector(), FIVE))
    export(followed, tmp_path / "a.nk", points=[0])
    ((_, knobs),) = nuke_nodes(tmp_path / "a.nk")
    ((_, name, x, y, *_),) = knobs["tracks"][2]
    assert name == "head1_point_0"
    assert nuke_curve(x) == {number: pytest.approx(40 + number - 1001, abs=0.2) for number in (1001, 1002, 1004)}
    assert nuke_curve(y)[1001] == pytest.approx(120 - 50, abs=0.2)


def test_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--help"]) == 0
    words = {word.strip(",.│") for word in capsys.readouterr().out.split()}
    assert set(FORMATS) <= words


def test_formats_by_name() -> None:
    assert format_named("usd").program == "USD"
    assert all(kind.name == name for name, kind in FORMATS.items())
    assert len({kind.suffix for kind in FORMATS.values()}) == len(FORMATS)
