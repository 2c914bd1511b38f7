"""An encoder's features before it has learned anything: what learned ones are held against."""

from __future__ import annotations

import timm
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import nn
from torch.nn import functional as F

from anymark.learn.models.encoder import IMAGENET_MEAN, IMAGENET_STD, PRESETS, EncoderConfig

STRIDES = (4, 8, 16)


def backbone(seed: int = 0) -> nn.Module:
    """The default encoder's, as it starts."""
    torch.manual_seed(seed)
    return timm.create_model(PRESETS[EncoderConfig.backbone], features_only=True).eval()


@torch.no_grad()
def features(model: nn.Module, picture: UInt8[ndarray, "S S 3"], side: int) -> Float[ndarray, "G G D"]:
    """Its features at a few strides, each as long as the others, on a grid of `side` cells."""
    image = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    found = model((image - mean) / std)
    levels = [f for f, stride in zip(found, model.feature_info.reduction(), strict=True) if stride in STRIDES]  # type: ignore[union-attr]
    same = [F.interpolate(F.normalize(f - f.mean((2, 3), keepdim=True)), (side, side), mode="bilinear") for f in levels]
    return torch.cat(same, 1)[0].permute(1, 2, 0).numpy()
