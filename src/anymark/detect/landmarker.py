"""The landmark networks: window -> crop, crop -> code and camera of a head, code x canonical points -> landmarks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout
from anymark.canonical.frame import MIRROR
from anymark.detect.camera import VECTOR
from anymark.detect.model import Model, Network
from anymark.errors import AnymarkError

BATCH = 32
"""Most pictures in one call of a network: enough to fill a processor, little enough to bound memory."""

MOST_UNSURE = 0.08
"""For models whose card has no `most_unsure`. Of the first `small`, over 1,483 training photos, the median is 0.009 and
the largest 0.063; over the locator's errors on coins, gravel and print the median is 0.18."""

REFERENCE = "fits"
"""The data set that defines where canonical points are: its code is zero, and nothing moves."""

CHANNELS = 7
"""Of decode.onnx: x and y in the crop, log sigma in the same unit, logit of being seen, X, Y and Z in millimetres."""

_POINTS_AT_ONCE = 16_384  # canonical points per call of a network; bounds memory for layouts of millions
_CACHED_LAYOUTS = 16  # eight, each with its mirror image
_CACHED_BYTES = 256_000_000  # of their queries together: 50,000 points x 132 terms take 27 MB, twice for both sides
_LARGEST_INPUT = 4096  # pixels; more is a slip on the card
_MIRROR = MIRROR.astype(np.float32)
_PREDICTORS = ("basis", "mlp", "transformer")
_CROPS = ("similarity", "affine")

Floats = npt.NDArray[np.float32]


class Query(NamedTuple):
    """What depends on canonical points alone."""

    points_mm: Floats
    """(N, 3) where the layout's data set means them to be."""
    query: Floats
    """(N, C) what the predictor takes for them."""


class Answer(NamedTuple):
    """Where the points of a layout are on one head."""

    xy: Floats
    """(N, 2) crop coordinates."""
    sigma: Floats
    """(N,) standard deviation of x and of y in the same unit, calibrated."""
    uncovered: Floats
    """(N,) 0..1, how likely each point is seen, calibrated: the network's word, which knows of hands and hair."""
    xyz_mm: Floats
    """(N, 3) head frame."""
    canonical_mm: Floats
    """(N, 3) where on the canonical head the layout's data set means them to be."""


