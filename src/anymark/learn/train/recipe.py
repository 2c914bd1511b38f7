"""Recipes: one TOML file says all that a training run depends on."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig
from anymark.learn.data.geometry import GeometryConfig
from anymark.learn.data.scenes import SceneConfig
from anymark.learn.models.encoder import EncoderConfig
from anymark.learn.models.locator import LocatorConfig
from anymark.learn.models.predictors import PredictorConfig

T = TypeVar("T")


@dataclass(frozen=True)
class TrainConfig:
    """The loop's settings, the same for every system."""

    steps: int = 10_000
    batch: int = 64
    """Samples a step and device."""
    lr: float = 1e-3
    warmup: int = 300
    """Steps of linear warm-up; a cosine to zero follows."""
    weight_decay: float = 0.02
    clip: float = 10.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the average of the weights that is evaluated and exported."""
    seed: int = 0
    init: str | None = None
    """Start from this run's weights.safetensors: a path from the recipe's folder, or else from the current directory.
    Where the input size differs the pooling is resized. A run that goes on does not need it."""
    evaluate_every: int = 500
    checkpoint_minutes: float = 3.0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


@dataclass(frozen=True)
class LandmarkData:
    """What the landmark detector learns from."""

    sources: dict[str, float] = field(default_factory=dict)
    """Photo set -> share of the samples."""
    store_size: int = 256
    """Side of the crops in memory, pixels."""
    queries: int = 128
    """Canonical points a sample."""
    extend: tuple[str, ...] = ()
    """Layouts whose points get weak labels: they follow the labelled ones as the head's affine image would."""
    window_scale: float = 1.5
    """Side of the window over the longer side of the face's box."""


@dataclass(frozen=True)
class LandmarkRecipe:
    """A landmark detector."""

    kind: Literal["landmarks"] = "landmarks"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    data: LandmarkData = field(default_factory=LandmarkData)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class LocatorData:
    """What the head locator learns from."""

    sources: dict[str, float] = field(default_factory=dict)
    """Photo set, or `whole-NAME` for one source of the whole photos -> share of the photos."""
    store_size: int = 256
    """Side of the crops and backgrounds in memory, pixels."""
    size: int = 256
    """Side of the scenes, pixels."""
    views: int = 30
    """Backgrounds cut from each panorama."""
    textures: int = 500
    """Painted backgrounds."""


@dataclass(frozen=True)
class LocatorRecipe:
    """A head locator."""

    kind: Literal["locator"] = "locator"
    model: LocatorConfig = field(default_factory=LocatorConfig)
    data: LocatorData = field(default_factory=LocatorData)
    scenes: SceneConfig = field(default_factory=SceneConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


Recipe = LandmarkRecipe | LocatorRecipe


def from_table(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Build a config dataclass from a TOML table.

    Raises:
        AnymarkError: an unknown key, with the nearest known ones, or a value of the wrong type.
    """
    known = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 3) or sorted(known)
            raise AnymarkError(f"{where}: unknown key {key!r}; known: {', '.join(near)}")
        hint = known[key]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise AnymarkError(f"{where}: {key} must be a table")
            values[key] = from_table(hint, value, f"{where}: {key}")
        else:
            values[key] = _checked(value, hint, f"{where}: {key}")
    return kind(**values)


def _checked(value: Any, hint: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            raise AnymarkError(f"{where}: {value!r} is none of {', '.join(map(repr, args))}")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise AnymarkError(f"{where}: must be a table")
        return {str(k): _checked(v, args[1], f"{where}.{k}") for k, v in value.items()}
    if origin is tuple:
        if not isinstance(value, list):
            raise AnymarkError(f"{where}: must be a list")
        return tuple(_checked(v, args[0], f"{where}[{i}]") for i, v in enumerate(value))
    options = tuple(a for a in args if a is not type(None)) or (hint,)
    if float in options and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, options) or (isinstance(value, bool) and bool not in options):
        raise AnymarkError(f"{where}: {value!r} is not {' or '.join(o.__name__ for o in options)}")
    return value


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        AnymarkError: the file is missing, is not TOML, or holds a key or value that does not fit.
    """
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AnymarkError(f"{path}: not a TOML file ({error})") from error
    kinds: dict[str, type[Recipe]] = {"landmarks": LandmarkRecipe, "locator": LocatorRecipe}
    kind = table.get("kind", "landmarks")
    if kind not in kinds:
        raise AnymarkError(f"{path}: kind {kind!r} is none of {', '.join(kinds)}")
    return from_table(kinds[kind], table, str(path))


def find_init(init: str, folder: Path) -> Path:
    """The file that a recipe's `train.init` names: from the recipe's folder, or else from the current directory.

    Raises:
        AnymarkError: it is in neither.
    """
    places = (folder / init, Path(init))
    for place in places:
        if place.is_file():
            return place
    raise AnymarkError(f"train.init: no such file: {' or '.join(dict.fromkeys(map(str, places)))}")
