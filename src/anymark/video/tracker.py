"""The tracker: heads are located once, then followed from window to window, each under a number of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.detect.boxes import SAME_FACE_IOU, iou, suppress
from anymark.detect.detector import Detector, Head
from anymark.detect.landmarks import Landmarks
from anymark.detect.markers import MarkerDetector, MarkerHead
from anymark.detect.points import Points, as_layout
from anymark.detect.window import Window
from anymark.errors import AnymarkError
from anymark.video.frames import Frame

SEARCH_EVERY = 30
"""Frames between two searches of the whole picture for heads that have come in."""
REMEMBERED_S = 3.0
"""A head that comes back within this time gets its number back, where its place and size allow it."""

_KEEPS_ON_S = 1.0  # a head that is lost may have kept its velocity for so long
_REACH = 1.0  # how far from where it may have gone, in sides of its face, a head may come back
_REACH_A_SECOND = 1.0  # and how much farther for each second that it was away
_MOST_RATIO = 1.5  # of its sizes before and after; times one more for each second
_LEARNED = 0.5  # part of a new velocity that is believed at once
_FARTHEST_STEP = 0.5  # in sides of the face: a prediction goes no farther
_LEAST_WINDOW_PX = 16.0  # smaller ones show no face
_JUMP = 0.25  # in sides of the face: a head found so far from where it was expected may be another's


@dataclass(frozen=True, eq=False)
class TrackedHead:
    """One head in one frame."""

    id: int
    """Its number, from 1, the same in all frames of a clip and in no two heads."""
    landmarks: Landmarks
    unsureness: float
    """Its `Head.unsureness`, by which the tracker tells whether it is lost."""


@dataclass(frozen=True, eq=False)
class _Track:
    """A head that is being followed, or was, as plain numbers: all that the next frame needs."""

    id: int
    window: Window
    """About the head where it was last seen."""
    velocity: npt.NDArray[np.float64]
    """(2,) of the window's centre, pixels a second."""
    time_s: float
    """When it was last seen."""

    def expected(self, time_s: float, side_px: float) -> Window:
        """Where to look at another time, side_px being its face's."""
        step = self.velocity * (time_s - self.time_s)
        length = float(np.hypot(*step))
        if length > _FARTHEST_STEP * side_px:
            step = step * (_FARTHEST_STEP * side_px / length)
        return Window(self.window.centre_px + step, self.window.side_px, self.window.roll_rad)

    def seen(self, window: Window, time_s: float) -> _Track:
        """The same head found in a window."""
        measured = (window.centre_px - self.window.centre_px) / (time_s - self.time_s)
        velocity = self.velocity + _LEARNED * (measured - self.velocity)
        return _Track(self.id, window, velocity, time_s)

    def off_its_way(self, window: Window, time_s: float) -> float:
        """How far a window's centre lies, in pixels, from the way that this head may have gone: at its last velocity,
        or less."""
        way = self.velocity * min(time_s - self.time_s, _KEEPS_ON_S)
        offset = window.centre_px - self.window.centre_px
        gone = np.clip(offset @ way / max(way @ way, 1e-12), 0, 1)
        return float(np.hypot(*(offset - gone * way)))

    def to_list(self) -> list[float]:
        """Plain numbers that give the very same track back."""
        window = self.window
        numbers = [*window.centre_px, window.side_px, window.roll_rad, *self.velocity, self.time_s]
        return [self.id, *(float(number) for number in numbers)]

    @classmethod
    def from_list(cls, numbers: Sequence[float]) -> _Track:
        number, x, y, side, roll, vx, vy, time_s = numbers
        return cls(int(number), Window(np.array([x, y]), side, roll), np.array([vx, vy]), time_s)


@dataclass(frozen=True, eq=False)
class _Sighting:
    """A head that was found in the frame at hand."""

    track: _Track
    head: Head | MarkerHead
    jump: float
    """How far it lies from where it was expected, in sides of its face."""


