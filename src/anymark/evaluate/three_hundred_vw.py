"""The 300-VW benchmark: 68 points on every frame of 64 test videos, in three categories.

Root of the data, as its authors distribute it: a folder a video, such as `114`, with `vid.avi` and `annot/000001.pts`,
one for each frame, counted from 1. Frames that were extracted beforehand, `extraction/000001.png` and so on, are read
instead of the video where they are there.

Category 1 is well lit, 2 has light that changes, 3 is anything. Errors are divided by the distance of the outer corners
of the eyes; each frame counts alike. Beside them, how much the points flicker: NMF, the mean over videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from anymark.apps.annotations import read_pts
from anymark.canonical import load_layout
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import (
    Array,
    Benchmark,
    BoxRule,
    Face,
    for_calibration,
    lengths,
    note_count,
    points_box,
    readable,
    stored_pixels,
)
from anymark.evaluate.ibug68 import EYES, OUTER_EYES, POINTS, REGIONS
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores
from anymark.evaluate.temporal import flicker

if TYPE_CHECKING:
    from anymark.video.frames import Frame

Category = Literal["1", "2", "3", "all"]

VIDEOS: dict[str, tuple[int, ...]] = {
    "category 1": (
        *(114, 124, 125, 126, 150, 158, 401, 402, 505, 506, 507, 508, 509, 510, 511, 514, 515, 518, 519, 520, 521, 522),
        *(524, 525, 537, 538, 540, 541, 546, 547, 548),
    ),
    "category 2": (203, 208, 211, 212, 213, 214, 218, 224, 403, 404, 405, 406, 407, 408, 409, 412, 550, 551, 553),
    "category 3": (410, 411, 516, 517, 526, 528, 529, 530, 531, 533, 557, 558, 559, 562),
}
"""Test videos of the protocol; all others are for training."""

THRESHOLD = 0.08

_SUFFIXES = (".png", ".jpg")


def read_300vw(root: Path, category: Category = "all", calibrate: int = 0) -> Benchmark:
    """The frames of the videos that are there and whose labels can be scored; the rest is noted.

    Args:
        root: folder with a folder for each video.
        category: of the test videos.
        calibrate: take so many frames, spread evenly over the training videos, for calibration.

    Raises:
        AnymarkError: no such folder, or no frame with usable labels.
    """
    if not root.is_dir():
        raise AnymarkError(f"{root}: no such folder")
    layout = load_layout("ibug68")
    rule = BoxRule.from_layout(layout)
    clips, notes = _Clips(), list[str]()
    groups = {name: videos for name, videos in VIDEOS.items() if category in ("all", name[-1])}
    faces: list[Face] = []
    for name, videos in groups.items():
        there = [f"{video:03}" for video in videos if (root / f"{video:03}" / "annot").is_dir()]
        note_count(f"300-VW {name}", len(videos), len(there), notes, "videos")
        for video in there:
            faces += _faces(root / video, name, rule, clips, notes)
    if not faces:
        raise AnymarkError(f"{root}: no frames of 300-VW (looked for 114/annot/*.pts and so on); {notes[-1]}")
    training: list[Face] = []
    if calibrate:
        tested = {f"{video:03}" for videos in VIDEOS.values() for video in videos}
        for folder in sorted(path.parent for path in root.glob("[0-9][0-9][0-9]/annot")):
            if folder.name not in tested:
                training += _faces(folder, "training", rule, clips, notes)
    there = [name for name in groups if any(face.group == name for face in faces)]
    return Benchmark(
        name="300-VW" if category == "all" else f"300-VW category {category}",
        layout=layout,
        faces=tuple(faces),
        calibration=tuple(
            training[i] for i in for_calibration(calibrate, len(training), f"{root}: the training videos")
        ),
        rows={**{name: (name,) for name in there}, "all": tuple(there)},
        normalisers=("inter-ocular", "inter-pupil", "box"),
        threshold=THRESHOLD,
        regions=REGIONS,
        notes=tuple(notes),
    )


def flicker_details(scores: Scores) -> tuple[Detail, ...]:
    """What videos report besides: NMF of each row, the mean over its videos, see `anymark.evaluate.temporal.flicker`.

    Frames that are missed, or not labelled, part a video.
    """
    by_video: dict[str, list[int]] = {}
    for i, face in enumerate(scores.benchmark.faces):
        if face.frame is not None:
            by_video.setdefault(face.frame[0], []).append(i)
    flickers = {video: _flicker(scores, indices) for video, indices in by_video.items()}
    rows: dict[str, dict[str, float]] = {}
    for row in scores.benchmark.rows:
        of_row = set(scores.benchmark.row(row).tolist())
        videos = [video for video, indices in by_video.items() if indices[0] in of_row]
        known = [flickers[video] for video in videos if np.isfinite(flickers[video])]
        rows[row] = {"NMF": float(np.mean(known)) if known else float("nan")}
    return (Detail("flicker, in 1/100 px of a face of 256 px", rows),)


def _flicker(scores: Scores, indices: list[int]) -> float:
    faces = [scores.benchmark.faces[i] for i in indices]
    places = [face.frame[1] for face in faces if face.frame is not None]
    tracks: Array = np.full((2, max(places) + 1, *faces[0].points_px.shape), np.nan)
    tracks[0, places] = scores.found_px[indices]
    tracks[1, places] = [face.points_px for face in faces]
    return flicker(*tracks)


def _faces(folder: Path, group: str, rule: BoxRule, clips: _Clips, notes: list[str]) -> list[Face]:
    """The labelled frames of one video, in order."""
    clip, extracted = folder / "vid.avi", folder / "extraction"
    pictures = {path.stem: path for path in sorted(extracted.glob("[!.]*")) if path.suffix.lower() in _SUFFIXES}
    labels = sorted((folder / "annot").glob("[!.]*.pts"))
    if not pictures and not clip.is_file():
        notes.append(f"{folder}: neither vid.avi nor extraction/000001.png and so on, left out")
        return []
    if pictures and len(pictures) != len(labels):
        notes.append(f"{folder}: {len(pictures)} extracted frames, {len(labels)} labels")

    def face(pts: Path) -> Face:
        if not pts.stem.isdecimal() or int(pts.stem) < 1:
            raise AnymarkError(f"{pts}: not named by the number of a frame, from 000001 on")
        index = int(pts.stem) - 1
        points = read_pts(pts, POINTS)
        picture = pictures.get(pts.stem, extracted / f"{pts.stem}.png")
        return Face(
            name=f"{folder.name}/{pts.stem}",
            group=group,
            points_px=points,
            box_px=rule(points_box(points)),
            lengths_px=lengths(points, OUTER_EYES, EYES, str(pts)),
            load=partial(stored_pixels, picture) if pictures else partial(clips.pixels, clip, index),
            frame=(folder.name, index),
        )

    return readable(labels, face, notes)


class _Clips:
    """Frames of videos by their numbers; one video is open at a time. In order they are cheap; back is a new pass."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._frames: Iterator[Frame] = iter(())
        self._next = 0

    def pixels(self, path: Path, index: int) -> npt.NDArray[np.uint8]:
        """One frame, counted from 0, RGB (H, W, 3).

        Raises:
            AnymarkError: the video cannot be read, has no such frame, or this one failed to decode.
        """
        from anymark.video.opening import open_video

        if path != self._path or index < self._next:
            self._frames, self._path, self._next = open_video(path).frames(index), path, index
        for frame in self._frames:
            self._next = frame.index + 1
            if frame.index == index:
                if frame.pixels is None:
                    raise AnymarkError(f"{path}: frame {index + 1} failed to decode ({frame.problem})")
                return frame.pixels
        raise AnymarkError(f"{path}: no frame {index + 1}, which is labelled")
