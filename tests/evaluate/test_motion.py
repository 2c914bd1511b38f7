"""`anymark eval video`: heads followed through sequences with exact tracks, and through clips without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anymark.cli import main
from anymark.engine.samples import Sample, write_shard
from anymark.engine.shots import turned
from anymark.engine.teacher import FaceMesh
from anymark.errors import AnymarkError
from anymark.evaluate.following import SMOOTHINGS, Followed, follow
from anymark.evaluate.motion import (
    RIVAL,
    Truth,
    clip_numbers,
    face_layout,
    read_sequences,
    sequence_details,
    sequence_numbers,
)
from anymark.video import Frame
from tests.samples import finish, grey_sample
from tests.video.clips import write_clip
from tests.video.fakes import FakeDetector, frame, picture

SIDE, FOCAL, AWAY = 96, 200.0, 900.0
SIZE = (160, 120)


class FakeMesh(FaceMesh):
    """Says what it was told, whatever the frame."""

    def __init__(self, answers: Sequence[list[np.ndarray]] = ()) -> None:
        self.answers = list(answers)
        self.forgotten, self._next = 0, 0

    def forget(self) -> None:
        self.forgotten, self._next = self.forgotten + 1, 0

    def faces(self, rgb: np.ndarray) -> list[np.ndarray]:
        self._next += 1
        return self.answers[self._next - 1]


def discs(count: int, moved: float = 2.0) -> list[Frame]:
    """A head that moves to the right."""
    return [frame(i, picture((40 + moved * i, 60, 20, 2), size=SIZE)) for i in range(count)]


def followed(frames: Sequence[Frame], rival: FakeMesh | None = None) -> Followed:
    return follow(frames, FakeDetector(), face_layout(), 1, rival)


def truth_of(points_px: np.ndarray, eyes_px: float = 20.0) -> Truth:
    count = len(points_px)
    return Truth("one", tuple(discs(count)), points_px.astype(np.float64), np.full(count, eyes_px))


def with_depth(points: np.ndarray) -> np.ndarray:
    """(478, 3) as MediaPipe answers."""
    return np.column_stack([np.concatenate([points, points[:10]]), np.zeros(478)])


def test_a_head_is_followed_frame_by_frame() -> None:
    frames = discs(6)
    frames[3] = frame(3, None)
    found = followed(frames)
    tracks = found.tracks(found.ids)
    assert set(tracks) == set(SMOOTHINGS)
    assert np.isnan(tracks["none"][3]).all()
    assert np.isnan(tracks["offline"][3]).all()
    centre = tracks["none"].mean((1, 2))
    assert np.isfinite(centre[[0, 1, 2, 4, 5]]).all()
    steps = tracks["none"][5] - tracks["none"][4]
    assert steps.mean(0) == pytest.approx([2, 0], abs=0.2)


def test_the_rivals_face_is_the_one_that_overlaps() -> None:
    track = followed(discs(3)).tracks([1])["none"]
    near, far = [with_depth(points + 1) for points in track], [with_depth(points + 90) for points in track]
    mesh = FakeMesh([[far[0], near[0]], [far[1]], []])
    found = followed(discs(3), mesh)
    assert mesh.forgotten == 1
    boxes = np.concatenate([track.min(1), track.max(1)], 1)
    theirs = found.rival_track(boxes)
    np.testing.assert_allclose(theirs[0], track[0] + 1)
    assert np.isnan(theirs[1:]).all()
    boxes[0] = np.nan
    assert np.isnan(found.rival_track(boxes)).all()


def test_errors_of_a_sequence_by_hand() -> None:
    found = followed(discs(8))
    track = found.tracks(found.ids)["none"]
    same = sequence_numbers(found, truth_of(track))["none"]
    assert (same["frames"], same["missed"], same["ids lost"]) == (8, 0, 0)
    assert [same[key] for key in ("NME", "velocity", "acceleration", "NMF")] == [0, 0, 0, 0]
    beside = sequence_numbers(found, truth_of(track + np.array([3, 4])))["none"]
    assert beside["NME"] == pytest.approx(5 / 20)
    assert [beside[key] for key in ("velocity", "acceleration", "NMF")] == pytest.approx([0, 0, 0], abs=1e-12)
    alternating = np.where(np.arange(8) % 2, 1.0, -1.0)[:, None, None] * np.array([1, 0])
    shaken = sequence_numbers(found, truth_of(track + alternating))["none"]
    assert shaken["velocity"] == pytest.approx(2 / 20)
    assert shaken["acceleration"] == pytest.approx(4 / 20)
    side = np.sqrt(np.prod(track[0].max(0) - track[0].min(0)))
    assert shaken["NMF"] == pytest.approx(100 * 2 * 256 / side, rel=1e-3)


def test_what_is_missed_is_counted_and_new_numbers_are_ids_lost() -> None:
    frames = [*discs(4), *(frame(4 + i, picture(size=SIZE)) for i in range(120)), frame(124, picture((60, 60, 20, 2)))]
    found = followed(frames)
    track = found.tracks(found.ids)["none"]
    numbers = sequence_numbers(found, Truth("one", tuple(frames), np.nan_to_num(track), np.full(125, 20.0)))["none"]
    assert numbers["missed"] == 120
    assert numbers["ids lost"] == 1
    assert numbers["NME"] == 0


def test_a_rival_is_measured_against_the_same_truth() -> None:
    track = followed(discs(5)).tracks([1])["none"]
    mesh = FakeMesh([[with_depth(points + np.array([0, 2]))] for points in track])
    numbers = sequence_numbers(followed(discs(5), mesh), truth_of(track))
    assert numbers[RIVAL]["NME"] == pytest.approx(2 / 20)
    errors, flickers = sequence_details("both", [numbers, numbers])
    assert errors.rows["mediapipe"]["frames"] == 10
    assert np.isnan(errors.rows["mediapipe"]["ids lost"])
    assert errors.rows["anymark, none"]["NME"] == 0
    assert list(flickers.rows) == ["anymark, none", "anymark, causal", "anymark, offline", "mediapipe"]


def test_steadiness_of_a_clip_counts_frames_that_nobody_missed() -> None:
    frames = discs(12)
    track = followed(frames).tracks([1])["none"]
    shaken = track + np.where(np.arange(12) % 2, 0.5, -0.5)[:, None, None] * np.array([0, 1])
    mesh = FakeMesh([[with_depth(points)] if i != 11 else [] for i, points in enumerate(shaken)])
    numbers = clip_numbers(followed(frames, mesh))
    assert numbers["none"]["frames"] == numbers[RIVAL]["frames"] == 11
    assert (numbers["none"]["missed"], numbers[RIVAL]["missed"]) == (0, 1)
    length = np.median(np.linalg.norm(track[:, 33] - track[:, 263], axis=1))
    assert numbers[RIVAL]["acceleration"] == pytest.approx(2 / length, rel=0.1)
    assert numbers["none"]["acceleration"] < 0.3 * numbers[RIVAL]["acceleration"]
    assert numbers["offline"]["acceleration"] <= numbers["none"]["acceleration"]


def test_a_clip_without_a_head_has_no_numbers() -> None:
    with pytest.raises(AnymarkError, match="no head in it"):
        clip_numbers(followed([frame(i, picture(size=SIZE)) for i in range(5)]))
    with pytest.raises(AnymarkError, match="no three frames"):
        clip_numbers(followed(discs(2)))


def sample(key: str, number: int | None, yaw_deg: float = 0.0) -> Sample:
    made = grey_sample(key, turned(np.radians(yaw_deg), 0, 0), np.array([4.0, -5.0, AWAY]), SIDE, FOCAL)
    return replace(made, record={**made.record, **({} if number is None else {"frame": number})})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "sequences"
    path.mkdir()
    write_shard(path / "shard-00000.tar", [sample(f"a-0-{i:03d}", i, 5.0 * i) for i in range(4)])
    write_shard(path / "shard-00001.tar", [sample(f"b-0-{i:03d}", i) for i in range(5)])
    finish(path)
    return path


def test_sequences_have_the_tracks_of_their_samples(folder: Path) -> None:
    first, second = read_sequences(folder)
    assert (first.name, second.name) == ("a-0", "b-0")
    assert first.points_px.shape == (4, 468, 2)
    assert [each.index for each in second.frames] == [0, 1, 2, 3, 4]
    times = [each.time_s for each in second.frames]
    assert np.diff(times) == pytest.approx([1 / 24] * 4)
    layout = face_layout().points_mm
    place = np.array(sample("c", 0).record["t_camera_head_mm"])
    seen = layout @ turned(0, 0, 0).T + place
    expected = FOCAL * seen[:, :2] / seen[:, 2:] + SIDE / 2
    assert np.median(np.linalg.norm(second.points_px[0] - expected, axis=1)) < 0.05
    assert np.ptp(second.points_px, axis=0).max() == 0
    assert first.eyes_px.std() < 0.05 * first.eyes_px.mean()  # in 3D: turning does not make them shorter
    assert len(first.first(2).frames) == len(first.first(2).points_px) == 2


def test_numbers_from_shards_and_clips_to_last_lines(
    folder: Path, linear: Path, locator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [np.full((320, 320, 3), 128, np.uint8)] * 9)
    out = tmp_path / "numbers.json"
    models = ["--model", str(linear), "--locator", str(locator)]
    assert main(["eval", "video", str(folder), str(clip), *models, "--json", str(out)]) == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{folder}: NME ")
    assert first.endswith("(n=2)")
    assert second.startswith(f"{clip}: acceleration ")
    assert second.endswith(" % of the eyes' distance (n=9)")
    numbers = json.loads(out.read_text())
    errors = numbers["details"][f"{folder}, 2 sequences: % of the eyes' distance"]["anymark, none"]
    assert (errors["frames"], errors["missed"], errors["ids lost"]) == (9, 0, 0)
    assert set(numbers["videos"][str(folder)]) == {"a-0", "b-0"}
    still = numbers["videos"][str(folder)]["b-0"]
    assert still["none"]["NME"] > 0
    assert numbers["videos"][str(clip)]["none"]["frames"] == 9
    assert main(["eval", "video", str(clip), *models, "--limit", "4"]) == 0
    assert capsys.readouterr().out.endswith("(n=4)\n")


def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path, linear: Path, locator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, samples in (("views", [sample("a", None)]), ("torn", [sample("a-0-000", 0), sample("a-0-002", 2)])):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name / "shard-00000.tar", samples)
        finish(tmp_path / name)
    for arguments, message in (
        ([], "no videos given"),
        (["none.mp4"], "none.mp4: no such file"),
        (["views"], "sample a: no frame of a sequence"),
        (["torn"], "sequence a-0: its frames are [0, 2]"),
    ):
        given = [str(tmp_path / name) for name in arguments]
        assert main(["eval", "video", *given, "--model", str(linear), "--locator", str(locator)]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert len(err.strip().splitlines()) == 1


def test_what_cannot_be_read_is_named_and_the_rest_is_done(
    folder: Path, linear: Path, locator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["eval", "video", str(tmp_path / "none.mp4"), str(folder), "--model", str(linear)]
    assert main([*given, "--locator", str(locator), "--limit", "3"]) == 2
    said = capsys.readouterr()
    assert "none.mp4: no such file or directory: left out" in said.err
    assert said.out.splitlines()[-1].endswith("(n=2)")
