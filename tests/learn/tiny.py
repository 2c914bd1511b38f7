"""Full models small enough to train within a test; their backbone is the one that timm tests itself with."""

from __future__ import annotations

from typing import Literal

from anymark.learn.data.appearance import AppearanceConfig
from anymark.learn.models.crop import CropConfig
from anymark.learn.models.deformer import DeformerConfig
from anymark.learn.models.encoder import EncoderConfig
from anymark.learn.models.landmarker import ModelConfig
from anymark.learn.models.predictors import PredictorConfig

BACKBONE = "test_efficientnet"
WINDOW_SIZE, CROP_SIZE = 32, 64

MODEL = f"""
[crop]
backbone = "{BACKBONE}"
input_size = {WINDOW_SIZE}
features = 16
grid_channels = 8
[encoder]
backbone = "{BACKBONE}"
input_size = {CROP_SIZE}
features = 32
grid_channels = 8
[predictor]
width = 32
basis = 8
"""
"""The tables of a recipe that make its model."""

UNCHANGED = AppearanceConfig(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""Pictures stay as they are."""


def model_config(
    crop: Literal["none", "similarity", "affine"] = "similarity",
    predictor: Literal["basis", "mlp", "transformer"] = "basis",
    head: Literal["2d", "3d"] = "3d",
    codes: tuple[str, ...] = (),
) -> ModelConfig:
    """The same model, or another kind of it."""
    return ModelConfig(
        CropConfig(crop, BACKBONE, WINDOW_SIZE, features=16, grid_channels=8),
        EncoderConfig(BACKBONE, CROP_SIZE, features=32, grid_channels=8),
        DeformerConfig(codes, features=4, width=16),
        PredictorConfig(predictor, query_features=16, width=32, layers=2, heads=4, basis=8),
        head,
    )
