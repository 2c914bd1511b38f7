"""The queried landmark detector: encoder + predictor."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from anymark.learn.models.encoder import Encoder, EncoderConfig
from anymark.learn.models.predictors import PredictorConfig, build_predictor


class Landmarker(nn.Module):
    """l, sigma = P(F(window), M(p)): any canonical points -> landmarks of one window (CLD equations 1 and 2)."""

    def __init__(self, encoder: EncoderConfig, predictor: PredictorConfig) -> None:
        super().__init__()
        self.encoder = Encoder(encoder)
        self.predictor = build_predictor(encoder.features, predictor)

    def forward(
        self,
        image: Float[Tensor, "B 3 S S"],
        points_mm: Float[Tensor, "#B N 3"],
        mask: Bool[Tensor, "#B N"] | None = None,
    ) -> Float[Tensor, "B N 3"]:
        """RGB windows in 0..1 and canonical points -> x, y in the window's [-1, 1] and log sigma in the same unit.

        `mask` is False where a sequence of points is padded; what is answered there means nothing.
        """
        code = self.predictor.code(self.encoder(image))
        return self.predictor.decode(code, self.predictor.query(points_mm), mask)
