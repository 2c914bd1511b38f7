"""Heads followed through made-up frames."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anymark import AnymarkError
from anymark.video import Frame, Tracker
from anymark.video.tracker import REMEMBERED_S, SEARCH_EVERY
from tests.video.fakes import LAYOUT, FakeDetector, frame, picture


def follow(tracker: Tracker, frames: list[Frame]) -> list[dict[int, list[float]]]:
    """In each frame, each head's number and the place of its first point."""
    return [{head.id: head.landmarks.xy_px[0].tolist() for head in tracker.step(each)} for each in frames]


def numbers(found: list[dict[int, list[float]]]) -> list[list[int]]:
    return [list(heads) for heads in found]


def test_a_moving_head_is_located_once_and_followed() -> None:
    detector = FakeDetector()
    places = [(30 + 2.5 * k, 40 + 20 * np.sin(k / 6)) for k in range(25)]
    found = follow(Tracker(detector, LAYOUT), [frame(k, picture((x, y, 12, 0))) for k, (x, y) in enumerate(places)])
    assert numbers(found) == [[1]] * 25
    for heads, place in zip(found, places, strict=True):
        np.testing.assert_allclose(heads[1], place, atol=0.2)
    # searched at once, and for others in ever longer intervals
    assert (detector.searches, detector.reads) == (5, 24)


def test_searches_become_rare() -> None:
    detector = FakeDetector()
    still = picture((50, 50, 12, 0))
    follow(Tracker(detector, LAYOUT), [frame(k, still) for k in range(10 * SEARCH_EVERY)])
    assert detector.searches <= 10 + 6


def test_heads_keep_their_numbers_and_new_ones_get_new_ones() -> None:
    frames = [
        frame(
            k,
            picture((30, 60, 14, 0), *([(120, 60, 16, 1)] if k >= 10 else []), *([(75, 60, 10, 2)] if k >= 45 else [])),
        )
        for k in range(90)
    ]
    found = follow(Tracker(FakeDetector(), LAYOUT), frames)
    assert [1] in numbers(found)
    assert numbers(found)[-1] == [1, 2, 3]
    first = {number: next(k for k, heads in enumerate(found) if number in heads) for number in (1, 2, 3)}
    assert first[1] == 0
    assert 10 <= first[2] <= 10 + SEARCH_EVERY
    assert 45 <= first[3] <= 45 + SEARCH_EVERY
    for heads in found:
        for number, x in ((1, 30), (2, 120), (3, 75)):
            if number in heads:
                assert heads[number][0] == pytest.approx(x, abs=0.2)


def away(gap: int, before: tuple[float, float, float], after: tuple[float, float, float]) -> list[list[int]]:
    shown = [frame(k, picture((*before, 0))) for k in range(5)]
    shown += [frame(5 + k, picture()) for k in range(gap)]
    shown += [frame(5 + gap + k, picture((*after, 0))) for k in range(5)]
    return numbers(follow(Tracker(FakeDetector(), LAYOUT), shown))


@pytest.mark.parametrize("after", [(50, 50, 12), (60, 60, 12), (50, 50, 15), (80, 50, 12)])
def test_a_head_that_comes_back_gets_its_number_back(after: tuple[float, float, float]) -> None:
    assert away(25, (50, 50, 12), after) == [[1]] * 5 + [[]] * 25 + [[1]] * 5


def test_a_head_that_comes_back_too_late_or_elsewhere_or_in_another_size_is_a_new_one() -> None:
    late = int(25 * REMEMBERED_S) + 2
    assert away(late, (50, 50, 12), (50, 50, 12)) == [[1]] * 5 + [[]] * late + [[2]] * 5
    assert away(3, (30, 50, 12), (120, 50, 12)) == [[1]] * 5 + [[]] * 3 + [[2]] * 5
    assert away(3, (80, 60, 12), (80, 60, 30)) == [[1]] * 5 + [[]] * 3 + [[2]] * 5


def test_each_of_two_gets_its_own_number_back() -> None:
    both, nobody = picture((40, 50, 12, 0), (110, 70, 14, 1)), picture()
    found = follow(Tracker(FakeDetector(), LAYOUT), [frame(k, p) for k, p in enumerate([both, nobody, nobody, both])])
    assert numbers(found) == [[1, 2], [], [], [1, 2]]
    for number in (1, 2):
        assert found[0][number] == found[3][number]


def test_a_head_that_leaves_the_picture_is_lost() -> None:
    frames = [frame(k, picture((100 + 5 * k, 50, 12, 0))) for k in range(20)]
    found = follow(Tracker(FakeDetector(), LAYOUT), frames)
    assert numbers(found)[:11] == [[1]] * 11
    assert numbers(found)[12:] == [[]] * 8
    assert not any(heads and heads[1][0] >= 160 for heads in found)


def test_a_small_head_crossing_before_another_changes_no_number() -> None:
    frames = [frame(k, picture((80, 60, 22, 0), (10 + 4 * k, 60, 10, 1))) for k in range(35)]
    found = follow(Tracker(FakeDetector(), LAYOUT), frames)
    start = next(heads for heads in found if len(heads) == 2)
    passing = next(number for number, place in start.items() if abs(place[0] - 80) > 30)
    staying = 3 - passing
    for k, heads in enumerate(found):
        if staying in heads:
            assert heads[staying][0] == pytest.approx(80, abs=8)
        if passing in heads:
            assert heads[passing][0] == pytest.approx(10 + 4 * k, abs=1)
    assert set(numbers(found)[-1]) == {1, 2}


