"""Files as MATLAB writes them: version 5 through scipy, version 7.3 through h5py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

_HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."


def write_v73(path: Path, cells: dict[str, Sequence[np.ndarray]], **arrays: np.ndarray) -> None:
    """Variables of `save -v7.3`: axes reversed, cells as references to what lies in #refs#, N x 1 each."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = np.asarray(values).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
        for name, images in cells.items():
            references = []
            for i, image in enumerate(images):
                target = file.create_dataset(f"#refs#/{name}{i}", data=image.T)
                target.attrs["MATLAB_class"] = np.bytes_("uint8")
                references.append(target.ref)
            file.create_dataset(name, data=np.array([references], h5py.ref_dtype))
            file[name].attrs["MATLAB_class"] = np.bytes_("cell")
    with path.open("r+b") as file:
        file.write(_HEADER.ljust(124) + b"\x00\x02IM")


def cells_v5(images: Sequence[np.ndarray]) -> np.ndarray:
    """N x 1 cells for `scipy.io.savemat`."""
    out = np.empty((len(images), 1), object)
    for i, image in enumerate(images):
        out[i, 0] = image
    return out
