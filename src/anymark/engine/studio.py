"""Everything that a worker needs to turn fitted photos into samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.canonical.face_mesh import IRISES
from anymark.engine.fits import Fitted, Fitter
from anymark.engine.hdr import read_hdr
from anymark.engine.heads import vertex_normals
from anymark.engine.light import Environment, view
from anymark.engine.matte import person_matte
from anymark.engine.occluders import Thing, glasses, hand, mask
from anymark.engine.pixels import Floats, look, to_display, to_linear
from anymark.engine.render import Mesh, Renderer, visible
from anymark.engine.repose import Picture, Shot, Stage, Subject
from anymark.engine.samples import COARSE, Sample
from anymark.engine.shots import ShotConfig, draw_shot
from anymark.engine.texture import Atlas, Source
from anymark.errors import AnymarkError
from anymark.evaluate.photo_files import CROPS, PhotoTar
from anymark.fit import aim_eyes, turned_eyes
from anymark.fit.problem import exponential

Array = npt.NDArray[np.floating]

HELD_OUT_PANORAMAS = ("lobby", "park", "workshop")
"""Light and backgrounds of held-out samples alone."""

_OCCLUDED = 0.35  # share of the views with something before the face
_OWN_BACKGROUND = 0.25  # share of the views before another photo rather than a panorama


@dataclass(frozen=True, eq=False)
class Taken:
    """A photo's head, ready to be shown again."""

    name: str
    subject: Subject
    straight_mm: npt.NDArray[np.float32]
    """(V, 3) neutral of this person plus the photo's expression, eyes straight ahead."""
    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) the same with the photo's gaze."""
    identity: Array
    expression: Array
    turns: Array
    """(2, 3, 3) of the eyes."""
    residual: float


