"""Everything that a worker needs to turn fitted photos into samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.canonical.face_mesh import IRISES
from anymark.canonical.frame import FACING
from anymark.canonical.meshes import vertex_normals
from anymark.engine.fits import Fitted, Fitter
from anymark.engine.hdr import HELD_OUT_PANORAMAS, read_hdr
from anymark.engine.labels import labelled
from anymark.engine.lens import Lens, infrared
from anymark.engine.light import Environment, view
from anymark.engine.marks import draw_marks, paint
from anymark.engine.matte import person_matte
from anymark.engine.mesh import Mesh
from anymark.engine.occluders import Thing, glasses, hand, load_hands, mask
from anymark.engine.pixels import Floats, exposed, look, to_linear
from anymark.engine.render import Renderer
from anymark.engine.repose import Picture, Shot, Stage
from anymark.engine.samples import Sample
from anymark.engine.scene import Scene, Taken
from anymark.engine.shots import Draw, ShotConfig, angles, draw_shot, moved, seen_from
from anymark.engine.texture import Atlas, Source
from anymark.errors import AnymarkError
from anymark.fit import aim_eyes, posed_bones, rest_bones, turned_eyes
from anymark.fit.problem import exponential
from anymark.photo_files import CROPS, PhotoTar

Array = npt.NDArray[np.floating]

_OTHER_PHOTO = 0.25  # share of the pictures before another photo rather than a panorama
_RENDERERS = 4  # kept open
_KEY_FRAMES = 4  # shots that a sequence passes through
_BETWEEN_CAMERAS_DEG = 35.0  # around the head
_PASSING_MM = 260.0  # from the face's middle to where a hand comes from, and goes to

UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""x right, y down, z forward against x right, y up, z backward."""


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
        load_hands(assets)
        self._tars = {source: PhotoTar(photos / source / CROPS, fitted.labels.names) for source, fitted in sets.items()}
        self._renderers: dict[tuple[int, int], Renderer] = {}
        self._face = self.head.vertices_of("face")

    def renderer(self, width: int, height: int) -> Renderer:
        """One for each size of picture; photos come in many sizes, so the one not used for longest is closed."""
        size = width, height
        if size not in self._renderers:
            if len(self._renderers) >= _RENDERERS:
                self._renderers.pop(next(iter(self._renderers))).close()
            self._renderers[size] = Renderer(size)
        self._renderers[size] = self._renderers.pop(size)  # the last used comes last
        return self._renderers[size]

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
        points, found = fitted.labels.points_px[fitted.index[k]][None], fitted.fit[k : k + 1]
        straight = self.rig.vertices_mm(found.identity, found.expression)
        turns = aim_eyes(self.rig, found, straight, points[:, list(IRISES)])
        vertices = turned_eyes(self.rig, straight, turns).astype(np.float32)
        source_view = self.source(source, k, vertices)
        irises = np.concatenate([0.3 * points[0, c] + 0.7 * points[0, c + 1 : c + 5] for c in IRISES])
        subject = self.stage.take(source_view, found.R_camera_head[0], found.t_camera_head_mm[0], irises)
        return Taken(
            subject,
            vertices[0],
            found.identity[0],
            found.expression[0],
            turns[0],
            *self.rest(found.identity[0]),
            float(fitted.residual()[k]),
        )

    def source(self, source: str, k: int, vertices_mm: npt.NDArray[np.float32]) -> Source:
        """A set's k-th fitted photo, and where it shows the vertices (1, V, 3) of its head."""
        fitted = self.sets[source]
        labels, i = fitted.labels, fitted.index[k]
        photo, found = self.photo(source, k), fitted.fit[k : k + 1]
        placed = found.to_camera(vertices_mm)[0].astype(np.float32)
        focal, principal = float(found.camera.focal_px[0]), found.camera.principal_px[0]
        mesh = Mesh(placed, self.head.triangles, self.head.vertices_mm)
        depth = self.renderer(photo.shape[1], photo.shape[0]).render([mesh], focal, principal).depth_mm
        valid = labels.valid_box_px[i]
        return Source(
            photo,
            valid,
            placed,
            self.fitter.vertices_px(found, vertices_mm, labels.points_px[i : i + 1])[0],
            vertex_normals(placed, self.head.triangles),
            focal,
            principal,
            depth,
            person_matte(photo, np.isfinite(depth), valid),
        )

    def rest(self, identity: Array) -> tuple[Array, Array]:
        """A person's head (V, 3) without expression, and the bones (B, 3) inside."""
        rest = self.rig.vertices_mm(identity, np.zeros(len(self.rig.expression_mm))).astype(np.float32)
        return rest, rest_bones(rest)

    def show(
        self, taken: Taken, config: ShotConfig, key: str, rng: np.random.Generator, dataset: str = "views"
    ) -> Sample:
        """A subject in another pose, expression, light and place."""
        scene = self.scene(taken, config, rng)
        return self.picture(taken, scene, self.draw(taken, config, rng), key, dataset)

    def pair(self, taken: Taken, config: ShotConfig, key: str, rng: np.random.Generator) -> Iterator[Sample]:
        """Two views of one head in one scene, `KEY-a` and `KEY-b`: the same vertex is the same point in both."""
        scene = self.scene(taken, config, rng)
        for letter in "ab":
            yield self.picture(taken, scene, self.draw(taken, config, rng), f"{key}-{letter}", "pairs")

    def sequence(
        self, taken: Taken, config: ShotConfig, frames: int, cameras: int, key: str, rng: np.random.Generator
    ) -> Iterator[Sample]:
        """One head that moves smoothly before one camera, `KEY-000` and so on; or before several around it that do not
        move, `KEY-c0-000`, one camera after another."""
        scene = self.scene(taken, config, rng)
        keys = self.draws(taken, config, rng)
        passing = config.passing > 0 and rng.random() < config.passing
        for camera in range(cameras):
            name = key if cameras == 1 else f"{key}-c{camera}"
            said = {} if cameras == 1 else {"camera": camera}
            around = np.radians(_BETWEEN_CAMERAS_DEG) * (camera - (cameras - 1) / 2)
            turn = exponential(np.array([[0.0, -around, 0.0]]))[0]
            lit = replace(scene, R_environment_camera=scene.R_environment_camera @ UPRIGHT @ turn.T @ UPRIGHT)
            for number, draw in enumerate(moved(keys, frames)):
                shot = seen_from(draw, turn, float(keys[0].t_camera_head_mm[2]))
                passed = number / max(frames - 1, 1) if passing else None
                numbered = {"frame": number, **said}
                yield self.picture(taken, lit, shot, f"{name}-{number:03d}", "sequences", numbered, passed)

    def draws(self, taken: Taken, config: ShotConfig, rng: np.random.Generator) -> list[Draw]:
        """The shots that a sequence passes through, near one another and through one lens."""
        first = replace(self.draw(taken, config, rng), what={})  # what was drawn is true of no frame between two shots
        near = replace(config, uniform=0.0, yaw_deg=15.0, pitch_deg=8.0, roll_deg=6.0)
        out = [first]
        for _ in range(_KEY_FRAMES - 1):
            other = self.draw(taken, near, rng)
            rotation = other.R_camera_head @ FACING.T @ first.R_camera_head
            centre = taken.vertices_mm[self._face].mean(0)
            place = first.R_camera_head @ centre + first.t_camera_head_mm
            place = place + rng.normal(0, 0.03, 3) * place[2]
            # all keys look by the photo's eyes, or none does: between the two there is no smooth way
            gaze = first.gaze if first.gaze is None or other.gaze is None else other.gaze
            out.append(
                replace(first, R_camera_head=rotation, t_camera_head_mm=place - rotation @ centre,
                        expression=other.expression, gaze=gaze)
            )  # fmt: skip
        return out

    def draw(self, taken: Taken, config: ShotConfig, rng: np.random.Generator) -> Draw:
        """A shot of a subject."""
        face_mm = taken.vertices_mm[self._face]
        return draw_shot(config, self.rig, taken.expression, self.population, face_mm, self.size, rng)

    def scene(self, taken: Taken, config: ShotConfig, rng: np.random.Generator) -> Scene:
        """Light, background and what else is there."""
        marks, (own,) = None, rng.spawn(1)  # all else is the same with paint and without
        if config.marks != "none" and own.random() < config.marked:
            marks = draw_marks(self.head, own, config.marks == "lines", config.paint)
            skin = paint(self.stage.atlas, taken.subject.skin.colour, marks)
            taken = replace(taken, subject=replace(taken.subject, skin=replace(taken.subject.skin, colour=skin)))
        return Scene(
            taken.subject,
            None if rng.random() < config.own_light else self.environments[rng.integers(len(self.environments))],
            exponential(np.array([[0.0, rng.uniform(-np.pi, np.pi), 0.0]]))[0],
            float(rng.uniform(0.0, 0.5)),
            bool(rng.random() < config.with_sheet),
            bool(rng.random() < config.with_hair),
            int(rng.integers(2**31)),
            rng.random() < config.occluded,
            Lens(float(rng.uniform(*config.distortion)), self.size) if config.distortion != (0.0, 0.0) else None,
            config.infrared,
            marks,
        )

    def picture(
        self,
        taken: Taken,
        scene: Scene,
        draw: Draw,
        key: str,
        dataset: str,
        record: dict[str, Any] | None = None,
        passed: float | None = None,
    ) -> Sample:
        """A subject as a shot shows it in a scene.

        Args:
            passed: 0..1 how far a hand has come on its way past the face; None: there is none on its way.
        """
        rng = np.random.default_rng(scene.seed)  # the same for all pictures of a scene
        straight = self.rig.vertices_mm(taken.identity, draw.expression)
        turns = taken.turns if draw.gaze is None else np.tile(gaze_turn(*draw.gaze), (2, 1, 1))
        vertices = turned_eyes(self.rig, straight[None], turns[None])[0].astype(np.float32)
        things = self.things(taken, vertices, rng) if scene.occluded and passed is None else ()
        if passed is not None:
            things = self.passing(taken, vertices, passed, rng)
        shot = Shot(
            vertices,
            draw.R_camera_head,
            draw.t_camera_head_mm,
            draw.focal_px,
            draw.principal_px,
            scene.environment,
            scene.R_environment_camera @ UPRIGHT @ draw.R_camera_head,
            scene.shine,
            scene.with_sheet,
            scene.with_hair,
            things,
        )
        picture = self.stage.shoot(self.renderer(self.size, self.size), scene.subject, shot)
        background = self.background(scene, draw.focal_px, rng)
        image = self.develop(picture, background, scene, rng)
        marks = scene.marks
        yaw, pitch, roll = np.degrees(angles(draw.R_camera_head))
        said = {
            **draw.what,
            "yaw_deg": round(float(yaw), 2),
            "pitch_deg": round(float(pitch), 2),
            "roll_deg": round(float(roll), 2),
            "light": "own" if scene.environment is None else "panorama",
            "things": [thing.name for thing in things],
            "fit_residual": round(taken.residual, 5),
            **({} if marks is None else {"marks_mm": marks.points_mm.round(3).tolist(), "lines": marks.lines.tolist()}),
            **(record or {}),
        }
        record = {**said, "dataset": dataset, **_person(taken.identity, draw.expression)}
        bones, seen, over = posed_bones(taken.bones_mm, taken.rest_mm, vertices), picture.buffers, picture.occluded
        places = picture.places_mm
        return labelled(key, image, self.head, shot, bones, seen, places, record, occluded=over, lens=scene.lens)

    def things(self, taken: Taken, vertices: Array, rng: np.random.Generator) -> Sequence[Thing]:
        """Something before the face."""
        kind = rng.random()
        if kind < 0.5:
            return glasses(self.head, vertices, rng)
        if kind < 0.65:
            return mask(self.head, vertices, vertex_normals(vertices, self.head.triangles), rng)
        return self.hand(taken, vertices, rng)

    def hand(self, taken: Taken, vertices: Array, rng: np.random.Generator) -> list[Thing]:
        """A hand of the subject's colour before the face."""
        size = self.stage.atlas.size
        skin = np.median(taken.subject.skin.colour[size // 4 : size // 2, size // 3 : 2 * size // 3], (0, 1))
        return hand(self.assets, vertices, skin * rng.uniform(0.7, 1.2), rng)

    def passing(self, taken: Taken, vertices: Array, passed: float, rng: np.random.Generator) -> Sequence[Thing]:
        """A hand that has come so far (0..1) from beyond one side of the face to beyond the other."""
        across = float(rng.choice([-1.0, 1.0])) * (2 * passed - 1) * _PASSING_MM
        middle = vertices[self._face, 0].mean()
        things = self.hand(taken, vertices, rng)
        start = things[0].vertices_mm[:, 0].mean()
        step = np.array([middle + across - start, 0, 0], np.float32)
        return [replace(thing, vertices_mm=thing.vertices_mm + step) for thing in things]

    def background(self, scene: Scene, focal: float, rng: np.random.Generator) -> Floats:
        """(S, S, 3) linear: the panorama behind the head, or a piece of another photo, often out of focus."""
        size = self.size
        environment = scene.environment or self.environments[rng.integers(len(self.environments))]
        if rng.random() < _OTHER_PHOTO:
            source = list(self.sets)[rng.integers(len(self.sets))]
            k, fitted = int(rng.integers(len(self.sets[source]))), self.sets[source]
            photo = to_linear(self.photo(source, k))
            low, high = fitted.labels.valid_box_px[fitted.index[k]].reshape(2, 2)
            side = rng.uniform(0.3, 0.9) * float((high - low).min())
            corner = low + rng.uniform(0, 1, 2) * (high - low - side)
            steps = (np.arange(size) + 0.5) * side / size
            picture = look(photo, np.stack(np.meshgrid(corner[0] + steps, corner[1] + steps), -1))
            blur = rng.uniform(2.0, 10.0)
        else:
            wide = min(focal, 1.6 * size)  # a panorama has too few pixels for a long lens
            picture = view(environment.picture, size, wide, scene.R_environment_camera @ UPRIGHT)
            blur = rng.uniform(0.0, 4.0)
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.float32) if blur > 0.5 else picture

    def develop(
        self, picture: Picture, background: Floats, scene: Scene, rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """A picture on its background, exposed so that the face is neither black nor white."""
        linear = picture.colour + (1 - picture.alpha[..., None]) * background
        if scene.infrared:
            linear = infrared(linear.astype(np.float32), rng)
        return exposed(linear, picture.buffers.part >= 0, rng)

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
            photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.5 * np.sqrt(1 / scale**2 - 1)), np.uint8)
        steps = (np.arange(self.size) + 0.5) / scale
        image = look(photo, np.stack(np.meshgrid(corner[0] + steps, corner[1] + steps), -1))
        xy = (self.fitter.vertices_px(found, vertices, points)[0] - corner) * scale
        inside = (labels.valid_box_px[i].reshape(2, 2) - corner) * scale
        focal, principal = float(found.camera.focal_px[0] * scale), (found.camera.principal_px[0] - corner) * scale
        shot = Shot(vertices[0], found.R_camera_head[0], found.t_camera_head_mm[0], focal, principal)
        placed = found.to_camera(vertices)[0].astype(np.float32)
        mesh = Mesh(placed, self.head.triangles, self.head.vertices_mm, self.head.part)
        renderer = self.renderer(self.size, self.size)
        buffers = renderer.render([mesh], focal, principal)
        pose = shot.R_camera_head, shot.t_camera_head_mm
        around = self.stage.surroundings(self.source(source, k, vertices), *pose)
        places = self.stage.places(renderer, around, shot, buffers)
        record = {
            "dataset": "photos",
            **_person(found.identity[0], found.expression[0]),
            "points_px": [[round(float(v), 3) for v in xy] for xy in (points[0] - corner) * scale],
            "valid_box_px": [round(float(v), 3) for v in np.clip(inside, 0, self.size).ravel()],
            "fit_residual": round(float(fitted.residual()[k]), 5),
        }
        pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
        rest, bones = self.rest(found.identity[0])
        bones = posed_bones(bones, rest, vertices[0])
        sd_mm = self.fitter.label_sd_mm
        sample = labelled(key, pixels, self.head, shot, bones, buffers, places, record, xy_px=xy, sd_mm=sd_mm)
        shown = ((xy >= inside[0]) & (xy <= inside[1])).all(1)  # nothing is seen in the padding
        return replace(sample, visible=sample.visible & shown)


def _person(identity: Array, expression: Array) -> dict[str, list[float]]:
    return {
        "identity": [round(float(v), 4) for v in identity],
        "expression": [round(float(v), 4) for v in expression],
    }


def gaze_turn(right: float, up: float) -> Array:
    """R_head_eye (3, 3) of eyes that look to the subject's left by `right` of the picture, and up; radians."""
    return exponential(np.array([[0.0, right, 0.0]]))[0] @ exponential(np.array([[-up, 0.0, 0.0]]))[0]
