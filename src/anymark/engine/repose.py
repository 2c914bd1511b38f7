"""Photos re-posed: a head with its photo's skin, under another pose, expression, lens and light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.canonical.meshes import vertex_normals
from anymark.engine.hair import USUAL_MM, Cap
from anymark.engine.heads import IRIS_MM
from anymark.engine.light import Environment, estimate_light, relative
from anymark.engine.mesh import Mesh
from anymark.engine.occluders import Thing
from anymark.engine.pixels import Floats, look, sample, to_linear
from anymark.engine.relief import Sheet, sheet_of
from anymark.engine.render import Buffers, Renderer
from anymark.engine.texture import PARTS, Atlas, Skin, Source, bake

Array = npt.NDArray[np.floating]

PLAIN = {
    "upper teeth": (0.72, 0.66, 0.55),
    "lower teeth": (0.66, 0.60, 0.50),
    "gums": (0.42, 0.15, 0.14),
    "tongue": (0.45, 0.16, 0.15),
    "right eye": (0.62, 0.57, 0.54),
    "left eye": (0.62, 0.57, 0.54),
}
"""Linear colours of what no photo shows well."""

MOUTH = ("upper teeth", "lower teeth", "gums", "tongue")
"""They get less light the deeper they lie."""

CAVITY = (0.06, 0.015, 0.012)
"""Of the insides of mouth and eye sockets."""

PUPIL_MM = 2.2

_DARK_MM = 45.0, 92.0  # canonical z of the back of the mouth, and of its front teeth
_DRESS_MM = -95.0  # canonical y; what a photo shows around a head counts as dress below it, as hair above it
_BEFORE_MM = 3.0  # the sheet counts as before the head only where it is nearer by more
_SHEET_WHOLE, _SHEET_GONE = 0.85, 0.6  # cosines of the turn from the photo's view between which the sheet fades


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a photo shows around its head."""

    sheet: Sheet
    photo: Floats
    """(H, W, 3) linear."""
    R_camera_head: Array
    t_camera_head_mm: Array


@dataclass(frozen=True, eq=False)
class Subject:
    """A head, taken apart to be put together again in another way."""

    skin: Skin
    light: Floats
    """(9,) what its skin is lit by, in the head's frame."""
    iris: Floats
    """(3,) colour of the irises, linear."""
    hair_mm: float
    """How high its hair stands above the skull."""
    around: Surroundings | None = None
    """None: no photo is behind it."""


@dataclass(frozen=True, eq=False)
class Shot:
    """How a subject is to be seen."""

    vertices_mm: Array
    """(V, 3) the canonical head's vertices in the head frame: identity, expression, eyes."""
    R_camera_head: Array
    t_camera_head_mm: Array
    focal_px: float
    principal_px: Array
    environment: Environment | None = None
    """None: the photo's own light."""
    R_environment_head: Array | None = None
    shine: float = 0.0
    """Strength of the specular lobe."""
    with_sheet: bool = True
    """Hair and dress of the photo around the head."""
    with_hair: bool = True
    """Hair above the skull, where the photo's own is not shown."""
    things: Sequence[Thing] = ()
    """What else is there."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A shot, before it is laid on a background. Colours are linear."""

    colour: Floats
    """(H, W, 3) premultiplied."""
    alpha: Floats
    """(H, W)"""
    buffers: Buffers
    """Of the head alone."""
    occluded: npt.NDArray[np.bool_]
    """(H, W) where something lies over the head."""
    places_mm: Floats
    """(H, W, 3) the canonical point of what is seen: head, and hair about it; NaN where it is neither."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A picture with depth."""

    colour: Floats
    """(H, W, 3) linear."""
    opacity: Floats
    """(H, W)"""
    depth_mm: Floats
    """(H, W) infinite where it is not."""
    places_mm: Floats
    """(H, W, 3) the canonical points that it shows."""

    def over(self, buffers: Buffers) -> Floats:
        """(H, W) how much of the head it covers: where it is nearer."""
        before = (self.depth_mm < buffers.depth_mm) & (buffers.part >= 0)
        return np.where(before, self.opacity, 0.0).astype(np.float32)

    def placed_on(self, places_mm: Floats, buffers: Buffers) -> Floats:
        """What is seen (H, W, 3) once it lies over or beside the head whose own places are given."""
        shown = np.where(buffers.part >= 0, self.over(buffers), self.opacity) > 0.5
        return np.where(shown[..., None], self.places_mm, places_mm)

    def laid_on(self, colour: Floats, alpha: Floats, buffers: Buffers) -> tuple[Floats, Floats, Floats]:
        """Over a head's picture where it is nearer than the head, and under it elsewhere.

        Returns:
            the colours (H, W, 3), premultiplied, the alpha (H, W), and how much of the head is covered (H, W).
        """
        before = (self.depth_mm < buffers.depth_mm) & (buffers.part >= 0)
        over = self.over(buffers)
        out = colour * (1 - over[..., None]) + self.colour * over[..., None]
        alpha = alpha * (1 - over) + over
        under = np.where(before, 0.0, self.opacity) * (1 - alpha)
        out = out + self.colour * under[..., None]
        return out.astype(np.float32), (alpha + under).astype(np.float32), over.astype(np.float32)


