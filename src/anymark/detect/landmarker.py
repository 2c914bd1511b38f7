"""The landmark networks: crops -> codes of heads, code x canonical points -> landmarks in the window."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from threading import Lock

import numpy as np
import numpy.typing as npt

from anymark.detect.model import Model, Network
from anymark.errors import AnymarkError

BATCH = 32
"""Most crops encoded at once: enough to fill a processor, little enough to bound memory."""

MOST_UNSURE = 0.08
"""For models whose card has no `most_unsure`. Of the first `small`, over 1,483 training photos, the median is 0.009 and
the largest 0.063; over the locator's errors on coins, gravel and print the median is 0.18."""

_POINTS_AT_ONCE = 16_384  # canonical points per call of a network; bounds memory for layouts of millions
_CACHED_LAYOUTS = 8
_CACHED_BYTES = 128_000_000  # of their bases together: 50,000 points x 128 terms take 26 MB
_LARGEST_INPUT = 4096  # pixels; more is a slip on the card
_MULTIPLIED_AT_ONCE = 200_000  # products of numbers; OpenBLAS takes one thread up to 262,144
_PREDICTORS = ("basis", "mlp", "transformer")


class Landmarker:
    """A landmark model folder: encode.onnx once a head, query.onnx once a layout ("basis") or once a query.

    Landmarks are (N, 3): x and y in normalised window coordinates, and the log of their standard deviation in the same
    unit. Layouts of millions of points take bounded memory, but for the transformer: its points share statistics, so
    they go through it all at once.

    Raises:
        AnymarkError: the card lacks or garbles one of predictor, input_size and window_scale, or garbles most_unsure.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.predictor = str(model.need("predictor"))
        card = model.folder / "card.json"
        if self.predictor not in _PREDICTORS:
            raise AnymarkError(f"{card}: unknown predictor {self.predictor!r} ({', '.join(_PREDICTORS)})")
        self.input_size = int(model.number("input_size", most=_LARGEST_INPUT))
        if self.input_size != model.card["input_size"]:
            raise AnymarkError(f"{card}: 'input_size' must be whole, not {model.card['input_size']}")
        self.window_scale = model.number("window_scale")
        self.most_unsure = model.number("most_unsure", MOST_UNSURE)
        self._bases: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()

    @cached_property
    def _encoder(self) -> Network:
        return self._model.network("encode.onnx", ["coefficients" if self.predictor == "basis" else "code"])

    @cached_property
    def _query(self) -> Network:
        return self._model.network("query.onnx", ["basis" if self.predictor == "basis" else "landmarks"])

    def load(self) -> None:
        """Load both networks now rather than at first use."""
        _ = self._encoder, self._query

    def encode(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Crops (B, S, S, 3) -> codes (B, K, 3) of the basis predictor or (B, D) of the others."""
        return np.concatenate([self._encoder(image=crops[i : i + BATCH])[0] for i in range(0, len(crops), BATCH)])

    def landmarks(self, code: npt.NDArray[np.float32], points_mm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The code of one head (K, 3) or (D,) and canonical points (N, 3) -> landmarks (N, 3)."""
        if self.predictor == "transformer":
            return self._query(code=code[None], points_mm=points_mm)[0][0]
        parts = [points_mm[i : i + _POINTS_AT_ONCE] for i in range(0, len(points_mm), _POINTS_AT_ONCE)]
        if self.predictor == "mlp":
            return np.concatenate([self._query(code=code[None], points_mm=part)[0][0] for part in parts])
        if len(points_mm) * len(code) * code.itemsize > _CACHED_BYTES:
            return np.concatenate([_product(self._query(points_mm=part)[0], code) for part in parts])
        key = points_mm.tobytes()  # by content: right for arrays changed in place, and 0.1 ms for 50,000 points
        basis = self._kept(key)
        if basis is None:
            basis = np.concatenate([self._query(points_mm=part)[0] for part in parts])
            self._keep(key, basis)
        return _product(basis, code)

    def _kept(self, key: bytes) -> npt.NDArray[np.float32] | None:
        with self._lock:  # a detector may be shared by the threads of a server
            if key in self._bases:
                self._bases.move_to_end(key)
            return self._bases.get(key)

    def _keep(self, key: bytes, basis: npt.NDArray[np.float32]) -> None:
        """The (N, K) values of the basis at a layout's points, for the next time; those used longest ago give way."""
        with self._lock:
            self._bases[key] = basis
            kept = self._bases.values()
            while len(self._bases) > _CACHED_LAYOUTS or sum(values.nbytes for values in kept) > _CACHED_BYTES:
                self._bases.popitem(last=False)


def _product(basis: npt.NDArray[np.float32], code: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """basis (N, K) @ code (K, 3), by so few rows at a time that BLAS starts no threads for them.

    Threads gain nothing here: 50,000 points take 1.2 ms on one, and 10 to 30 ms where several wait for busy cores.
    """
    out = np.empty((len(basis), code.shape[1]), np.float32)
    rows = max(1, _MULTIPLIED_AT_ONCE // code.size)
    for i in range(0, len(basis), rows):
        np.matmul(basis[i : i + rows], code, out=out[i : i + rows])
    return out