class Landmarker:
    """A landmark model folder: crop.onnx and encode.onnx once a head, query.onnx once a layout, decode.onnx once a
    query.

    Layouts of millions of points take bounded memory, but for the transformer: its points share statistics, so they go
    through it all at once.

    Raises:
        AnymarkError: the card lacks or garbles one of its values.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._card = model.folder / "card.json"
        self.predictor = self._one_of("predictor", _PREDICTORS)
        self.input_size = model.whole_number("input_size", _LARGEST_INPUT)
        """Side in pixels of the crop as it is encoded."""
        self.window_scale = model.number("window_scale")
        """Side of a head's window over the longer side of its face's box."""
        self.crop_size: int | None = None
        """Side in pixels of the window that the crop is chosen in; None: the crop is the window itself."""
        if model.need("crop") is not None:
            self._one_of("crop.kind", _CROPS)
            self.crop_size = model.whole_number("crop.input_size", _LARGEST_INPUT)
        self.most_unsure = model.number("most_unsure", MOST_UNSURE)
        self._sigma_scale = model.number("sigma_scale")
        self._visible_scale = model.number("visible.scale")
        self._visible_shift = model.number("visible.shift", above=-1e6)
        self.surface_trust = model.number("visible.surface", most=1.0)
        """0..1, how surely what this model's heads hide is hidden; see `Surface`."""
        self.codes = self._read_codes()
        """Data set -> (E,) its code."""
        self._kept: OrderedDict[tuple[bytes, bytes], list[Query]] = OrderedDict()
        self._lock = Lock()

    @cached_property
    def name(self) -> str:
        """The model by its name and by the network that reads data set codes, such as "small 46a2ea96ea17"."""
        return f"{self._model.need('name')} {self._model.sha256('query.onnx')[:12]}"

    @cached_property
    def _crop(self) -> Network:
        return self._model.network("crop.onnx", ["crop"], small=True)

    @cached_property
    def _encode(self) -> Network:
        return self._model.network("encode.onnx", ["code", "camera"])

    @cached_property
    def _query(self) -> Network:
        return self._model.network("query.onnx", ["deformed_mm", "query"])

    @cached_property
    def _decode(self) -> Network:
        return self._model.network("decode.onnx", ["landmarks"], small=self.predictor == "basis")

    def load(self) -> None:
        """Load all networks now rather than at first use."""
        _ = self._encode, self._query, self._decode
        if self.crop_size is not None:
            _ = self._crop

    def crops(self, windows: npt.NDArray[np.uint8]) -> Floats:
        """Windows (B, C, C, 3) of `crop_size` -> (B, 2, 3) maps from crop to window coordinates.

        Raises:
            AnymarkError: an answer is not finite.
        """
        parts = [windows[i : i + BATCH] for i in range(0, len(windows), BATCH)]
        return np.concatenate([_run(self._crop, (2, 3), image=part)[0] for part in parts])

    def encode(self, crops: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Crops (B, S, S, 3) -> codes (B, K, 5) of the basis predictor or (B, D) of the others, and cameras (B, 13).

        A camera is what `anymark.detect.camera.VECTOR` says.

        Raises:
            AnymarkError: an answer is not finite.
        """
        parts = [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]
        found = [_run(self._encode, (), (VECTOR,), image=part) for part in parts]
        return np.concatenate([code for code, _ in found]), np.concatenate([camera for _, camera in found])

    def landmarks(self, code: Floats, camera: Floats, layout: Layout, mirrored: bool = False) -> Answer:
        """The code of one head (K, 5) or (D,), its camera (13,) and a layout -> the layout's points on that head.

        Args:
            mirrored: The crop was mirrored: the points' mirror images are asked for, and the answers mirrored back.

        Raises:
            AnymarkError: an answer is not finite, or the layout's data set code is of another model.
        """
        head = {"code": code[None], "camera": camera[None]}
        dataset, reference, points_mm = self.data_set_code(layout), self.codes[REFERENCE], layout.points_mm
        if mirrored:
            if not np.array_equal(dataset, reference):  # it may mean the two sides differently
                points_mm = np.concatenate([q.points_mm for q in self._queries(points_mm, dataset)])
            points_mm, dataset = points_mm * _MIRROR, reference
        queries = self._queries(points_mm, dataset)
        parts = [(_run(self._decode, (CHANNELS,), **head, **q._asdict())[0][0], q.points_mm) for q in queries]
        found, canonical = (np.concatenate(each) for each in zip(*parts, strict=True))
        with np.errstate(over="ignore"):
            sigma = np.exp(found[:, 2]) * np.float32(self._sigma_scale)
        if not np.isfinite(sigma).all():
            raise AnymarkError(f"{self._decode.path}: its answer is not finite")
        logit = np.clip(self._visible_scale * found[:, 3] + self._visible_shift, -50, 50)
        uncovered = (1 / (1 + np.exp(-logit))).astype(np.float32)
        xy, xyz_mm = found[:, :2], found[:, 4:]
        if mirrored:
            xy, xyz_mm, canonical = xy * _MIRROR[:2], xyz_mm * _MIRROR, canonical * _MIRROR
        return Answer(xy, sigma, uncovered, xyz_mm, canonical)

    def data_set_code(self, layout: Layout) -> Floats:
        """(E,) the numbers of a layout's code; those of the reference for a name that the model lacks.

        Raises:
            AnymarkError: the layout has numbers, and not as many as the model's codes, or those of another model.
        """
        reference = self.codes[REFERENCE]
        if layout.code is None or isinstance(layout.code, str):
            return self.codes.get(layout.code or REFERENCE, reference)
        if layout.model not in (None, self.name):
            whose = f"its code belongs to the model {layout.model}, and says nothing to {self.name}"
            raise AnymarkError(f"layout {layout.name!r}: {whose}: calibrate it anew (anymark layout calibrate)")
        if len(layout.code) != len(reference):
            numbers = f"a code of {len(layout.code)} numbers; those of {self._model.folder.name} have {len(reference)}"
            raise AnymarkError(f"layout {layout.name!r}: {numbers}")
        return np.array(layout.code, np.float32)

    def _queries(self, points_mm: Floats, dataset: Floats) -> Iterator[Query]:
        """The queries of a layout, so many points at a time; kept for the next time unless they are too large."""
        key = points_mm.tobytes(), dataset.tobytes()  # by content: 0.1 ms for 50,000 points
        with self._lock:  # a detector may be shared by the threads of a server
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is not None:
            yield from kept
            return
        queries: list[Query] = []
        size = 0
        at_once = len(points_mm) if self.predictor == "transformer" else _POINTS_AT_ONCE
        for i in range(0, len(points_mm), at_once):
            query = Query(*_run(self._query, (3,), (), points_mm=points_mm[i : i + at_once], dataset=dataset))
            size += _bytes([query])
            if size <= _CACHED_BYTES:
                queries.append(query)
            yield query
        if size <= _CACHED_BYTES:
            self._keep(key, queries)

    def _keep(self, key: tuple[bytes, bytes], queries: list[Query]) -> None:
        """Those used longest ago give way."""
        with self._lock:
            self._kept[key] = queries
            while len(self._kept) > _CACHED_LAYOUTS or sum(map(_bytes, self._kept.values())) > _CACHED_BYTES:
                self._kept.popitem(last=False)

    def _read_codes(self) -> dict[str, Floats]:
        given = self._model.need("codes")
        if not isinstance(given, dict) or REFERENCE not in given:
            raise AnymarkError(f"{self._card}: 'codes' must be an object that has {REFERENCE!r}")
        reference = given[REFERENCE]
        length = len(reference) if isinstance(reference, list) else 0
        codes: dict[str, Floats] = {}
        for name, numbers in given.items():
            try:
                with np.errstate(over="ignore"):
                    codes[name] = np.array(numbers, np.float32)
            except (TypeError, ValueError, OverflowError):  # lists of different lengths, words
                codes[name] = np.zeros(0, np.float32)
            if codes[name].shape != (length,) or length == 0 or not np.isfinite(codes[name]).all():
                raise AnymarkError(f"{self._card}: 'codes.{name}' must be a list of numbers, as many in each")
        return codes

    def _one_of(self, key: str, known: tuple[str, ...]) -> str:
        value = self._model.need(key)
        if value not in known:
            raise AnymarkError(f"{self._card}: unknown {key} {value!r:.40} ({', '.join(known)})")
        return value


def _run(network: Network, *shapes: tuple[int, ...], **inputs: npt.NDArray[np.generic]) -> list[Floats]:
    """A network's answers, checked: each must be finite and end in its shape.

    Raises:
        AnymarkError: one does not, or the network refuses these inputs.
    """
    answers = network(**inputs)
    for answer, shape in zip(answers, shapes, strict=True):
        if answer.shape[answer.ndim - len(shape) :] != shape:
            raise AnymarkError(f"{network.path}: its answer is {answer.shape}, which does not end in {shape}")
        if not np.isfinite(answer).all():
            raise AnymarkError(f"{network.path}: its answer is not finite")
    return answers


def _bytes(queries: list[Query]) -> int:
    return sum(query.points_mm.nbytes + query.query.nbytes for query in queries)
