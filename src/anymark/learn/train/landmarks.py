"""The queried landmark detector as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anymark.canonical import Layout, load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS, OUTER_EYES
from anymark.canonical.files import HEAD
from anymark.canonical.posed import points_on
from anymark.errors import AnymarkError
from anymark.learn.data.backgrounds import load_backgrounds, panorama_folder
from anymark.learn.data.geometry import (
    NO_AUGMENTATION,
    ROUGH,
    GeometryConfig,
    compose,
    identity,
    sample_windows,
    to_photo,
)
from anymark.learn.data.landmarks import Batch, LandmarkSet, Sampler
from anymark.learn.data.photos import PhotoSet, load_photos
from anymark.learn.data.shards import load_shards
from anymark.learn.data.views import Views
from anymark.learn.models.camera import crop_cameras
from anymark.learn.models.deformer import REFERENCE
from anymark.learn.models.landmarker import Answer, Landmarker
from anymark.learn.train.losses import landmark_loss
from anymark.learn.train.recipe import LandmarkRecipe

BACKGROUND_PX = 128
"""Side of the pictures around photos: they need no more than texture."""
ROUGH_SEED = 0
"""The rough windows of held-out photos are the same in every evaluation."""


class LandmarkTask:
    """Trains a `Landmarker` on photo sets; scores it on the held-out photos from true boxes.

    Raises:
        AnymarkError: no data, data that does not fit its layout, or a data set code that the model lacks.
    """

    def __init__(self, recipe: LandmarkRecipe, photos: Path, cache: Path | None, limit: int | None = None) -> None:
        data = recipe.data
        if not data.sources and not data.shards:
            raise AnymarkError("the recipe names no data.sources and no data.shards")
        self.recipe = recipe
        torch.manual_seed(recipe.train.seed)
        self.model = Landmarker(recipe.model)
        self._train = {
            source: load_photos(photos, source, data.store_size, "train", cache=cache, limit=limit)
            for source in data.sources
        }
        for source, found in self._train.items():
            if not len(found):
                raise AnymarkError(f"{photos / source}: no photos to train on")
        self._weights = {**data.sources, **data.shards}
        for folder in data.shards:
            self._train[folder] = load_shards(Path(folder), inside=data.inside, limit=limit)
        aside = {
            source: load_photos(photos, source, data.store_size, "calibration", cache=cache) for source in data.sources
        }
        self._aside = {source: found for source, found in aside.items() if len(found)}
        held_out = [load_photos(photos, source, data.store_size, "held-out", cache=cache) for source in data.sources]
        held_out += [load_shards(Path(folder)) for folder in data.held_out_shards]
        self._held_out = [found for found in held_out if len(found)]
        self._backgrounds = None
        if data.backgrounds:
            folder, textures = panorama_folder(photos), 3 * data.backgrounds
            self._backgrounds = load_backgrounds(folder, None, data.backgrounds, textures, BACKGROUND_PX, seed=1)

    def variant(self, recipe: LandmarkRecipe) -> LandmarkTask:
        """Another model, untrained, on the same data: those of the recipe that this task was made of."""
        task = copy(self)
        task.recipe = recipe
        torch.manual_seed(recipe.train.seed)
        task.model = Landmarker(recipe.model)
        return task

    def to(self, device: torch.device) -> None:
        recipe = self.recipe
        extend = [load_layout(name).points_mm for name in recipe.data.extend]
        further_mm = np.concatenate(extend) if extend else None
        sets = [
            # what is labelled with the whole head needs no guesses
            self._set(p, self._weights[source], device, None if p.layout == HEAD else further_mm)
            for source, p in self._train.items()
        ]
        self.sampler = Sampler(
            sets,
            recipe.crop.input_size,
            recipe.encoder.input_size,
            recipe.data.window_scale,
            recipe.data.queries,
            recipe.data.twins,
            recipe.data.followed,
            recipe.data.balanced,
            recipe.geometry,
            recipe.appearance,
            None if self._backgrounds is None else self._backgrounds.to(device),
        )
        self.held_out = [self._set(p, 1.0, device) for p in self._held_out]
        self.aside = [self._set(p, self._weights[source], device) for source, p in self._aside.items()]

    def _set(
        self,
        photos: PhotoSet,
        weight: float,
        device: torch.device,
        further_mm: Float[np.ndarray, "M 3"] | None = None,
    ) -> LandmarkSet:
        layout = load_layout(photos.layout)
        return LandmarkSet.create(photos, layout, weight, device, dataset_of(self.model, layout), further_mm)

    def draw(self, batch: int, generator: Generator) -> Batch:
        return self.sampler.draw(batch, generator)

    def loss(self, model: Callable[..., Any], batch: Batch) -> Tensor:
        answer = model(batch.image, batch.look, batch.queries_mm, batch.dataset, batch.truth.mask, batch.followed)
        return landmark_loss(answer, batch, self.recipe.loss)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """NME and its median over photos; the same from rough windows; how well sigma tells errors; the pose.

        "NME": of photos with MediaPipe's layout, on its 468 points of the face, or with any other, on all of its
        points. "dense NME": of samples labelled with the whole head, on all its vertices, hidden ones too. All are
        over `face_size`. "rough": from windows as rough as S has to cope with. "pose": mean angle to the true rotation
        of the samples that know it, degrees.
        """
        errors: dict[str, list[Tensor]] = {}
        sigmas, angles = [], []
        for data in self.held_out:
            dense = data.photos.layout == HEAD
            found = predict_photos(model, data, self.recipe)
            distance, sigma_px = _scored(found.xy_px, data), found.sigma_px
            if not dense:  # the irises are not scored
                sigma_px = sigma_px[:, : distance.shape[1]]
            errors.setdefault("dense NME %" if dense else "NME %", []).append(distance.mean(1) / face_size(data.photos))
            sigmas.append((distance.square() / (2 * sigma_px.square())).mean(1))
            rough = _scored(predict_photos(model, data, self.recipe, ROUGH).xy_px, data)
            name = "rough dense NME %" if dense else "rough NME %"
            errors.setdefault(name, []).append(rough.mean(1) / face_size(data.photos))
            angles.append(found.angle_deg[torch.isfinite(found.angle_deg)])
        metrics = {}
        for name, parts in errors.items():
            error = torch.cat(parts)
            metrics[name] = 100 * float(error.mean())
            metrics[f"median {name}"] = 100 * float(error.median())
        if sigmas:
            metrics["calibration"] = float(torch.cat(sigmas).median())  # 1: sigma says how large errors are
        if sum(map(len, angles)):
            metrics["pose deg"] = float(torch.cat(angles).mean())
        return metrics


def dataset_of(model: Landmarker, layout: Layout) -> int:
    """The number of the data set code that a layout names; the reference where the model has no deformer."""
    if model.deformer is None:
        return 0
    return model.dataset_number(layout.code if isinstance(layout.code, str) else REFERENCE)


def face_size(photos: PhotoSet) -> Float[Tensor, " N"]:
    """What errors are divided by, in pixels: the distance of the outer eye corners with depth, so that profiles count
    as frontal faces do; or the box's longer side where neither MediaPipe's layout nor the whole head is labelled."""
    if photos.layout not in (FACE_MESH_LAYOUT, HEAD):
        return (photos.box_px[:, 2:] - photos.box_px[:, :2]).amax(1)
    places = torch.cat([photos.points_px, photos.depth_px[..., None]], -1)
    if photos.layout == HEAD:
        places = torch.from_numpy(points_on(places.cpu().numpy(), FACE_MESH_LAYOUT)).to(places.device)
    right, left = OUTER_EYES
    return (places[:, right] - places[:, left]).norm(dim=-1)


def _scored(xy_px: Float[Tensor, "N P 2"], data: LandmarkSet) -> Float[Tensor, "N Q"]:
    """Distances of the points that count."""
    distance = (xy_px - data.photos.points_px).norm(dim=-1)
    return distance[:, :FACE_MESH_POINTS] if data.photos.layout == FACE_MESH_LAYOUT else distance


@dataclass(frozen=True)
class Predicted:
    """A layout's points on every photo of a set."""

    xy_px: Float[Tensor, "N P 2"]
    sigma_px: Float[Tensor, "N P"]
    angle_deg: Float[Tensor, " N"]
    """Between the rotation found and the true one; NaN where either is unknown."""


