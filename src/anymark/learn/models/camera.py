"""The camera of a crop: head pose and focal length, and the pinhole projection of the head through it.

Camera frame: x right, y down, z forward; crop coordinates: [-1, 1]^2, principal point in the middle.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anymark.learn.models.predictors import MEAN_FACE_MM, MEAN_HALF_WINDOW_MM

START_FOCAL = 5.0
"""Focal length where training starts, in half sides of the crop: 23 degrees across, a portrait's."""
MOST_LOG_FOCAL = math.log(8.0)
NEAREST = 0.1
"""Least depth of a point, as a fraction of the head's distance: the projection stays finite before training."""


class Cameras(NamedTuple):
    """B cameras, one a crop: point in camera = rotation @ point in head + translation."""

    rotation: Float[Tensor, "B 3 3"]
    translation_mm: Float[Tensor, "B 3"]
    focal: Float[Tensor, " B"]
    """In half sides of the crop."""

    def project(self, points_mm: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 2"]:
        """Points of the head frame -> crop coordinates."""
        # no matrix product, which autocast would round to a third of a pixel
        seen = (points_mm[..., None, :] * self.rotation[:, None]).sum(-1) + self.translation_mm[:, None]
        depth = seen[..., 2:].maximum(NEAREST * self.translation_mm[:, None, 2:])
        return self.focal[:, None, None] * seen[..., :2] / depth

    def flat(self) -> Float[Tensor, "B 13"]:
        """Rotation row by row, translation, focal length."""
        return torch.cat([self.rotation.flatten(1), self.translation_mm, self.focal[:, None]], 1)

    @staticmethod
    def from_flat(numbers: Float[Tensor, "B 13"]) -> Cameras:
        """The inverse of `flat`."""
        return Cameras(numbers[:, :9].unflatten(1, (3, 3)), numbers[:, 9:12], numbers[:, 12])


class CameraHead(nn.Linear):
    """Features -> cameras. At the start: a frontal head of average size in the middle of the crop.

    Ten numbers: two rows of the rotation (6D, Zhou 2019); where the head's origin is seen; log of its scale, and log of
    the focal length. Place and scale are what a picture shows; distance, which it hardly shows, follows from scale and
    focal length, so that a wrong focal length moves no landmark far.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, 10)
        start = [1, 0, 0, 0, -1, 0, MEAN_FACE_MM[0], MEAN_FACE_MM[1] / MEAN_HALF_WINDOW_MM, 0, 0]
        with torch.no_grad():
            self.weight.mul_(0.1)
            self.bias.copy_(torch.tensor(start))

    def cameras(self, features: Float[Tensor, "B D"]) -> Cameras:
        """The camera of each crop."""
        x = self(features).float()
        scale = (3 * (x[:, 8] / 3).tanh()).exp() / MEAN_HALF_WINDOW_MM  # half sides a millimetre, at the head's origin
        focal = START_FOCAL * (MOST_LOG_FOCAL * (x[:, 9] / MOST_LOG_FOCAL).tanh()).exp()
        distance = focal / scale
        translation = torch.cat([x[:, 6:8] / scale[:, None], distance[:, None]], 1)
        return Cameras(rotation_from_6d(x[:, :6]), translation, focal)


def rotation_from_6d(numbers: Float[Tensor, "B 6"]) -> Float[Tensor, "B 3 3"]:
    """Two rows, made orthonormal by Gram-Schmidt, and their cross product."""
    a, b = numbers[:, :3], numbers[:, 3:]
    x = a / a.norm(dim=1, keepdim=True).clamp(min=1e-6)
    b = b - (x * b).sum(1, keepdim=True) * x
    y = b / b.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return torch.stack([x, y, torch.linalg.cross(x, y)], 1)


def crop_cameras(
    rotation: Float[Tensor, "B 3 3"],
    translation_mm: Float[Tensor, "B 3"],
    focal_px: Float[Tensor, " B"],
    principal_px: Float[Tensor, "B 2"],
    crop: Float[Tensor, "B 2 3"],
) -> Cameras:
    """The cameras of crops of photos whose cameras are known: each looks through its crop's middle.

    A mirrored crop shows the mirrored head. The photo's plane is tilted against the crop camera's; that changes
    landmarks by less than 1 % where crops are small and near the principal point.

    Args:
        crop: affine maps from crop coordinates to photo pixels.
    """
    linear, centre = crop[:, :, :2], crop[:, :, 2]
    offset = (centre - principal_px) / focal_px[:, None]
    ray = nn.functional.pad(offset, (0, 1), value=1.0)
    stretch = ray.norm(dim=1)  # 1 / cos of the angle off the axis
    towards = turn_to_axis(ray / stretch[:, None])
    det = torch.det(linear)
    mirror = torch.diag_embed(torch.stack([det.sign(), torch.ones_like(det), torch.ones_like(det)], 1))
    # the nearest rotation of the crop's axes, mirrored or not, about the optical axis
    upright = linear @ mirror[:, :2, :2]
    roll = torch.atan2(upright[:, 1, 0] - upright[:, 0, 1], upright[:, 0, 0] + upright[:, 1, 1])
    cos, sin, none, one = roll.cos(), roll.sin(), torch.zeros_like(roll), torch.ones_like(roll)
    unroll = torch.stack([cos, sin, none, -sin, cos, none, none, none, one], 1).unflatten(1, (3, 3))
    turn = mirror @ unroll @ towards
    focal = focal_px * stretch.pow(1.5) / det.abs().sqrt()  # a tilted plane is drawn out by 1 / cos, and radially twice
    return Cameras(turn @ rotation @ mirror, (turn @ translation_mm[..., None])[..., 0], focal)


def turn_to_axis(ray: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """The smallest rotations that take unit vectors, which look forward, to the optical axis."""
    x, y, z = ray.unbind(1)
    k = 1 / (1 + z)
    rows = [1 - x * x * k, -x * y * k, -x, -x * y * k, 1 - y * y * k, -y, x, y, z]
    return torch.stack(rows, 1).unflatten(1, (3, 3))
