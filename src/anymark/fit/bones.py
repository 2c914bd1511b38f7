"""The bones of posed heads: the skull moves with the head, the mandible as the lower teeth do."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.canonical.kriging import extension_weights
from anymark.canonical.skull import Skull

Index = npt.NDArray[np.integer]

_AROUND = ("face", "scalp", "neck", "upper teeth", "lower teeth")
_EVERY = 2  # so many of their vertices carry the bones


def rest_bones(rest_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The vertices of `anymark.canonical.skull.Skull` inside of a person's head.

    Args:
        rest_mm: (..., V, 3) the canonical head's vertices of this person without expression, head frame.

    Returns:
        (..., B, 3) head frame.
    """
    around, weights, _, _ = _carried()
    return weights @ np.asarray(rest_mm, np.float32)[..., around, :]


def posed_bones(bones_mm: npt.ArrayLike, rest_mm: npt.ArrayLike, posed_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """A person's bones under an expression.

    Args:
        bones_mm: (..., B, 3) as `rest_bones` gives them.
        rest_mm, posed_mm: (..., V, 3) the canonical head's vertices without and with the expression, head frame.

    Returns:
        (..., B, 3) head frame: the skull where it was, the mandible moved rigidly as the lower teeth are.
    """
    _, _, teeth, mandible = _carried()
    out = np.array(bones_mm, np.float32)
    before, after = (np.asarray(x, np.float64)[..., teeth, :] for x in (rest_mm, posed_mm))
    middle_before, middle_after = before.mean(-2, keepdims=True), after.mean(-2, keepdims=True)
    u, _, vt = np.linalg.svd((after - middle_after).swapaxes(-1, -2) @ (before - middle_before))
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]  # no reflection
    moved = (out[..., mandible, :] - middle_before) @ (u @ vt).swapaxes(-1, -2) + middle_after
    out[..., mandible, :] = moved
    return out


@cache
def _carried() -> tuple[Index, npt.NDArray[np.float32], Index, Index]:
    """Ids of the head's vertices that carry the bones and their weights (B, those); ids of the lower teeth's vertices,
    and of the mandible's among the bones'."""
    head, skull = CanonicalHead.load(), Skull.load()
    ids = {name: head.vertices_of(name) for name in _AROUND}
    around = np.unique(np.concatenate(list(ids.values())))[::_EVERY]
    weights = extension_weights(head.vertices_mm[around], skull.vertices_mm)
    return around, weights, ids["lower teeth"], skull.vertices_of("mandible")