def predict_photos(
    model: nn.Module,
    data: LandmarkSet,
    recipe: LandmarkRecipe,
    geometry: GeometryConfig = NO_AUGMENTATION,
    batch: int = 64,
) -> Predicted:
    """The layout's points on every photo, from the windows of the true boxes, or from rougher ones."""
    parts = []
    generator = Generator(device=data.points_mm.device).manual_seed(ROUGH_SEED)
    for i in range(0, len(data.photos), batch):
        photos = data.photos.select(range(i, min(i + batch, len(data.photos))))
        answer, crop = look_at(model, photos, data.points_mm, data.dataset, recipe, geometry, generator)
        size = torch.det(crop[:, :, :2]).abs().sqrt()
        sigma_px = answer.log_sigma.exp() * size[:, None]
        parts.append(Predicted(to_photo(answer.xy, crop), sigma_px, _angle_deg(answer, photos, crop)))
    return Predicted(*(torch.cat([getattr(p, key) for p in parts]) for key in ("xy_px", "sigma_px", "angle_deg")))


def look_at(
    model: nn.Module,
    photos: PhotoSet,
    points_mm: Float[Tensor, "P 3"],
    dataset: int,
    recipe: LandmarkRecipe,
    geometry: GeometryConfig = NO_AUGMENTATION,
    generator: Generator | None = None,
) -> tuple[Answer, Float[Tensor, "N 2 3"]]:
    """What a model says of photos as a user's would give them, black outside; and its crops, to photo pixels."""
    views = plain_views(photos, recipe.data.window_scale, geometry, generator)
    window = views.window

    def look(theta: Tensor) -> Tensor:
        return views.cut(theta, recipe.encoder.input_size)

    number = torch.full((1,), dataset, device=window.device)
    whole = views.cut(identity(len(photos), window), recipe.crop.input_size)
    answer = model(whole, look, points_mm[None], number)
    return answer, compose(window, answer.theta)


def plain_views(
    photos: PhotoSet,
    window_scale: float,
    geometry: GeometryConfig = NO_AUGMENTATION,
    generator: Generator | None = None,
) -> Views:
    """Photos with the windows of their true boxes, or rougher ones; black outside.

    Args:
        window_scale: side of the window over the longer side of the face's box.
    """
    device = photos.box_px.device
    window = sample_windows(photos.box_px, window_scale, geometry, generator or Generator(device=device))
    black, smear = (
        torch.zeros(len(photos), 3, 1, 1, device=device),
        torch.zeros(len(photos), dtype=torch.bool, device=device),
    )
    return Views(photos.images.float() / 255, window, photos.valid_box_px, black, smear)


def _angle_deg(answer: Answer, photos: PhotoSet, crop: Float[Tensor, "N 2 3"]) -> Float[Tensor, " N"]:
    camera = photos.camera
    want = crop_cameras(camera[:, :9].unflatten(1, (3, 3)), camera[:, 9:12], camera[:, 12], camera[:, 13:], crop)
    cos = ((want.rotation * answer.camera.rotation).sum((1, 2)) - 1) / 2
    return torch.rad2deg(torch.where(cos.isnan(), cos, cos.clamp(-1, 1)).acos())
