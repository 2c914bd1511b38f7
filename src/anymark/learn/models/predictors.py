"""Queried landmark predictors P: (features, canonical points) -> landmarks (CLD section 3.2).

All three split into what depends on the image alone (`code`, computed once an image), what depends on the points alone
(`query`, computed once a layout) and `decode`, which joins them: so many numbers, `channels`, a point. What they mean
is up to `anymark.learn.models.landmarker`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anymark.canonical.frame import CUBE_CENTRE_MM, CUBE_SIDE_MM
from anymark.errors import AnymarkError
from anymark.tables import check_numbers

MEAN_FACE_MM = (0.0, 5.0)
"""Centre, in x and y, of the face's landmarks in the canonical frame."""
MEAN_HALF_WINDOW_MM = 133.0
"""Half the side of a crop 1.5 times as wide as the face's box: where training starts from."""


@dataclass(frozen=True)
class PredictorConfig:
    """Which predictor, and its sizes."""

    kind: Literal["basis", "mlp", "transformer"] = "basis"
    query_features: int = 64
    """Length B of an encoded query (mlp, transformer; the paper's 64)."""
    width: int = 512
    """Hidden width: of the basis's trunk (our recipes take 256), the mlp, the transformer (the paper's 768; 256 suits a
    CPU). A recipe should say it: the default suits the mlp."""
    layers: int = 4
    """Hidden layers (mlp), blocks (transformer)."""
    heads: int = 8
    """Attention heads (transformer); they divide the width."""
    basis: int = 128
    """Number K of learned basis functions (basis)."""
    octaves: int = 7
    """sin/cos octaves that encode a point (basis); the finest wavelength is 400 mm / 2^(octaves-1)."""

    def __post_init__(self) -> None:
        check_numbers(self, "query_features", "width", "layers", "heads", "basis", "octaves", least=1)


