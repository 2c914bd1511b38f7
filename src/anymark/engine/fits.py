"""Photo sets, fitted: every labelled crop gains a whole head."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.face_mesh import CLOSING, FACE_MESH_LAYOUT, FACE_MESH_POINTS, FACE_OVAL, IRISES, OUTER_EYES
from anymark.engine.samples import ENGINE
from anymark.errors import AnymarkError
from anymark.files import atomic
from anymark.fit import Camera, Fit, Rig, aim_eyes, fit, turned_eyes
from anymark.fit.residual import residual_weights, spread_mm, unexplained
from anymark.photo_files import PhotoLabels, Split, read_npz
from anymark.spread import spread

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.integer]

CONTOUR_WEIGHT = 0.15
"""Of the outline of the face, which follows what is seen and not the skin."""

MOST_RESIDUAL = 0.025
"""A fit that leaves more of the distance of the outer corners of the eyes is dropped,"""
MOST_IDENTITY = 2.0
"""and one whose identity coefficients are larger than this, root mean square."""
LEAST_EYES_PX = 12.0
"""and one of a face smaller than this between the outer corners of the eyes, in 3D."""

EYE_SD_MM = 0.5
"""How far eyeballs may be off along an axis, which are turned to the irises' labels."""
LEFT_OVER_MM = 1.0
"""What a fit of a photo leaves over, along an axis."""

_AT_ONCE = 64
_KEYS = ("index", "R", "t", "identity", "expression", "focal", "principal", "residual", "converged")


@dataclass(frozen=True, eq=False)
class Fitted:
    """The photos of one split of a set whose fits are good."""

    labels: PhotoLabels
    index: npt.NDArray[np.int64]
    """(M,) into the labels."""
    fit: Fit
    """M heads."""
    dropped: dict[str, int]
    """Reason -> photos."""

    def __len__(self) -> int:
        return len(self.index)

    def residual(self) -> Array:
        """(M,) of each fit, over the distance of the outer corners of the eyes in 3D."""
        return self.fit.residual_px / eye_distance(self.labels)[self.index]


class Fitter:
    """Fits rigs to MediaPipe's points and poses the canonical head by them.

    Args:
        rig: ICT-FaceKit.
        canonical: the same with the canonical head's vertices (`anymark.engine.heads.canonical_rig`).
    """

    def __init__(self, rig: Rig, canonical: Rig) -> None:
        self.rig, self.canonical = rig, canonical
        self.points = rig.landmarks["mediapipe468"]
        self.weights = label_weights()
        self.pairs = np.array(CLOSING)
        head = CanonicalHead.load()
        labelled_mm = load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS]
        self._spread = residual_weights(labelled_mm, head.vertices_mm)
        off = np.hypot(spread_mm(rig, self.points, self.weights, canonical), LEFT_OVER_MM)
        self.label_sd_mm = (off * np.sqrt(unexplained(self._spread, labelled_mm, head.vertices_mm))).astype(np.float32)
        """(V,) how far `vertices_px` may be off along an axis: little at the labels, more at ears, neck and scalp."""
        inner = [name for name in head.part_names if name.endswith("eye")]
        for name in inner:  # eyeballs follow the irises, not the lids
            self._spread[canonical.parts[name]] = 0
            self.label_sd_mm[canonical.parts[name]] = EYE_SD_MM

    def fit(self, points_px: Array, depth_px: Array) -> Fit:
        """Fits of B crops with points (B, 478, 2) and depths (B, 478)."""
        face = slice(0, FACE_MESH_POINTS)
        return fit(
            self.rig,
            self.points,
            points_px[:, face],
            weights=self.weights,
            depth_px=depth_px[:, face],
            pairs=self.pairs,
        )

    def solve(self, labels: PhotoLabels, parts: Sequence[Index]) -> Iterator[Fit]:
        """Fits of a set's photos, part by part."""
        for part in parts:
            yield self.fit(labels.points_px[part], labels.depth_px[part])

    def vertices_mm(self, found: Fit, points_px: Array) -> npt.NDArray[np.float32]:
        """(B, V, 3) the canonical head's vertices in the head frame, the eyes on the irises."""
        straight = self.canonical.vertices_mm(found.identity, found.expression)
        turns = aim_eyes(self.canonical, found, straight, points_px[:, list(IRISES)])
        return turned_eyes(self.canonical, straight, turns).astype(np.float32)

    def vertices_px(self, found: Fit, vertices_mm: Array, points_px: Array) -> npt.NDArray[np.float32]:
        """(B, V, 2) where a photo shows the vertices: their projections, drawn to the labels near these."""
        on_rig = self.points.on(self.rig.vertices_mm(found.identity, found.expression))
        residual = points_px[:, :FACE_MESH_POINTS] - found.project(on_rig)
        return (found.project(vertices_mm) + self._spread @ residual.astype(np.float32)).astype(np.float32)