class Tracker:
    """Follows the heads of one video; give it the frames one after another.

    A frame is searched as a whole where no head is followed, where one was just lost, in ever longer intervals after
    that, and every `search_every` frames; in between, each head is read from a window about where its landmarks will
    have moved. A head is lost where its landmarks are unsure or leave the picture. Of two that have come to lie on one
    face, the one stays that was expected there, or else the older one.

    Args:
        detector: What finds and reads heads.
        layout: What to look for on each.
        max_heads: Follow so many heads only, the largest of where there are more to start with; once so many are
            followed, nothing is searched. None is no limit.
        search_every: Frames between two searches.
        most_unsure: Above it a head is lost; see `Detector`. None takes the number of the model's card.

    Raises:
        AnymarkError: no such layout, or a number out of its range.
    """

    def __init__(
        self,
        detector: Detector | MarkerDetector,
        layout: Points = "ibug68",
        max_heads: int | None = None,
        search_every: int = SEARCH_EVERY,
        most_unsure: float | None = None,
    ) -> None:
        if max_heads is not None and max_heads < 1:
            raise AnymarkError(f"max_heads must be at least 1, not {max_heads}")
        if search_every < 1:
            raise AnymarkError(f"search_every must be at least 1, not {search_every}")
        if most_unsure is not None and not most_unsure > 0:
            raise AnymarkError(f"most_unsure must be above 0, not {most_unsure}")
        self.layout = as_layout(layout)
        self._detector = detector
        self._max_heads = max_heads
        self._search_every = search_every
        self._most_unsure = most_unsure
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._next_id = 1
        self._next_search = 0
        self._wait = 1

    def step(self, frame: Frame) -> list[TrackedHead]:
        """The heads of the next frame, by their numbers; none where there are none or it failed to decode.

        Raises:
            AnymarkError: the networks gave what is no number; the message names the frame.
        """
        if frame.pixels is None:
            return []
        try:
            return self._step(frame.pixels, frame.index, frame.time_s)
        except AnymarkError as error:
            raise AnymarkError(f"frame {frame.index} at {frame.time_s:.3f} s: {error}") from None

    def state(self) -> dict[str, Any]:
        """Plain values for JSON: with them a new tracker goes on as this one would; see `resume`."""
        return {
            "tracks": [track.to_list() for track in self._tracks],
            "lost": [track.to_list() for track in self._lost],
            "next_id": self._next_id,
            "next_search": self._next_search,
            "wait": self._wait,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` of another tracker gave."""
        self._tracks = [_Track.from_list(numbers) for numbers in state["tracks"]]
        self._lost = [_Track.from_list(numbers) for numbers in state["lost"]]
        self._next_id, self._next_search, self._wait = (state[key] for key in ("next_id", "next_search", "wait"))

    def _step(self, pixels: npt.NDArray[np.uint8], index: int, time_s: float) -> list[TrackedHead]:
        self._lost = [track for track in self._lost if time_s - track.time_s <= REMEMBERED_S]
        found = self._followed(pixels, time_s)
        if len(found) < len(self._tracks):
            kept = {sighting.track.id for sighting in found}
            self._lost += [track for track in self._tracks if track.id not in kept]
            self._wait, self._next_search = 1, index
        if self._search_is_due(len(found), index):
            found += self._located(pixels, time_s, found)
            self._next_search, self._wait = index + self._wait, min(2 * self._wait, self._search_every)
        found.sort(key=lambda sighting: sighting.track.id)
        self._tracks = [sighting.track for sighting in found]
        return [TrackedHead(each.track.id, each.head.query(self.layout), each.head.unsureness) for each in found]

    def _search_is_due(self, found: int, index: int) -> bool:
        if self._max_heads is not None and found >= self._max_heads:
            return False
        return found == 0 or index >= self._next_search

    def _followed(self, pixels: npt.NDArray[np.uint8], time_s: float) -> list[_Sighting]:
        """The heads that were there in the last frame and still are."""
        if not self._tracks:
            return []
        windows = [track.expected(time_s, self._face_px(track.window)) for track in self._tracks]
        heads = self._detector.follow(pixels, windows)
        most = self._detector.landmarker.most_unsure if self._most_unsure is None else self._most_unsure
        size = np.array(pixels.shape[1::-1])
        found: list[_Sighting] = []
        for track, expected, head in zip(self._tracks, windows, heads, strict=True):
            if not head.unsureness <= most:
                continue
            window = head.next_window()
            inside = ((window.centre_px >= 0) & (window.centre_px < size)).all()
            if inside and window.side_px >= _LEAST_WINDOW_PX:
                away = float(np.hypot(*(window.centre_px - expected.centre_px)))
                found.append(_Sighting(track.seen(window, time_s), head, away / self._face_px(window)))
        # the best is the one that did not jump, then the oldest
        order = np.array([-float(s.jump > _JUMP) - s.track.id / self._next_id for s in found])
        return [found[i] for i in suppress(_boxes([s.head for s in found]), order, SAME_FACE_IOU)]

    def _located(self, pixels: npt.NDArray[np.uint8], time_s: float, found: Sequence[_Sighting]) -> list[_Sighting]:
        """The heads of the whole picture that are not among those found: lost ones that are back, and new ones."""
        heads = self._detector.encode(pixels)
        windows = [head.next_window() for head in heads]
        taken = iou(_boxes(heads), _boxes([sighting.head for sighting in found]))
        new = [i for i in range(len(heads)) if not (taken[i] > SAME_FACE_IOU).any()]
        if self._max_heads is not None:
            new = new[: self._max_heads - len(found)]
        costs = np.array([[self._cost(track, windows[i], time_s) for i in new] for track in self._lost])
        back = {new[column]: self._lost[row] for row, column in _pairs(costs.reshape(len(self._lost), len(new)))}
        self._lost = [track for track in self._lost if track not in back.values()]
        sightings: list[_Sighting] = []
        for i in new:
            if i in back:
                track = dataclasses.replace(back[i], window=windows[i], velocity=np.zeros(2), time_s=time_s)
            else:
                track = _Track(self._next_id, windows[i], np.zeros(2), time_s)
                self._next_id += 1
            sightings.append(_Sighting(track, heads[i], 0.0))
        return sightings

    def _cost(self, lost: _Track, window: Window, time_s: float) -> float:
        """How unlikely it is that a lost head is the one in a window; infinite where it cannot be."""
        away_s = time_s - lost.time_s
        ratio = abs(math.log(window.side_px / lost.window.side_px))
        side = max(self._face_px(window), self._face_px(lost.window))
        distance = lost.off_its_way(window, time_s) / side
        if distance > _REACH + _REACH_A_SECOND * away_s or ratio > math.log(_MOST_RATIO * (1 + away_s)):
            return math.inf
        return distance + ratio

    def _face_px(self, window: Window) -> float:
        return window.side_px / self._detector.landmarker.window_scale


def _boxes(heads: Sequence[Head | MarkerHead]) -> npt.NDArray[np.float64]:
    """(M, 4) the faces of M heads."""
    return np.array([head.box_px for head in heads], np.float64).reshape(-1, 4)


def _pairs(costs: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) of a table of costs, the cheapest first, each row and column in one pair at most.

    Pairs that cost infinity are not made. Heads are few and far apart: the best pairs together would hardly be others.
    """
    pairs: list[tuple[int, int]] = []
    left = costs.copy()
    while left.size and np.isfinite(left.min()):
        row, column = divmod(int(left.argmin()), left.shape[1])
        pairs.append((row, column))
        left[row, :] = left[:, column] = np.inf
    return pairs
