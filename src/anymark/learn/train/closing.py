"""The round trip as a loss on photos without labels: where the query model has a point, the dense model must say so.

Both learn from it, or the dense one alone. Nothing of it needs a label; what either knows of a photo, it tells the
other.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from anymark.canonical import CanonicalHead
from anymark.canonical.frame import CUBE_SIDE_MM, mm_to_uvw
from anymark.learn.data.geometry import pixel_centres, to_photo
from anymark.learn.models.embedder import Embedding
from anymark.learn.models.landmarker import Landmarker
from anymark.learn.train.recipe import LandmarkRecipe

FAR_MM = 12.0
"""Gaps above this stop counting more: something covers the point, or one of the two is lost."""


class QueryModel(nn.Module):
    """The query model, looking at the same views as the dense one.

    Args:
        recipe: its own. window_scale: of the dense model's views. learns: whether it is trained as well.
    """

    def __init__(self, recipe: LandmarkRecipe, window_scale: float, learns: bool) -> None:
        super().__init__()
        self.landmarker = Landmarker(recipe.model)
        self._sizes = recipe.crop.input_size, recipe.encoder.input_size
        self._inner = recipe.data.window_scale / window_scale
        self._learns = learns
        self.landmarker.requires_grad_(learns)

    def train(self, mode: bool = True) -> QueryModel:
        """Its running statistics stay what they are: its views here are not those that it was trained on."""
        super().train(mode)
        self.landmarker.eval()
        return self

    def forward(
        self, image: Float[Tensor, "V 3 S S"], points_mm: Float[Tensor, "N 3"]
    ) -> tuple[Float[Tensor, "V N 2"], Float[Tensor, "V N"]]:
        """Where points of the canonical head are in the views, window coordinates, and how likely they are seen."""
        window_size, crop_size = self._sizes

        def look(theta: Float[Tensor, "V 2 3"]) -> Float[Tensor, "V 3 C C"]:
            return _cut(image, theta, self._inner, crop_size)

        with torch.set_grad_enabled(self._learns and torch.is_grad_enabled()):
            whole = torch.eye(2, 3, device=image.device).expand(len(image), 2, 3)
            window = _cut(image, whole, self._inner, window_size)
            dataset = torch.zeros(1, dtype=torch.long, device=image.device)
            answer = self.landmarker(window, look, points_mm[None], dataset)
            return self._inner * to_photo(answer.xy, answer.theta), answer.visible.sigmoid()


def _cut(image: Tensor, theta: Tensor, inner: float, size: int) -> Tensor:
    """The crops that theta asks for of the query model's window, which is the middle of the dense one's."""
    at = inner * to_photo(pixel_centres(size, image.device).flatten(0, 1)[None], theta)
    grid = at.unflatten(1, (size, size))
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def closing_loss(
    query: QueryModel, image: Float[Tensor, "V 3 S S"], found: Embedding, count: int, generator: Generator
) -> Float[Tensor, ""]:
    """How far round trips are from closing, over the embedder's spread: dense(query(p)) = p, for `count` vertices of
    the canonical head; those that are unlikely to be seen, or where nothing closes, count little."""
    vertices = torch.tensor(CanonicalHead.load().vertices_mm, device=image.device)
    points = vertices[torch.randint(len(vertices), (count,), generator=generator, device=image.device)]
    xy, seen = query(image, points)
    at = F.grid_sample(found.joined().float(), xy[:, :, None].float(), padding_mode="border", align_corners=False)
    at = at[..., 0]
    uvw = torch.tensor(mm_to_uvw(points.cpu().numpy()), dtype=torch.float32, device=image.device)
    gap = CUBE_SIDE_MM * (at[:, :3].transpose(1, 2) - uvw).norm(dim=-1)
    inside = (xy.abs() < 1).all(-1)
    weight = (seen * at[:, 3].sigmoid() * inside / (1 + (gap / FAR_MM) ** 2)).detach()
    spread = at[:, 4].exp().clamp(min=1).detach()
    return (weight * gap / spread).sum() / weight.sum().clamp(min=1)


def load_query(recipe: LandmarkRecipe, weights: Path, window_scale: float, learns: bool) -> QueryModel:
    """The query model with its weights.

    Raises:
        AnymarkError: they are missing, or of another model.
    """
    from anymark.learn.train.weights import load_weights

    model = QueryModel(recipe, window_scale, learns)
    load_weights(model.landmarker, weights)
    return model
