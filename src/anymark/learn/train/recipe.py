"""Recipes: one TOML file says all that a training run depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from anymark.detect.model import MODELS, available_models
from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig
from anymark.learn.data.geometry import GeometryConfig
from anymark.learn.data.marked import JitterConfig
from anymark.learn.data.scenes import SceneConfig
from anymark.learn.models.crop import CropConfig
from anymark.learn.models.cube import CubeConfig
from anymark.learn.models.deformer import DeformerConfig
from anymark.learn.models.embedder import EmbedderConfig
from anymark.learn.models.encoder import EncoderConfig
from anymark.learn.models.landmarker import ModelConfig
from anymark.learn.models.locator import MULTIPLE, LocatorConfig
from anymark.learn.models.markers import MarkerConfig
from anymark.learn.models.predictors import PredictorConfig
from anymark.learn.train.losses import LossConfig
from anymark.tables import ABOVE_0, check_numbers, from_table, read_toml

WEIGHTS = "weights.safetensors"
"""The file of weights, of a run and of a model."""


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
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW; adversaries want a first one of 0.5."""
    hold: float = 0.0
    """Share of the steps after the warm-up at the full rate, before it falls."""
    clip: float = 10.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the average of the weights that is evaluated and exported."""
    seed: int = 0
    init: str | None = None
    """Start from these weights: a shipped model's name, or a run's weights.safetensors: from the recipe's folder,
    or else from the current directory. Where the input size differs the pooling is resized; parts that they lack, or
    that are of another shape, start anew. A run that goes on does not need it."""
    evaluate_every: int = 500
    checkpoint_minutes: float = 3.0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        check_numbers(self, "steps", "batch", "evaluate_every", least=1)
        check_numbers(self, "lr", "clip", "checkpoint_minutes", least=ABOVE_0)
        check_numbers(self, "warmup", "weight_decay", least=0)
        check_numbers(self, "ema", "betas", "hold", least=0, most=1 - 1e-9)
        check_numbers(self, "seed", least=0, most=2**31 - 1)  # times the step it must fit into 63 bits


@dataclass(frozen=True)
class CardConfig:
    """What a model card says that no file of the data does. The recipe's author answers for it."""

    licence: str = "not stated"
    """Of the weights."""
    labels: str = "not stated"
    """Where the labels come from."""
    known_sources: bool = False
    """Photo sets that do not say what they are, and the panoramas, are the ones `DATA_CARDS` describes."""


@dataclass(frozen=True)
class LandmarkData:
    """What the landmark detector learns from."""

    sources: dict[str, float] = field(default_factory=dict)
    """Photo set -> share of the samples."""
    shards: dict[str, float] = field(default_factory=dict)
    """Folder of `anymark data build` -> share of the samples, on the same scale as the photo sets'."""
    inside: tuple[str, ...] = ()
    """Layouts on the bones, skull and mandible: shards know where these are."""
    held_out_shards: tuple[str, ...] = ()
    """Such folders of held-out photos, to score the whole head on."""
    store_size: int = 256
    """Side of the crops in memory, pixels; samples of shards are kept as they are."""
    queries: int = 128
    """Canonical points a sample."""
    extend: tuple[str, ...] = ()
    """Layouts whose points get weak labels: they follow the labelled ones as the head's affine image would."""
    window_scale: float = 1.5
    """Side of the window over the longer side of the face's box."""
    backgrounds: int = 0
    """Views of each panorama, as many painted textures times three, to lie around photos where windows reach beyond."""
    balanced: float = 0.0
    """Share of the samples that are drawn so that all yaws are as frequent; the rest, as the sets have them."""
    twins: float = 0.25
    """Share of the samples that come in pairs of one photo, whose landmarks must agree."""
    followed: float = 0.0
    """Share of the samples whose crop is their window, near the upright one, and not what S chooses: heads in the next
    frame of a video are read so."""

    def __post_init__(self) -> None:
        check_numbers(self, "twins", "followed", "balanced", least=0, most=1)
        check_numbers(self, "sources", "shards", "window_scale", least=ABOVE_0)
        check_numbers(self, "store_size", least=16)
        check_numbers(self, "queries", least=4)
        check_numbers(self, "backgrounds", least=0)


