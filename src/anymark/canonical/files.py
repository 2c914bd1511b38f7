"""Read layouts: the shipped ones by name, one's own from .json, .csv, .obj or .ply."""

from __future__ import annotations

import csv
import difflib
import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical.head import CanonicalHead
from anymark.canonical.layout import Layout
from anymark.errors import AnymarkError
from anymark.wavefront import read_obj

HEAD = "head"
"""The layout of all vertices of the canonical head; it has no file of its own."""

CODES = {"mediapipe478": "mediapipe478", "irises": "mediapipe478", "ibug68": "ibug68", "wflw98": "wflw98"}
"""Shipped layout -> the data set that labels its points. Those of the others lie where they say."""

_JSON_KEYS = {"name", "points_mm", "names", "edges", "flip", "triangles", "regions", "code", "model", "slides_mm"}
_SUFFIXES = (".json", ".csv", ".obj", ".ply")


def available_layouts() -> tuple[str, ...]:
    """The names of the shipped layouts, sorted."""
    folder = resources.files("anymark.canonical") / "data" / "layouts"
    names = [entry.name.removesuffix(".npz") for entry in folder.iterdir() if entry.name.endswith(".npz")]
    return tuple(sorted([*names, HEAD]))


def load_layout(name_or_path: str | os.PathLike[str]) -> Layout:
    """A shipped layout by its name, or a user's own from a .json, .csv, .obj or .ply file (millimetres).

    Raises:
        AnymarkError: no such layout, or the file is missing, unreadable or wrong; the message names it.
    """
    if Path(name_or_path).suffix.lower() in _SUFFIXES:
        return _load_file(Path(name_or_path))
    name = str(name_or_path)
    if name not in available_layouts():
        raise AnymarkError(_unknown(name))
    if name == HEAD:
        return CanonicalHead.load().layout()
    path = resources.files("anymark.canonical") / "data" / "layouts" / f"{name}.npz"
    with path.open("rb") as file, np.load(file) as data:
        regions = {key.removeprefix("region/"): data[key] for key in data.files if key.startswith("region/")}
        rest = {key: data[key] for key in data.files if not key.startswith("region/")}
    names = rest.pop("names", None)
    names = None if names is None else tuple(names.tolist())
    return Layout(name, names=names, regions=regions, code=CODES.get(name), **rest)


def _unknown(name: str) -> str:
    if os.sep in name or Path(name).suffix:
        return f"{name}: a layout's file must end in {', '.join(_SUFFIXES)}"
    shipped = available_layouts()
    near = difflib.get_close_matches(name.lower(), shipped, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(shipped)}"
    return f"no layout named {name!r}; {hint}"


def _load_file(path: Path) -> Layout:
    read = {".json": _read_json, ".csv": _read_csv, ".obj": _read_obj, ".ply": _read_ply}[path.suffix.lower()]
    try:
        layout = read(path)
    except FileNotFoundError:
        raise AnymarkError(f"{path}: no such file") from None
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise AnymarkError(f"{path}: is not a text file in UTF-8") from None
    except AnymarkError as error:
        raise AnymarkError(f"{path}: {error}") from None
    _check_unit(path, layout)
    return layout


def _check_unit(path: Path, layout: Layout) -> None:
    """Metres and centimetres shrink a head to a blob at the origin, deep inside the head, where nothing is."""
    reach = float(np.median(np.linalg.norm(layout.points_mm, axis=1)))
    if len(layout) > 1 and reach < 15:
        unit = "metres or unit-cube coordinates" if reach < 2 else "centimetres"
        raise AnymarkError(
            f"{path}: half of the points lie within {reach:.2g} mm of the middle of the head; positions must be "
            f"millimetres, these look like {unit}"
        )


