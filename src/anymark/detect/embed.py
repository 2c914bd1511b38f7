"""The dense model at work: photo in, a map of each head out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from anymark.detect.dense import DENSE, DenseMap, DenseNetwork, whole
from anymark.detect.detector import Detector, dense_maps
from anymark.detect.image import Photo, Source, open_photo
from anymark.detect.mesh import HeadMesh
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
        if windows is not None:
            return self.network.maps(photo, windows, self._meshes(photo, windows))
        heads = self.detector.encode(photo)
        if heads:
            return dense_maps(self.network, photo, heads)
        return self.network.maps(photo, [whole(photo.full_size_px)], [None])

    def _meshes(self, photo: Photo, windows: Sequence[Window]) -> list[HeadMesh | None]:
        """The head that the query model finds in each window, if it does."""
        if not self.network.reads_prior:
            return [None] * len(windows)
        landmarker = self.detector.landmarker
        inner = landmarker.window_scale / self.network.window_scale
        faces = [Window(window.centre_px, inner * window.side_px, window.roll_rad) for window in windows]
        heads = self.detector.encode(photo, faces)
        return [head.mesh() if head.unsureness <= landmarker.most_unsure else None for head in heads]
