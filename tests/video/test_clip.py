"""Video files in: times, turned pictures, odd sizes and whatever is broken."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from anymark import AnymarkError
from anymark.video import Frame, open_video
from anymark.video.clip import Clip, _is_shown
from tests.video.clips import write_clip

RNG = np.random.default_rng(0)


def pictures(count: int, width: int = 48, height: int = 32) -> list[np.ndarray]:
    return [RNG.integers(0, 255, (height, width, 3), np.uint8) for _ in range(count)]


UNEVEN = [0, 40, 80, 130, 200, 210, 300, 340, 1000, 1040]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264rgb"), (".mov", "png"), (".mkv", "ffv1")])
def test_frames_come_with_their_pixels_and_their_own_times(tmp_path: Path, suffix: str, codec: str) -> None:
    pix_fmt = "bgr0" if codec == "ffv1" else "rgb24"
    given = pictures(len(UNEVEN))
    video = open_video(write_clip(tmp_path / f"a{suffix}", given, UNEVEN, codec=codec, pix_fmt=pix_fmt))
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(len(UNEVEN)))
    assert [frame.time_s for frame in frames] == pytest.approx([time / 1000 for time in UNEVEN], abs=1e-12)
    assert all(frame.time_s == float(frame.pts * video.time_base) for frame in frames)
    for frame, picture in zip(frames, given, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture)


def remade(packet: av.Packet, content: bytes) -> av.Packet:
    """The same packet with another content."""
    made = av.Packet(content)
    for key in ("pts", "dts", "duration", "time_base", "stream", "is_keyframe"):
        setattr(made, key, getattr(packet, key))
    return made


def needs_encoder(name: str) -> None:
    if name not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {name}")


def write_reordered(path: Path, spoilt: int | None = None) -> Path:
    """20 frames of H.264 with two B-frames between two others, each brighter than the last; one packet spoilt."""
    needs_encoder("libx264")
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"bf": "2", "x264-params": "b-adapt=0:scenecut=0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        packets: list[av.Packet] = []
        for number in range(20):
            picture = np.full((32, 48, 3), 12 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for number, packet in enumerate(packets):
            output.mux(remade(packet, b"\xff" * packet.size) if number == spoilt else packet)
    return path


def levels(frames: list[Frame]) -> list[int | None]:
    return [None if frame.pixels is None else round(float(frame.pixels.mean()) / 12) for frame in frames]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_times_of_frames_that_are_stored_in_another_order(tmp_path: Path, suffix: str, threads: int) -> None:
    path = write_reordered(tmp_path / f"b{suffix}")
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert (stamps == sorted(stamps)) is (suffix == ".avi")  # which has no place for a frame's time
    frames = list(open_video(path, threads=threads))
    assert [frame.problem for frame in frames] == [None] * 20
    assert [frame.time_s - frames[0].time_s for frame in frames] == pytest.approx([number / 25 for number in range(20)])
    assert levels(frames) == list(range(20))


@pytest.mark.parametrize("threads", [1, 3])
def test_frames_that_fail_where_times_are_those_of_packets(tmp_path: Path, threads: int) -> None:
    frames = list(open_video(write_reordered(tmp_path / "b.avi", spoilt=8), threads=threads))
    (failed,) = [frame.index for frame in frames if frame.pixels is None]
    assert abs(failed - 8) <= 3  # which it was cannot be told
    assert [frame.time_s - frames[0].time_s for frame in frames] == pytest.approx([number / 25 for number in range(20)])
    assert levels(frames)[:failed] == list(range(failed))
    assert levels(frames)[12:] == list(range(12, 20))


@pytest.mark.parametrize("threads", [1, 3])
def test_packets_that_show_nothing_are_no_frames(tmp_path: Path, threads: int) -> None:
    """Such as alternate references of VP8, which later frames are predicted from."""
    needs_encoder("libvpx")
    path = tmp_path / "a.webm"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libvpx", rate=25, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        packets: list[av.Packet] = []
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(pictures(1, 64, 48)[0], format="rgb24")
            frame.pts, frame.time_base = 40 * number, Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for number, packet in enumerate(packets):
            if number in (10, 20):
                content = bytes(packet)
                hidden = remade(packet, bytes([content[0] & ~0x10]) + content[1:])
                hidden.pts = hidden.dts = packet.pts - 1
                output.mux(hidden)
            output.mux(packet)
    with av.open(str(path)) as container:
        assert len([packet for packet in container.demux(video=0) if packet.size]) == 32
    frames = list(open_video(path, threads=threads))
    assert [frame.problem for frame in frames] == [None] * 30
    assert [frame.time_s for frame in frames] == pytest.approx([number / 25 for number in range(30)])


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ([0x86, 0], True),
        ([0x84, 0], False),
        ([0x88, 0], True),  # one that has come before
        ([0xB4, 0], True),  # profile 3
        ([0xB1, 0], True),
        ([0xB2, 0], False),
        ([0x84, 0, 0xC1, 1, 1, 0xC1], True),  # with a second frame
    ],
)
def test_which_packets_of_vp9_show_a_picture(content: list[int], shown: bool) -> None:
    assert _is_shown(av.Packet(bytes(content)), "vp9") is shown


@pytest.mark.parametrize("mirrored", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turned_and_mirrored_clips_come_upright(tmp_path: Path, degrees: int, mirrored: tuple[bool, bool]) -> None:
    (picture,) = pictures(1)
    path = write_clip(tmp_path / "a.mp4", [picture], turned=(degrees, *mirrored))
    shown = np.rot90(picture, degrees // 90)  # counter-clockwise, as PyAV counts
    if mirrored[0]:
        shown = shown[:, ::-1]
    if mirrored[1]:
        shown = shown[::-1]
    (frame,) = open_video(path)
    np.testing.assert_array_equal(frame.pixels, shown)


@pytest.mark.parametrize("size", [(33, 27), (1, 1), (2, 31)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    (picture,) = pictures(1, *size)
    (frame,) = open_video(write_clip(tmp_path / "a.mov", [picture], codec="png"))
    np.testing.assert_array_equal(frame.pixels, picture)


def test_an_animated_gif(tmp_path: Path) -> None:
    flat = [np.full((27, 33, 3), level, np.uint8) for level in (0, 255, 0)]
    first, *others = (Image.fromarray(picture) for picture in flat)
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=[100, 250, 40])
    frames = list(open_video(tmp_path / "a.gif"))
    assert [frame.time_s for frame in frames] == [0.0, 0.1, 0.35]
    for frame, picture in zip(frames, flat, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (200, 100, 0, 255)
    rgba[:, 4:] = (200, 100, 0, 51)  # a fifth
    with av.open(str(path), "w") as output:
        stream = output.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "rgba"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        output.mux(stream.encode(None))
    (frame,) = open_video(path)
    np.testing.assert_array_equal(frame.pixels[0, 0], [200, 100, 0])
    np.testing.assert_array_equal(frame.pixels[0, 7], [244, 224, 204])


@pytest.mark.parametrize("threads", [1, 3, 8])  # 8: the decoder still holds healthy ones when the file ends
def test_frames_that_fail_to_decode_keep_their_places(tmp_path: Path, threads: int) -> None:
    given = pictures(10)
    path = write_clip(tmp_path / "a.mov", given, UNEVEN, codec="png", torn={3, 4, 7})
    frames = list(open_video(path, threads=threads))
    assert [frame.time_s for frame in frames] == pytest.approx([time / 1000 for time in UNEVEN])
    for frame, picture in zip(frames, given, strict=True):
        if frame.index in (3, 4, 7):
            assert frame.pixels is None
            assert frame.problem
        else:
            assert frame.problem is None
            np.testing.assert_array_equal(frame.pixels, picture)


def test_frames_that_decode_with_errors_are_none(tmp_path: Path) -> None:
    moving = [np.roll(pictures(1, 96, 64)[0], number, 1) for number in range(10)]
    path = write_clip(tmp_path / "a.mp4", moving, codec="mpeg4", pix_fmt="yuv420p", torn={4})
    frames = list(open_video(path))
    assert [frame.index for frame in frames if frame.pixels is None] == [4]
    assert frames[4].problem == "decoded with errors"
    assert frames[4].time_s == pytest.approx(0.16)


def test_a_clip_that_breaks_off(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", pictures(10), codec="ffv1", pix_fmt="bgr0")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames = list(open_video(path))
    whole = [frame for frame in frames if frame.pixels is not None]
    assert 3 <= len(whole) <= 6
    assert [frame.index for frame in whole] == list(range(len(whole)))


def test_starting_later_gives_the_rest(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", pictures(10), UNEVEN, codec="png", torn={2, 6})
    video = open_video(path)
    whole = list(video)
    for start in (0, 1, 3, 7, 10, 11):
        rest = list(video.frames(start))
        assert [(f.index, f.pts, f.problem) for f in rest] == [(f.index, f.pts, f.problem) for f in whole[start:]]
        for frame, same in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(frame.pixels, same.pixels)


def test_pixels_outlive_the_frames_after_them(tmp_path: Path) -> None:
    given = pictures(20)
    kept = [frame.pixels for frame in open_video(write_clip(tmp_path / "a.mp4", given))]
    for pixels, picture in zip(kept, given, strict=True):
        np.testing.assert_array_equal(pixels, picture)


def test_counts_and_rates(tmp_path: Path) -> None:
    video = open_video(write_clip(tmp_path / "a.mp4", pictures(50)))
    assert (video.expected, video.rate) == (50, 25)
    assert video.duration_s == pytest.approx(2.0, abs=0.05)
    video = open_video(write_clip(tmp_path / "a.mkv", pictures(50), codec="ffv1", pix_fmt="bgr0"))
    assert video.expected == pytest.approx(50, abs=1)  # this container only says how long it lasts
    assert video.duration_s == pytest.approx(2.0, abs=0.05)


def test_sound_and_cover_pictures_are_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        output.mux(stream.encode(sound))
        output.mux(stream.encode(None))
    with pytest.raises(AnymarkError, match=r"a\.mp4: no video in this file"):
        open_video(path)


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    cases = {"text.mp4": b"no video at all\n" * 100, "empty.mp4": b""}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    whole = write_clip(tmp_path / "whole.mp4", pictures(5)).read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: len(whole) * 2 // 3])  # its index was at its end
    with pytest.raises(AnymarkError, match=r"text\.mp4: not a video that can be read"):
        open_video(tmp_path / "text.mp4")
    with pytest.raises(AnymarkError, match=r"empty\.mp4: empty file"):
        open_video(tmp_path / "empty.mp4")
    with pytest.raises(AnymarkError, match=r"headless\.mp4: not a video that can be read"):
        open_video(tmp_path / "headless.mp4")
    with pytest.raises(AnymarkError, match=r"gone\.mp4: no such file"):
        open_video(tmp_path / "gone.mp4")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(AnymarkError, match=r"list\.m3u8"):  # nothing of the network is asked for
        open_video(tmp_path / "list.m3u8")


def test_pipes_and_single_pictures_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(AnymarkError, match=r"pipe\.mp4: a pipe or device"):
        open_video(tmp_path / "pipe.mp4")
    (tmp_path / "one.png").write_bytes(b"x")
    with pytest.raises(AnymarkError, match=r"one\.png: a single picture; name a sequence as"):
        open_video(tmp_path / "one.png")


def test_names_that_mean_something_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = write_clip(tmp_path / "a.mp4", pictures(3)).read_bytes()
    for name in ("http:b.mp4", "shot.%04d.mp4", "a#1.mp4", "-.mp4"):
        Path(name).write_bytes(content)
        assert len(list(open_video(name))) == 3


def test_options_out_of_range(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures(2))
    with pytest.raises(AnymarkError, match=r"has times of its own"):
        open_video(path, rate=25)
    with pytest.raises(AnymarkError, match=r"an exposure is for \.exr"):
        open_video(path, exposure_stops=1)
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(AnymarkError, match="rate"):
            open_video(path, rate=rate)
    with pytest.raises(AnymarkError, match="threads"):
        open_video(path, threads=0)
    with pytest.raises(AnymarkError, match="exposure_stops"):
        open_video(path, exposure_stops=float("nan"))


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AnymarkError, match=r"a\.mp4: video files need PyAV: pip install 'anymark\[video\]'"):
        open_video(path)


def test_a_fingerprint_changes_with_the_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures(2))
    before = Clip(path).fingerprint()
    assert Clip(path).fingerprint() == before
    write_clip(path, pictures(3))
    assert Clip(path).fingerprint() != before


def test_a_codec_that_nobody_knows_is_named(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", [np.zeros((32, 32, 3), np.uint8)] * 2, codec="ffv1", pix_fmt="bgr0")
    content = path.read_bytes()
    assert b"V_FFV1" in content
    path.write_bytes(content.replace(b"V_FFV1", b"V_NONE"))
    with pytest.raises(AnymarkError, match=r"a\.mkv: no decoder for this video is known"):
        list(open_video(path))


def test_a_clip_whose_words_are_not_in_utf8(tmp_path: Path) -> None:
    path, word = write_clip(tmp_path / "clip.mp4", pictures(3)), b"VideoHandler"
    content = path.read_bytes()
    assert word in content
    path.write_bytes(content.replace(word, b"\xff" * len(word), 1))
    assert [frame.pixels is not None for frame in open_video(path).frames()] == [True] * 3