def _read_json(path: Path) -> Layout:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise AnymarkError(f"is not valid JSON: {error}") from None
    if not isinstance(data, dict) or "points_mm" not in data:
        raise AnymarkError('must be a JSON object with "points_mm": [[x, y, z], ...]')
    unknown = sorted(set(data) - _JSON_KEYS)
    if unknown:
        raise AnymarkError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_JSON_KEYS))}")
    for key, kind in (("name", str), ("names", list), ("regions", dict), ("model", str)):
        if key in data and not isinstance(data[key], kind):
            raise AnymarkError(f"{key!r} must be a JSON {({str: 'string', list: 'array', dict: 'object'})[kind]}")
    regions = {name: _table(f"region {name!r}", ids, whole=True) for name, ids in data.get("regions", {}).items()}
    indices = {
        key: None if data.get(key) is None else _table(key, data[key], whole=True)
        for key in ("edges", "flip", "triangles")
    }
    names = tuple(map(str, data["names"])) if "names" in data else None
    return Layout(
        data.get("name", path.stem),
        _table("points_mm", data["points_mm"], whole=False),
        names=names,
        regions=regions,
        code=_code(data.get("code")),
        model=data.get("model"),
        slides_mm=_table("slides_mm", data["slides_mm"], whole=False) if "slides_mm" in data else None,
        **indices,
    )


def _code(code: object) -> str | tuple[float, ...] | None:
    """A data set's name, or the numbers of its code."""
    if code is None or isinstance(code, str):
        return code
    table = _table("code", code, whole=False)
    if table.ndim != 1:
        raise AnymarkError("code must be the name of a data set or a list of numbers")
    return tuple(table.tolist())


def _table(what: str, value: object, whole: bool) -> npt.NDArray:
    """Lists of numbers as an array of integers or of floats; its shape is for `Layout` to judge."""
    try:
        table = np.array(value)
    except (ValueError, OverflowError):  # rows of different lengths
        table = np.array("")
    if table.size == 0:
        return table.astype(int if whole else float)
    if table.dtype.kind not in ("iu" if whole else "iuf"):
        raise AnymarkError(f"{what} must be a table of {'whole ' if whole else ''}numbers")
    return table if whole else table.astype(float)


def _read_csv(path: Path) -> Layout:
    """Columns x, y, z and, if wanted, name; without a header they come in this order."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            numbered = [(i, [cell.strip() for cell in row]) for i, row in enumerate(csv.reader(file, strict=True), 1)]
        except csv.Error as error:
            raise AnymarkError(f"is not valid CSV: {error}") from None
    rows = [(i, row) for i, row in numbered if any(row)]
    if not rows:
        raise AnymarkError("is empty")
    columns = {"x": 0, "y": 1, "z": 2, "name": 3}
    header = [cell.lower() for cell in rows[0][1]]
    if {"x", "y", "z"} <= set(header):
        columns = {key: header.index(key) for key in ("x", "y", "z", "name") if key in header}
        rows = rows[1:]
    points, names = [], []
    for i, row in rows:
        try:
            points.append([float(row[columns[axis]]) for axis in "xyz"])
        except (ValueError, IndexError):
            raise AnymarkError(f"line {i} must hold three numbers x, y, z in millimetres") from None
        names.append(row[columns["name"]] if columns.get("name", len(row)) < len(row) else "")
    return Layout(path.stem, np.reshape(np.array(points, float), (-1, 3)), names=tuple(names) if any(names) else None)


def _read_obj(path: Path) -> Layout:
    """Vertices in file order, faces as triangles and lines as edges."""
    return _from_mesh(path, *read_obj(path))


def _read_ply(path: Path) -> Layout:
    try:
        import trimesh
    except ImportError:
        raise AnymarkError("reading .ply needs the extra mesh: pip install 'anymark[mesh]'") from None
    with path.open("rb") as file:
        try:
            mesh = trimesh.load(file, file_type="ply", process=False, maintain_order=True)
            points = np.asarray(mesh.vertices, float)  # pyright: ignore[reportAttributeAccessIssue]
        except Exception as error:  # trimesh raises whatever its parser stumbles over
            raise AnymarkError(f"is not a PLY file with vertices ({' '.join(str(error).split())[:80]})") from None
    return _from_mesh(path, points, np.asarray(getattr(mesh, "faces", ()), int), np.zeros(0, int))


def _from_mesh(path: Path, points: npt.NDArray, triangles: npt.NDArray, edges: npt.NDArray) -> Layout:
    if len(points) == 0:
        raise AnymarkError("has no vertices")
    return Layout(
        path.stem, points, triangles=triangles if len(triangles) else None, edges=edges if len(edges) else None
    )
