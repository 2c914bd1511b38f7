"""Templates: marks as somebody would paint them, points and lines of a picture of one kind (Generative Landmarks)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.files import write_json

NEIGHBOURS = 2
"""Springs from each point to so many of its nearest, where a template names none."""
SYMMETRIC = 0.02
"""A template is its own mirror image if points lie as near, over its size, to where a mirror has them."""


@dataclass(frozen=True, eq=False)
class Template:
    """N points where they lie in a picture of the kind, about; the lines that are painted between them; and the springs
    that hold them together.

    Raises:
        AnymarkError: shapes disagree, a number is not finite, a point lies outside of the picture or an index out of
            range.
    """

    name: str
    points: npt.NDArray[np.floating]
    """(N, 2) in -1..1, x right and y down: the corners of the square that training pictures fill."""
    lines: npt.NDArray[np.integer]
    """(L, 2) points that a painted line joins; a point of no line is a dot."""
    springs: npt.NDArray[np.integer]
    """(K, 2) points that keep together: those of the lines, and of the nearest others."""

    def __post_init__(self) -> None:
        points = _table(self.name, "points", self.points, np.float32)
        if not len(points):
            raise AnymarkError(f"template {self.name!r}: no points")
        if not np.isfinite(points).all():
            raise AnymarkError(f"template {self.name!r}: points are not finite")
        outside = np.flatnonzero((np.abs(points) > 1).any(1))
        if len(outside):
            x, y = points[outside[0]]
            raise AnymarkError(f"template {self.name!r}: point {outside[0]} at ({x:g}, {y:g}) lies outside of -1..1")
        object.__setattr__(self, "points", points)
        for key in ("lines", "springs"):
            pairs = _table(self.name, key, getattr(self, key), np.int32)
            if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(points)):
                raise AnymarkError(f"template {self.name!r}: {key} has an index outside 0..{len(points) - 1}")
            object.__setattr__(self, key, pairs)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"Template({self.name!r}, {len(self)} points, {len(self.lines)} lines)"

    @property
    def dots(self) -> npt.NDArray[np.int32]:
        """(D,) the points of no line."""
        return np.setdiff1d(np.arange(len(self)), self.lines).astype(np.int32)

    @property
    def flip(self) -> npt.NDArray[np.int64] | None:
        """(N,) the point that each one is in a mirror, where the template is its own mirror image; else None."""
        left, right = self.points[:, 0].min(), self.points[:, 0].max()
        mirrored = np.column_stack([left + right - self.points[:, 0], self.points[:, 1]])
        away = np.linalg.norm(mirrored[:, None] - self.points, axis=-1)
        flip = away.argmin(1)
        lines, swapped = ({tuple(sorted(pair)) for pair in ends.tolist()} for ends in (self.lines, flip[self.lines]))
        own = (flip[flip] == np.arange(len(self))).all() and lines == swapped
        return flip if own and away.min(1).max() < SYMMETRIC * self.size else None

    @property
    def size(self) -> float:
        """Diagonal of the points' box, in half sides of the picture: what errors are divided by."""
        return float(np.linalg.norm(np.ptp(self.points, axis=0))) or 1.0

    @classmethod
    def of(
        cls,
        name: str,
        points: Any,
        lines: Any = (),
        springs: Any = None,
    ) -> Template:
        """A template from rows of numbers. Springs that are not given are its lines and those to nearest neighbours.

        Raises:
            AnymarkError: as the class's; or something is no table of numbers.
        """
        kept = _table(name, "points", points, np.float32), _table(name, "lines", lines, np.int32)
        if springs is not None:
            return cls(name, *kept, _table(name, "springs", springs, np.int32))
        return cls(name, *kept, _springs(cls(name, *kept, np.zeros((0, 2), np.int32))))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {
            "name": self.name,
            "points": [[round(float(v), 5) for v in row] for row in self.points],
            "lines": self.lines.tolist(),
            "springs": self.springs.tolist(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .json file that `load_template` reads, complete or not at all.

        Raises:
            AnymarkError: it cannot be written.
        """
        write_json(Path(path), self.to_dict())


def load_template(path: str | os.PathLike[str]) -> Template:
    """A template from its .json file.

    Raises:
        AnymarkError: the file is missing, or holds no template.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    except (ValueError, RecursionError) as error:
        raise AnymarkError(f"{path}: not a JSON file ({error})") from None
    try:
        return template_of(data, path.stem)
    except AnymarkError as error:
        raise AnymarkError(f"{path}: {error}") from None


def template_of(data: Any, name: str = "template") -> Template:
    """A template from what JSON holds.

    Raises:
        AnymarkError: it is none.
    """
    if not isinstance(data, dict) or "points" not in data:
        raise AnymarkError("no template: an object with points, and lines and springs if there are any")
    unknown = sorted(set(data) - {"name", "points", "lines", "springs"})
    if unknown:
        raise AnymarkError(f"template: unknown key {unknown[0]!r}")
    return Template.of(str(data.get("name", name)), data["points"], data.get("lines", ()), data.get("springs"))


def _table(name: str, key: str, value: Any, kind: type[np.generic]) -> npt.NDArray[Any]:
    """Rows of two numbers."""
    try:
        array = np.array(value)
    except ValueError:
        raise AnymarkError(f"template {name!r}: {key} has rows of different lengths") from None
    if not array.size:
        return np.zeros((0, 2), kind)
    wanted = "iuf" if issubclass(kind, np.floating) else "iu"
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in wanted:
        raise AnymarkError(f"template {name!r}: {key} must be rows of 2 numbers")
    return array.astype(kind)


def _springs(template: Template) -> npt.NDArray[np.int32]:
    apart = np.linalg.norm(template.points[:, None] - template.points, axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, 1)[:, : min(NEIGHBOURS, len(template) - 1)]
    near = np.column_stack([np.repeat(np.arange(len(template)), nearest.shape[1]), nearest.ravel()])
    pairs = np.sort(np.vstack([template.lines, near]).astype(np.int32), 1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
