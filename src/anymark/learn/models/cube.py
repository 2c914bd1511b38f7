"""The latent cube E: features of all places in the canonical unit cube, by which pixels are compared (DenseMarks)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.tables import ABOVE_0, check_numbers

TRUNCATE = 3.0
"""Standard deviations after which the Gaussian is cut off."""


@dataclass(frozen=True)
class CubeConfig:
    """Size of the cube; we do not know the paper's own."""

    side: int = 24
    """Nd, voxels along each axis."""
    features: int = 64
    """D, numbers a voxel."""
    smooth: float = 1.0
    """Standard deviation of the Gaussian, voxels."""

    def __post_init__(self) -> None:
        check_numbers(self, "side", least=2)
        check_numbers(self, "features", least=1)
        check_numbers(self, "smooth", least=ABOVE_0)


class LatentCube(nn.Module):
    """A grid of features over the unit cube, and a linear head that tells regions apart by them."""

    kernel: Tensor

    def __init__(self, config: CubeConfig, regions: int) -> None:
        super().__init__()
        side = config.side
        self.grid = nn.Parameter(torch.randn(config.features, side, side, side))  # axes w, v, u
        self.regions = nn.Linear(config.features, regions)  # a 1 x 1 convolution of what is looked up
        reach = math.ceil(TRUNCATE * config.smooth)
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / config.smooth) ** 2)
        self.register_buffer("kernel", kernel / kernel.sum(), persistent=False)

    def smoothed(self) -> Float[Tensor, "1 D W V U"]:
        """E: the grid under a 3D Gaussian. Smooth it once a step, not once a lookup."""
        return smoothed(self.grid[None], self.kernel)


def smoothed(grid: Float[Tensor, "1 D W V U"], kernel: Float[Tensor, " K"]) -> Float[Tensor, "1 D W V U"]:
    """A separable filter along the three axes of a grid, its border repeated outwards."""
    reach = len(kernel) // 2
    for axis in range(3):
        shape, pad = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = len(kernel)
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        weight = kernel.view(shape).expand(grid.shape[1], -1, -1, -1, -1)
        grid = F.conv3d(F.pad(grid, pad, mode="replicate"), weight, groups=grid.shape[1])
    return grid


def look_up(cube: Float[Tensor, "1 D W V U"], uvw: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N D"]:
    """Features at places in [0, 1]^3, trilinear; the outermost voxels' centres lie on the cube's faces."""
    at = (2 * uvw - 1).reshape(1, -1, 1, 1, 3)
    found = F.grid_sample(cube, at, mode="bilinear", padding_mode="border", align_corners=True)
    return found[0, :, :, 0, 0].T.reshape(*uvw.shape[:-1], -1)