def label_weights() -> Array:
    """(468,) of MediaPipe's points in a fit."""
    weights = np.ones(FACE_MESH_POINTS)
    weights[list(FACE_OVAL)] = CONTOUR_WEIGHT
    return weights


def eye_distance(labels: PhotoLabels) -> Array:
    """(N,) between the outer corners of the eyes with depth, pixels."""
    right, left = OUTER_EYES
    across = np.linalg.norm(labels.points_px[:, right] - labels.points_px[:, left], axis=1)
    return np.hypot(across, labels.depth_px[:, right] - labels.depth_px[:, left])


def fit_photos(
    labels: PhotoLabels,
    split: Split,
    solve: Callable[[Sequence[Index]], Iterable[Fit]],
    *,
    cache: Path | None = None,
    limit: int | None = None,
) -> Fitted:
    """Fit the photos of a split; what is poor is dropped and counted.

    Args:
        solve: indices of photos, in parts -> the fits of each part; `Fitter.solve`, or many processes.
        cache: folder where fits are kept, so that a second call is free.
        limit: at most so many photos, spread evenly.

    Raises:
        AnymarkError: the labels are of another layout, or the cache cannot be written.
    """
    if labels.layout != FACE_MESH_LAYOUT:
        raise AnymarkError(f"{labels.path}: of {labels.layout}; fits need {FACE_MESH_LAYOUT}")
    everyone, good = labels.chosen(split), labels.chosen(split, good=True)
    dropped = Counter({"labels too uncertain": len(everyone) - len(good)})
    if limit is not None and limit < len(good):
        good = good[spread(len(good), limit)]
        dropped.clear()  # there were enough without them
    if len(good) == 0:
        raise AnymarkError(
            f"{labels.path}: no photo to fit: of {len(labels.names)}, {len(everyone)} are of split {split!r}, and none "
            "of those has good labels"
        )
    kept = cache and cache / f"fits-{labels.path.parent.name}-{split}-{_key(labels, good)}.npz"
    found = None
    if kept and kept.exists():
        with suppress(AnymarkError):  # a damaged one is made again
            found = _read(kept)
    if found is None:
        found = _joined(list(solve(np.array_split(good, -(-len(good) // _AT_ONCE)))))
        if kept:
            _write(kept, good, found)
    size = np.sqrt((found.identity**2).mean(1))
    eyes = eye_distance(labels)[good]
    reasons = {
        "fit came to nothing": ~np.isfinite(found.residual_px),
        "fit did not converge": ~found.converged,
        "face too small": eyes < LEAST_EYES_PX,
        "residual too large": found.residual_px > MOST_RESIDUAL * eyes,
        "identity implausible": size > MOST_IDENTITY,
    }
    bad = np.zeros(len(good), bool)
    for reason, mask in reasons.items():
        dropped[reason] += int((mask & ~bad).sum())
        bad |= mask
    keep = np.flatnonzero(~bad)
    return Fitted(labels, good[keep], found[keep], {reason: n for reason, n in dropped.items() if n})


def _key(labels: PhotoLabels, index: npt.NDArray[np.int64]) -> str:
    """What a fit depends on."""
    parts = labels.points_px[index].tobytes(), labels.depth_px[index].tobytes(), str(ENGINE).encode()
    digest = hashlib.sha256(b"".join(parts))
    return digest.hexdigest()[:12]


def _write(path: Path, index: npt.NDArray[np.int64], found: Fit) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, "wb") as file:
        np.savez(
            file,
            index=index,
            R=found.R_camera_head,
            t=found.t_camera_head_mm,
            identity=found.identity.astype(np.float32),
            expression=found.expression.astype(np.float32),
            focal=found.camera.focal_px,
            principal=found.camera.principal_px,
            residual=found.residual_px,
            converged=found.converged,
        )


def _read(path: Path) -> Fit:
    data = read_npz(path, _KEYS)
    camera = Camera(data["focal"], data["principal"])
    pose = data["R"], data["t"], data["identity"], data["expression"]
    return Fit(*pose, camera, data["residual"], data["converged"])


def _joined(parts: list[Fit]) -> Fit:
    camera = Camera(
        np.concatenate([p.camera.focal_px for p in parts]), np.concatenate([p.camera.principal_px for p in parts])
    )
    names = ("R_camera_head", "t_camera_head_mm", "identity", "expression")
    pose = [np.concatenate([getattr(p, name) for p in parts]) for name in names]
    residual, converged = (np.concatenate([getattr(p, n) for p in parts]) for n in ("residual_px", "converged"))
    return Fit(pose[0], pose[1], pose[2], pose[3], camera, residual, converged)
