"""Clicked points locked onto what was clicked: the model says where a point is in each frame, and the picture, to a
fraction of a pixel, where in it.

Around each click a patch of its frame is kept. In every other frame the patch is laid where the model has the point,
turned and stretched as the model has the skin around, and moved until it fits (Lucas-Kanade, with brightness and
contrast free). What the picture shows well decides; where it is smooth, dark or covered, the model does. Nothing
drifts, as nothing is compared with any frame but those of the clicks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from anymark.apps.points import Click, eyes_px
from anymark.canonical import CanonicalHead, Layout
from anymark.canonical.frame import into_cube
from anymark.detect.boxes import iou
from anymark.detect.landmarks import Landmarks
from anymark.video import Frame, TrackedHead, Tracker

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

RADIUS, LEAST_RADIUS_PX = 0.05, 6.0
"""Half the side of a patch, in distances of the eyes; smaller ones look like anything."""

LEAST_LIKENESS = 0.85
"""Correlation of a patch with what it is laid on, below which something covers the point."""

FORGOTTEN_S = 0.3
"""A point that is covered goes on where the model has it, and the last correction fades within so long."""

_SIDE = 17  # places along the side of a patch
_ASIDE_MM = 2.0  # where the skin around is asked for
_LEVELS = (3.0, 1.0)  # blurs, in places of a patch: coarse, then fine
_ROUNDS = 8
_GREY = 3.0  # noise of the picture, in grey levels
_UNLIKE = 0.25  # what light and folds change of a patch's contrast
_ALIKE = 0.15  # places of a patch err together: each counts as so much of one
_FARTHEST = 3.0  # of a correction, in standard deviations of the model's
_LEAST_SQUARE = 0.25  # of the skin around a point, narrow side over wide one
_LEAST_VISIBLE = 0.3  # that the model must find a point to be
_LEAST_SIGMA_PX = 0.05
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class _Patches:
    """What one click shows of the P points; the others' patches are not known."""

    clicked: npt.NDArray[np.bool_]
    """(P,)"""
    values: tuple[Floats, ...]
    """Of each level (P, N), of mean 0 and norm 1."""
    contrast: tuple[Floats, ...]
    """(P,) what they were divided by, grey levels."""
    skin_px: Array
    """(P, 2, 2) how the two places aside of each point lie from it, in half sides of the patch."""


class LockedTracker:
    """A tracker whose clicked points are locked onto their clicks. It is used as a `Tracker` is.

    Args:
        make: Makes the tracker for a layout.
        layout: What is looked for; its last P points are the clicked ones.
        clicks: The heads that were clicked, and where; the frames (H, W, 3) they were clicked in. From the first of
            these frames on, the head that lies there is the one that is locked; before, any.
    """

    def __init__(
        self,
        make: Callable[[Layout], Tracker],
        layout: Layout,
        clicks: Sequence[tuple[Click, npt.NDArray[np.uint8]]],
    ) -> None:
        self.layout = layout
        self._count = len(clicks[0][0].xy_px)
        self._asked = _with_skin(layout, self._count)
        self._tracker = make(self._asked)
        points = self._asked.points_mm[len(layout) - self._count :]
        aside = Layout("aside", points, code=layout.code, model=layout.model)
        self._boxes = {click.frame: click.head.box_px for click, _ in clicks}
        self._whose: int | None = None
        self._clicks = [_patches(click, pixels, aside) for click, pixels in clicks]
        self._corrections: dict[int, tuple[float, Array]] = {}

    def step(self, frame: Frame) -> list[TrackedHead]:
        """The heads of the next frame; see `Tracker.step`."""
        heads = self._tracker.step(frame)
        if frame.pixels is None:
            return []
        if heads and frame.index in self._boxes:
            overlaps = iou(np.stack([head.landmarks.box_px for head in heads]), self._boxes[frame.index][None])[:, 0]
            self._whose = heads[int(overlaps.argmax())].id
        return [replace(head, landmarks=self._locked(head, frame)) for head in heads]

    def state(self) -> dict[str, Any]:
        """As `Tracker.state`."""
        kept = {str(number): [time_s, c.tolist()] for number, (time_s, c) in self._corrections.items()}
        return {"tracker": self._tracker.state(), "corrections": kept, "whose": self._whose}

    def resume(self, state: Mapping[str, Any]) -> None:
        """As `Tracker.resume`."""
        self._tracker.resume(state["tracker"])
        self._whose = state["whose"]
        kept = state["corrections"]
        self._corrections = {int(number): (time_s, np.array(c)) for number, (time_s, c) in kept.items()}

    def _locked(self, head: TrackedHead, frame: Frame) -> Landmarks:
        found, count = head.landmarks, self._count
        if self._whose not in (None, head.id):  # another person's skin would be taken for that of the clicks
            return _only(found, self.layout)
        first = len(self.layout) - count
        xy = found.xy_px[first:].astype(np.float64)
        points, skin = xy[:count], (xy[count:].reshape(2, count, 2) - xy[:count]).swapaxes(0, 1)
        sigma = found.sigma_px[first : first + count].astype(np.float64)
        time_s, before = self._corrections.get(head.id, (frame.time_s, np.zeros((count, 2))))
        scale = found.camera.focal_px / found.camera.t_camera_head_mm[2]  # pixels a millimetre
        start = before * scale * math.exp(-abs(frame.time_s - time_s) / FORGOTTEN_S)
        assert frame.pixels is not None
        moved, sd, likeness = _fitted(self._clicks, frame.pixels, points, skin, start, sigma)
        held = (likeness >= LEAST_LIKENESS) & (found.visible[first : first + count] >= _LEAST_VISIBLE)
        moved = np.where(held[:, None], moved, start)
        self._corrections[head.id] = frame.time_s, moved / scale
        out = _only(found, self.layout)
        xy_px, sigma_px = out.xy_px.copy(), out.sigma_px.copy()
        xy_px[first:] += moved.astype(np.float32)
        sigma_px[first:] = np.where(held, np.minimum(sd, sigma), sigma)
        xyz_mm = out.xyz_mm.copy()
        xyz_mm[first:] = out.camera.onto(xyz_mm[first:], xy_px[first:])
        return replace(out, xy_px=xy_px, sigma_px=sigma_px, xyz_mm=xyz_mm)