class Stage:
    """Takes subjects from photos and makes pictures of them; keeps what all of them share.

    Args:
        head: the canonical head.
        atlas: how its skin is unwrapped.
    """

    def __init__(self, head: CanonicalHead, atlas: Atlas) -> None:
        self.head, self.atlas = head, atlas
        names = list(head.part_names)
        painted = np.setdiff1d(np.arange(len(head.triangles)), atlas.triangles)
        self._skin = head.triangles[atlas.triangles], head.part[atlas.triangles]
        self._painted = head.triangles[painted], head.part[painted]
        self._ids = np.concatenate([atlas.triangles, painted])
        self._eyes = {}
        for side in ("right", "left"):
            iris = head.vertices_of(f"{side} iris")
            self._eyes[names.index(f"{side} eye")] = head.vertices_mm[iris, :2].mean(0)
        self._plain = np.array([PLAIN.get(name, (0.5, 0.5, 0.5)) for name in names], np.float32)
        part = np.zeros(len(head.vertices_mm), np.int64)
        part[self._painted[0].ravel()] = np.repeat(self._painted[1], 3)
        self._face = head.vertices_of("face")
        self._hollow = [i for i, name in enumerate(names) if not name.endswith("ear")]
        self._skin_parts = np.array([name in PARTS for name in names])
        self._mouth = [names.index(name) for name in MOUTH]
        self._plain_vertices = self._painted_colours(part, head.vertices_mm)
        self._cap = Cap(atlas)

    def take(self, source: Source, rotation: Array, translation: Array, iris_px: Array | None) -> Subject:
        """What a photo says of its head.

        Args:
            rotation: (3, 3) R_camera_head of its fit. translation: (3,) t_camera_head_mm.
            iris_px: (N, 2) points on the irises, off the pupils, or None.
        """
        skin = bake(self.atlas, source)
        colours = skin.colour[self.atlas.rows, self.atlas.columns]
        normals = self.atlas.at(source.normals) @ rotation  # camera frame -> head frame
        face = self.atlas.part == self.head.part_names.index("face")
        canonical = self.atlas.at(self.head.vertices_mm)
        plain = face & (np.abs(canonical[:, 0]) < 60) & (normals[:, 2] > 0.2)
        light = estimate_light(normals[plain], colours[plain], np.ones(int(plain.sum()), np.float32))
        around = self.surroundings(source, rotation, translation)
        iris = np.array([0.06, 0.04, 0.03], np.float32)
        if iris_px is not None and np.isfinite(iris_px).all():
            iris = np.clip(np.median(sample(around.photo, iris_px), 0), 0.015, 0.25).astype(np.float32)
        height = self._cap.measure(source)
        return Subject(skin, light, iris, USUAL_MM if height is None else height, around)

    def shoot(self, renderer: Renderer, subject: Subject, shot: Shot, supersample: int = 2) -> Picture:
        """A picture of a subject."""
        placed = (shot.vertices_mm @ shot.R_camera_head.T + shot.t_camera_head_mm).astype(np.float32)
        normals_head = vertex_normals(shot.vertices_mm, self.head.triangles)
        normals = (normals_head @ shot.R_camera_head.T).astype(np.float32)
        canonical = self.head.vertices_mm
        texture = self._texture(subject, shot, normals_head)
        skin = Mesh(placed, self._skin[0], canonical, self._skin[1], self.atlas.uv, normals, texture)
        # pixels that it shares with skin would be white otherwise
        level = self._level(subject)
        plain = np.sqrt(np.clip(self._plain_vertices * self._lit(subject, shot, normals_head) * level, 0, 1))
        painted = Mesh(placed, self._painted[0], canonical, self._painted[1], normals=normals, colour=plain)
        buffers = renderer.render([skin, painted], shot.focal_px, shot.principal_px, supersample=supersample)
        colour = self._shade(buffers, subject, shot, level)
        alpha = buffers.alpha
        colour = colour * alpha[..., None]
        clear = np.ones(alpha.shape, np.float32)  # how much of the head shines through what lies over it
        places = buffers.canonical_mm
        around = subject.around if shot.with_sheet else None
        whole = 0.0 if around is None else _sheet_share(around, shot)
        if shot.with_hair and subject.hair_mm > 0 and whole < 1:
            # half-way both are opaque, or the background would shine through
            hair = self._hair(renderer, subject, shot, texture, min(1.0, 2 - 2 * whole))
            colour, alpha, over = hair.laid_on(colour, alpha, buffers)
            places = hair.placed_on(places, buffers)
            clear *= 1 - over
        if around is not None and whole > 0:
            sheet = self._sheet(renderer, around, shot, min(1.0, 2 * whole))
            colour, alpha, over = sheet.laid_on(colour, alpha, buffers)
            places = sheet.placed_on(places, buffers)
            clear *= 1 - over
        for thing in shot.things:
            colour, alpha, over = self._lay_thing(renderer, thing, shot, buffers, colour, alpha)
            places = np.where((over > 0.5)[..., None], np.float32(np.nan), places)
            clear *= 1 - over
        return Picture(colour, alpha, buffers, (clear < 0.5) & (buffers.part >= 0), places)

    def surroundings(self, source: Source, rotation: Array, translation: Array) -> Surroundings:
        """What a photo shows around its head; arguments as for `take`."""
        chin = source.vertices_px[self._face, 1].max()
        return Surroundings(sheet_of(source, float(chin)), to_linear(source.photo), rotation, translation)

    def places(self, renderer: Renderer, around: Surroundings, shot: Shot, buffers: Buffers) -> Floats:
        """(H, W, 3) canonical points of what a photo shows of its own head and hair; NaN where it is neither.

        Args:
            shot: how the photo shows the head. buffers: of the head alone.
        """
        return self._sheet(renderer, around, shot, 1.0).placed_on(buffers.canonical_mm, buffers)

    def _texture(self, subject: Subject, shot: Shot, normals_head: Array) -> npt.NDArray[np.uint8]:
        """The skin under the shot's light, as a picture for the renderer: square roots of linear light."""
        colour = subject.skin.colour
        if shot.environment is not None:  # light is smooth: that of the vertices will do
            lit = shot.environment.shade(normals_head @ self._turn(shot).T)
            gain = lit / relative(subject.light, normals_head)[:, None]
            colour = colour.copy()
            colour[self.atlas.rows, self.atlas.columns] *= self.atlas.at(gain)
        out = np.full((*colour.shape[:2], 4), 255, np.uint8)
        out[..., :3] = 255 * np.sqrt(np.clip(colour, 0, 1)) + 0.5
        return out

    def _painted_colours(self, part: npt.NDArray[np.integer], canonical_mm: Array) -> Floats:
        """(N, 3) linear colours of eyes, teeth and what is about them, unlit; the mouth darkens towards the throat."""
        colours = self._plain[part]
        mouth = np.isin(part, self._mouth)
        depth = (canonical_mm[mouth, 2:] - _DARK_MM[0]) / (_DARK_MM[1] - _DARK_MM[0])
        colours[mouth] *= np.clip(depth, 0.1, 1)
        return colours

    def _level(self, subject: Subject) -> float:
        """How bright what is painted must be, beside the subject's skin."""
        skin = subject.skin.colour[self.atlas.rows, self.atlas.columns]
        return float(np.clip(np.median(skin.mean(1)) / 0.3, 0.3, 1.5))

    def _lit(self, subject: Subject, shot: Shot, normals: Array) -> Floats:
        """(N, 1) or (N, 3) light on surfaces with these normals (N, 3), head frame."""
        if shot.environment is None:
            return relative(subject.light, normals)[:, None]
        return shot.environment.shade(normals @ self._turn(shot).T)

    def _shade(self, buffers: Buffers, subject: Subject, shot: Shot, level: float) -> Floats:
        """(H, W, 3) linear colours of what the buffers show."""
        colour = buffers.albedo**2  # the texture holds square roots
        part = buffers.part
        rows, columns = np.nonzero((part >= 0) & ~self._skin_parts[np.maximum(part, 0)])
        which = part[rows, columns]
        paint = self._painted_colours(which, buffers.canonical_mm[rows, columns])
        for index, centre in self._eyes.items():
            eye = which == index
            place = buffers.canonical_mm[rows[eye], columns[eye]]
            radius = np.hypot(*(place[:, :2] - centre).T)
            front = place[:, 2] > 80
            rim = np.clip((IRIS_MM + 0.4 - radius) / 0.8, 0, 1)[:, None] * front[:, None]
            hole = np.clip((PUPIL_MM + 0.3 - radius) / 0.6, 0, 1)[:, None] * front[:, None]
            iris = subject.iris * (0.6 + 0.6 * np.clip(radius / IRIS_MM, 0, 1))[:, None]
            paint[eye] = (paint[eye] * (1 - rim) + iris * rim) * (1 - hole) + 0.004 * hole
        normals = buffers.normal[rows, columns] @ shot.R_camera_head
        colour[rows, columns] = paint * self._lit(subject, shot, normals) * level
        # what is seen from inside: sockets and the mouth behind its teeth
        ray = self._rays(buffers, shot)
        inside = (buffers.normal * ray).sum(-1) > 0.25
        inside &= np.isin(part, self._hollow)
        colour[inside] = CAVITY
        if shot.shine > 0 and shot.environment is not None:
            cos = -(buffers.normal * ray).sum(-1, keepdims=True)
            mirror = (ray + 2 * cos * buffers.normal) @ shot.R_camera_head @ self._turn(shot).T
            fresnel = 0.04 + 0.5 * np.clip(1 - cos, 0, 1) ** 5
            wet = np.isin(part, list(self._eyes))[..., None] * 1.5 + 1.0
            gleam = shot.shine * fresnel * wet * shot.environment.shine(mirror)
            colour += np.where((part >= 0)[..., None] & ~inside[..., None], gleam, 0)
        return colour.astype(np.float32)

    def _rays(self, buffers: Buffers, shot: Shot) -> Floats:
        """(H, W, 3) unit vectors from the camera through the pixels."""
        height, width = buffers.part.shape
        x = (np.arange(width) + 0.5 - shot.principal_px[0]) / shot.focal_px
        y = (np.arange(height) + 0.5 - shot.principal_px[1]) / shot.focal_px
        ray = np.ones((height, width, 3), np.float32)
        ray[..., 0], ray[..., 1] = x, y[:, None]
        return ray / np.linalg.norm(ray, axis=-1, keepdims=True)

    def _hair(
        self, renderer: Renderer, subject: Subject, shot: Shot, texture: npt.NDArray[np.uint8], opacity: float
    ) -> Layer:
        """The cap of hair, with the scalp's colours."""
        raised = self._cap.raised(shot.vertices_mm, subject.hair_mm)
        placed = (raised @ shot.R_camera_head.T + shot.t_camera_head_mm).astype(np.float32)
        canonical = self._cap.raised(self.head.vertices_mm, subject.hair_mm)
        mesh = Mesh(placed, self._cap.triangles, canonical, uv=self._cap.uv, texture=texture)
        seen = renderer.render([mesh], shot.focal_px, shot.principal_px, supersample=2)
        return Layer(seen.albedo**2, opacity * seen.alpha, seen.depth_mm, seen.canonical_mm)

    def _sheet(self, renderer: Renderer, around: Surroundings, shot: Shot, opacity: float) -> Layer:
        """The photo's hair and dress, behind and before the head."""
        points = (around.sheet.points_camera_mm - around.t_camera_head_mm) @ around.R_camera_head
        points = (points @ shot.R_camera_head.T + shot.t_camera_head_mm).astype(np.float32)
        seen = renderer.render([around.sheet.mesh(points)], shot.focal_px, shot.principal_px)
        at = np.nan_to_num(seen.canonical_mm[..., :2], nan=-10.0)
        there = seen.part >= 0
        light = look(around.photo, at)
        if shot.environment is not None:  # a sheet has no shape to be lit: it takes the mean of the light
            light = light * shot.environment.shade(np.array([[0.0, 0.3, 0.95]]) @ self._turn(shot).T)[0]
        opaque = look(around.sheet.alpha, at) * there * _unstretched(at, there) * opacity
        # hair is named by where it lies about this very head; dress is no part of it
        depth = np.where(there, seen.depth_mm, 0.0)[..., None]
        ray = self._rays(seen, shot)
        places = (ray / ray[..., 2:] * depth - shot.t_camera_head_mm) @ shot.R_camera_head
        places[~there | (places[..., 1] < _DRESS_MM)] = np.nan
        return Layer(light, opaque, seen.depth_mm + _BEFORE_MM, places.astype(np.float32))

    def _lay_thing(
        self, renderer: Renderer, thing: Thing, shot: Shot, buffers: Buffers, colour: Floats, alpha: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """One more object, before the head where it is nearer."""
        placed = (thing.vertices_mm @ shot.R_camera_head.T + shot.t_camera_head_mm).astype(np.float32)
        mesh = Mesh(placed, thing.triangles, np.zeros_like(placed))
        seen = renderer.render([mesh], shot.focal_px, shot.principal_px, supersample=2)
        before = seen.depth_mm < buffers.depth_mm - 0.5
        opacity = thing.opacity * seen.alpha * (before | (buffers.part < 0))
        ray = self._rays(seen, shot)
        towards = -np.sign((seen.normal * ray).sum(-1, keepdims=True))  # both sides are outsides
        normals = (seen.normal * towards) @ shot.R_camera_head
        if shot.environment is None:
            light = 0.6 + 0.4 * np.abs((seen.normal * ray).sum(-1, keepdims=True))
        else:
            light = shot.environment.shade(normals @ self._turn(shot).T)
        opacity = opacity[..., None]
        out = colour * (1 - opacity) + thing.colour * light * opacity
        whole = (alpha * (1 - opacity[..., 0]) + opacity[..., 0]).astype(np.float32)
        return out.astype(np.float32), whole, opacity[..., 0].astype(np.float32)

    @staticmethod
    def _turn(shot: Shot) -> Array:
        return np.eye(3) if shot.R_environment_head is None else shot.R_environment_head


def _sheet_share(around: Surroundings, shot: Shot) -> float:
    """How much of the photo's surroundings can be shown: 1 from about the photo's side, 0 from far aside."""
    cos = float((shot.R_camera_head @ around.R_camera_head.T)[2, 2])
    return float(np.clip((cos - _SHEET_GONE) / (_SHEET_WHOLE - _SHEET_GONE), 0, 1))


def _unstretched(at: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """(H, W) 1 where a picture is shown about as it is, 0 where its pixels (H, W, 2) are drawn out into streaks.

    The measure is how much less it advances along its worse direction than along its better one.
    """
    across, down = np.gradient(at, axis=1), np.gradient(at, axis=0)
    a, b, c = (across**2).sum(-1), (down**2).sum(-1), (across * down).sum(-1)
    half, root = (a + b) / 2, np.sqrt(((a - b) / 2) ** 2 + c**2)
    ratio = np.sqrt(np.maximum(half - root, 0) / np.maximum(half + root, 1e-9))
    good = cv2.blur((np.clip((ratio - 0.25) / 0.2, 0, 1) * there).astype(np.float32), (5, 5))
    return np.clip(good * 1.2, 0, 1)
