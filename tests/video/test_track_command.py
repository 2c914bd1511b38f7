"""`anymark track`: what it prints, writes and exits with, and that it can be killed at any frame."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from anymark.cli import main
from anymark.commands import following as command
from anymark.commands import track as track_command
from anymark.video import Track, open_video, smooth
from anymark.video.journal import Journal
from anymark.video.smoothing import Smoothing
from tests.video.clips import write_clip
from tests.video.fakes import LAYOUT, FakeDetector, picture

TIMES = [40 * k + 7 * (k % 3) for k in range(24)]  # at no even rate
NAME = "anymark-out/clip.anymark.npz"

Run = Callable[..., tuple[int, str, str]]


def clip_pictures() -> list[np.ndarray]:
    """A head that is there all the time, and one that leaves and comes back."""
    return [
        picture((30 + 3 * k, 50, 14, 0), *([(120, 90 - k, 12, 1)] if k < 8 or k > 14 else []))
        for k in range(len(TIMES))
    ]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `anymark track` with a made-up detector in a folder with a clip; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", clip_pictures(), TIMES)
    prepare(tmp_path)

    def call(*argv: str, at_call: Callable[[int], float] = lambda number: 0.0) -> tuple[int, str, str]:
        monkeypatch.setattr(command, "Detector", lambda *args, **options: FakeDetector(at_call))
        code = main(["track", *argv, "--layout", "five.json", "--model", "./model", "--locator", "./locator"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def prepare(folder: Path) -> None:
    """A layout, and cards of models that are not read."""
    LAYOUT.save(folder / "five.json")
    for name, kind, version in (("model", "landmarks", 2), ("locator", "locator", 1)):
        (folder / name).mkdir()
        (folder / name / "card.json").write_text(json.dumps({"format": version, "kind": kind, "files": {}}))


def test_a_clip_with_the_defaults(run: Run) -> None:
    code, out, err = run("clip.mp4")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "clip.mp4  head 1  24 of 24 frames  0-23  0.000-0.934 s",
        "clip.mp4  head 2  17 of 24 frames  0-23  0.000-0.934 s",
    ]
    assert [path.name for path in Path("anymark-out").iterdir()] == ["clip.anymark.npz"]
    track = Track.load(NAME)
    assert (track.video, track.size_px, track.smooth) == ("clip.mp4", (160, 120), "none")
    np.testing.assert_allclose(track.time_s, np.array(TIMES) / 1000, atol=1e-9)
    np.testing.assert_allclose(track.head(1)["xy_px"][:, 0, 0], 30 + 3 * np.arange(24), atol=0.2)
    assert set(range(24)) - set(track.head(2)["frame"].tolist()) == set(range(8, 15))


def test_a_clip_without_a_face(run: Run, tmp_path: Path) -> None:
    write_clip(tmp_path / "empty.mp4", [picture()] * 5)
    code, out, err = run("empty.mp4", "--smooth", "offline", "--csv", "--draw", "drawn.mp4")
    assert (code, out, err) == (0, "empty.mp4  5 frames  no face\n", "")
    assert len(Track.load("anymark-out/empty.anymark.npz").rows) == 0
    assert len(Path("anymark-out/empty.anymark.csv").read_text().splitlines()) == 1
    assert len(list(open_video("drawn.mp4"))) == 5


def test_frames_that_fail_to_decode_are_reported(run: Run, tmp_path: Path) -> None:
    write_clip(tmp_path / "torn.mov", clip_pictures(), TIMES, codec="png", torn={2, 9})
    code, out, err = run("torn.mov")
    assert code == 0
    assert "head 1  22 of 24 frames  0-23" in out
    assert re.search(r"^anymark: torn\.mov: frame 2 at 0\.094 s: ", err, re.M)
    assert "anymark: torn.mov: 2 of 24 frames failed to decode, frame 2 first" in err
    track = Track.load("anymark-out/torn.anymark.npz")
    assert np.flatnonzero(~track.decoded).tolist() == [2, 9]
    np.testing.assert_allclose(track.time_s, np.array(TIMES) / 1000, atol=1e-9)


def test_a_clip_that_breaks_off_is_reported(run: Run, tmp_path: Path) -> None:
    times = [200 * k for k in range(24)]
    whole = write_clip(tmp_path / "whole.mkv", clip_pictures(), times, codec="ffv1", pix_fmt="bgr0")
    content = whole.read_bytes()
    (tmp_path / "half.mkv").write_bytes(content[: len(content) // 2])
    code, out, err = run("half.mkv")
    assert code == 0
    assert re.search(r"half\.mkv: breaks off after [1-3]\.\d of 4\.\d s", err)
    assert "head 1" in out


def test_a_clip_of_which_nothing_decodes(run: Run, tmp_path: Path) -> None:
    write_clip(tmp_path / "bad.mov", clip_pictures()[:3], codec="png", torn={0, 1, 2})
    code, out, err = run("bad.mov")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "anymark: bad.mov: none of 3 frames could be decoded"
    assert not list(Path("anymark-out").iterdir())


@pytest.mark.parametrize("how", ["causal", "offline"])
def test_smoothing_is_that_of_the_library(run: Run, how: Smoothing) -> None:
    assert run("clip.mp4", "--out", "plain.npz")[0] == 0
    assert run("clip.mp4", "--out", "smooth.npz", "--smooth", how)[0] == 0
    smoothed, expected = Track.load("smooth.npz"), smooth(Track.load("plain.npz"), how)
    assert smoothed.smooth == how
    np.testing.assert_array_equal(smoothed.rows, expected.rows)


def test_csv(run: Run) -> None:
    assert run("clip.mp4", "--csv")[0] == 0
    with open("anymark-out/clip.anymark.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    track = Track.load(NAME)
    assert len(rows) == 5 * len(track.rows)
    last = rows[-1]
    assert (last["frame"], last["head"], last["point"], last["name"]) == ("23", "2", "4", "")
    assert int(last["pts"]) == track.pts[23]
    assert float(last["time_s"]) == pytest.approx(track.time_s[23], abs=1e-6)
    numbers = [float(last[name]) for name in ("x_px", "y_px", "sigma_px", "visible", "x_mm", "y_mm", "z_mm")]
    row = track.rows[-1]
    expected = [*row["xy_px"][4], row["sigma_px"][4], row["visible"][4], *row["xyz_mm"][4]]
    np.testing.assert_allclose(numbers, expected, atol=6e-4)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_drawing_has_the_same_frames_at_the_same_times(run: Run, suffix: str) -> None:
    assert run("clip.mp4", "--draw", f"drawn{suffix}")[0] == 0
    drawn, given = list(open_video(f"drawn{suffix}")), list(open_video("clip.mp4"))
    np.testing.assert_allclose([f.time_s for f in drawn], [f.time_s for f in given], atol=1.1e-3)  # .mkv has 1/1000 s
    for one, other in zip(drawn, given, strict=True):
        assert one.pixels.shape == other.pixels.shape
    colourful = np.ptp(drawn[5].pixels.astype(int), axis=2).max(1)
    assert colourful[40:60].max() > 60  # on grey heads
    assert colourful[:20].max() < 30


def test_a_drawing_may_lie_in_the_folder_that_is_made(run: Run) -> None:
    assert run("clip.mp4", "--out", "a/b/c.npz", "--draw", "a/drawn.mp4")[0] == 0
    assert sorted(path.name for path in Path("a").iterdir()) == ["b", "drawn.mp4"]


def test_a_drawing_of_odd_size_and_with_torn_frames(run: Run, tmp_path: Path) -> None:
    pictures = [picture((30, 30, 12, 0), size=(81, 61))] * 6
    write_clip(tmp_path / "odd.mov", pictures, codec="png", torn={2})
    assert run("odd.mov", "--draw", "drawn.mp4")[0] == 0
    frames = list(open_video("drawn.mp4"))
    assert [round(frame.time_s * 25) for frame in frames] == [0, 1, 3, 4, 5]
    assert frames[0].pixels.shape == (62, 82, 3)


def test_an_image_sequence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for number in (1001, 1002, 1004):
        Image.fromarray(picture((50, 50, 12, 0))).save(tmp_path / "shots" / f"shot.{number}.png")
    code, out, err = run("shots/shot.%04d.png", "--rate", "25")
    assert code == 0
    assert out == "shots/shot.%04d.png  head 1  3 of 3 frames  0-2  40.040-40.160 s\n"
    assert err == "anymark: shots/shot.%04d.png: no picture has number 1003; gaps: 1\n"
    assert Track.load("anymark-out/shot.anymark.npz").pts.tolist() == [1001, 1002, 1004]
    assert run("shots")[0] == 0
    assert Path("anymark-out/shots.anymark.npz").exists()


def test_max_heads(run: Run) -> None:
    assert run("clip.mp4", "--max-heads", "1")[0] == 0
    assert Track.load(NAME).ids == [1]
    assert "--max-heads 0: must be at least 1" in run("clip.mp4", "--max-heads", "0")[2]


def in_process(folder: Path, before: str, at_call: str = "0.0") -> subprocess.CompletedProcess[str]:
    """`anymark track clip.mp4` in a process of its own.

    Args:
        before: What is run first.
        at_call: What is worked out at each call of the detector, of its number.
    """
    script = (
        "import os, resource, sys\n"
        "from anymark.cli import main\n"
        "from anymark.commands import following\n"
        "from tests.video.fakes import FakeDetector\n"
        f"{before}\n"
        f"following.Detector = lambda *args, **options: FakeDetector(lambda number: {at_call})\n"
        "argv = ['clip.mp4', '--layout', 'five.json', '--model', './model', '--locator', './locator']\n"
        "sys.exit(main(['track', *argv]))\n"
    )
    path = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def killed(folder: Path, call: int, *, how: signal.Signals) -> subprocess.CompletedProcess[str]:
    """One that gets a signal in one of its calls of the detector."""
    return in_process(folder, "", f"(os.kill(os.getpid(), {int(how)}) if number == {call} else None) or 0.0")


def stopped(run: Run, call: int) -> None:
    """Leave the journal of a run that was stopped in one of its calls of the detector."""

    def stop(number: int) -> float:
        if number == call:
            raise KeyboardInterrupt
        return 0.0

    assert run("clip.mp4", at_call=stop)[0] == 130


def test_a_killed_run_goes_on_and_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    assert run("clip.mp4")[0] == 0
    whole = Path(NAME).read_bytes()
    Path(NAME).unlink()
    for call in random.Random(0).sample(range(3, 24), 2):
        assert killed(tmp_path, call, how=signal.SIGKILL).returncode == -signal.SIGKILL
        assert not Path(NAME).exists()
    calls: list[int] = []
    code, out, err = run("clip.mp4", at_call=lambda number: calls.append(number) or 0.0)
    assert code == 0
    assert re.search(r"clip\.mp4: goes on at frame [1-9]\d*\n", err)
    assert len(calls) < 24
    assert Path(NAME).read_bytes() == whole
    assert len(out.splitlines()) == 2
    assert [path.name for path in Path("anymark-out").iterdir()] == ["clip.anymark.npz"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_it_cleanly(run: Run, tmp_path: Path, how: signal.Signals) -> None:
    assert run("clip.mp4")[0] == 0
    whole = Path(NAME).read_bytes()
    Path(NAME).unlink()
    done = killed(tmp_path, 12, how=how)
    assert done.returncode == 130
    assert re.fullmatch(r"anymark: clip\.mp4: stopped after \d+ frames; the same command goes on\n", done.stderr), (
        done.stderr
    )
    assert run("clip.mp4")[0] == 0
    assert Path(NAME).read_bytes() == whole


def test_a_journal_torn_anywhere_is_gone_on_with(run: Run) -> None:
    """What a process that is killed, or a machine without power, may leave of the two files."""
    assert run("clip.mp4")[0] == 0
    whole = Path(NAME).read_bytes()
    stopped(run, 20)
    journal = Path(NAME + ".part")
    left = {path.name: path.read_bytes() for path in journal.iterdir()}
    numbers = random.Random(0)
    for _ in range(6):
        for name in ("rows", "frames.jsonl"):
            (journal / name).write_bytes(left[name][: numbers.randrange(len(left[name]) + 1)])
        assert run("clip.mp4")[0] == 0
        assert Path(NAME).read_bytes() == whole
        journal.mkdir()
        (journal / "run.json").write_bytes(left["run.json"])


def test_stopped_while_it_is_written_nothing_is_tracked_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("clip.mp4")[0] == 0
    whole = Path(NAME).read_bytes()
    Path(NAME).unlink()

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(track_command, "write_csv", stop)
        assert run("clip.mp4", "--csv")[0] == 130
    calls: list[int] = []
    assert run("clip.mp4", "--csv", at_call=lambda number: calls.append(number) or 0.0)[0] == 0
    assert calls == []
    assert Path(NAME).read_bytes() == whole
    assert not Path(NAME + ".part").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--max-heads", "1"], "--max-heads"),
        (["--search-px", "320"], "--search-px"),
        (["clip"], "video"),
        (["model"], "model"),
        (["locator"], "locator"),
    ],
)
def test_another_run_does_not_go_on_with_it(run: Run, tmp_path: Path, change: list[str], named: str) -> None:
    stopped(run, 9)
    if change == ["clip"]:
        write_clip(tmp_path / "clip.mp4", clip_pictures()[:20])
        change = []
    elif change[0] in ("model", "locator"):  # whose networks are the same
        card = tmp_path / change[0] / "card.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | {"most_unsure": 0.05}))
        change = []
    code, out, err = run("clip.mp4", *change)
    assert (code, out) == (2, "")
    assert f"clip.anymark.npz.part: a stopped run with another {named};" in err
    assert Path(NAME + ".part", "rows").stat().st_size  # nothing is lost


def test_another_smoothing_does(run: Run) -> None:
    stopped(run, 9)
    assert run("clip.mp4", "--smooth", "offline")[0] == 0
    assert Track.load(NAME).smooth == "offline"


def test_what_is_no_number_is_never_written(run: Run) -> None:
    code, out, err = run("clip.mp4", at_call=lambda number: np.nan if number == 9 else 0.0)
    assert (code, out) == (2, "")
    assert re.search(r"^anymark: clip\.mp4: frame [4-9] at 0\.\d{3} s: .*not finite", err)
    assert not Path(NAME).exists()
    assert run("clip.mp4")[0] == 0  # what was done before is gone on with
    assert np.isfinite(Track.load(NAME).rows["xy_px"]).all()


@pytest.mark.parametrize("full", ["while it tracks", "while it writes"])
def test_a_full_disk_loses_nothing(run: Run, tmp_path: Path, full: str) -> None:
    assert run("clip.mp4")[0] == 0
    whole = Path(NAME).read_bytes()
    Path(NAME).unlink()
    limit, named = (3000, NAME + ".part") if full == "while it tracks" else (len(whole) - 1, NAME)
    done = in_process(tmp_path, f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"anymark: (clip\.mp4: )?{re.escape(named)}: cannot write \(file too large\)\n", done.stderr)
    assert [path.name for path in Path("anymark-out").iterdir()] == ["clip.anymark.npz.part"]
    calls: list[int] = []
    code, _, err = run("clip.mp4", at_call=lambda number: calls.append(number) or 0.0)
    assert code == 0
    if full == "while it tracks":
        assert re.search(r"goes on at frame [1-9]", err)
    else:
        assert calls == []
    assert Path(NAME).read_bytes() == whole


def test_two_at_once_do_not_mix(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    stopped(run, 9)
    run_of_it = json.loads(Path(NAME + ".part", "run.json").read_text())
    rows = Path(NAME + ".part", "rows").read_bytes()
    other = Journal(Path(NAME + ".part"), run_of_it, LAYOUT)
    try:
        code, out, err = run("clip.mp4")
        assert (code, out, err) == (2, "", f"anymark: {NAME}.part: another run is at work here\n")
        assert in_process(tmp_path, "").stderr == err
        assert Path(NAME + ".part", "rows").read_bytes() == rows
    finally:
        other.close()
    assert run("clip.mp4")[0] == 0


@pytest.mark.parametrize("deleted", [0, 1, 2, 3])
def test_stopped_while_it_clears_up_it_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch, deleted: int) -> None:
    assert run("clip.mp4")[0] == 0
    whole = Path(NAME).read_bytes()
    unlink, calls = os.unlink, 0

    def stop(path: str | os.PathLike[str], **options: int) -> None:
        nonlocal calls
        if os.path.basename(path) in ("rows", "frames.jsonl", "run.json", ".lock"):
            calls += 1
            if calls > deleted:
                raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", stop)
        assert run("clip.mp4")[0] == 130
    assert run("clip.mp4")[0] == 0
    assert Path(NAME).read_bytes() == whole
    assert [path.name for path in Path("anymark-out").iterdir()] == ["clip.anymark.npz"]


def test_killed_while_it_writes_it_leaves_nothing_in_the_end(run: Run, tmp_path: Path) -> None:
    assert run("clip.mp4")[0] == 0
    whole = Path(NAME).read_bytes()
    Path(NAME).unlink()
    Path("anymark-out", ".mine.npz.1.tmp").write_text("another's")
    done = in_process(
        tmp_path,
        "replace = os.replace\n"
        "os.replace = lambda old, new: os.kill(os.getpid(), 9) if str(new).endswith('.npz') else replace(old, new)",
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = Path("anymark-out").glob(".anymark-*.tmp")
    assert left.stat().st_size == len(whole)
    assert run("clip.mp4")[0] == 0
    assert Path(NAME).read_bytes() == whole
    assert sorted(path.name for path in Path("anymark-out").iterdir()) == [".mine.npz.1.tmp", "clip.anymark.npz"]


def test_where_nothing_can_be_written(run: Run) -> None:
    Path("anymark-out").write_text("a file where the folder should be")
    code, _, err = run("clip.mp4")
    assert code == 2
    assert "anymark-out/clip.anymark.npz.part: cannot write" in err
    Path("other.npz.part").mkdir()
    Path("other.npz.part/mine").write_text("mine")
    assert "other.npz.part: holds something else" in run("clip.mp4", "--out", "other.npz")[2]
    assert Path("other.npz.part/mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["gone.mp4"], "gone.mp4: no such file or directory"),
        (["five.json"], "five.json: not a video that can be read"),
        (["clip.mp4", "--draw", "a.gif"], "a.gif: videos are drawn as .mp4, .mov, .mkv"),
        (["clip.mp4", "--draw", "nofolder/x.mp4"], "nofolder/x.mp4: cannot write (its folder does not exist)"),
        (["clip.mp4", "--draw", "folder.mp4"], "folder.mp4: cannot write (is a folder)"),
        (["clip.mp4", "--out", "folder.npz"], "folder.npz: cannot write (is a folder)"),
        (["clip.mp4", "--out", "table.npz", "--csv"], "table.csv: cannot write (is a folder)"),
        (["clip.mp4", "--draw", "clip.mp4"], "clip.mp4: would overwrite what is read"),
        (["clip.mp4", "--rate", "25"], "clip.mp4: has times of its own"),
        (["clip.mp4", "--smooth", "much"], "smooth"),
        (["clip.mp4", "--threads", "0"], "threads 0: must be at least 1"),
        (["nothing.####.png"], "nothing.####.png: no such pictures"),
    ],
)
def test_bad_input(run: Run, argv: list[str], said: str) -> None:
    for name in ("folder.mp4", "folder.npz", "table.csv"):
        Path(name).mkdir()
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not Path("anymark-out").exists()


def test_without_pyav(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Image.fromarray(picture((50, 50, 12, 0))).save(tmp_path / "1.png")
    monkeypatch.setitem(sys.modules, "av", None)
    assert "clip.mp4: video files need PyAV: pip install 'anymark[video]'" in run("clip.mp4")[2]
    assert run("#.png")[0] == 0
    assert "drawing a video needs PyAV" in run("#.png", "--draw", "a.mp4")[2]


def test_a_progress_line_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(command, "_SHOWN_EVERY_S", 0.0)
    err = run("clip.mp4")[2]
    assert re.search(r"\r12/24 frames tracked  \d+\.\d fps\x1b\[K", err)
    assert err.endswith("\r\x1b[K\r")


def test_the_codec_of_drawings_is_one_that_players_know(run: Run) -> None:
    assert run("clip.mp4", "--draw", "drawn.mp4")[0] == 0
    with av.open("drawn.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