def _with_skin(layout: Layout, count: int) -> Layout:
    """A layout with two places beside each of its last points after them, along the skin."""
    head = CanonicalHead.load()
    points = layout.points_mm[len(layout) - count :].astype(np.float64)
    a, b, c = np.moveaxis(head.vertices_mm[head.triangles[head.closest_point(points).triangles]].astype(float), 1, 0)
    out = np.cross(b - a, c - a)
    along = np.stack([b - a, np.cross(out, b - a)])
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-12)
    aside = into_cube(points + _ASIDE_MM * along).reshape(-1, 3)
    slides = None if layout.slides_mm is None else np.concatenate([layout.slides_mm, np.zeros((2 * count, 2, 3))])
    points_mm = np.concatenate([layout.points_mm, aside])
    return Layout("asked", points_mm, code=layout.code, model=layout.model, slides_mm=slides)


def _patches(click: Click, pixels: npt.NDArray[np.uint8], points: Layout) -> _Patches:
    """What is seen about the points of one click."""
    found = click.head.query(points).xy_px.astype(np.float64)
    count = len(click.xy_px)
    clicked = np.isfinite(click.xy_px[:, 0]) & np.isfinite(click.xy_px[:, 1])
    at = np.where(clicked[:, None], np.nan_to_num(click.xy_px), found[:count])
    skin = (found[count:].reshape(2, count, 2) - found[:count]).swapaxes(0, 1)
    radius = max(RADIUS * eyes_px(click.head), LEAST_RADIUS_PX)
    offsets = np.broadcast_to(_grid() * radius, (count, _SIDE**2, 2))
    values, contrast = [], []
    for blur in _LEVELS:
        image = _Image.of(pixels, at, radius, blur * 2 * radius / (_SIDE - 1))
        value, norm = _normed(image.at(at[:, None] + offsets)[0])
        values.append(value)
        contrast.append(norm)
    return _Patches(clicked, tuple(values), tuple(contrast), skin / radius)


def _fitted(
    clicks: Sequence[_Patches], pixels: npt.NDArray[np.uint8], points: Array, skin: Array, start: Array, sigma: Array
) -> tuple[Array, Array, Array]:
    """How far (P, 2) the points are to be moved, how surely (P,), and how like (P,) what was clicked they look then."""
    best, sd, likeness = start.copy(), sigma.copy(), np.full(len(points), -1.0)
    for click in clicks:
        # patch coordinates -> pixels here: what takes the places aside of the click to those here
        affine = np.matmul(skin.swapaxes(1, 2), np.linalg.pinv(click.skin_px.swapaxes(1, 2)))
        offsets = np.matmul(_grid(), affine.swapaxes(1, 2))
        side = np.sqrt(np.abs(np.linalg.det(affine)))
        moved, spread, alike = start, sigma, likeness
        for level, blur in enumerate(_LEVELS):
            spacing = float(np.median(side)) * 2 / (_SIDE - 1)
            image = _Image.of(pixels, points, float(np.median(side)), blur * spacing)
            moved, spread, alike = _aligned(image, click, level, points, offsets, moved, start, sigma)
        near = np.linalg.norm(moved, axis=1) <= _FARTHEST * sigma
        better = click.clicked & near & _squarely(skin) & _squarely(click.skin_px) & (alike > likeness)
        best[better], sd[better], likeness[better] = moved[better], spread[better], alike[better]
    return best, sd, likeness


