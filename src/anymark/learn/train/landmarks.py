"""The queried landmark detector as a task of the training loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_POINTS, OUTER_EYES
from anymark.canonical.files import HEAD
from anymark.canonical.posed import points_on
from anymark.errors import AnymarkError
from anymark.evaluate.photo_files import FACE_MESH_LAYOUT
from anymark.learn.data.geometry import NO_AUGMENTATION, cut_windows, sample_windows, to_photo
from anymark.learn.data.landmarks import Batch, LandmarkSet, Sampler
from anymark.learn.data.photos import PhotoSet, load_photos
from anymark.learn.data.shards import load_shards
from anymark.learn.models.landmarker import Landmarker
from anymark.learn.train.losses import gaussian_nll
from anymark.learn.train.recipe import LandmarkRecipe


class LandmarkTask:
    """Trains a `Landmarker` on photo sets; scores it on the held-out photos from true boxes.

    Raises:
        AnymarkError: no data, or data that does not fit its layout.
    """

    def __init__(self, recipe: LandmarkRecipe, photos: Path, cache: Path | None, limit: int | None = None) -> None:
        data = recipe.data
        if not data.sources and not data.shards:
            raise AnymarkError("the recipe names no data.sources and no data.shards")
        self.recipe = recipe
        torch.manual_seed(recipe.train.seed)
        self.model = Landmarker(recipe.encoder, recipe.predictor)
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
        held_out = [load_photos(photos, source, data.store_size, "held-out", cache=cache) for source in data.sources]
        held_out += [load_shards(Path(folder)) for folder in data.held_out_shards]
        self._held_out = [found for found in held_out if len(found)]

    def to(self, device: torch.device) -> None:
        recipe = self.recipe
        extend = [load_layout(name).points_mm for name in recipe.data.extend]
        further_mm = np.concatenate(extend) if extend else None
        sets = [
            # what is labelled with the whole head needs no guesses
            LandmarkSet.create(
                p, load_layout(p.layout), self._weights[source], device, None if p.layout == HEAD else further_mm
            )
            for source, p in self._train.items()
        ]
        self.sampler = Sampler(
            sets,
            recipe.encoder.input_size,
            recipe.data.window_scale,
            recipe.data.queries,
            recipe.geometry,
            recipe.appearance,
        )
        self.held_out = [LandmarkSet.create(p, load_layout(p.layout), 1.0, device) for p in self._held_out]

    def draw(self, batch: int, generator: Generator) -> Batch:
        return self.sampler.draw(batch, generator)

    def loss(self, model: Callable[..., Any], batch: Batch) -> Tensor:
        image = batch.image.contiguous(memory_format=torch.channels_last)
        return gaussian_nll(model(image, batch.queries_mm, batch.mask).float(), batch.target, batch.mask)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """NME, its median over photos, and how well sigma tells errors.

        "NME": of photos with MediaPipe's layout, on its 468 points of the face, or with any other, on all of its
        points. "dense NME": of samples labelled with the whole head, on all its vertices, hidden ones too. All are
        over `face_size`.
        """
        if not self.held_out:
            return {}
        errors: dict[str, list[Tensor]] = {}
        sigmas = []
        for data in self.held_out:
            landmarks_px, sigma_px = predict_photos(model, data, self.recipe)
            distance = (landmarks_px - data.photos.points_px).norm(dim=-1)
            if data.photos.layout == FACE_MESH_LAYOUT:  # the irises are not scored
                distance, sigma_px = distance[:, :FACE_MESH_POINTS], sigma_px[:, :FACE_MESH_POINTS]
            name = "dense NME %" if data.photos.layout == HEAD else "NME %"
            errors.setdefault(name, []).append(distance.mean(1) / face_size(data.photos))
            sigmas.append((distance.square() / (2 * sigma_px.square())).mean(1))
        metrics = {}
        for name, parts in errors.items():
            error = torch.cat(parts)
            metrics[name] = 100 * float(error.mean())
            metrics[f"median {name}"] = 100 * float(error.median())
        metrics["calibration"] = float(torch.cat(sigmas).median())  # 1: sigma says how large errors are
        return metrics


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


def predict_photos(
    model: nn.Module, data: LandmarkSet, recipe: LandmarkRecipe, batch: int = 64
) -> tuple[Float[Tensor, "N P 2"], Float[Tensor, "N P"]]:
    """The layout's points on every photo of a set, from the true boxes: pixels and sigma in pixels."""
    photos = data.photos
    xy, sigma = [], []
    for i in range(0, len(photos), batch):
        part = photos.select(range(i, min(i + batch, len(photos))))
        image, window = exact_windows(part, recipe.encoder.input_size, recipe.data.window_scale)
        out = model(image, data.points_mm[None]).float()
        xy.append(to_photo(out[..., :2], window))
        sigma.append(out[..., 2].exp() * window[:, :, 0].norm(dim=1)[:, None])
    return torch.cat(xy), torch.cat(sigma)


def exact_windows(
    photos: PhotoSet, size: int, window_scale: float
) -> tuple[Float[Tensor, "N 3 S S"], Float[Tensor, "N 2 3"]]:
    """The windows of the true boxes as a user's photo would give them, black outside, in 0..1.

    Args:
        size: side S of the windows, pixels.
        window_scale: side of the window over the longer side of the face's box.

    Returns:
        The windows' pixels, and the affine maps from window coordinates [-1, 1]^2 to photo pixels.
    """
    device = photos.box_px.device
    window = sample_windows(photos.box_px, window_scale, NO_AUGMENTATION, Generator(device=device))
    black = torch.zeros(len(photos), 3, device=device)
    smear = torch.zeros(len(photos), dtype=torch.bool, device=device)
    return cut_windows(photos.images.float() / 255, window, size, photos.valid_box_px, black, smear), window
