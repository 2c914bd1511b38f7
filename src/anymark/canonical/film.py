"""Values carried on over the head's surface from where they are known, as smooth as a soap film."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, diags, spmatrix
from scipy.sparse.linalg import splu

Array = npt.NDArray[np.floating]

_TRUST = 10.0  # a known vertex against the smoothness between neighbours
_DRIFT = 0.002  # and against what is known on the average


def stiffness(triangles: npt.NDArray[np.integer], count: int) -> spmatrix:
    """(count, count) the graph Laplacian of a mesh's edges."""
    edges = np.vstack([triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    near = coo_matrix((np.ones(2 * len(edges)), np.hstack([edges.T, edges.T[::-1]])), (count, count)).tocsr()
    near.data[:] = 1.0
    return diags(np.asarray(near.sum(1)).ravel()) - near


def film(
    stiff: spmatrix,
    values: Array,
    known: Array,
    vertices: npt.NDArray[np.integer],
    weights: Array,
    otherwise: Array | None = None,
) -> Array:
    """(V, C) values of a mesh's vertices, from those of N points on it.

    Args:
        stiff: (V, V) of `stiffness`.
        values: (N, C)
        known: (N,) 0..1, to what degree.
        vertices: (N, 3) that each point lies between.
        weights: (N, 3) how much it is of each; they sum to 1.
        otherwise: (C,) what is taken where nothing is known at all; None is 0.
    """
    count = stiff.shape[0]
    weight = (weights * known[:, None]).ravel().clip(0)
    total = np.bincount(vertices.ravel(), weight, count)
    columns = [np.bincount(vertices.ravel(), weight * np.repeat(v, 3), count) for v in values.T]
    mean = np.stack(columns, 1) / np.maximum(total, 1e-6)[:, None]
    overall = (values * known[:, None]).sum(0) / max(float(known.sum()), 1e-6)
    if otherwise is not None and not known.any():
        overall = otherwise
    trust = _TRUST * np.minimum(total, 1.0)  # of a vertex with a point's worth of what is known
    system = stiff + diags(trust + _DRIFT)
    return splu(system.tocsc()).solve(trust[:, None] * mean + _DRIFT * overall)
