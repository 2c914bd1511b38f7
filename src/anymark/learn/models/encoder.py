"""Image encoders F: a window's pixels -> one feature vector (CLD section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from anymark.errors import AnymarkError
from anymark.tables import check_numbers

PRESETS = {
    "convnext-small": "convnext_small",
    "convnext-tiny": "convnext_tiny",
    "convnext-atto": "convnext_atto",
    "mobilenetv3-large": "mobilenetv3_large_100",
    "mobilenetv4-conv-small": "mobilenetv4_conv_small",
}
"""Short names of the encoders of the papers and of this project; any timm name works as well."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder, and how its feature map becomes a vector."""

    backbone: str = "mobilenetv4-conv-small"
    """A preset or any timm model name."""
    input_size: int = 128
    """Side of the square input, pixels."""
    features: int = 768
    """Length d of the feature vector f."""
    pool: Literal["grid", "mean"] = "grid"
    """"grid": project each cell and keep its place (sharper: places are what is asked for);
    "mean": global average pooling, as in the papers."""
    grid_channels: int = 96
    """Channels a cell keeps under "grid"."""
    pretrained: bool = False
    """Start from timm's weights (downloaded; mind their licence)."""

    def __post_init__(self) -> None:
        check_numbers(self, "input_size", least=32)
        check_numbers(self, "features", "grid_channels", least=1)


class Encoder(nn.Module):
    """A timm backbone without its classifier, and a pooling to `features` numbers.

    Raises:
        AnymarkError: timm does not know the backbone or has no weights for it, or the backbone gives no square map of
            features at this input size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        name = PRESETS.get(config.backbone, config.backbone)
        if not timm.is_model(name):
            near = timm.list_models(f"*{name.split('_')[0]}*")[:3] or sorted(PRESETS)
            raise AnymarkError(f"unknown backbone {config.backbone!r}; for example {', '.join(near)}")
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        try:
            known = timm.get_pretrained_cfg(name)
            sized: dict[str, Any] = {"img_size": config.input_size} if known and known.fixed_input_size else {}
            self.backbone: Any = timm.create_model(
                name, pretrained=config.pretrained, num_classes=0, global_pool="", **sized
            )
            channels, self.grid_size, side = self._trim(config.input_size)
        except Exception as error:  # whatever timm's many models raise
            reason = " ".join(str(error).split())
            raise AnymarkError(f"backbone {config.backbone!r} at {config.input_size} px: {reason}") from error
        if side != self.grid_size:
            raise AnymarkError(f"backbone {config.backbone!r}: its features are no square map")
        if config.pool == "grid":
            self.pool = nn.Sequential(
                nn.Conv2d(channels, config.grid_channels, 1, bias=False),
                nn.BatchNorm2d(config.grid_channels),
                nn.GELU(),
                nn.Flatten(),
                nn.Linear(config.grid_channels * self.grid_size**2, config.features),
                nn.GELU(),
            )
        else:
            self.pool = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, config.features), nn.GELU()
            )

    def _trim(self, size: int) -> tuple[int, ...]:
        """Drop the classifier's stages that the feature map does without: they would never get a gradient.

        Returns:
            Channels, rows and columns of the feature map.
        """
        stages = {name: getattr(self.backbone, name, None) for name in ("conv_head", "norm_head", "act2", "head")}
        stages = {name: stage for name, stage in stages.items() if isinstance(stage, nn.Module)}
        used: set[nn.Module] = set()
        hooks = [s.register_forward_hook(lambda module, *_: used.add(module)) for s in stages.values()]
        self.backbone.eval()  # running statistics must not see the zeros
        with torch.no_grad():
            grid = self._grid(torch.zeros(2, 3, size, size))
        self.backbone.train()
        for hook in hooks:
            hook.remove()
        for name, stage in stages.items():
            if stage not in used:
                setattr(self.backbone, name, nn.Identity())
        return tuple(grid.shape[1:])

    def _grid(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C G G"]:
        x = self.backbone.forward_features((image - self.mean) / self.std)
        if x.ndim == 3:  # a transformer's tokens: drop the prefix, restore the grid
            x = x[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
            side = math.isqrt(x.shape[1])
            return x.transpose(1, 2).unflatten(2, (side, side))
        if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC":  # Swin and its kin
            x = x.permute(0, 3, 1, 2)
        return x

    def forward(self, image: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        """RGB in 0..1 -> features f."""
        return self.pool(self._grid(image))
