"""Which heads, points and frames are exported."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from anymark import AnymarkError, Layout
from anymark.exports.shot import Shot, find, of_pictures, select
from tests.exports.tracks import LAYOUT, track


def test_pictures_keep_their_numbers_and_clips_count() -> None:
    assert Shot(track("shot.%04d.png"), 1001).frames.tolist() == [1001, 1002, 1003, 1004, 1005, 1007, 1008, 1009, 1010]
    assert Shot(track("shot.%04d.png"), 1).frames.tolist() == [1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert Shot(track(), 1).frames.tolist() == list(range(1, 10))


def test_what_is_a_sequence_of_pictures() -> None:
    pictures = track("shot.%04d.png")
    assert of_pictures(pictures)
    assert of_pictures(replace(pictures, video="plates/shot"))
    assert of_pictures(replace(pictures, video="plates/shot.v2"))
    assert not of_pictures(replace(pictures, video="plates/shot.avi"))  # whose time base may be a frame's
    assert not of_pictures(replace(track(), video="clip without a suffix"))


@pytest.mark.parametrize(
    ("times", "base", "rate"),
    [
        (np.arange(9) / 25, Fraction(1, 12800), 25),
        (np.arange(100) * 1001 / 30000, Fraction(1, 30000), Fraction(30000, 1001)),
        (np.arange(100).astype(float) * 1001 / 24000, Fraction(1, 24000), Fraction(24000, 1001)),
        ((np.arange(200) * 100 / 3).round() / 1000, Fraction(1, 1000), 30),  # milliseconds
        (np.arange(50) / 12.5, Fraction(1, 1000), Fraction(25, 2)),
        (np.array([0.0]), Fraction(1, 1000), 24),
    ],
)
def test_the_rate_of_a_clip(times: np.ndarray, base: Fraction, rate: Fraction) -> None:
    n = len(times)
    clip = replace(track(), pts=np.arange(n), time_s=times, decoded=np.ones(n, bool), time_base=base)
    assert Shot(clip, 1).rate == rate


def test_the_rate_of_pictures() -> None:
    pictures = replace(track("a.%d.png"), time_base=Fraction(1001, 24000))
    assert Shot(pictures, 1).rate == Fraction(24000, 1001)


def test_some_points_in_the_order_asked_for() -> None:
    whole = track()
    part = select(whole, 2, ["nose tip", "eyes", 0, "3"])
    assert part.ids == [2]
    assert part.layout.names == ("nose tip", "left eye", "right eye", "mouth, left")
    np.testing.assert_array_equal(part.rows["xy_px"], whole.head(2)["xy_px"][:, [4, 0, 1, 3]])
    np.testing.assert_array_equal(part.rows["focal_px"], whole.head(2)["focal_px"])
    assert part.layout.triangles is not None
    np.testing.assert_array_equal(part.layout.triangles, [[1, 2, 0], [3, 1, 0]])
    assert part.layout.edges is not None
    np.testing.assert_array_equal(part.layout.edges, [[1, 2]])
    assert {name: ids.tolist() for name, ids in part.layout.regions.items()} == {"eyes": [1, 2], "mouth": [3]}
    assert select(whole, None, ["eyes"]).layout.triangles is None


def test_whose_points_they_are_and_how_they_slide_stays() -> None:
    layout = replace(LAYOUT, code="ibug68", slides_mm=np.arange(36).reshape(6, 2, 3) / 7)
    part = select(track(layout=layout), None, [5, 1]).layout
    assert part.code == "ibug68"
    assert part.slides_mm is not None
    assert layout.slides_mm is not None
    np.testing.assert_array_equal(part.slides_mm, layout.slides_mm[[5, 1]])


def test_points_without_names_keep_their_numbers() -> None:
    plain = track(layout=replace(LAYOUT, names=None))
    assert Shot(plain, 1).point_names == [f"point_{i}" for i in range(6)]
    assert Shot(select(plain, None, [4, 2]), 1).point_names == ["point_4", "point_2"]


def test_names_that_every_program_takes_and_that_differ() -> None:
    layout = Layout("odd", np.zeros((5, 3)), names=("a b", "a, b", '{"x"} [1]', "1", "é"))
    names = Shot(track(layout=layout), 1).point_names
    assert names == ["a_b", "a_b_1", "x_1", "point_1", "point"]


def test_a_region_and_a_number_as_text() -> None:
    assert find(LAYOUT, "mouth") == [2, 3, 5]
    assert find(LAYOUT, "5") == [5]


@pytest.mark.parametrize(
    ("head", "points", "said"),
    [
        (3, None, "no head 3 in this track; there are 1, 2"),
        (None, ["nose tp"], "layout 'six': no point 'nose tp'; did you mean 'nose tip'?"),
        (None, ["xyzzy"], "layout 'six': no point 'xyzzy'; there are 0 to 5"),
        (None, [6], "layout 'six': no point 6; there are 0 to 5"),
        (None, [-1], "layout 'six': no point -1"),
        (None, [], "no points to export"),
    ],
)
def test_what_is_not_there(head: int | None, points: list[int | str] | None, said: str) -> None:
    with pytest.raises(AnymarkError, match=said.replace("?", r"\?")):
        select(track(), head, points)


def test_a_track_without_heads() -> None:
    empty = replace(track(), rows=track().rows[:0])
    with pytest.raises(AnymarkError, match=r"clip\.mp4: no heads in this track"):
        select(empty, None, None)
