"""Weights of models: read, loaded, and started from."""

from __future__ import annotations

import math
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from anymark.errors import AnymarkError


def load_weights(model: nn.Module, path: Path, beside: str | None = None) -> None:
    """Load a safetensors file of weights.

    Args:
        beside: names that begin so are of another model that was trained with it, and are left out.

    Raises:
        AnymarkError: the file is missing, or its weights are of another model.
    """
    state = read_weights(path)
    try:
        model.load_state_dict({k: v for k, v in state.items() if beside is None or not k.startswith(beside)})
    except RuntimeError as error:
        raise AnymarkError(f"{path}: weights of another model ({str(error).splitlines()[-1].strip()})") from error


def start_from(model: nn.Module, path: Path) -> list[str]:
    """Load what fits of another model's weights; a grid pooling that was trained for another input size is resized, and
    an S that they lack starts as their encoder.

    Returns:
        The names of what starts anew.

    Raises:
        AnymarkError: the file is missing, or nothing of the encoder fits.
    """
    state, own = read_weights(path), model.state_dict()
    for key, value in own.items():
        pool, given = key.removesuffix("4.weight"), state.get(key)
        if key.endswith("encoder.pool.4.weight") and given is not None and given.shape != value.shape:
            state[key] = _resize_grid(given, value.shape[1], state[f"{pool}0.weight"].shape[0])
    for key in own.keys() - state.keys():  # S learns faster from an encoder that knows heads
        if key.startswith("crop.encoder.") and key.removeprefix("crop.") in state:
            state[key] = state[key.removeprefix("crop.")]
    for key in own.keys() - state.keys():  # a query model that learned along with a dense one goes on by itself
        if f"query.landmarker.{key}" in state:
            state[key] = state[f"query.landmarker.{key}"]
    for key in own.keys() - state.keys():  # a dense model starts from the encoder of a landmark model
        given = key.removeprefix("embedder.")
        if key.startswith("embedder.") and given in state:
            state[key] = state[given]
    fits = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    if not any("encoder." in key for key in fits):
        raise AnymarkError(f"{path}: weights of another model (nothing of its encoder fits)")
    model.load_state_dict({**own, **fits})
    return sorted(own.keys() - fits.keys())


def read_weights(path: Path) -> dict[str, Tensor]:
    """What a safetensors file holds.

    Raises:
        AnymarkError: it is missing, or no such file.
    """
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own kinds
        raise AnymarkError(f"{path}: no weights ({error})") from error


def trained_steps(path: Path) -> int | None:
    """How many steps made a run's weights.safetensors; None where the file does not say.

    Raises:
        AnymarkError: the file is missing, or is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise AnymarkError(f"{path}: no weights ({error})") from error
    return int(metadata["step"]) if "step" in metadata else None


def _resize_grid(weight: Tensor, columns: int, channels: int) -> Tensor:
    """(D, channels * G * G) -> (D, channels * H * H): the same sum over a finer or coarser grid."""
    old, new = (math.isqrt(n // channels) for n in (weight.shape[1], columns))
    grid = weight.view(-1, channels, old, old)
    grid = nn.functional.interpolate(grid, (new, new), mode="bilinear", align_corners=False) * (old / new) ** 2
    return grid.flatten(1)
