"""How well rigs are captured: ICT-FaceKit fitted to landmarks of rendered sequences from one and from three cameras
(Continuous Landmark Detection, table 3).

The cameras are known. What is compared are the vertices of the face, after the rigid motion that takes the captured
ones nearest to the true ones: how far a head is away hardly shows in one view, and is not what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.anatomy import rigid
from anymark.apps.capture import CaptureSettings, View, capture
from anymark.apps.rigs import RigOnHead
from anymark.canonical import CanonicalHead, Layout, load_layout
from anymark.detect.detector import Detector
from anymark.engine.samples import Sample, read_groups
from anymark.errors import AnymarkError
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, true_window
from anymark.fit import Rig

Array = npt.NDArray[np.float64]

LAYOUTS = {"68 landmarks": "ibug68", "500 landmarks": "dense-500", "50k landmarks": "dense-50k"}
"""As the paper's; those of `dense-50k` that lie on the rig."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A rendered performance before several cameras."""

    name: str
    cameras: tuple[tuple[Sample, ...], ...]
    """The frames of each camera."""


def read_shots(folder: Path) -> Iterator[Shot]:
    """The performances of a data set of preset "sequences" with several cameras, one after another.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or samples of a single camera.
    """
    for name, group in read_groups(folder, "-c"):
        cameras: dict[int, list[Sample]] = {}
        for sample in group:
            check_render(sample)
            if "camera" not in sample.record:
                raise AnymarkError(f"sample {sample.key}: of a single camera (recipe: cameras = 3)")
            cameras.setdefault(int(sample.record["camera"]), []).append(sample)
        yield Shot(name, tuple(tuple(frames) for _, frames in sorted(cameras.items())))


def captured_errors(
    shot: Shot, rig: RigOnHead, detector: Detector, settings: CaptureSettings | None = None
) -> dict[str, Array]:
    """Landmarks and views -> (T, F) distances of the face's vertices from the true ones, millimetres."""
    head = CanonicalHead.load()
    face = head.vertices_of("face")
    middle = len(shot.cameras) // 2
    true = np.stack([sample.vertices_mm[face] for sample in shot.cameras[middle]]).astype(np.float64)
    out: dict[str, Array] = {}
    for name, layout in LAYOUTS.items():
        points, on = rig.points_of(load_layout(layout))
        asked = Layout("captured", load_layout(layout).points_mm[on])
        views = [_view(frames, shot.cameras[middle], asked, detector) for frames in shot.cameras]
        for count in (1, len(views)):
            some = [views[middle]] if count == 1 else views
            found = capture(rig.rig, points, some, settings)
            own = np.stack([found.vertices_mm(rig.rig, i)[head.ict_vertices[face]] for i in range(len(true))])
            turned = np.empty_like(true)
            for i, (a, b) in enumerate(zip(own.astype(np.float64), true, strict=True)):
                turn, place = rigid(a, b[None], np.ones((1, len(a))))
                turned[i] = a @ turn[0].T + place[0]
            out[f"{name}, {count} view{'s' * (count > 1)}"] = np.linalg.norm(turned - true, axis=2)
    return out


def capture_details(of_shots: Sequence[Mapping[str, Array]]) -> tuple[Detail, ...]:
    """The paper's table."""
    order = sorted(of_shots[0], key=lambda name: int(name.rpartition(",")[2].split()[0]))
    rows = {}
    for name in order:
        values = np.concatenate([each[name].ravel() for each in of_shots])
        rows[name] = {"mean": float(values.mean()), "median": float(np.median(values)), "std": float(values.std())}
    return (Detail(f"{len(of_shots)} performances: errors of the face's vertices, mm", rows),)


def capture_rate(shot: Shot, rig: RigOnHead, detector: Detector, repeats: int = 4) -> float:
    """Frames a second of 50k landmarks from one view, from the picture to smooth weights; the identity, which is told
    from some frames of a clip only, is known by then."""
    frames = shot.cameras[len(shot.cameras) // 2] * repeats
    layout = load_layout(LAYOUTS["50k landmarks"])
    points, on = rig.points_of(layout)
    asked = Layout("captured", layout.points_mm[on])
    known = Rig(
        rig.rig.neutral_mm, rig.rig.identity_mm[:0], rig.rig.expression_mm, rig.rig.expression_names, rig.rig.triangles
    )
    _view(frames[:2], frames[:2], asked, detector)  # what is worked out once a layout
    began = time.perf_counter()
    capture(known, points, [_view(frames, frames, asked, detector)])
    return len(frames) / (time.perf_counter() - began)


def _view(frames: Sequence[Sample], first: Sequence[Sample], layout: Layout, detector: Detector) -> View:
    """What the model sees of one camera, in windows about the true faces; the world is the first camera's frame."""
    xy, sigma = [], []
    for sample in frames:
        (head,) = detector.encode(sample.image, [true_window(sample, detector)])
        found = head.query(layout)
        xy.append(found.xy_px)
        sigma.append(found.sigma_px)
    rotation, place = (
        [np.array(s.record[key]) for s in (frames[0], first[0])] for key in ("R_camera_head", "t_camera_head_mm")
    )
    turn = rotation[0] @ rotation[1].T
    return View(
        np.stack(xy),
        np.stack(sigma),
        np.array([sample.record["focal_px"] for sample in frames]),
        np.array([sample.record["principal_px"] for sample in frames]),
        turn,
        place[0] - turn @ place[1],
    )
