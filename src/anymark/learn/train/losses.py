"""Losses of the landmark detector.

Lengths are in units of each sample, half the side of its exact window, on the photo: in crop coordinates a
learned crop would lower the loss by zooming out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from anymark.canonical import load_layout
from anymark.canonical.face_mesh import FACE_MESH_LAYOUT, FACE_MESH_POINTS
from anymark.learn.data.geometry import compose, to_photo, to_window
from anymark.learn.data.landmarks import Batch
from anymark.learn.models.camera import START_FOCAL, crop_cameras
from anymark.learn.models.landmarker import DISPLACEMENT_MM, Answer
from anymark.tables import check_numbers

MIN_LOG_SIGMA = -7.0
"""Below a thousandth of the unit sigma is noise; the bound keeps the loss finite."""
PLACED_SCALE = 1.5
"""Side of the crop that S learns to choose over the longer side of the face's box."""
PLACED = 0.1
"""Deviation at which the placement loss turns from squares to distances."""
SHAPE_MM = 10.0
"""Unit of the 3D loss."""
LEAST_TURN = 1e-4
"""Rotations nearer than this count as the same; there the distance has no gradient."""


@dataclass(frozen=True)
class LossConfig:
    """Weights beside the likelihood of the 2D landmarks, whose weight is 1."""

    place: float = 0.5
    """How well the canonical head, seen from where the predicted one is, lies on the landmarks when its face fills the
    crop as in an exact window: what S learns from before F knows anything."""
    shear: float = 0.1
    """How far an affine crop is from a similarity."""
    shape: float = 0.3
    """3D landmarks where the data know them."""
    pose: float = 2.0
    """Rotation where it is known: the distance of the matrices, 2 sqrt(2) sin(angle / 2)."""
    focal: float = 1.0
    """Log of the focal length of renders: those of photos are guesses of their fits."""
    prior: float = 1e-3
    """Displacements from the canonical head, and log of the focal length over where it starts: what 2D leaves open."""
    visible: float = 0.3
    """Seen or hidden, where it is known."""
    twins: float = 0.5
    """Two windows of one photo must agree."""

    def __post_init__(self) -> None:
        check_numbers(self, "place", "shear", "shape", "pose", "focal", "prior", "visible", "twins", least=0)