def to_unit(points_mm: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    """Head frame in millimetres -> the canonical cube as [-1, 1]^3."""
    return (points_mm - points_mm.new_tensor(CUBE_CENTRE_MM)) * (2.0 / CUBE_SIDE_MM)


class QueryEncoder(nn.Sequential):
    """M: the paper's two-layer MLP from a point of the unit cube to a query q."""

    def __init__(self, features: int) -> None:
        super().__init__(nn.Linear(3, features), nn.GELU(), nn.Linear(features, features), nn.GELU())


class BasisPredictor(nn.Module):
    """A continuous linear face model: numbers of points = phi(points) @ coefficients(image). Ours.

    phi holds K learned functions of the canonical point, after the constant and the point itself: those four alone make
    any affine image of the head, so that training starts from a face and not from noise.

    Args:
        start: coefficients of the constant and of x, y and z of the unit cube [-1, 1]^3 where training starts.
    """

    def __init__(self, features: int, config: PredictorConfig, start: Float[Tensor, "4 C"]) -> None:
        super().__init__()
        self.octaves = config.octaves
        width = config.width
        self.trunk = nn.Sequential(
            nn.Linear(3 + 6 * config.octaves, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, config.basis),
        )
        self.size, self.channels = 4 + config.basis, start.shape[1]
        self.head = nn.Linear(features, self.size * self.channels)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.copy_(F.pad(start, (0, 0, 0, config.basis)).flatten())

    def code(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B K C"]:
        """Coefficients of the basis, one set a channel."""
        return self.head(features).unflatten(1, (self.size, self.channels))

    def query(self, points_mm: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N K"]:
        """The basis phi at these points: [1, p, learned]."""
        p = to_unit(points_mm)
        frequency = math.pi * 2.0 ** torch.arange(self.octaves, device=p.device, dtype=p.dtype)
        angle = (p[..., None] * frequency).flatten(-2)
        learned = self.trunk(torch.cat([p, angle.sin(), angle.cos()], -1))
        return torch.cat([torch.ones_like(p[..., :1]), p, learned], -1)

    def decode(
        self, code: Float[Tensor, "B K C"], query: Float[Tensor, "#B N K"], mask: Bool[Tensor, "#B N"] | None = None
    ) -> Float[Tensor, "B N C"]:
        return query @ code


class FirstLayer(nn.Module):
    """The first layer on [f; q], which the paper's two predictors share, in two halves.

    The image half is linear in f, so it is computed once an image, not once a query.
    """

    def __init__(self, features: int, config: PredictorConfig) -> None:
        super().__init__()
        self.encode_query = QueryEncoder(config.query_features)
        self.first_image = nn.Linear(features, config.width)
        self.first_query = nn.Linear(config.query_features, config.width, bias=False)

    def code(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        return self.first_image(features)

    def query(self, points_mm: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N C"]:
        return self.first_query(self.encode_query(to_unit(points_mm)))


class MLPPredictor(FirstLayer):
    """The paper's first predictor: an MLP on [f; q], each query by itself."""

    def __init__(self, features: int, config: PredictorConfig, start: Float[Tensor, "4 C"]) -> None:
        super().__init__(features, config)
        layers: list[nn.Module] = [nn.GELU()]
        for _ in range(config.layers - 1):
            layers += [nn.Linear(config.width, config.width), nn.GELU()]
        self.rest = nn.Sequential(*layers, _last(config.width, start))

    def decode(
        self, code: Float[Tensor, "B C"], query: Float[Tensor, "#B N C"], mask: Bool[Tensor, "#B N"] | None = None
    ) -> Float[Tensor, "B N D"]:
        return self.rest(code[:, None] + query)


class CrossCovarianceBlock(nn.Module):
    """A transformer block whose attention is over channels: linear in the number of queries (XCiT, El-Nouby 2021).

    Softmax attention over the queries would need N^2 memory: 50,000 queries could not be asked at once.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Float[Tensor, "B N C"], mask: Bool[Tensor, "#B N"] | None = None) -> Float[Tensor, "B N C"]:
        qkv = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1))
        if mask is not None:  # padding must not enter the statistics over the sequence
            qkv = qkv * mask[:, :, None, None, None]
        q, k, v = qkv.permute(2, 0, 3, 4, 1)  # (B, heads, channels of one head, N)
        attention = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-1, -2) * self.temperature
        y = attention.softmax(-1) @ v
        x = x + self.out(y.permute(0, 3, 1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class TransformerPredictor(FirstLayer):
    """The paper's second predictor: a transformer over the sequence of queries.

    Landmarks share statistics over the sequence, so a point's answer depends a little on which others are asked with
    it; the other two predictors answer each point by itself.
    """

    def __init__(self, features: int, config: PredictorConfig, start: Float[Tensor, "4 C"]) -> None:
        super().__init__(features, config)
        if config.width % config.heads:
            raise AnymarkError(f"predictor: width {config.width} is no multiple of heads {config.heads}")
        self.blocks = nn.ModuleList(CrossCovarianceBlock(config.width, config.heads) for _ in range(config.layers))
        self.last = nn.Sequential(nn.LayerNorm(config.width), _last(config.width, start))

    def decode(
        self, code: Float[Tensor, "B C"], query: Float[Tensor, "#B N C"], mask: Bool[Tensor, "#B N"] | None = None
    ) -> Float[Tensor, "B N D"]:
        x = code[:, None] + query
        for block in self.blocks:
            x = block(x, mask)
        return self.last(x)


def _last(width: int, start: Float[Tensor, "4 C"]) -> nn.Linear:
    """The last layer; at the start it answers the constant alone, as what lies before it knows nothing of places."""
    layer = nn.Linear(width, start.shape[1])
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.copy_(start[0])
    return layer


Predictor = BasisPredictor | MLPPredictor | TransformerPredictor
PREDICTORS = {"basis": BasisPredictor, "mlp": MLPPredictor, "transformer": TransformerPredictor}


def build_predictor(features: int, config: PredictorConfig, start: Float[Tensor, "4 C"]) -> Predictor:
    """The predictor of a config, for feature vectors of this length and C numbers a point.

    Raises:
        AnymarkError: a transformer whose heads do not divide its width.
    """
    return PREDICTORS[config.kind](features, config, start)
