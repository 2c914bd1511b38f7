"""Recipes of data sets: what is made of which photos."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from anymark.engine.samples import COARSE
from anymark.engine.shots import PRESETS, ShotConfig
from anymark.errors import AnymarkError
from anymark.photo_files import Split
from anymark.tables import ABOVE_0, check_numbers, from_table, read_toml


@dataclass(frozen=True)
class DataRecipe:
    """What a data set is built from, and how."""

    kind: Literal["data"] = "data"
    preset: Literal["photos", "views", "pairs", "sequences", "helmet", "marked"] = "views"
    """photos: the labelled photos themselves, with the heads of their fits; views: the same heads re-posed; pairs: two
    views of one head; sequences: smooth motion; helmet: from a camera on a helmet; marked: painted dots and lines."""
    sources: dict[str, int] = field(default_factory=dict)
    """Photo set -> at most so many of its photos, spread evenly; 0 for all."""
    split: Split = "train"
    size: int = 256
    """Side of the pictures, pixels."""
    views: int = 4
    """Samples a photo; pairs or sequences a photo, where the preset makes these."""
    frames: int = 24
    """Samples a sequence, of each camera."""
    cameras: int = 1
    """Cameras around the head that see each frame of a sequence."""
    photos_a_shard: int = 48
    window_scale: float = 2.0
    """photos: side of the picture over the longer side of the face's box."""
    seed: int = 0
    shots: ShotConfig = field(default_factory=ShotConfig)
    """What shots are drawn from; what a recipe does not say is the preset's."""

    def __post_init__(self) -> None:
        check_numbers(self, "sources", least=0)
        check_numbers(self, "size", least=32, most=2048)
        check_numbers(self, "views", "frames", "photos_a_shard", "cameras", least=1)
        check_numbers(self, "window_scale", least=ABOVE_0)
        check_numbers(self, "seed", least=0)
        if self.size % COARSE:
            raise AnymarkError(f"size: {self.size} must be a multiple of {COARSE}")


def load_data_recipe(path: Path) -> DataRecipe:
    """Read a recipe of a data set.

    Raises:
        AnymarkError: the file is missing, is not TOML, or holds a key or value that does not fit.
    """
    table = read_toml(path)
    shots = table.pop("shots", {})
    recipe = from_table(DataRecipe, table, str(path))
    if not isinstance(shots, dict):
        raise AnymarkError(f"{path}: shots must be a table")
    asked = from_table(ShotConfig, shots, f"{path}: shots")
    base = PRESETS.get(recipe.preset, ShotConfig())
    recipe = replace(recipe, shots=replace(base, **{key: getattr(asked, key) for key in shots}))
    if not recipe.sources:
        raise AnymarkError(f"{path}: names no sources")
    return recipe