def gaussian_nll(
    offset: Float[Tensor, "B Q 2"],
    log_sigma: Float[Tensor, "B Q"],
    sd: Float[Tensor, "B Q"],
    mask: Bool[Tensor, "B Q"],
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of 2D landmarks under circular Gaussians, up to a constant (CLD 3.3; Wood 2022).

    The likelihood's mean over where a label may be is taken, so that sigma can't be smaller than that. Each sample
    counts the same, however many points it has.

    Args:
        offset: from the labels to the answers.
        sd: how far a label may be off along an axis.
        mask: which points count.
    """
    log_sigma = log_sigma.clamp(min=MIN_LOG_SIGMA)
    squared = offset.square().sum(-1) + 2 * sd.square()
    return masked_mean(2 * log_sigma + squared / (2 * (2 * log_sigma).exp()), mask)


def landmark_loss(answer: Answer, batch: Batch, config: LossConfig) -> Float[Tensor, ""]:
    """All that a batch teaches, weighed."""
    truth, mask = batch.truth, batch.truth.mask
    crop = compose(batch.window, answer.theta)
    unit = batch.unit_px[:, None, None]
    xy_px = to_photo(answer.xy, crop)
    size = torch.det(crop[:, :, :2]).abs().sqrt() / batch.unit_px  # of the crop, in units
    log_sigma = answer.log_sigma + size.log()[:, None]
    loss = gaussian_nll((xy_px - truth.xy_px) / unit, log_sigma, truth.sd_px / batch.unit_px[:, None], mask)

    placed_crop = compose(batch.window, answer.placed)
    upright = placed_head(batch.queries_mm, answer.camera.rotation.detach())
    placed = (to_photo(upright, placed_crop) - truth.xy_px).norm(dim=-1) / batch.unit_px[:, None]
    loss = loss + config.place * masked_mean(_huber(placed / PLACED), mask)
    linear = answer.placed[:, :, :2]
    gram = linear.transpose(1, 2) @ linear / torch.det(linear)[:, None, None]
    loss = loss + config.shear * (gram - torch.eye(2, device=gram.device)).square().sum((1, 2)).mean()

    hidden = _covered_at(batch.look.covered, truth.xy_px, crop.detach())
    seen = torch.where(hidden, 0.0, truth.visible.clamp(0, 1))
    known = torch.isfinite(truth.visible)  # not on photos: what is covered alone would teach that nothing is seen there
    error = F.binary_cross_entropy_with_logits(answer.visible, torch.where(known, seen, 0.0), reduction="none")
    loss = loss + config.visible * masked_mean(error, mask & known)

    other = xy_px[batch.twin]
    apart = (xy_px - other).norm(dim=-1) / batch.unit_px[:, None] / log_sigma.detach().clamp(min=MIN_LOG_SIGMA).exp()
    paired = batch.twin != torch.arange(len(batch.twin), device=batch.twin.device)
    loss = loss + config.twins * masked_mean(apart, mask & paired[:, None])
    return loss if torch.isnan(answer.camera.focal).all() else loss + _loss_3d(answer, batch, crop.detach(), config)


def _loss_3d(answer: Answer, batch: Batch, crop: Float[Tensor, "B 2 3"], config: LossConfig) -> Float[Tensor, ""]:
    truth, camera = batch.truth, answer.camera
    known = torch.isfinite(truth.xyz_mm).all(-1)
    apart = (answer.xyz_mm - torch.where(known[..., None], truth.xyz_mm, answer.xyz_mm.detach())).norm(dim=-1)
    loss = config.shape * masked_mean(apart / SHAPE_MM, truth.mask & known)

    seen = torch.isfinite(truth.camera).all(1)
    numbers = torch.where(seen[:, None], truth.camera, _ANY_CAMERA.to(truth.camera))
    want = crop_cameras(numbers[:, :9].unflatten(1, (3, 3)), numbers[:, 9:12], numbers[:, 12], numbers[:, 13:], crop)
    turned = (camera.rotation - want.rotation).square().sum((1, 2)).clamp(min=LEAST_TURN**2).sqrt() - LEAST_TURN
    zoomed = (camera.focal / want.focal).log()
    rendered = seen & torch.isfinite(truth.visible).any(1)
    loss = loss + config.pose * (turned * seen).mean() + config.focal * (zoomed.abs() * rendered).mean()

    displaced = ((answer.xyz_mm - batch.queries_mm) / DISPLACEMENT_MM).square().sum(-1)
    return loss + config.prior * (masked_mean(displaced, truth.mask) + camera.focal.log().sub(_USUAL).square().mean())


_ANY_CAMERA = torch.tensor([1.0, 0, 0, 0, -1, 0, 0, 0, -1, 0, 0, 1000, 1000, 0, 0])
"""Stands in where none is known: a loss that is not counted must still be finite."""
_USUAL = math.log(START_FOCAL)


def placed_head(points_mm: Float[Tensor, "B N 3"], rotation: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B N 2"]:
    """Points of the canonical head in the crop that S should choose, seen from afar: the head is turned as it is in the
    picture, but without roll, and its face lies in the middle, `PLACED_SCALE` times narrower than the crop.

    Args:
        rotation: head to camera; of a 2D head, which knows none, NaN: the head then looks into the camera.
    """
    facing = torch.diag(rotation.new_tensor([1.0, -1.0, -1.0])).expand_as(rotation)
    rotation = torch.where(rotation.isfinite(), rotation, facing)
    roll = torch.atan2(rotation[:, 0, 1], -rotation[:, 1, 1])  # of the head's upward axis
    cos, sin = roll.cos(), roll.sin()
    across = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1) @ rotation[:, :2]
    face = _face_mm().to(points_mm) @ across.transpose(1, 2)
    low, high = face.amin(1, keepdim=True), face.amax(1, keepdim=True)
    half = PLACED_SCALE / 2 * (high - low).amax(2, keepdim=True)
    return (points_mm @ across.transpose(1, 2) - (low + high) / 2) / half


@cache
def _face_mm() -> Float[Tensor, "P 3"]:
    """The canonical face, whose box windows are made of."""
    return torch.tensor(load_layout(FACE_MESH_LAYOUT).points_mm[:FACE_MESH_POINTS])


def masked_mean(values: Float[Tensor, "B Q"], mask: Bool[Tensor, "B Q"]) -> Float[Tensor, ""]:
    """The mean over the samples, each of which is the mean over its points that count; nothing where none do."""
    counts = mask.sum(1)
    each = (values * mask).sum(1) / counts.clamp(min=1)
    return each.sum() / (counts > 0).sum().clamp(min=1)


def _huber(x: Tensor) -> Tensor:
    return torch.where(x < 1, x.square() / 2, x - 0.5)


def _covered_at(
    covered: Bool[Tensor, "B S S"] | None, xy_px: Float[Tensor, "B Q 2"], crop: Float[Tensor, "B 2 3"]
) -> Bool[Tensor, "B Q"]:
    """Which points of the photos lie under what was put over their crops."""
    if covered is None:
        return torch.zeros(xy_px.shape[:2], dtype=torch.bool, device=xy_px.device)
    size = covered.shape[-1]
    pixel = ((to_window(xy_px, crop) + 1) * (size / 2)).floor().long()
    inside = ((pixel >= 0) & (pixel < size)).all(-1)
    pixel = pixel.clamp(0, size - 1)
    return covered.flatten(1).gather(1, pixel[..., 1] * size + pixel[..., 0]) & inside
