"""The landmark networks: crops -> codes of heads, code x canonical points -> landmarks in the window."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property

import numpy as np
import numpy.typing as npt

from anymark.detect.model import Model, Network
from anymark.errors import AnymarkError

BATCH = 32
"""Most crops encoded at once: enough to fill a processor, little enough to bound memory."""

_POINTS_AT_ONCE = 65_536  # canonical points per call of the trunk; bounds memory for layouts of millions
_CACHED_LAYOUTS = 8  # 50,000 points x 128 terms take 26 MB
_PREDICTORS = ("basis", "mlp", "transformer")


class Landmarker:
    """A landmark model folder: encode.onnx once a head, query.onnx once a layout ("basis") or once a query.

    Landmarks are (N, 3): x and y in normalised window coordinates, and the log of their standard deviation in the same
    unit.

    Raises:
        AnymarkError: the card lacks or garbles one of predictor, input_size and window_scale.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.predictor = str(model.need("predictor"))
        if self.predictor not in _PREDICTORS:
            card = model.folder / "card.json"
            raise AnymarkError(f"{card}: unknown predictor {self.predictor!r} ({', '.join(_PREDICTORS)})")
        self.input_size = int(model.need("input_size"))
        self.window_scale = float(model.need("window_scale"))
        self._bases: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()

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
        if self.predictor == "basis":
            return self._basis(points_mm) @ code
        return self._query(code=code[None], points_mm=points_mm)[0][0]

    def _basis(self, points_mm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(N, K) values of the basis at canonical points (N, 3), kept for the layouts used last."""
        key = points_mm.tobytes()  # by content: right for arrays changed in place, and 0.1 ms for 50,000 points
        basis = self._bases.pop(key, None)
        if basis is None:
            parts = range(0, len(points_mm), _POINTS_AT_ONCE)
            basis = np.concatenate([self._query(points_mm=points_mm[i : i + _POINTS_AT_ONCE])[0] for i in parts])
        self._bases[key] = basis
        if len(self._bases) > _CACHED_LAYOUTS:
            self._bases.popitem(last=False)
        return basis
