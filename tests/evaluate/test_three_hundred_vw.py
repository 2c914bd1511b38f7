"""The reader of 300-VW: a .pts a frame, of a video file or of extracted frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.score import Scores
from anymark.evaluate.three_hundred_vw import VIDEOS, flicker_details, read_300vw
from tests.evaluate.public import face, lies_on, write_pts, write_video


@pytest.mark.parametrize("clip", [False, True])
def test_points_lie_on_the_pixels_of_their_frame(clip: bool, tmp_path: Path):
    write_video(tmp_path, "114", clip=clip)
    benchmark = read_300vw(tmp_path)
    assert [f.name for f in benchmark.faces] == ["114/000001", "114/000002", "114/000003"]
    assert [f.frame for f in benchmark.faces] == [("114", 0), ("114", 1), ("114", 2)]
    for labelled in (*benchmark.faces, benchmark.faces[1], benchmark.faces[0], benchmark.faces[2]):  # in any order
        assert labelled.load().shape == (320, 352, 3)
        assert lies_on(labelled.points_px, labelled.load())


def test_a_video_is_decoded_once_if_its_frames_are_asked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("114", "124"):
        write_video(tmp_path, name, clip=True)
    from anymark.video import opening

    opened: list[Path] = []
    whole = opening.open_video
    monkeypatch.setattr(opening, "open_video", lambda path: (opened.append(path), whole(path))[1])
    for labelled in read_300vw(tmp_path).faces:
        labelled.load()
    assert opened == [tmp_path / "114" / "vid.avi", tmp_path / "124" / "vid.avi"]


def test_the_protocol_has_31_19_and_14_videos():
    assert {name: len(set(videos)) for name, videos in VIDEOS.items()} == {
        "category 1": 31,
        "category 2": 19,
        "category 3": 14,
    }
    assert len({video for videos in VIDEOS.values() for video in videos}) == 64


def test_rows_are_categories(tmp_path: Path):
    for name in ("548", "203", "562", "001"):
        write_video(tmp_path, name, range(2))
    benchmark = read_300vw(tmp_path)
    assert {row: len(benchmark.row(row)) for row in benchmark.rows} == {
        "category 1": 2,
        "category 2": 2,
        "category 3": 2,
        "all": 6,
    }
    assert "300-VW category 1 has 31 videos in the protocol, 1 here" in benchmark.notes
    assert benchmark.threshold == 0.08
    second = read_300vw(tmp_path, "2")
    assert {row: len(second.row(row)) for row in second.rows} == {"category 2": 2, "all": 2}


def test_calibration_comes_from_the_training_videos(tmp_path: Path):
    for name in ("114", "001", "225"):
        write_video(tmp_path, name, range(3))
    benchmark = read_300vw(tmp_path, calibrate=3)
    assert [f.name for f in benchmark.calibration] == ["001/000001", "001/000003", "225/000003"]
    assert {f.group for f in benchmark.faces} == {"category 1"}
    with pytest.raises(AnymarkError, match="--calibrate 7, but only 6"):
        read_300vw(tmp_path, calibrate=7)


def test_a_limit_takes_the_first_frames_of_each_video(tmp_path: Path):
    for name in ("114", "203"):
        write_video(tmp_path, name, range(4))
    limited = read_300vw(tmp_path).limited(2)
    assert [f.name for f in limited.faces] == ["114/000001", "114/000002", "203/000001", "203/000002"]
    assert "4 of 8 faces scored (--limit 2)" in limited.notes[-1]


def test_flicker_is_the_mean_over_the_videos_of_a_row(tmp_path: Path):
    for name in ("114", "124", "203"):
        write_video(tmp_path, name, range(3))
    benchmark = read_300vw(tmp_path)
    labels = np.stack([f.points_px for f in benchmark.faces])
    per_px = 100 * 256 / benchmark.faces[0].lengths_px["box"]
    found = labels + 5.0
    found[1] += (3, 4)  # there and back: 5 px both times
    found[4] += (0, 1)
    found[7] = np.nan  # neither of the changes of 203 is known
    points = load_layout("ibug68")
    sigma, errors = np.ones(found.shape[:2]), {"inter-ocular": np.zeros(9)}
    (detail,) = flicker_details(Scores(benchmark, points, found, sigma, errors, ()))
    assert detail.rows["category 1"]["NMF"] == pytest.approx(per_px * (5 + 1) / 2)
    assert np.isnan(detail.rows["category 2"]["NMF"])
    assert detail.rows["all"]["NMF"] == pytest.approx(per_px * (5 + 1) / 2)


def test_frames_that_are_not_labelled_part_a_video(tmp_path: Path):
    folder = write_video(tmp_path, "114", range(4))
    (folder / "annot" / "000003.pts").unlink()
    benchmark = read_300vw(tmp_path)
    found = np.stack([f.points_px for f in benchmark.faces])
    found[2] += 40  # frame 4, whose neighbour is not labelled
    sigma, errors = np.ones(found.shape[:2]), {"inter-ocular": np.zeros(3)}
    (detail,) = flicker_details(Scores(benchmark, load_layout("ibug68"), found, sigma, errors, ()))
    assert detail.rows["all"]["NMF"] == pytest.approx(0)
    assert any("4 extracted frames, 3 labels" in note for note in benchmark.notes)


def test_damaged_frames_are_left_out_and_named(tmp_path: Path):
    folder = write_video(tmp_path, "114", range(5))
    (folder / "annot" / "000001.pts").write_text("1 2\n")
    (folder / "annot" / "000002.pts").rename(folder / "annot" / "second.pts")
    (folder / "extraction" / "000003.png").unlink()
    benchmark = read_300vw(tmp_path)
    assert [f.name for f in benchmark.faces] == ["114/000003", "114/000004", "114/000005"]
    for message in ("000001.pts: 1 points, expected 68", "second.pts: not named by the number of a frame"):
        assert [note for note in benchmark.notes if message in note and note.endswith(": left out")]
    with pytest.raises(AnymarkError, match=r"000003\.png: not a readable image"):
        benchmark.faces[0].load()


def test_labels_beyond_the_end_of_a_video_are_named(tmp_path: Path):
    folder = write_video(tmp_path, "114", clip=True)
    for i in (4, 5):
        write_pts(folder / "annot" / f"{i:06}.pts", face("ibug68"))
    faces = read_300vw(tmp_path).faces
    for labelled in faces[:3]:
        assert labelled.load().shape == (320, 352, 3)
    for i, labelled in enumerate(faces[3:], 4):
        with pytest.raises(AnymarkError, match=rf"vid\.avi: no frame {i}, which is labelled"):
            labelled.load()
    assert lies_on(faces[0].points_px, faces[0].load())


def test_a_damaged_video_is_named(tmp_path: Path):
    pytest.importorskip("av")
    write_video(tmp_path, "114", clip=True)
    (tmp_path / "114" / "vid.avi").write_bytes(b"no video")
    with pytest.raises(AnymarkError, match=r"vid\.avi"):
        read_300vw(tmp_path).faces[0].load()


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(AnymarkError, match="nothing: no such folder"):
        read_300vw(tmp_path / "nothing")
    with pytest.raises(AnymarkError, match=r"no frames of 300-VW \(looked for 114/annot"):
        read_300vw(tmp_path)
    write_pts(tmp_path / "114" / "annot" / "000001.pts", face("ibug68"))
    with pytest.raises(AnymarkError, match="no frames of 300-VW"):
        read_300vw(tmp_path)
    write_video(tmp_path, "124")
    assert any("114: neither vid.avi nor extraction" in note for note in read_300vw(tmp_path).notes)
