"""The bones inside the canonical head.

Adapted from "Skull" by YahooJAPAN (thingiverse.com/thing:182365, CC BY 3.0); see NOTICE.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError


@dataclass(frozen=True, eq=False)
class Skull:
    """Two closed surfaces inside the canonical head, in its pose: mouth a little open. Its arrays are read-only.

    The `skull` (cranium and upper jaw) moves with the head, the `mandible` rigidly with the lower teeth. Neither has
    teeth: the canonical head's stand where they would. Left and right are exact mirror images.
    """

    vertices_mm: npt.NDArray[np.float32]
    """(V, 3) head frame, millimetres."""
    triangles: npt.NDArray[np.int32]
    """(T, 3) vertex ids, counter-clockwise seen from outside."""
    body: npt.NDArray[np.int16]
    """(V,) index into `body_names`."""
    body_names: tuple[str, ...]
    """`skull` and `mandible`."""

    @staticmethod
    def load() -> Skull:
        """The shipped skull; read once."""
        return _load()

    def vertices_of(self, body: str) -> npt.NDArray[np.int32]:
        """Ascending ids of a body's vertices; bodies share none.

        Raises:
            AnymarkError: there is no body of that name.
        """
        if body not in self.body_names:
            raise AnymarkError(f"no body named {body!r}; there are {', '.join(self.body_names)}")
        return np.flatnonzero(self.body == self.body_names.index(body)).astype(np.int32)

    def triangles_of(self, body: str) -> npt.NDArray[np.int32]:
        """Ascending ids of a body's triangles.

        Raises:
            AnymarkError: there is no body of that name.
        """
        return np.flatnonzero(np.isin(self.triangles[:, 0], self.vertices_of(body))).astype(np.int32)


@lru_cache(maxsize=1)
def _load() -> Skull:
    with (resources.files("anymark.canonical") / "data" / "skull.npz").open("rb") as file, np.load(file) as data:
        arrays = {key: data[key] for key in data.files}
    for array in arrays.values():
        array.setflags(write=False)
    body_names = tuple(arrays.pop("body_names").tolist())
    return Skull(**arrays, body_names=body_names)
