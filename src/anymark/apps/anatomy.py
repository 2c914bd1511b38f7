"""Bones, teeth and eyes as rigid bodies that follow their landmarks (Continuous Landmark Detection, section 4.5).

The model answers for points of the skull and mandible, of teeth and eyes in each frame. A person's bones do not change
from frame to frame: their size is told from all frames, then each body is laid rigidly through its points of each.
What is found is plausible, and steady; it is no medical measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anymark.apps.look import over, shaded
from anymark.canonical import CanonicalHead, Layout, load_layout
from anymark.canonical.meshes import joined, piece
from anymark.canonical.skull import Skull
from anymark.detect.camera import Camera
from anymark.detect.landmarks import Landmarks
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]

BODIES = ("skull", "mandible", "right eye", "left eye")
"""The rigid bodies; the upper teeth are the skull's, the lower ones the mandible's."""

EYES = ("right eye", "left eye")

_INCISORS = tuple(f"{{}} {side} central incisor, edge" for side in ("right", "left"))
_COLOURS = {
    "skull": (0.93, 0.89, 0.8),
    "mandible": (0.85, 0.78, 0.62),
    "right eye": (0.97,) * 3,
    "left eye": (0.97,) * 3,
}
_GAZE_MM, _GAZE_WIDTH_MM, _GAZE_COLOUR = 70.0, 1.5, (60, 220, 120)
_LEAST_SD_MM = 0.2  # no landmark is surer


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid body of one person: the canonical head's, larger or smaller."""

    name: str
    scale: float
    """Its size over the canonical one's."""
    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) at rest, head frame."""
    triangles: npt.NDArray[np.int32]
    """(T, 3) counter-clockwise seen from outside."""

    @classmethod
    def of_scale(cls, name: str, scale: float) -> Body:
        """The body of a person whose is so much larger than the canonical one."""
        part = _parts()[name]
        return cls(name, scale, part.scaled(part.vertices_mm, scale).astype(np.float32), part.triangles)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The bodies of one person through F frames."""

    bodies: tuple[Body, ...]
    R_head_body: Array
    """(F, B, 3, 3) how each body is turned against its rest, in the head frame."""
    t_head_body_mm: Array
    """(F, B, 3) where its rest's origin went: p_head = R p_rest + t."""
    R_camera_head: Array
    """(F, 3, 3) pose of the skull, which the head frame is that of: as of the frames' cameras."""
    t_camera_head_mm: Array
    """(F, 3)"""
    error_mm: Array
    """(F, B) mean distance of the landmarks to where the bodies have them."""
    jaw_opening_mm: Array
    """(F,) between the edges of the upper and lower central incisors, along the skull's own vertical; below 0 where the
    upper ones overlap the lower."""
    gaze_head: Array
    """(F, 2, 3) unit vectors in the head frame, which way the right and the left eye look: +z at rest."""

    def vertices_mm(self, frame: int, body: int) -> Array:
        """(V, 3) a body's vertices in one frame, head frame."""
        rest = self.bodies[body].vertices_mm.astype(np.float64)
        return rest @ self.R_head_body[frame, body].T + self.t_head_body_mm[frame, body]

    def gaze_camera(self) -> Array:
        """(F, 2, 3) the directions of gaze in the camera's frame: x right, y down, z forward."""
        return np.einsum("fij,fkj->fki", self.R_camera_head, self.gaze_head)

    def gaze_yaw_pitch_deg(self) -> Array:
        """(F, 2, 2) of the right and the left eye in the head frame: yaw > 0 to the subject's left, pitch > 0 up."""
        x, y, z = np.moveaxis(self.gaze_head, -1, 0)
        return np.degrees(np.stack([np.arctan2(x, z), np.arcsin(np.clip(y, -1, 1))], -1))


@cache
def anatomy_layout() -> Layout:
    """What to ask a model for: the points of skull, mandible and teeth, and the vertices of the eyeballs."""
    parts = _parts()
    return Layout("anatomy", np.concatenate([part.points_mm for part in parts.values()]))


def fit_anatomy(frames: Sequence[Landmarks]) -> Anatomy:
    """The bodies of one person in one photo or in the frames of a clip.

    Args:
        frames: Landmarks of `anatomy_layout`, at least one.

    Raises:
        ValueError: no frames.
        AnymarkError: landmarks of another layout.
    """
    if not frames:
        raise ValueError("anatomy needs at least one frame")
    layout = anatomy_layout()
    for each in frames:
        if not np.array_equal(each.layout.points_mm, layout.points_mm):
            raise AnymarkError(f"this needs the layout of anatomy_layout(), not {each.layout.name!r}")
    xyz = np.stack([each.xyz_mm for each in frames]).astype(np.float64)
    px_per_mm = np.array([each.camera.focal_px / each.camera.t_camera_head_mm[2] for each in frames])
    sd = np.stack([each.sigma_px for each in frames]) / px_per_mm[:, None]
    weight = 1 / np.maximum(sd, _LEAST_SD_MM) ** 2
    bodies, turns, places, errors = [], [], [], []
    for name in BODIES:
        part = _parts()[name]
        at = slice(part.start, part.start + len(part.points_mm))
        body = Body.of_scale(name, _scale(part.points_mm.astype(np.float64), xyz[:, at], weight[:, at]))
        rest = part.scaled(part.points_mm, body.scale)
        turn, place = rigid(rest, xyz[:, at], weight[:, at])
        found = np.einsum("fij,nj->fni", turn, rest) + place[:, None]
        errors.append(np.linalg.norm(found - xyz[:, at], axis=2).mean(1))
        bodies.append(body)
        turns.append(turn)
        places.append(place)
    turns, places = np.stack(turns, 1), np.stack(places, 1)
    cameras = [each.camera for each in frames]
    return Anatomy(
        bodies=tuple(bodies),
        R_head_body=turns,
        t_head_body_mm=places,
        R_camera_head=np.stack([camera.R_camera_head for camera in cameras]),
        t_camera_head_mm=np.stack([camera.t_camera_head_mm for camera in cameras]),
        error_mm=np.stack(errors, 1),
        jaw_opening_mm=_opening(bodies, turns, places),
        gaze_head=np.einsum("feij,j->fei", turns[:, 2:], np.array([0.0, 0.0, 1.0])),
    )