class Studio:
    """Takes subjects from photo sets and shows them.

    Args:
        assets: folder of shared assets. photos: folder of photo sets. sets: source -> its fits.
        held_out: use the panoramas that are kept for held-out samples, and only them.

    Raises:
        AnymarkError: something is missing there, or OpenGL cannot be had.
    """

    def __init__(
        self, assets: Path, photos: Path, fitter: Fitter, sets: dict[str, Fitted], size: int, held_out: bool
    ) -> None:
        cv2.setNumThreads(1)
        self.head = CanonicalHead.load()
        self.fitter, self.rig = fitter, fitter.canonical
        self.stage = Stage(self.head, Atlas(self.head))
        self.assets, self.sets, self.size = assets, sets, size
        self.population = np.concatenate([fitted.fit.expression for fitted in sets.values()])
        files = sorted((assets / "hdri").glob("*.hdr"))
        files = [f for f in files if (f.stem in HELD_OUT_PANORAMAS) == held_out]
        if not files:
            raise AnymarkError(f"{assets / 'hdri'}: no panoramas (*.hdr) there")
        self.environments = [Environment.of(read_hdr(file)) for file in files]
        self._tars = {source: PhotoTar(photos / source / CROPS, fitted.labels.names) for source, fitted in sets.items()}
        self._renderers: dict[tuple[int, int], Renderer] = {}
        self._face = np.unique(self.head.triangles[self.head.triangles_of("face")])
        self._kin = {side: self.rig.parts[f"{side} eye"] for side in ("right", "left")}

    def renderer(self, width: int, height: int) -> Renderer:
        """One for each size of picture."""
        if (width, height) not in self._renderers:
            self._renderers[width, height] = Renderer((width, height))
        return self._renderers[width, height]

    def photo(self, source: str, k: int) -> npt.NDArray[np.uint8]:
        """The pixels (H, W, 3) of a set's k-th fitted photo."""
        fitted = self.sets[source]
        return self._tars[source].pixels(fitted.labels.names[fitted.index[k]])

    def take(self, source: str, k: int) -> Taken:
        """The head of a set's k-th fitted photo.

        Raises:
            AnymarkError: the photo cannot be read.
        """
        fitted = self.sets[source]
        labels, i = fitted.labels, fitted.index[k]
        photo, found = self.photo(source, k), fitted.fit[k : k + 1]
        points = labels.points_px[i : i + 1]
        straight = self.rig.vertices_mm(found.identity, found.expression)
        turns = aim_eyes(self.rig, found, straight, points[:, list(IRISES)])
        vertices = turned_eyes(self.rig, straight, turns).astype(np.float32)
        placed = found.to_camera(vertices)[0].astype(np.float32)
        focal, principal = float(found.camera.focal_px[0]), found.camera.principal_px[0]
        mesh = Mesh(placed, self.head.triangles, self.head.vertices_mm)
        depth = self.renderer(photo.shape[1], photo.shape[0]).render([mesh], focal, principal).depth_mm
        valid = labels.valid_box_px[i]
        source_view = Source(
            photo,
            valid,
            placed,
            self.fitter.vertices_px(found, vertices, points)[0],
            vertex_normals(placed, self.head.triangles),
            focal,
            principal,
            depth,
            person_matte(photo, np.isfinite(depth), valid),
        )
        irises = np.concatenate([0.3 * points[0, c] + 0.7 * points[0, c + 1 : c + 5] for c in IRISES])
        subject = self.stage.take(source_view, found.R_camera_head[0], found.t_camera_head_mm[0], irises)
        return Taken(
            f"{source}-{Path(labels.names[i]).stem}",
            subject,
            straight[0],
            vertices[0],
            found.identity[0],
            found.expression[0],
            turns[0],
            float(fitted.residual()[k]),
        )

    def show(self, taken: Taken, config: ShotConfig, key: str, rng: np.random.Generator) -> Sample:
        """A subject in another pose, expression, light and place."""
        face_mm = taken.vertices_mm[self._face]
        draw = draw_shot(config, self.rig, taken.expression, self.population, face_mm, self.size, rng)
        straight = self.rig.vertices_mm(taken.identity, draw.expression)
        turns = taken.turns if draw.gaze is None else np.tile(gaze_turn(*draw.gaze), (2, 1, 1))
        vertices = turned_eyes(self.rig, straight[None], turns[None])[0].astype(np.float32)
        own_light = rng.random() < config.own_light
        environment = self.environments[rng.integers(len(self.environments))]
        around = exponential(np.array([[0.0, rng.uniform(-np.pi, np.pi), 0.0]]))[0]  # R_environment_camera, y up
        shot = Shot(
            vertices,
            draw.R_camera_head,
            draw.t_camera_head_mm,
            draw.focal_px,
            draw.principal_px,
            None if own_light else environment,
            around @ np.diag([1.0, -1.0, -1.0]) @ draw.R_camera_head,
            float(rng.uniform(0.0, 0.5)),
            bool(rng.random() < 0.8),
            self.things(taken, vertices, rng) if rng.random() < _OCCLUDED else (),
        )
        picture = self.stage.shoot(self.renderer(self.size, self.size), taken.subject, shot)
        image = self.develop(picture, self.background(environment, around, draw.focal_px, rng), rng)
        record = {
            **draw.what,
            "light": "own" if own_light else "panorama",
            "things": [thing.name for thing in shot.things],
            "fit_residual": round(taken.residual, 5),
        }
        return self.sample(key, image, picture, shot, taken.identity, draw.expression, "views", record)

    def things(self, taken: Taken, vertices: Array, rng: np.random.Generator) -> Sequence[Thing]:
        """Something before the face."""
        kind = rng.random()
        if kind < 0.5:
            return glasses(self.head, vertices, rng)
        if kind < 0.65:
            return mask(self.head, vertices, vertex_normals(vertices, self.head.triangles), rng)
        size = self.stage.atlas.size
        skin = np.median(taken.subject.skin.colour[size // 4 : size // 2, size // 3 : 2 * size // 3], (0, 1))
        return hand(self.assets, vertices, skin * rng.uniform(0.7, 1.2), rng)

    def background(self, environment: Environment, around: Array, focal: float, rng: np.random.Generator) -> Floats:
        """(S, S, 3) linear: the panorama behind the head, or a piece of another photo, often out of focus."""
        size = self.size
        if rng.random() < _OWN_BACKGROUND:
            source = list(self.sets)[rng.integers(len(self.sets))]
            photo = to_linear(self.photo(source, int(rng.integers(len(self.sets[source])))))
            side = rng.uniform(0.3, 0.9) * min(photo.shape[:2])
            corner = rng.uniform(0, 1, 2) * (np.array(photo.shape[1::-1]) - side)
            steps = (np.arange(size) + 0.5) * side / size
            grid = np.stack(np.meshgrid(corner[0] + steps, corner[1] + steps), -1)
            picture = look(photo, grid)
            blur = rng.uniform(2.0, 10.0)
        else:
            wide = min(focal, 1.6 * size)  # a panorama has too few pixels for a long lens
            picture = view(environment.picture, size, wide, around @ np.diag([1.0, -1.0, -1.0]))
            blur = rng.uniform(0.0, 4.0)
        if blur > 0.5:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.float32)
        return picture

    def develop(self, picture: Picture, background: Floats, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """A picture on its background, exposed so that the face is neither black nor white."""
        linear = picture.colour + (1 - picture.alpha[..., None]) * background
        seen = picture.buffers.part >= 0
        level = float(np.quantile(linear[seen].mean(-1), 0.7)) if seen.any() else 0.3
        wanted = np.clip(level, 0.06, 0.75) * 2 ** rng.normal(0, 0.35)
        linear = linear * (np.clip(wanted, 0.04, 0.9) / max(level, 1e-3))
        bright = linear.max(-1, keepdims=True)
        linear = linear * np.where(
            bright > 0.8, (0.8 + 0.2 * np.tanh((bright - 0.8) / 0.2)) / np.maximum(bright, 1e-6), 1
        )
        return to_display(linear)

    def sample(
        self,
        key: str,
        image: npt.NDArray[np.uint8],
        picture: Picture,
        shot: Shot,
        identity: Array,
        expression: Array,
        dataset: str,
        record: dict[str, Any],
    ) -> Sample:
        """A picture with its labels."""
        placed = shot.vertices_mm @ shot.R_camera_head.T + shot.t_camera_head_mm
        xy = shot.focal_px * placed[:, :2] / placed[:, 2:] + shot.principal_px
        buffers = picture.buffers
        placed = placed.astype(np.float32)
        seen = visible(buffers, placed, vertex_normals(placed, self.head.triangles))
        column, row = (np.clip(xy[:, k].astype(int), 0, self.size - 1) for k in (0, 1))
        seen &= ~picture.occluded[row, column]
        middle = slice(COARSE // 2, None, COARSE)
        return Sample(
            key,
            image,
            shot.vertices_mm,
            xy,
            seen,
            buffers.canonical_mm[middle, middle],
            buffers.part[middle, middle],
            {
                "dataset": dataset,
                "focal_px": shot.focal_px,
                "principal_px": [float(v) for v in shot.principal_px],
                "R_camera_head": [[float(v) for v in line] for line in shot.R_camera_head],
                "t_camera_head_mm": [float(v) for v in shot.t_camera_head_mm],
                "identity": [round(float(v), 4) for v in identity],
                "expression": [round(float(v), 4) for v in expression],
                **record,
            },
        )

    def label(self, source: str, k: int, key: str, window_scale: float) -> Sample:
        """A photo as it is, with the head of its fit, drawn to its labels."""
        fitted = self.sets[source]
        labels, i = fitted.labels, fitted.index[k]
        photo, found, points = self.photo(source, k), fitted.fit[k : k + 1], labels.points_px[i : i + 1]
        vertices = self.fitter.vertices_mm(found, points)
        box = labels.box_px[i]
        side = window_scale * float((box[2:] - box[:2]).max())
        corner = (box[:2] + box[2:]) / 2 - side / 2
        scale = self.size / side
        if scale < 1:  # the window is reduced without aliasing
            factor = max(1, round(1 / scale))
            small = cv2.blur(photo, (factor, factor)) if factor > 1 else photo
        else:
            small = photo
        steps = (np.arange(self.size) + 0.5) / scale
        image = look(small, np.stack(np.meshgrid(corner[0] + steps, corner[1] + steps), -1))
        xy = (self.fitter.vertices_px(found, vertices, points)[0] - corner) * scale
        placed = found.to_camera(vertices)[0].astype(np.float32)
        focal, principal = float(found.camera.focal_px[0] * scale), (found.camera.principal_px[0] - corner) * scale
        mesh = Mesh(placed, self.head.triangles, self.head.vertices_mm, self.head.part)
        buffers = self.renderer(self.size, self.size).render([mesh], focal, principal)
        middle = slice(COARSE // 2, None, COARSE)
        return Sample(
            key,
            np.clip(image + 0.5, 0, 255).astype(np.uint8),
            vertices[0],
            xy,
            visible(buffers, placed, vertex_normals(placed, self.head.triangles)),
            buffers.canonical_mm[middle, middle],
            buffers.part[middle, middle],
            {
                "dataset": "photos",
                "focal_px": focal,
                "principal_px": [float(v) for v in principal],
                "R_camera_head": [[float(v) for v in line] for line in found.R_camera_head[0]],
                "t_camera_head_mm": [float(v) for v in found.t_camera_head_mm[0]],
                "identity": [round(float(v), 4) for v in found.identity[0]],
                "expression": [round(float(v), 4) for v in found.expression[0]],
                "points_px": [[round(float(v), 3) for v in xy] for xy in (points[0] - corner) * scale],
                "fit_residual": round(float(fitted.residual()[k]), 5),
            },
        )


def gaze_turn(right: float, up: float) -> Array:
    """R_head_eye (3, 3) of eyes that look to the subject's left by `right` of the picture, and up; radians."""
    return exponential(np.array([[0.0, right, 0.0]]))[0] @ exponential(np.array([[-up, 0.0, 0.0]]))[0]
