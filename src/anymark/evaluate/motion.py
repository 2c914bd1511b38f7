"""How well heads are followed: errors and flicker on rendered sequences, whose tracks are exact, and on clips of which
nobody knows the truth, how far points move without cause.

All is about the face's 468 points and over the distance of the outer corners of its eyes: in sequences the true one in
3D, its mean over the frames; in clips the median over the frames of what anymark found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS, OUTER_EYES
from anymark.canonical.posed import points_on
from anymark.engine.samples import INDEX, Sample, read_groups
from anymark.errors import AnymarkError
from anymark.evaluate.benchmark import points_box
from anymark.evaluate.contestants import RATE
from anymark.evaluate.following import SMOOTHINGS, Followed
from anymark.evaluate.metrics import point_distances
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render
from anymark.evaluate.temporal import acceleration, flicker, high_pass, velocity
from anymark.video import Frame

Array = npt.NDArray[np.float64]
Numbers = Mapping[str, Mapping[str, float]]
"""Who -> what -> number."""

RIVAL = "mediapipe"


@dataclass(frozen=True, eq=False)
class Truth:
    """T frames of a rendered head that moves."""

    name: str
    frames: tuple[Frame, ...]
    points_px: Array
    """(T, 468, 2)"""
    eyes_px: Array
    """(T,) distance of the outer corners of the eyes in 3D."""

    def first(self, count: int | None) -> Truth:
        """The first so many frames; None: all."""
        return Truth(self.name, self.frames[:count], self.points_px[:count], self.eyes_px[:count])


def face_layout() -> Layout:
    """The face's 468 points, where they lie on the canonical head."""
    return Layout("face", load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS])


def is_shards(path: str) -> bool:
    """Whether this is a folder of `anymark data build` rather than a video."""
    return (Path(path) / INDEX).exists() or any(Path(path).glob("shard-*.tar"))


def read_sequences(folder: Path) -> Iterator[Truth]:
    """The sequences of a data set of preset "sequences", one after another.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or samples that are no frames.
    """
    for name, frames in read_groups(folder):
        yield _truth(name, frames)


def sequence_numbers(followed: Followed, truth: Truth) -> Numbers:
    """What went wrong in a sequence, by smoothing, and of the rival.

    "NME" is the mean error; "velocity" and "acceleration" are those of the error itself, so that what moves with the
    head does not count; "NMF" is `flicker`; "missed" are frames; "ids lost" counts numbers beyond the first one that
    anymark gave the head.
    """
    tracks = followed.tracks(followed.ids)
    lost = {who: float(max(len(followed.ids) - 1, 0)) for who in tracks}
    if followed.rival is not None:
        tracks[RIVAL] = followed.rival_track(np.stack([points_box(points) for points in truth.points_px]))
        lost[RIVAL] = float("nan")
    return {who: {**_against(track, truth), "ids lost": lost[who]} for who, track in tracks.items()}


def clip_numbers(followed: Followed) -> Numbers:
    """How steady the head is that is seen in most frames of a clip, by smoothing, and the rival's of the same head.

    "frames" is how many of them count: where nobody missed it. "missed" are the others of each.

    Raises:
        AnymarkError: there is no head in it, or no three frames after one another.
    """
    heads = followed.ids[:1]
    if not heads:
        raise AnymarkError("no head in it")
    tracks = followed.tracks(heads)
    plain = tracks["none"]
    if followed.rival is not None:
        boxes = np.concatenate([plain.min(1), plain.max(1)], 1)
        tracks[RIVAL] = followed.rival_track(boxes)
    seen = np.all([np.isfinite(track).all((1, 2)) for track in tracks.values()], axis=0)
    if not (seen[2:] & seen[1:-1] & seen[:-2]).any():
        raise AnymarkError("no three frames after one another in which the head was found")
    eyes = plain[seen][:, OUTER_EYES]
    length = float(np.median(np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)))
    return {
        who: {
            "frames": int(seen.sum()),
            "missed": int((~np.isfinite(track).all((1, 2))).sum()),
            "acceleration": acceleration(np.where(seen[:, None, None], track, np.nan), length),
            "high-pass": high_pass(np.where(seen[:, None, None], track, np.nan), length),
        }
        for who, track in tracks.items()
    }


def sequence_details(name: str, numbers: Sequence[Numbers]) -> tuple[Detail, Detail]:
    """Means over the sequences of a data set; what is missed and lost is counted."""
    errors: dict[str, dict[str, float]] = {}
    flickers: dict[str, dict[str, float]] = {}
    for who in numbers[0]:
        values = {key: np.array([each[who][key] for each in numbers]) for key in numbers[0][who]}
        counts = {"frames": int(values["frames"].sum()), "missed": int(values["missed"].sum())}
        means = {key: _mean(values[key]) for key in ("NME", "velocity", "acceleration")}
        lost = values["ids lost"]
        errors[said(who)] = {**counts, "ids lost": int(lost.sum()) if np.isfinite(lost).all() else np.nan, **means}
        flickers[said(who)] = {"NMF": _mean(values["NMF"])}
    return (
        Detail(f"{name}, {len(numbers)} sequences: % of the eyes' distance", errors, percent=True),
        Detail(f"{name}: flicker, in 1/100 px of a face of 256 px", flickers),
    )


def clip_detail(name: str, numbers: Numbers) -> Detail:
    """A clip's table."""
    return Detail(f"{name}: % of the eyes' distance", {said(who): row for who, row in numbers.items()}, percent=True)


def said(who: str) -> str:
    """What a row is called."""
    return f"anymark, {who}" if who in SMOOTHINGS else who


def _against(track: Array, truth: Truth) -> dict[str, float]:
    """A track (T, 468, 2) against the true one."""
    length = float(truth.eyes_px.mean())
    error = track - truth.points_px
    nme = point_distances(track, truth.points_px).mean(1) / truth.eyes_px
    return {
        "frames": len(track),
        "missed": int(np.isnan(nme).sum()),
        "NME": _mean(nme),
        "velocity": velocity(error, length),
        "acceleration": acceleration(error, length),
        "NMF": flicker(track, truth.points_px),
    }


def _truth(name: str, samples: Sequence[Sample]) -> Truth:
    for sample in samples:
        check_render(sample)
        if "frame" not in sample.record:
            raise AnymarkError(f"sample {sample.key}: no frame of a sequence (anymark data build, preset sequences)")
    numbers = [int(sample.record["frame"]) for sample in samples]
    if numbers != list(range(len(numbers))):
        raise AnymarkError(f"sequence {name}: its frames are {numbers}, not 0, 1, 2 and so on")
    xyz = np.stack([np.column_stack([sample.xy_px, sample.depth_px()]) for sample in samples])
    face = points_on(xyz, FACE_MESH_LAYOUT)[:, :FACE_MESH_POINTS].astype(np.float64)
    right, left = (face[:, corner] for corner in OUTER_EYES)
    frames = (Frame(i, i, i / RATE, sample.image) for i, sample in enumerate(samples))
    return Truth(name, tuple(frames), face[..., :2], np.linalg.norm(right - left, axis=1))


def _mean(values: Array) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if seen.size else float("nan")