def rigid(rest: Array, places: Array, weight: Array) -> tuple[Array, Array]:
    """The rotations (F, 3, 3) and translations (F, 3) that take points (N, 3) nearest to places (F, N, 3), in weighted
    least squares (Kabsch)."""
    share = weight / weight.sum(1, keepdims=True)
    middle, to = share @ rest, np.einsum("fn,fnd->fd", share, places)
    cross = np.einsum("fn,fni,fnj->fij", share, places - to[:, None], rest[None] - middle[:, None])
    u, _, vt = np.linalg.svd(cross)
    u[..., 2] *= np.linalg.det(u @ vt)[:, None]  # no reflection
    turn = u @ vt
    return turn, to - np.einsum("fij,fj->fi", turn, middle)


def _scale(rest: Array, places: Array, weight: Array) -> float:
    """How much larger the body is than the canonical one, from all frames together."""
    share = weight / weight.sum(1, keepdims=True)
    middle, to = share @ rest, np.einsum("fn,fnd->fd", share, places)
    before = np.einsum("fn,fnd->", share, (rest[None] - middle[:, None]) ** 2)
    after = np.einsum("fn,fnd->", share, (places - to[:, None]) ** 2)
    return float(np.sqrt(after / before))


@dataclass(frozen=True, eq=False)
class _Part:
    """What stands for a body in the layout."""

    start: int
    """Index of its first point."""
    points_mm: npt.NDArray[np.float32]
    """(N, 3)"""
    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) of its mesh, on the canonical head."""
    triangles: npt.NDArray[np.int32]

    def scaled(self, points_mm: npt.NDArray[np.floating], scale: float) -> Array:
        """Canonical points (..., 3) on a body that is so much larger, about the middle of its landmarks."""
        middle = self.points_mm.mean(0, dtype=np.float64)
        return (points_mm - middle) * scale + middle


@cache
def _parts() -> dict[str, _Part]:
    head, skull, teeth = CanonicalHead.load(), Skull.load(), load_layout("teeth")
    parts: dict[str, _Part] = {}
    start = 0
    for name in BODIES:
        if name in EYES:
            vertices, triangles = piece(head.vertices_mm, head.triangles[head.triangles_of(name)])
            points = vertices
        else:
            bone = piece(skull.vertices_mm, skull.triangles[skull.triangles_of(name)])
            row = "upper teeth" if name == "skull" else "lower teeth"
            points = np.concatenate([load_layout(name).points_mm, teeth.points_mm[teeth.regions[row]]])
            vertices, triangles = joined([bone, piece(head.vertices_mm, head.triangles[head.triangles_of(row)])])
        parts[name] = _Part(start, points, vertices, triangles)
        start += len(points)
    return parts


def _opening(bodies: list[Body], turns: Array, places: Array) -> Array:
    """(F,) of the jaw."""
    up = turns[:, 0] @ np.array([0.0, 1.0, 0.0])
    edges = []
    for body, row in ((0, "upper"), (1, "lower")):
        rest = _parts()[bodies[body].name].scaled(_edge(row), bodies[body].scale)
        edges.append(turns[:, body] @ rest + places[:, body])
    return np.einsum("fd,fd->f", edges[0] - edges[1], up)


@cache
def _edge(row: str) -> Array:
    """(3,) the middle of the edges of a row's central incisors on the canonical head."""
    teeth = load_layout("teeth")
    assert teeth.names is not None
    return teeth.points_mm[[teeth.names.index(name.format(row)) for name in _INCISORS]].mean(0).astype(np.float64)


def draw_anatomy(
    photo: npt.NDArray[np.uint8], anatomy: Anatomy, frame: int, camera: Camera, opacity: float = 0.75
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) the bodies of one frame over its photo, as if the skin were glass, and the gaze as two lines."""
    places = [anatomy.vertices_mm(frame, index).astype(np.float32) for index in range(len(anatomy.bodies))]
    points, triangles = joined([(at, body.triangles) for at, body in zip(places, anatomy.bodies, strict=True)])
    colours = np.concatenate([np.tile(_COLOURS[body.name], (len(body.triangles), 1)) for body in anatomy.bodies])
    size = photo.shape[1], photo.shape[0]
    drawn = shaded(camera.in_camera_mm(points), triangles, camera.project(points), size, colours)
    image = Image.fromarray(over(photo, drawn, opacity))
    pen = ImageDraw.Draw(image)
    width = max(2, round(_GAZE_WIDTH_MM * camera.focal_px / float(camera.t_camera_head_mm[2])))
    for eye, direction in zip(EYES, anatomy.gaze_head[frame], strict=True):
        middle = anatomy.vertices_mm(frame, BODIES.index(eye)).mean(0)
        line = camera.project(np.stack([middle + 12 * direction, middle + _GAZE_MM * direction])) - 0.5
        pen.line([tuple(xy) for xy in line.tolist()], _GAZE_COLOUR, width)
    return np.asarray(image)
