"""How well clicked points are followed through rendered sequences, whose tracks are exact: by anymark, and by optical
flow from frame to frame, which is what people use.

Points are vertices of the skin that are seen in the first frame. Flow is pyramidal Lucas-Kanade and DIS of
OpenCV, as they are mostly used: each from one frame to the next; a point that Lucas-Kanade loses stays where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.points import Click, pick
from anymark.canonical import CanonicalHead, Layout
from anymark.canonical.files import HEAD
from anymark.canonical.head import SKIN
from anymark.detect.detector import Detector
from anymark.engine.samples import read_groups
from anymark.evaluate.contestants import RATE
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, eyes_px
from anymark.video import Frame, Tracker
from anymark.video.rows import row_dtype, to_rows

Array = npt.NDArray[np.float64]

POINTS = 100
"""Clicked in each sequence, of those that are seen in its first frame; spread by chance."""

FLOWS = ("Lucas-Kanade", "DIS")
WHEN = ("seen", "hidden", "seen again", "all")
"""Of frames of a point: seen ever since the first, hidden, seen after having been hidden, all but the first."""

_SEED = 0
_LK = {"winSize": (21, 21), "maxLevel": 4}


@dataclass(frozen=True, eq=False)
class Clip:
    """T frames of a rendered head, and P points on it."""

    name: str
    frames: tuple[Frame, ...]
    points_px: Array
    """(T, P, 2)"""
    seen: npt.NDArray[np.bool_]
    """(T, P)"""
    eyes_px: float
    """Mean distance of the outer corners of the eyes in 3D."""


def read_clips(folder: Path) -> Iterator[Clip]:
    """The sequences of a data set of preset "sequences", one after another.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or samples that are no renders.
    """
    head = CanonicalHead.load()
    skin = head.vertices_of(*SKIN)
    rng = np.random.default_rng(_SEED)
    for name, taken in read_groups(folder):
        for sample in taken:
            check_render(sample)
        shown = skin[taken[0].visible[skin]]
        ids = rng.choice(shown, min(POINTS, len(shown)), replace=False)
        yield Clip(
            name,
            tuple(Frame(i, i, i / RATE, sample.image) for i, sample in enumerate(taken)),
            np.stack([sample.xy_px[ids] for sample in taken]).astype(np.float64),
            np.stack([sample.visible[ids] for sample in taken]),
            float(np.mean([eyes_px(sample) for sample in taken])),
        )


@dataclass(frozen=True)
class Picking:
    """What it took to make canonical points of the clicks of one frame."""

    seconds: float
    off_px: float
    """Farthest that a point which was clicked on the head, as predicted, is found from its click."""
    beside: float
    """Part of the points that were clicked beside the predicted head."""


def picked(clip: Clip, detector: Detector) -> tuple[Click, Layout, Picking]:
    """The clicks of the first frame, and what becomes of them."""
    (head, *_) = detector.encode(_pixels(clip.frames[0]))
    click = Click(head, clip.points_px[0])
    head.query(HEAD)  # which is asked for once a head, whatever is clicked
    began = time.perf_counter()
    found = pick([click])
    seconds = time.perf_counter() - began
    on = found.off_head_px == 0
    off = float(found.error_px[on].max()) if on.any() else float("nan")
    return click, Layout("clicked", found.points_mm), Picking(seconds, off, float((~on).mean()))


def by_anymark(clip: Clip, detector: Detector, click: Click, layout: Layout) -> dict[str, Array]:
    """(T, P, 2) where anymark has the points that are clicked in the first frame; NaN where it missed the head."""
    from anymark.apps.lock import LockedTracker  # needs the extra apps, which other evaluations do not

    def make(asked: Layout) -> Tracker:
        return Tracker(detector, asked, max_heads=1)

    out: dict[str, Array] = {}
    for name, tracker in (
        ("anymark, model alone", make(layout)),
        ("anymark", LockedTracker(make, layout, [(click, _pixels(clip.frames[0]))])),
    ):
        found = [row for frame in clip.frames for row in to_rows(frame, tracker.step(frame), len(layout))]
        rows = np.array(found, row_dtype(len(layout)))
        out[name] = np.full(clip.points_px.shape, np.nan)
        out[name][rows["frame"]] = rows["xy_px"]
    return out


def by_flow(clip: Clip, which: str) -> Array:
    """(T, P, 2) where optical flow has them."""
    import cv2  # needs the extra data, which other evaluations do not

    grey = [cv2.cvtColor(np.ascontiguousarray(_pixels(frame)), cv2.COLOR_RGB2GRAY) for frame in clip.frames]
    out = clip.points_px.copy()
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for i in range(1, len(grey)):
        before = out[i - 1] - 0.5  # OpenCV counts pixel centres
        if which == "DIS":
            flow = dis.calc(grey[i - 1], grey[i], np.zeros((*grey[i].shape, 2), np.float32))
            x, y = (np.ascontiguousarray(before[None, :, k], np.float32) for k in (0, 1))
            step = cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
            out[i] = out[i - 1] + step
        else:
            start = np.ascontiguousarray(before[:, None], np.float32)
            after, found, _ = cv2.calcOpticalFlowPyrLK(grey[i - 1], grey[i], start, np.zeros_like(start), **_LK)
            out[i] = np.where(found == 1, after[:, 0] + 0.5, out[i - 1])
    return out


def _pixels(frame: Frame) -> npt.NDArray[np.uint8]:
    assert frame.pixels is not None  # renders do not fail to decode
    return frame.pixels


def errors(clip: Clip, tracks: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Who -> when, of `WHEN` -> errors in fractions of the eyes' distance; infinite where the head was missed."""
    hidden = np.maximum.accumulate(~clip.seen, axis=0)
    later = np.ones_like(clip.seen)
    later[0] = False
    masks = {"seen": ~hidden & later, "hidden": ~clip.seen & later, "seen again": clip.seen & hidden, "all": later}
    out: dict[str, dict[str, Array]] = {}
    for who, track in tracks.items():
        off = np.linalg.norm(track - clip.points_px, axis=2) / clip.eyes_px
        off = np.where(np.isfinite(off), off, np.inf)
        out[who] = {when: off[masks[when]] for when in WHEN}
    return out


def picking_detail(pickings: Sequence[Picking]) -> Detail:
    """Of all first frames."""
    rows = {
        "milliseconds": np.array([1000 * each.seconds for each in pickings]),
        "farthest off, px": np.array([each.off_px for each in pickings]),
        "clicked beside the head, %": np.array([100 * each.beside for each in pickings]),
    }
    return Detail(
        f"picking {POINTS} points of a frame",
        {name: {"median": float(np.median(v)), "most": float(np.max(v))} for name, v in rows.items()},
    )


def details(of_clips: Sequence[Mapping[str, Mapping[str, Array]]]) -> tuple[Detail, ...]:
    """Medians, and the share of points that are farther off than a tenth of the eyes' distance."""
    medians: dict[str, dict[str, float]] = {}
    lost: dict[str, dict[str, float]] = {}
    for who in of_clips[0]:
        together = {when: np.concatenate([each[who][when] for each in of_clips]) for when in WHEN}
        medians[who] = {when: float(np.median(values)) if len(values) else np.nan for when, values in together.items()}
        lost[who] = {when: float((values > 0.1).mean()) if len(values) else np.nan for when, values in together.items()}
    return (
        Detail(f"{len(of_clips)} sequences: median error, % of the eyes' distance", medians, percent=True),
        Detail("farther off than a tenth of it, % of points and frames", lost, percent=True),
    )
