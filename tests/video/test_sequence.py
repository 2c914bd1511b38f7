"""Image sequences and folders of pictures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark import AnymarkError
from anymark.video import Video, open_video
from anymark.video.opening import open_video as opened
from anymark.video.sequence import ImageSequence, plain_stem


def write(path: Path, level: int, size: tuple[int, int] = (8, 6)) -> None:
    Image.new("RGB", size, (level, 0, 0)).save(path)


def shown(video: Video) -> list[tuple[int, int, int | None]]:
    """Index, number and level of each frame."""
    return [(f.index, f.pts, None if f.pixels is None else int(f.pixels[0, 0, 0])) for f in video]


@pytest.mark.parametrize("pattern", ["shot.%04d.png", "shot.####.png"])
def test_a_pattern_takes_the_numbers_in_order(tmp_path: Path, pattern: str) -> None:
    for number in (1001, 999, 1000, 10000):
        write(tmp_path / f"shot.{number:04d}.png", number % 250)
    write(tmp_path / "shot.01234.png", 1)  # %04d would have written 1234
    write(tmp_path / "shot.1.png", 1)
    write(tmp_path / "shot.1000.jpg", 1)
    write(tmp_path / "snap.1000.png", 1)
    video = open_video(tmp_path / pattern)
    assert shown(video) == [(0, 999, 249), (1, 1000, 0), (2, 1001, 1), (3, 10000, 0)]
    assert (video.expected, video.rate) == (4, 24)
    assert isinstance(video, ImageSequence)
    assert video.gaps == [1002]


def test_numbers_without_zeros(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        write(tmp_path / f"{number}.png", number)
    write(tmp_path / "007.png", 7)
    assert shown(open_video(tmp_path / "%d.png")) == [(0, 0, 0), (1, 2, 2), (2, 10, 10)]


def test_times_follow_numbers_and_rate(tmp_path: Path) -> None:
    for number in (10, 11, 15):
        write(tmp_path / f"{number}.png", 0)
    assert [f.time_s for f in open_video(tmp_path / "##.png", rate=50)] == pytest.approx([0.2, 0.22, 0.3])
    assert [f.time_s for f in open_video(tmp_path / "##.png")] == pytest.approx([10 / 24, 11 / 24, 15 / 24])
    television = open_video(tmp_path / "##.png", rate=23.976)
    assert television.time_base * 24000 == 1001
    assert opened(tmp_path / "##.png", rate=12.5).rate == 12.5


def test_a_folder_of_numbered_pictures_is_a_sequence(tmp_path: Path) -> None:
    for number in (2, 10, 9):
        write(tmp_path / f"take2_{number}.png", number)
    (tmp_path / "notes.txt").write_text("no picture")
    write(tmp_path / "take2_3.anymark.png", 3)  # a drawing of ours
    assert shown(open_video(tmp_path)) == [(0, 2, 2), (1, 9, 9), (2, 10, 10)]


def test_a_folder_of_other_pictures_is_sorted_by_name(tmp_path: Path) -> None:
    for level, name in enumerate(["c.png", "a.png", "b2.jpg"]):
        write(tmp_path / name, 100 * level)
    assert [index for index, pts, _ in shown(open_video(tmp_path)) if index == pts] == [0, 1, 2]
    assert [level // 90 for _, _, level in shown(open_video(tmp_path)) if level is not None] == [1, 2, 0]


def test_pictures_that_cannot_be_read_keep_their_places(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.png", number)
    (tmp_path / "1.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    (tmp_path / "3.png").write_bytes(b"")
    frames = list(open_video(tmp_path / "#.png"))
    assert [(f.index, f.pixels is None) for f in frames] == [(0, False), (1, True), (2, False), (3, True)]
    assert "1.png: not an image" in (frames[1].problem or "")
    assert "3.png: empty file" in (frames[3].problem or "")


def test_starting_later(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.png", number)
    video = open_video(tmp_path)
    assert [(f.index, f.pts) for f in video.frames(3)] == [(3, 3), (4, 4)]
    assert list(video.frames(5)) == []


def test_nothing_that_fits(tmp_path: Path) -> None:
    for name, said in {
        "shot.%04d.png": "no such pictures",
        "%d.%d.png": "one place for the number",
        "gone/%d.png": "no such file",
        "gone": "no such file",
    }.items():
        with pytest.raises(AnymarkError, match=said):
            open_video(tmp_path / name)
    with pytest.raises(AnymarkError, match="no pictures in this folder"):
        open_video(tmp_path)


def test_a_fingerprint_changes_with_the_pictures(tmp_path: Path) -> None:
    write(tmp_path / "1.png", 0)
    before = open_video(tmp_path).fingerprint()
    assert open_video(tmp_path).fingerprint() == before
    write(tmp_path / "2.png", 0)
    write(tmp_path / "3.png", 0)
    more = open_video(tmp_path).fingerprint()
    assert more != before
    changed = (tmp_path / "2.png").stat().st_mtime_ns + 1_000_000
    os.utime(tmp_path / "2.png", ns=(changed, changed))  # rendered anew
    assert open_video(tmp_path).fingerprint() != more


@pytest.mark.parametrize(
    ("source", "stem"),
    [("a/shot.%04d.png", "shot"), ("shot.####.exr", "shot"), ("take_2.mp4", "take_2"), ("####.png", "video")],
)
def test_what_files_are_called_after(source: str, stem: str) -> None:
    assert plain_stem(source) == stem


def test_what_files_about_a_folder_are_called_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shots.v2").mkdir()
    assert plain_stem(str(tmp_path / "shots.v2")) == "shots.v2"
    monkeypatch.chdir(tmp_path / "shots.v2")
    assert plain_stem(".") == "shots.v2"


def test_png_sequences_need_no_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "1.png", 7)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    assert shown(open_video(tmp_path)) == [(0, 1, 7)]
    with pytest.raises(AnymarkError, match=r"an exposure is for \.exr"):
        open_video(tmp_path, exposure_stops=1)


def test_pictures_become_colour(tmp_path: Path) -> None:
    Image.new("L", (5, 3), 90).save(tmp_path / "1.png")
    (frame,) = open_video(tmp_path)
    np.testing.assert_array_equal(frame.pixels, np.full((3, 5, 3), 90))