@dataclass(frozen=True)
class LandmarkRecipe:
    """A landmark detector."""

    kind: Literal["landmarks"] = "landmarks"
    head: Literal["2d", "3d"] = "3d"
    """"3d": landmarks on a head before a camera; "2d": in the crop itself, for comparison, unknown to run time."""
    crop: CropConfig = field(default_factory=CropConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    deformer: DeformerConfig = field(default_factory=DeformerConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    data: LandmarkData = field(default_factory=LandmarkData)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    card: CardConfig = field(default_factory=CardConfig)

    @property
    def model(self) -> ModelConfig:
        """The tables that make the model."""
        return ModelConfig(self.crop, self.encoder, self.deformer, self.predictor, self.head)


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

    def __post_init__(self) -> None:
        check_numbers(self, "sources", least=ABOVE_0)
        check_numbers(self, "store_size", least=16)
        check_numbers(self, "size", least=32)
        check_numbers(self, "views", least=1)
        check_numbers(self, "textures", least=0)
        if self.size % MULTIPLE:
            raise AnymarkError(f"size: {self.size} must be a multiple of {MULTIPLE}")


@dataclass(frozen=True)
class LocatorRecipe:
    """A head locator."""

    kind: Literal["locator"] = "locator"
    model: LocatorConfig = field(default_factory=LocatorConfig)
    data: LocatorData = field(default_factory=LocatorData)
    scenes: SceneConfig = field(default_factory=SceneConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    card: CardConfig = field(default_factory=CardConfig)


@dataclass(frozen=True)
class DenseData:
    """What a dense model learns from."""

    shards: dict[str, float] = field(default_factory=dict)
    """Folder of `anymark data build` -> share of the heads. Pairs and sequences show each head twice; a photo stands
    for both views itself."""
    tracks: dict[str, float] = field(default_factory=dict)
    """Folder of `anymark data tracks` -> share of the heads, on the same scale: real videos, whose matches alone are
    known."""
    photos: dict[str, float] = field(default_factory=dict)
    """Folder of photos -> share of the heads: nothing is known of them, and the round trip alone learns from them."""
    held_out_shards: tuple[str, ...] = ()
    """Such folders of held-out photos, to score on."""
    held_out: int = 512
    """Samples of each of these, at most."""
    window_scale: float = 2.0
    """Side of the window over the longer side of the face's box: hair and chin must be inside."""
    places: int = 512
    """Labelled places a view, half of them on the head."""
    matches: int = 48
    """P, pairs of points that two views are told to be the same."""
    apart: float = 0.05
    """Least distance of these in the first view, in its sides."""
    backgrounds: int = 20
    """Views of each panorama, as many painted textures times three."""
    empty: float = 0.03
    """Share of views that show no head at all."""
    blind: float = 0.05
    """Share of views without a prior."""
    loose: float = 0.01
    """How far priors are off while training; see `DenseSampler`."""

    def __post_init__(self) -> None:
        check_numbers(self, "shards", "tracks", "photos", "window_scale", least=ABOVE_0)
        check_numbers(self, "held_out", "places", "matches", least=2)
        check_numbers(self, "apart", "empty", "blind", "loose", least=0, most=1)
        check_numbers(self, "backgrounds", least=0)


@dataclass(frozen=True)
class DenseLossConfig:
    """Weights of the terms; 0 leaves one out."""

    landmarks: float = 1.0
    """Labelled places lie where the canonical head has them: their distance, as the paper's, and its likelihood, from
    which the spread comes."""
    contrast: float = 0.05
    """Features of matches are alike, those of other points orthogonal,"""
    kind: Literal["frobenius", "info-nce"] = "frobenius"
    """as the paper writes it, or with a temperature and a softmax."""
    regions: float = 0.3
    """Features tell the parts of the head apart."""
    head: float = 1.0
    """Head and hair, or neither."""
    closing: float = 0.0
    """The round trip with the query model closes; see `ClosingConfig`."""

    def __post_init__(self) -> None:
        check_numbers(self, "landmarks", "contrast", "regions", "head", "closing", least=0)

    @property
    def needs_cube(self) -> bool:
        """Whether features are asked for."""
        return self.contrast > 0 or self.regions > 0


@dataclass(frozen=True)
class ClosingConfig:
    """The query model that the round trip goes through."""

    recipe: str = "small.toml"
    """Its recipe: looked for as `train.init` is."""
    weights: str = "small"
    """Its weights: a shipped model's name, or a file."""
    learns: bool = False
    """Whether it is trained as well."""
    share: float = 0.25
    """Of the views; what their labels are does not count."""
    points: int = 256

    def __post_init__(self) -> None:
        check_numbers(self, "share", least=0, most=1)
        check_numbers(self, "points", least=1)


@dataclass(frozen=True)
class DenseRecipe:
    """A dense model."""

    kind: Literal["dense"] = "dense"
    embedder: EmbedderConfig = field(default_factory=EmbedderConfig)
    cube: CubeConfig = field(default_factory=CubeConfig)
    data: DenseData = field(default_factory=DenseData)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    loss: DenseLossConfig = field(default_factory=DenseLossConfig)
    closing: ClosingConfig = field(default_factory=ClosingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        if self.train.batch % 2:
            raise AnymarkError(f"train.batch: {self.train.batch} must be even: each head is seen twice")
        if self.data.photos and not self.loss.closing:
            raise AnymarkError("data.photos: without loss.closing nothing is learned from photos without labels")


@dataclass(frozen=True)
class MarkerData:
    """What a marker model learns from."""

    template: str = ""
    """File of the template,"""
    unmarked: str = ""
    """folder or video of pictures without marks,"""
    marked: str = ""
    """and with them; all three beside the recipe, or in the current directory."""
    jitter: JitterConfig = field(default_factory=JitterConfig)
    noise: float = 0.05
    """Noise on what L_delta sees, so that what G leaves of marks tells it little."""
    strewn: float = 1.0
    """How much marks that G learns to wipe off differ in place and looks from those that are painted, 0 for not."""

    def __post_init__(self) -> None:
        check_numbers(self, "noise", "strewn", least=0, most=1)


@dataclass(frozen=True)
class MarkerLossConfig:
    """Weights of the terms; 0 leaves one out."""

    judged: float = 1.0
    """The critics' word (least squares)."""
    cycle_unmarked: float = 10.0
    """Painted and wiped again, an unmarked picture is what it was (L1);"""
    cycle_marked: float = 10.0
    """wiped and painted again, so is a marked one."""
    identity: float = 2.0
    """What has no marks, G leaves alone (L1)."""
    spring: float = 10.0
    """K: neighbours of the template move alike; in half sides of the picture, squared."""
    spring_kind: Literal["vector", "length"] = "vector"
    """"vector": of the change of the way between two points; "length": of its length alone, so that turns are free."""

    def __post_init__(self) -> None:
        check_numbers(self, "judged", "cycle_unmarked", "cycle_marked", "identity", "spring", least=0)


@dataclass(frozen=True)
class MarkerRecipe:
    """A marker model."""

    kind: Literal["markers"] = "markers"
    model: MarkerConfig = field(default_factory=MarkerConfig)
    data: MarkerData = field(default_factory=MarkerData)
    loss: MarkerLossConfig = field(default_factory=MarkerLossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    card: CardConfig = field(default_factory=CardConfig)


Recipe = LandmarkRecipe | LocatorRecipe | DenseRecipe | MarkerRecipe


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        AnymarkError: the file is missing, is not TOML, or holds a key or value that does not fit.
    """
    table = read_toml(path)
    kinds: dict[str, type[Recipe]] = {
        "landmarks": LandmarkRecipe,
        "locator": LocatorRecipe,
        "dense": DenseRecipe,
        "markers": MarkerRecipe,
    }
    kind = table.get("kind", "landmarks")
    if kind not in kinds:
        raise AnymarkError(f"{path}: kind {kind!r} is none of {', '.join(kinds)}")
    return from_table(kinds[kind], table, str(path))


def find_init(init: str, folder: Path) -> Path:
    """The file that a recipe's `train.init` names: a shipped model's, one from the recipe's folder, or else from the
    current directory.

    Raises:
        AnymarkError: there is none.
    """
    if init in (*available_models("landmarks"), *available_models("dense")):
        return MODELS / init / WEIGHTS
    return find_file(init, folder, "train.init")


def find_file(name: str, folder: Path, what: str) -> Path:
    """A file that a recipe names: from the recipe's folder, or else from the current directory.

    Raises:
        AnymarkError: there is none.
    """
    places = (folder / name, Path(name))
    for place in places:
        if place.is_file():
            return place
    raise AnymarkError(f"{what}: no such file: {' or '.join(dict.fromkeys(map(str, places)))}")
