"""Which layout a command line asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anymark.canonical import Layout
from anymark.detect.points import as_layout
from anymark.errors import AnymarkError

DEFAULT_LAYOUT = "ibug68"


def asked_layout(name: str | None, points: Sequence[str]) -> Layout:
    """The layout of a command line: --layout with the points of --point, in millimetres, after its own; either alone,
    or the default.

    Raises:
        AnymarkError: no such layout, or a point that is not three numbers.
    """
    if not points:
        return as_layout(name or DEFAULT_LAYOUT)
    single = Layout("points", np.array([_parse_point(text) for text in points], np.float32), names=tuple(points))
    return single if name is None else joined(as_layout(name), single)


def joined(base: Layout, more: Layout) -> Layout:
    """A layout with the points of another after its own."""
    still = np.zeros((len(more), 2, 3), np.float32)
    return Layout(
        f"{base.name}+{more.name}",
        np.concatenate([base.points_mm, more.points_mm]),
        names=(base.names or ("",) * len(base)) + (more.names or ("",) * len(more)),
        edges=base.edges,
        triangles=base.triangles,
        regions=base.regions,
        code=base.code,
        model=base.model,
        slides_mm=None if base.slides_mm is None else np.concatenate([base.slides_mm, still]),
    )


def _parse_point(text: str) -> list[float]:
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise AnymarkError(f"--point {text}: three numbers x,y,z in millimetres are needed") from None
    if not np.isfinite([x, y, z]).all():
        raise AnymarkError(f"--point {text}: not finite")
    return [x, y, z]
