"""What dense models start from, for the pictures of a training set: the query model is asked once, and its answers are
kept beside the data."""

from __future__ import annotations

import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import Float16, UInt8

from anymark.arrays import open_arrays
from anymark.detect.detector import Detector
from anymark.detect.model import Model
from anymark.detect.prior import CHANNELS, STRIDE, no_prior, prior_of
from anymark.detect.window import Crop, Window
from anymark.errors import AnymarkError
from anymark.files import atomic

FILE = "priors.npz"
QUERY = "small"
"""The query model."""
SHOWN = 500
"""Pictures between two lines that say how far it is."""


def read_priors(
    folder: Path, images: UInt8[np.ndarray, "N 3 S S"], box_px: npt.NDArray[np.floating]
) -> Float16[np.ndarray, "N 4 s s"]:
    """The prior of each whole picture of a data set: from `folder`, where it is kept, or else the query model.

    Args:
        box_px: (N, 4) the face in each.
    """
    files = Model(QUERY, "landmarks").need("files")
    model = " ".join(str(files[name]["sha256"]) for name in sorted(files))
    pictures = zip(images, box_px, strict=True)
    of = np.array([zlib.crc32(box.tobytes(), zlib.crc32(image.tobytes())) for image, box in pictures])
    kept = _read(folder / FILE, model, of)
    if kept is None:
        kept = ask(images, box_px, folder.name)
        try:
            with atomic(folder / FILE, "wb") as file:
                np.savez(file, priors=kept, model=model, of=of)
        except (AnymarkError, OSError) as error:  # data that others share may be read-only
            print(f"anymark: priors are not kept: {error}", file=sys.stderr)
    return kept


def _read(path: Path, model: str, of: npt.NDArray[np.integer]) -> npt.NDArray[np.float16] | None:
    """What is kept of this model and of these pictures, or of these and more; None if that is not all, or damaged."""
    try:
        with open_arrays(path, "priors") as file:
            if str(file["model"]) == model and np.array_equal(file["of"][: len(of)], of):
                return file["priors"][: len(of)]
    except AnymarkError:
        pass
    return None


def ask(
    images: UInt8[np.ndarray, "N 3 S S"], box_px: npt.NDArray[np.floating], name: str
) -> Float16[np.ndarray, "N 4 s s"]:
    """The prior of each, from the query model. Args: see `read_priors`."""
    detector = Detector(QUERY, threads=1, looks=1)
    side = images.shape[-1]
    whole = Crop(Window(np.full(2, side / 2), float(side)).affine())

    def one(i: int) -> npt.NDArray[np.float32]:
        window = Window.from_box(box_px[i], detector.landmarker.window_scale)
        (head,) = detector.encode(images[i].transpose(1, 2, 0), [window])
        if head.unsureness > detector.landmarker.most_unsure:
            return no_prior(side // STRIDE)
        return prior_of(head.mesh(), whole, side // STRIDE)

    detector.load()
    out = np.empty((len(images), CHANNELS, side // STRIDE, side // STRIDE), np.float16)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, found in enumerate(pool.map(one, range(len(images)))):
            out[i] = found
            if i % SHOWN == 0:
                print(f"{name}: {QUERY} has looked at {i}/{len(images)} pictures", file=sys.stderr)
    return out
