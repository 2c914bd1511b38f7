"""Tracks in memory and in files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymark import AnymarkError, Layout, load_layout
from anymark.video import Track, Tracker, open_video
from tests.exports.tracks import track as made_track
from tests.video.fakes import LAYOUT, FakeDetector, picture

NAMED = Layout("named", LAYOUT.points_mm, names=tuple("abcde"), edges=np.array([[0, 1], [1, 2]]))
FULL = replace(
    NAMED,
    flip=np.array([0, 2, 1, 3, 4]),
    regions={"eyes": np.array([1, 2]), "nothing": np.zeros(0, int)},
    code=(0.1, -2.5),
    model="of one kind",
    slides_mm=np.arange(30).reshape(5, 2, 3) / 7,
)


@pytest.fixture
def track(tmp_path: Path) -> Track:
    """Of a sequence with a broken picture, in which a second head comes in."""
    for number in range(8):
        second = [(120, 60, 14, 1)] if number >= 3 else []
        Image.fromarray(picture((40 + 3 * number, 50, 12, 0), *second)).save(tmp_path / f"{1001 + number}.png")
    (tmp_path / "1003.png").write_bytes(b"torn")
    return Track.of(open_video(tmp_path, rate=25), Tracker(FakeDetector(), NAMED))


def test_a_track_holds_all_frames_and_heads(track: Track) -> None:
    assert track.size_px == (160, 120)
    assert track.pts.tolist() == list(range(1001, 1009))
    np.testing.assert_allclose(track.time_s, np.arange(1001, 1009) / 25)
    assert track.decoded.tolist() == [True, True, False] + [True] * 5
    assert track.ids == [1, 2]
    assert track.head(1)["frame"].tolist() == [0, 1, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(track.head(1)["xy_px"][:, 0, 0], 40 + 3 * track.head(1)["frame"], atol=0.2)
    assert (np.diff(track.rows["frame"]) >= 0).all()
    assert track.landmarks(0).layout is NAMED


def test_what_is_saved_is_loaded(track: Track, tmp_path: Path) -> None:
    track.save(tmp_path / "a.npz")
    back = Track.load(tmp_path / "a.npz")
    for name in ("video", "size_px", "time_base", "smooth"):
        assert getattr(back, name) == getattr(track, name)
    for name in ("pts", "time_s", "decoded", "rows"):
        np.testing.assert_array_equal(getattr(back, name), getattr(track, name))
    assert (back.layout.name, back.layout.names) == ("named", tuple("abcde"))
    np.testing.assert_array_equal(back.layout.points_mm, NAMED.points_mm)
    np.testing.assert_array_equal(back.layout.edges, NAMED.edges)
    assert back.layout.triangles is None


def test_all_of_a_layout_is_saved(track: Track, tmp_path: Path) -> None:
    replace(track, layout=FULL).save(tmp_path / "a.npz")
    back = Track.load(tmp_path / "a.npz").layout
    assert (back.names, back.code, back.model) == (FULL.names, FULL.code, FULL.model)
    for name in ("points_mm", "edges", "flip", "slides_mm"):
        np.testing.assert_array_equal(getattr(back, name), getattr(FULL, name))
    assert back.regions.keys() == FULL.regions.keys()
    for name, ids in FULL.regions.items():
        np.testing.assert_array_equal(back.regions[name], ids)
    replace(track, layout=replace(NAMED, code="300w")).save(tmp_path / "b.npz")
    assert Track.load(tmp_path / "b.npz").layout.code == "300w"


def test_scores_and_unsureness_of_located_and_followed_heads(track: Track) -> None:
    first = track.head(1)
    assert first["score"][0] == np.float32(0.9)
    np.testing.assert_array_equal(first["score"][1:], 1)
    np.testing.assert_allclose(track.rows["unsureness"], 0.01)


def test_the_same_track_gives_the_same_bytes(track: Track, tmp_path: Path) -> None:
    track.save(tmp_path / "a.npz")
    track.save(tmp_path / "b.npz")
    Track.load(tmp_path / "a.npz").save(tmp_path / "c.npz")
    first = (tmp_path / "a.npz").read_bytes()
    assert (tmp_path / "b.npz").read_bytes() == first
    assert (tmp_path / "c.npz").read_bytes() == first


def test_numpy_alone_reads_it(track: Track, tmp_path: Path) -> None:
    track.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert json.loads(str(file["about"]))["layout"] == "named"
        rows = len(track.rows)
        assert file["xy_px"].shape == (rows, 5, 2)
        assert file["xyz_mm"].shape == (rows, 5, 3)
        assert file["R_camera_head"].shape == (rows, 3, 3)
        assert file["frame"].shape == file["head"].shape == (rows,)
        np.testing.assert_array_equal(file["sigma_px"], track.rows["sigma_px"])


def test_a_track_without_heads(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "1.png")
    empty = Track.of(open_video(tmp_path), Tracker(FakeDetector(), "ibug68"))
    empty.save(tmp_path / "a.npz")
    back = Track.load(tmp_path / "a.npz")
    assert (len(back.pts), len(back.rows), back.ids) == (1, 0, [])
    assert back.rows["xy_px"].shape == (0, 68, 2)
    np.testing.assert_array_equal(back.layout.edges, load_layout("ibug68").edges)


def test_broken_files_are_named(track: Track, tmp_path: Path) -> None:
    whole = tmp_path / "a.npz"
    track.save(whole)
    content = whole.read_bytes()
    for name, part in {"half": content[: len(content) // 2], "text": b"no track", "empty": b""}.items():
        (tmp_path / f"{name}.npz").write_bytes(part)
        with pytest.raises(AnymarkError, match=rf"{name}\.npz: not a whole track"):
            Track.load(tmp_path / f"{name}.npz")
    np.save(tmp_path / "array", np.zeros(3))
    with pytest.raises(AnymarkError, match=r"array\.npy: not a whole track"):
        Track.load(tmp_path / "array.npy")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(AnymarkError, match=r"other\.npz: not a whole track"):
        Track.load(tmp_path / "other.npz")
    np.savez(tmp_path / "new.npz", about=np.array(json.dumps({"format": 99})))
    with pytest.raises(AnymarkError, match=r"new\.npz: format 99; this anymark reads 1"):
        Track.load(tmp_path / "new.npz")
    with pytest.raises(AnymarkError, match=r"gone\.npz: no such file"):
        Track.load(tmp_path / "gone.npz")


def test_where_it_cannot_be_saved(track: Track, tmp_path: Path) -> None:
    with pytest.raises(AnymarkError, match=r"a\.json: tracks are saved as \.npz"):
        track.save(tmp_path / "a.json")
    with pytest.raises(AnymarkError, match=r"a\.npz: cannot write"):
        replace(track).save(tmp_path / "no" / "a.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": "a\nEVIL"}, "no line of text"),
        ({"size_px": (100, 100, 100)}, "(a size that is none|Type-check error)"),
        ({"size_px": ("100\nEVIL", 100)}, "(a size that is none|Type-check error)"),
        ({"pts": np.zeros(3, np.int64)}, "tables of frames do not fit together"),
        ({"time_s": np.full(2, np.nan)}, "tables of frames do not fit together"),
        ({"frame": 99}, "frames that are not there"),
        ({"frame": -1}, "frames that are not there"),
        ({"xy_px": np.inf}, "xy_px is not finite"),
    ],
)
def test_a_track_whose_parts_do_not_fit_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    whole = made_track()
    (key, value) = next(iter(change.items()))
    if key in whole.rows.dtype.names:
        rows = whole.rows.copy()
        rows[key][-1] = value
        spoilt = replace(whole, rows=rows)
    else:
        if isinstance(value, np.ndarray) and key != "pts":
            value = np.resize(value, len(whole.pts))
        spoilt = replace(whole)
        object.__setattr__(spoilt, key, value)  # past the checks of types, which users do not have
    spoilt.save(tmp_path / "clip.npz")
    with pytest.raises(AnymarkError, match=rf"clip\.npz: not a whole track \(.*{message}"):
        Track.load(tmp_path / "clip.npz")