def test_two_numbers_never_lie_on_one_face() -> None:
    """One head passes behind another: the reading of its window then finds the one in front."""
    frames = [frame(k, picture((20 + 3 * k, 60, 12, 1), (80, 60, 14, 0))) for k in range(45)]
    found = follow(Tracker(FakeDetector(), LAYOUT), frames)
    assert {len(heads) for heads in found} == {1, 2}
    for heads in found:
        if len(heads) == 2:
            assert abs(np.subtract(*heads.values())[0]) > 8
    front = next(number for number, place in found[0].items() if place[0] == pytest.approx(80, abs=1))
    assert all(heads[front][0] == pytest.approx(80, abs=1) for heads in found)
    assert set(found[-1]) == {1, 2}  # the one from behind is itself again


def test_no_more_heads_than_asked_for() -> None:
    detector = FakeDetector()
    frames = [frame(k, picture((40, 50, 12, 0), (110, 70, 20, 1))) for k in range(100)]
    found = follow(Tracker(detector, LAYOUT, max_heads=1), frames)
    assert numbers(found) == [[1]] * 100
    assert found[0][1][0] == pytest.approx(110, abs=0.2)  # the larger one
    assert detector.searches == 1


def test_frames_without_pixels_are_passed_over() -> None:
    still = picture((50, 50, 12, 0))
    frames = [frame(k, None if k in (0, 3, 4) else still) for k in range(8)]
    assert numbers(follow(Tracker(FakeDetector(), LAYOUT), frames)) == [[], [1], [1], [], [], [1], [1], [1]]


def test_nothing_but_empty_pictures() -> None:
    detector = FakeDetector()
    found = follow(Tracker(detector, LAYOUT), [frame(k, picture()) for k in range(40)])
    assert numbers(found) == [[]] * 40
    assert detector.searches == 40  # whoever comes in is seen at once


def test_prediction_goes_by_time_not_by_frames() -> None:
    """A head too fast for a window that stands still, in frames at uneven times."""
    times = np.cumsum([0, 1, 1, 1, 1, 0.5, 0.5, 2, 1, 0.5, 2]) / 25
    frames = [frame(k, picture((30 + 200 * t, 60, 8, 0)), t) for k, t in enumerate(times)]
    detector = FakeDetector()
    found = follow(Tracker(detector, LAYOUT, max_heads=1), frames)
    assert numbers(found) == [[1]] * len(times)
    assert detector.searches == 1


def test_frames_of_other_sizes() -> None:
    frames = [frame(k, picture((50, 50, 12, 0), size=(160 + 7 * k, 120 - k))) for k in range(6)]
    assert numbers(follow(Tracker(FakeDetector(), LAYOUT), frames)) == [[1]] * 6


@pytest.mark.parametrize("stop", [0, 1, 7, 12, 13, 20])
def test_a_tracker_goes_on_from_the_state_of_another(stop: int) -> None:
    frames = [
        frame(
            k,
            picture(*([(30 + k, 50, 12, 0)] if k < 12 or k > 16 else []), (120, 60 + np.sin(k), 15, 1)),
            k / 25 + 0.001 * k**1.5,
        )
        for k in range(26)
    ]
    whole = Tracker(FakeDetector(), LAYOUT)
    expected = follow(whole, frames)
    one, other = Tracker(FakeDetector(), LAYOUT), Tracker(FakeDetector(), LAYOUT)
    found = follow(one, frames[:stop])
    other.resume(json.loads(json.dumps(one.state())))
    assert found + follow(other, frames[stop:]) == expected
    assert other.state() == whole.state()


def test_what_is_no_number_is_an_error_that_names_the_frame() -> None:
    detector = FakeDetector(lambda call: np.nan if call == 3 else 0.0)
    tracker = Tracker(detector, LAYOUT, max_heads=1)
    still = picture((50, 50, 12, 0))
    assert len(follow(tracker, [frame(k, still) for k in range(3)])) == 3
    with pytest.raises(AnymarkError, match=r"frame 3 at 0\.120 s: .*not finite"):
        tracker.step(frame(3, still))


def test_landmarks_are_those_of_the_layout() -> None:
    (head,) = Tracker(FakeDetector(), LAYOUT).step(frame(0, picture((50, 50, 12, 0))))
    assert head.landmarks.layout is LAYOUT
    assert len(head.landmarks) == 5


def test_options_out_of_range() -> None:
    for options, said in (
        ({"max_heads": 0}, "max_heads must be at least 1, not 0"),
        ({"search_every": 0}, "search_every must be at least 1, not 0"),
        ({"most_unsure": 0.0}, "most_unsure must be above 0"),
        ({"layout": "no such"}, "no such"),
    ):
        with pytest.raises(AnymarkError, match=said):
            Tracker(FakeDetector(), **({"layout": LAYOUT} | options))


def test_how_unsure_a_head_may_be() -> None:
    still = [frame(k, picture((50, 50, 12, 0))) for k in range(4)]  # its unsureness is 0.01
    assert numbers(follow(Tracker(FakeDetector(), LAYOUT, most_unsure=0.02), still)) == [[1]] * 4
    detector = FakeDetector()
    follow(Tracker(detector, LAYOUT, most_unsure=0.005), still)
    assert detector.searches == 4  # lost in each frame
