"""Losses of the landmark detector."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

MIN_LOG_SIGMA = -7.0
"""Below a thousandth of the half window sigma is noise; the bound keeps the loss finite."""


def gaussian_nll(
    predicted: Float[Tensor, "B Q 3"], target: Float[Tensor, "B Q 3"], mask: Bool[Tensor, "B Q"]
) -> Float[Tensor, ""]:
    """Mean negative log-likelihood of 2D landmarks under circular Gaussians, up to a constant (CLD 3.3; Wood 2022).

    The target's third channel says how far its place may be off along an axis; the likelihood's mean over where it may
    be is taken, so that sigma can't be smaller. Each sample counts the same, however many points it has.
    """
    log_sigma = predicted[..., 2].clamp(min=MIN_LOG_SIGMA)
    squared = (predicted[..., :2] - target[..., :2]).square().sum(-1) + 2 * target[..., 2].square()
    nll = 2 * log_sigma + squared / (2 * (2 * log_sigma).exp())
    return ((nll * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()
