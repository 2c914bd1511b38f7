"""How well heads are tracked with a rig through rendered sequences, whose heads are known (DenseMarks): by
dense maps, and by the query model's landmarks.

Lenses are known. Vertices are compared after the rigid motion that takes the tracked face nearest to the true one: how
far a head is away hardly shows in one view; the pose is compared as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.anatomy import rigid
from anymark.apps.capture import Capture, View, capture
from anymark.apps.headtrack import tracked_points, view_of
from anymark.apps.rigs import RigOnHead
from anymark.canonical import CanonicalHead
from anymark.detect.dense import DenseNetwork
from anymark.detect.detector import Detector
from anymark.engine.samples import Sample, read_groups
from anymark.errors import AnymarkError
from anymark.evaluate.correspondence import look
from anymark.evaluate.pose import turned_by_deg
from anymark.evaluate.report import Detail
from anymark.evaluate.samples import check_render, true_window

Array = npt.NDArray[np.float64]


def read_frames(folder: Path) -> Iterator[tuple[str, list[Sample]]]:
    """The sequences of a data set of preset "sequences" with one camera: name and frames.

    Raises:
        AnymarkError: no finished data set there, a damaged shard, or samples that are no frames of renders.
    """
    for name, frames in read_groups(folder):
        for frame in frames:
            check_render(frame)
            if "frame" not in frame.record or "camera" in frame.record:
                raise AnymarkError(f"sample {frame.key}: no frame of a sequence of one camera")
        yield name, frames


def tracked_errors(
    frames: Sequence[Sample], rig: RigOnHead, detector: Detector, network: DenseNetwork
) -> dict[str, dict[str, Array]]:
    """What it is tracked by -> "pose deg" (T,), "vertices mm" (T, F) of the face."""
    points, asked = tracked_points(rig)
    looked = [look(detector, network, sample.image, true_window(sample, detector)) for sample in frames]
    focal = float(frames[0].record["focal_px"])
    principal = np.array(frames[0].record["principal_px"])
    found = [each.head.query(asked) for each in looked]
    views = {
        "dense maps": view_of([each.dense for each in looked], asked, focal, principal),
        "landmarks": View.alone(
            np.stack([f.xy_px for f in found]), np.stack([f.sigma_px for f in found]), focal, principal
        ),
    }
    return {name: _against(capture(rig.rig, points, [view]), rig, frames) for name, view in views.items()}


def _against(found: Capture, rig: RigOnHead, frames: Sequence[Sample]) -> dict[str, Array]:
    head = CanonicalHead.load()
    face = head.vertices_of("face")
    pose, away = [], []
    for i, sample in enumerate(frames):
        pose.append(float(turned_by_deg(found.R_world_head[i], np.array(sample.record["R_camera_head"]))))
        own = found.vertices_mm(rig.rig, i)[head.ict_vertices[face]].astype(np.float64)
        true = sample.vertices_mm[face].astype(np.float64)
        turn, place = rigid(own, true[None], np.ones((1, len(own))))
        away.append(np.linalg.norm(own @ turn[0].T + place[0] - true, axis=1))
    return {"pose deg": np.array(pose), "vertices mm": np.stack(away)}


def headtrack_detail(of_clips: Sequence[Mapping[str, Mapping[str, Array]]]) -> Detail:
    """Means and medians over all frames."""
    rows = {}
    for name in of_clips[0]:
        row: dict[str, float] = {}
        for key in ("pose deg", "vertices mm"):
            values = np.concatenate([clip[name][key].ravel() for clip in of_clips])
            row |= {key: float(values.mean()), f"median {key}": float(np.median(values))}
        rows[name] = row
    frames = sum(len(clip["dense maps"]["pose deg"]) for clip in of_clips)
    return Detail(f"{len(of_clips)} sequences, {frames} frames", rows)
