"""The dense model at work: photo in, a map of each head out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from anymark.detect.dense import DENSE, DenseMap, DenseNetwork, whole
from anymark.detect.detector import Detector
from anymark.detect.image import Source, open_photo
from anymark.detect.model import Model
from anymark.detect.window import Window


class Dense:
    """Where every pixel of a head lies on the canonical one.

    Models are loaded at first use, and verified by their SHA-256; `load` does it at once.

    Args:
        model: A dense model of the package by name, or a model's folder.
        detector: Finds the heads.
        providers: onnxruntime's execution providers, best first; None is the CPU.
        threads: Threads of the network; None is all cores.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DENSE,
        detector: Detector | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self._model = model
        self._options = (providers, threads)
        self.detector = detector or Detector(providers=providers, threads=threads)

    @cached_property
    def network(self) -> DenseNetwork:
        """The dense model."""
        return DenseNetwork(Model(self._model, "dense", *self._options))

    def load(self) -> None:
        """Load and verify all models now."""
        self.detector.load()
        self.network.load()

    def encode(self, image: Source, windows: Sequence[Window] | None = None) -> list[DenseMap]:
        """A map of each head of a photo, largest first.

        Args:
            image: A file, a Pillow image or an array; see `open_photo`.
            windows: Where to look, in pixels of the photo, when you know; `DenseNetwork.window_of` says which square is
                right for a face. None searches the photo; if there is no head in it, one map of all of it says so.

        Raises:
            AnymarkError: a bad photo, window or model.
        """
        photo = open_photo(image)
        if windows is None:
            heads = self.detector.encode(photo)
            windows = [self.network.window_of(head.box_px, head.roll_rad) for head in heads]
            windows = windows or [whole(photo.full_size_px)]
        return self.network.maps(photo, windows)