def _aligned(
    image: _Image, click: _Patches, level: int, points: Array, offsets: Array, moved: Array, start: Array, sigma: Array
) -> tuple[Array, Array, Array]:
    """One level: the corrections (P, 2), their standard deviations and the likeness (P,)."""
    patch, contrast = click.values[level], click.contrast[level]
    noise = (_GREY / np.maximum(contrast, 1e-6)) ** 2 + _UNLIKE**2 / patch.shape[1]
    prior = 1 / sigma**2
    likeness, matrix = np.zeros(len(points)), np.zeros((len(points), 2, 2))
    for _ in range(_ROUNDS):
        values, slopes = image.at(points[:, None] + moved[:, None] + offsets)
        value, norm = _normed(values)
        slope = slopes / np.maximum(norm, 1e-6)[:, None, None]
        slope = slope - slope.mean(1, keepdims=True)
        slope = slope - value[..., None] * np.einsum("pn,pnk->pk", value, slope)[:, None]
        off = value - patch
        likeness = 1 - (off**2).sum(1, dtype=np.float64) / 2
        matrix = np.einsum("pni,pnj->pij", slope, slope) * (_ALIKE / noise)[:, None, None]
        gradient = np.einsum("pni,pn->pi", slope, off) * (_ALIKE / noise)[:, None]
        matrix = matrix + prior[:, None, None] * np.eye(2)
        gradient = gradient + prior[:, None] * (moved - start)
        step = -np.linalg.solve(matrix, gradient[..., None])[..., 0]
        longest = np.maximum(sigma, 1.0)
        step *= np.minimum(1, longest / np.maximum(np.linalg.norm(step, axis=1), 1e-12))[:, None]
        moved = moved + step
        if np.abs(step).max() < 0.01:
            break
    spread = np.sqrt(np.trace(np.linalg.inv(matrix), axis1=1, axis2=2) / 2)
    return moved, np.maximum(spread, _LEAST_SIGMA_PX), likeness


def _squarely(skin: Array) -> npt.NDArray[np.bool_]:
    """(P,) whether skin (P, 2, 2) is looked at squarely enough to tell it from other skin."""
    wide, narrow = np.linalg.svd(skin, compute_uv=False).T
    return narrow > _LEAST_SQUARE * wide


@dataclass(frozen=True, eq=False)
class _Image:
    """A part of a picture, grey and blurred."""

    grey: Floats
    slopes: Floats
    """(H, W, 2) with each pixel to the right and down."""
    corner: Array
    """(2,) of the part in the picture, whole pixels."""

    @classmethod
    def of(cls, pixels: npt.NDArray[np.uint8], points: Array, radius: float, blur: float) -> _Image:
        """The part about some points."""
        margin = 3 * radius + 4 * blur + 4
        low = np.clip(np.floor(points.min(0) - margin), 0, np.array(pixels.shape[1::-1]) - 2).astype(int)
        high = np.clip(np.ceil(points.max(0) + margin), low + 2, pixels.shape[1::-1]).astype(int)
        part = pixels[low[1] : high[1], low[0] : high[0]].astype(np.float32) @ _LUMINANCE
        grey = np.asarray(gaussian_filter(part, blur / 2, mode="nearest"), np.float32)
        slopes = np.stack([np.gradient(grey, axis=1), np.gradient(grey, axis=0)], -1).astype(np.float32)
        return cls(grey, slopes, low.astype(np.float64))

    def at(self, xy_px: Array) -> tuple[Floats, Floats]:
        """Values (...) and slopes (..., 2) at places (..., 2) between the pixels."""
        height, width = self.grey.shape
        x, y = np.moveaxis(xy_px - self.corner - 0.5, -1, 0)
        x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
        column, row = x.astype(np.intp), y.astype(np.intp)
        fx, fy = (x - column).astype(np.float32), (y - row).astype(np.float32)
        at = row * width + column
        values = np.concatenate([self.grey[..., None], self.slopes], -1).reshape(-1, 3)
        fx, fy = fx[..., None], fy[..., None]
        above = values[at] * (1 - fx) + values[at + 1] * fx
        below = values[at + width] * (1 - fx) + values[at + width + 1] * fx
        found = above * (1 - fy) + below * fy
        return found[..., 0], found[..., 1:]


def _normed(values: Floats) -> tuple[Floats, Floats]:
    """Patches (P, N) of mean 0 and norm 1, and what they were divided by."""
    values = values - values.mean(1, keepdims=True)
    norm = np.linalg.norm(values, axis=1)
    return values / np.maximum(norm, 1e-6)[:, None], norm


def _grid() -> Array:
    """(N, 2) places of a patch, from -1 to 1."""
    steps = np.linspace(-1, 1, _SIDE)
    return np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)


def _only(landmarks: Landmarks, layout: Layout) -> Landmarks:
    """The first points of some landmarks alone, those of a layout."""
    n = len(layout)
    parts = {key: getattr(landmarks, key)[:n] for key in ("xy_px", "sigma_px", "xyz_mm", "uncovered")}
    return replace(landmarks, layout=layout.seen_from(landmarks.camera.seen_from), **parts)
