"""The query deformer D: where a data set's annotators put a canonical point (I3DL; bound and pinning are ours)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anymark.errors import AnymarkError
from anymark.learn.models.predictors import to_unit
from anymark.tables import check_numbers

REFERENCE = "fits"
"""The data set that defines where points are: its code is zero, and nothing moves."""


@dataclass(frozen=True)
class DeformerConfig:
    """Which data sets have a code, and the network that turns codes into corrections."""

    codes: tuple[str, ...] = ()
    """Data sets with a code of their own besides the reference; none: no deformer."""
    like: dict[str, str] = field(default_factory=dict)
    """Further names -> the data set whose code they share until labelled images give them their own."""
    features: int = 8
    """Length E of a code."""
    width: int = 64
    """Of the two hidden layers."""
    most_mm: float = 10.0
    """No point is moved further along an axis: about 5 % of the face."""

    def __post_init__(self) -> None:
        check_numbers(self, "features", "width", least=1)
        check_numbers(self, "most_mm", least=0)
        names = (*self.codes, *self.like)
        if REFERENCE in names or len(set(names)) < len(names):
            raise AnymarkError(f"codes, like: each name once, and without {REFERENCE!r}, which is always there")
        for name, other in self.like.items():
            if other not in self.codes:
                raise AnymarkError(f"like.{name}: {other!r} is none of codes")


class QueryDeformer(nn.Module):
    """p, e -> p + bounded(g(p, e) - g(p, 0)): no correction at the start, and never one of the reference."""

    def __init__(self, config: DeformerConfig) -> None:
        super().__init__()
        names = (REFERENCE, *config.codes)
        self.numbers = {name: names.index(config.like.get(name, name)) for name in (*names, *config.like)}
        """Each data set's number, of which `code` makes its code."""
        self.most_mm = config.most_mm
        self.codes = nn.Parameter(0.5 * torch.randn(len(config.codes), config.features))
        self.trunk = nn.Sequential(
            nn.Linear(3 + config.features, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.Linear(config.width, 3),
        )
        last = self.trunk[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def code(self, dataset: Int[Tensor, " B"]) -> Float[Tensor, "B E"]:
        """The codes of data sets by their numbers."""
        return nn.functional.pad(self.codes, (0, 0, 1, 0))[dataset]

    def forward(self, points_mm: Float[Tensor, "*B N 3"], code: Float[Tensor, "*B E"]) -> Float[Tensor, "*B N 3"]:
        """Canonical points as a data set means them -> where they lie on the head."""
        code = code[..., None, :].expand(*points_mm.shape[:-1], -1)
        moved, still = (self.trunk(torch.cat([to_unit(points_mm), e], -1)) for e in (code, torch.zeros_like(code)))
        return points_mm + self.most_mm * (moved - still).tanh()
