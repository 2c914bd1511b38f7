"""MATLAB's .mat files: up to version 7 with scipy, version 7.3, which is HDF5, with h5py, both of `anymark[eval]`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_STARTS = (0, 512)  # MATLAB puts a header of its own before it


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Arrays of numbers, their axes in MATLAB's order.

    Raises:
        AnymarkError: the file cannot be read, lacks one of the names, or one is not all finite numbers.
    """
    with _reading(path):
        if _is_hdf5(path):
            import h5py

            with h5py.File(path) as file:
                found: dict[str, Any] = {name: file[name] for name in names if name in file}
                found = {name: value[()].T for name, value in found.items() if isinstance(value, h5py.Dataset)}
        else:
            from scipy.io import loadmat

            found = loadmat(path, variable_names=list(names))
    for name in names:
        if name not in found:
            raise AnymarkError(f"{path}: lacks {name!r}")
        if found[name].dtype.kind not in "biuf" or not np.isfinite(found[name]).all():
            raise AnymarkError(f"{path}: {name!r} is not all finite numbers")
    return {name: np.asarray(found[name], np.float64) for name in names}


class MatImages:
    """The images in the cells of one variable. Those of a 7.3 file are read one by one, as they are asked for.

    Raises:
        AnymarkError: the file cannot be read, lacks the variable, or that holds no cells.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self._name = path, name
        self._cells: npt.NDArray[np.object_] | None = None
        with _reading(path):
            if _is_hdf5(path):
                import h5py

                with h5py.File(path) as file:
                    cells: Any = file.get(name)
                    are_cells = isinstance(cells, h5py.Dataset) and h5py.check_ref_dtype(cells.dtype) is h5py.Reference
                    self._count = cells.shape[0] * cells.shape[1] if are_cells else 0
            else:
                from scipy.io import loadmat

                cells = loadmat(path, variable_names=[name]).get(name)
                if cells is not None and cells.dtype == object:
                    self._cells = cells.ravel()
                self._count = 0 if self._cells is None else len(self._cells)
        if not self._count:
            raise AnymarkError(f"{path}: lacks the images {name!r}, cells of them")

    def __len__(self) -> int:
        return self._count

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """One image, RGB (H, W, 3); grey ones have three equal channels.

        Raises:
            AnymarkError: the file cannot be read any more, or this cell holds no image.
        """
        with _reading(self.path):
            if self._cells is None:
                import h5py

                with h5py.File(self.path) as file:
                    cells: Any = file[self._name]
                    target: Any = file[cells[()].ravel()[index]]
                    image = np.asarray(target[()]).T
            else:
                image = np.asarray(self._cells[index])
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0 or image.shape[2:] not in ((), (3,)):
            raise AnymarkError(f"{self.path}: {self._name}{{{index + 1}}} is no image: {image.dtype} {image.shape}")
        return np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong in here is the file's fault, or that of a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise AnymarkError(f"{path}: reading it needs {error.name}: pip install 'anymark[eval]'") from None
    except Exception as error:  # both libraries raise whatever they stumble over
        said = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())[:100]
        raise AnymarkError(f"{path}: cannot be read ({said or type(error).__name__})") from None


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(max(_HDF5_STARTS) + len(_HDF5))
    return any(start[i : i + len(_HDF5)] == _HDF5 for i in _HDF5_STARTS)
