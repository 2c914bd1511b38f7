"""The full model: learned crop, encoder, query deformer, predictor, 3D head and camera (I3DL figure 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from anymark.canonical.frame import CUBE_CENTRE_MM, CUBE_SIDE_MM
from anymark.errors import AnymarkError
from anymark.learn.data.geometry import identity
from anymark.learn.models.camera import CameraHead, Cameras
from anymark.learn.models.crop import CropConfig, Look, SpatialTransformer
from anymark.learn.models.deformer import DeformerConfig, QueryDeformer
from anymark.learn.models.encoder import Encoder, EncoderConfig
from anymark.learn.models.predictors import MEAN_FACE_MM, MEAN_HALF_WINDOW_MM, PredictorConfig, build_predictor

DISPLACEMENT_MM = 50.0
"""A predictor's unit of length: how far a point of this head lies from the canonical one."""
START_SIGMA = 0.1


@dataclass(frozen=True)
class ModelConfig:
    """All that makes a landmark model; the recipe's tables of the same names."""

    crop: CropConfig
    encoder: EncoderConfig
    deformer: DeformerConfig
    predictor: PredictorConfig
    head: Literal["2d", "3d"] = "3d"


class Answer(NamedTuple):
    """What the model says of B windows and N points each."""

    theta: Float[Tensor, "B 2 3"]
    """Crop coordinates -> window coordinates; with a share of S's gradient, `CropConfig.likelihood`."""
    placed: Float[Tensor, "B 2 3"]
    """The same with all of it."""
    xy: Float[Tensor, "B N 2"]
    """Crop coordinates."""
    log_sigma: Float[Tensor, "B N"]
    """In the same unit."""
    visible: Float[Tensor, "B N"]
    """Logit of being seen."""
    xyz_mm: Float[Tensor, "B N 3"]
    """This head's points, head frame; NaN of a 2D head."""
    camera: Cameras
    """Of the crop; NaN of a 2D head."""


class Landmarker(nn.Module):
    """Windows and canonical points -> landmarks.

    A 2D head's predictor answers in the crop itself, as CLD's: it is there for comparison, and has no run time.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.likelihood = config.crop.likelihood
        self.crop = None if config.crop.kind == "none" else SpatialTransformer(config.crop)
        self.encoder = Encoder(config.encoder)
        self.deformer = QueryDeformer(config.deformer) if config.deformer.codes else None
        self.camera = CameraHead(config.encoder.features) if config.head == "3d" else None
        self.predictor = build_predictor(config.encoder.features, config.predictor, _start(config.head))

    def forward(
        self,
        window: Float[Tensor, "B 3 C C"],
        look: Look,
        points_mm: Float[Tensor, "#B N 3"],
        dataset: Int[Tensor, "#B"],
        mask: Bool[Tensor, "#B N"] | None = None,
        followed: Bool[Tensor, " B"] | None = None,
    ) -> Answer:
        """Landmarks of the points of each window.

        Args:
            window: RGB in 0..1, as coarse as S wants it.
            look: the pixels of the crop that theta asks for.
            dataset: whose annotators' points these are, a number of `dataset_number`.
            mask: False where a sequence of points is padded; what is answered there means nothing.
            followed: True where the crop is the window itself, whatever S says of it.
        """
        placed = identity(len(window), window) if self.crop is None else self.crop(window)
        theta = placed.detach().lerp(placed, self.likelihood)
        if followed is not None:
            theta = torch.where(followed[:, None, None], identity(len(window), window), theta)
        features = self.encoder(look(theta))
        points, query = self.query(points_mm, self.codes(dataset))
        answer = self.decode(theta, self.predictor.code(features), self.cameras(features), points, query, mask)
        return answer._replace(placed=placed)

    def dataset_number(self, code: str) -> int:
        """The number of a data set's code; 0, the reference, where there is no deformer.

        Raises:
            AnymarkError: the deformer has no such code.
        """
        if self.deformer is None:
            return 0
        if code not in self.deformer.numbers:
            raise AnymarkError(f"no data set code {code!r}; the deformer has {', '.join(self.deformer.numbers)}")
        return self.deformer.numbers[code]

    def codes(self, dataset: Int[Tensor, "#B"]) -> Float[Tensor, "#B E"]:
        """Data set codes; a single zero each where there is no deformer."""
        return (
            torch.zeros(len(dataset), 1, device=dataset.device)
            if self.deformer is None
            else self.deformer.code(dataset)
        )

    def query(
        self, points_mm: Float[Tensor, "#B N 3"], code: Float[Tensor, "#B E"]
    ) -> tuple[Float[Tensor, "#B N 3"], Float[Tensor, "#B N Q"]]:
        """All that depends on the points alone: where they lie on the head, and their encoding."""
        if self.deformer is not None:
            points_mm = self.deformer(points_mm.expand(len(code), -1, -1), code)
        return points_mm, self.predictor.query(points_mm)

    def cameras(self, features: Float[Tensor, "B D"]) -> Cameras:
        """The crops' cameras; NaN of a 2D head."""
        if self.camera is not None:
            return self.camera.cameras(features)
        return Cameras.from_flat(features.new_full((len(features), 13), math.nan))

    def decode(
        self,
        theta: Float[Tensor, "B 2 3"],
        code: Tensor,
        camera: Cameras,
        points_mm: Float[Tensor, "#B N 3"],
        query: Float[Tensor, "#B N Q"],
        mask: Bool[Tensor, "#B N"] | None = None,
    ) -> Answer:
        """Join what depends on the image with what depends on the points."""
        out = self.predictor.decode(code, query, mask).float()
        place, log_sigma, visible = out[..., :-2], out[..., -2], out[..., -1]
        if self.camera is None:
            return Answer(theta, theta, place, log_sigma, visible, torch.full_like(out[..., :3], math.nan), camera)
        xyz_mm = points_mm + DISPLACEMENT_MM * place
        return Answer(theta, theta, camera.project(xyz_mm), log_sigma, visible, xyz_mm, camera)


def _start(head: Literal["2d", "3d"]) -> Float[Tensor, "4 C"]:
    """What a basis predictor answers before training, as coefficients of [1, x, y, z] in the unit cube [-1, 1]^3: a
    frontal face in the middle of the crop."""
    start = torch.zeros(4, 4 if head == "2d" else 5)
    if head == "2d":  # the 3D head starts from the canonical one, which lies before its camera
        unit_mm = CUBE_SIDE_MM / 2
        start[1, 0] = unit_mm / MEAN_HALF_WINDOW_MM
        start[2, 1] = -unit_mm / MEAN_HALF_WINDOW_MM
        start[0, 0] = (CUBE_CENTRE_MM[0] - MEAN_FACE_MM[0]) / MEAN_HALF_WINDOW_MM
        start[0, 1] = -(CUBE_CENTRE_MM[1] - MEAN_FACE_MM[1]) / MEAN_HALF_WINDOW_MM
    start[0, -2] = math.log(START_SIGMA)
    return start
