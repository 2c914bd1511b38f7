"""Rigs of the user's: read from an .npz or a folder of .obj shapes, and laid onto the canonical head.

A rig's vertices become canonical points either because the file says which they are (`canonical_mm`), or from where its
68 landmarks are: the canonical head's own 68 say how the rig is warped onto it, and vertices that come to lie near its
surface, which then say so, too, are set upon it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.apps.flame import FLAME_UNIT_MM, read_flame
from anymark.arrays import read_arrays
from anymark.canonical import CanonicalHead, Layout, load_layout
from anymark.canonical.head import SKIN, closest_on_triangles
from anymark.canonical.kriging import extension_weights
from anymark.errors import AnymarkError
from anymark.files import reading
from anymark.fit import Points, Rig
from anymark.wavefront import read_obj

Array = npt.NDArray[np.floating]

LANDMARKS = "ibug68"
"""The layout whose vertices a rig may name."""

JAW_OPEN = 0.3
"""Weight of ICT-FaceKit's jawOpen in the canonical head."""

FARTHEST_MM = 5.0
"""A canonical point that lies so far from the rig's surface is not on it."""

_NEAR_MM = (15.0, 6.0)  # vertices that come so near to the head's surface are laid upon it, in each round
_ANCHORS = 400  # of them say, in the next round, how the others are warped
_NEAREST = 8  # vertices whose triangles are looked at for the nearest point
_ICT_LANDMARKS = "idx_to_landmark_verts"


@dataclass(frozen=True, eq=False)
class RigOnHead:
    """A rig whose surface is known on the canonical head."""

    rig: Rig
    canonical_mm: Array
    """(V, 3) where each vertex is on the canonical head; NaN for those that are nowhere on it."""

    @property
    def triangles(self) -> npt.NDArray[np.integer]:
        """(T', 3) those of the rig's triangles that lie on the canonical head."""
        known = np.flatnonzero(np.isfinite(self.canonical_mm).all(1))
        return self.rig.triangles[np.isin(self.rig.triangles, known).all(1)]

    def points_of(self, layout: Layout) -> tuple[Points, npt.NDArray[np.intp]]:
        """Where the points of a layout lie on the rig, and the indices of those that do.

        Raises:
            AnymarkError: none does.
        """
        triangles = self.triangles
        if not len(triangles):
            raise AnymarkError("none of the rig's triangles lies on the canonical head")
        corners, weights, away = closest(self.canonical_mm, triangles, layout.points_mm)
        on = np.flatnonzero(away <= FARTHEST_MM)
        if not len(on):
            raise AnymarkError(f"no point of the layout {layout.name!r} lies on the rig")
        return Points(corners[on], weights[on]), on


def ict_on_head(rig: Rig) -> RigOnHead:
    """ICT-FaceKit on the canonical head, which was made of it."""
    weights = JAW_OPEN * (np.array(rig.expression_names) == "jawOpen")
    return RigOnHead(rig, rig.vertices_mm(np.zeros(len(rig.identity_mm)), weights))


def load_rig(path: Path | str, unit_mm: float = 10.0, landmarks: Path | str | None = None) -> RigOnHead:
    """Read a rig and lay it onto the canonical head.

    Args:
        path: An .npz with neutral (V, 3), expression (E, V, 3), if there are any identity (I, V, 3) and
            expression_names (E,), triangles (T, 3) and either canonical_mm (V, 3) or ibug68 (68,), shapes being offsets
            from the neutral. Or a folder of .obj files of one topology: one called neutral, identities, and the others,
            which are expressions under their files' names. Or FLAME's .pkl, see `read_flame`, with landmarks.
        unit_mm: Millimetres of one unit of the shapes; canonical_mm has its own, and FLAME is in metres.
        landmarks: A file of the 68 vertex ids, if the rig does not name them: numbers, from 0, in any text or JSON. In
            a folder, landmarks.txt or vertex_indices.json is taken if it is there.

    Raises:
        AnymarkError: something is missing, damaged, or shapes do not share their topology.
    """
    path = Path(path)
    if not unit_mm > 0:
        raise AnymarkError(f"unit_mm {unit_mm}: must be above 0")
    if path.suffix.lower() == ".pkl":
        content, unit_mm = read_flame(path), FLAME_UNIT_MM
    else:
        content = _read_folder(path) if path.is_dir() else read_arrays(path, "an .npz file of a rig")
    try:
        neutral = unit_mm * np.asarray(content["neutral"], np.float64)
        none = np.zeros((0, *neutral.shape))
        rig = Rig(
            neutral,
            unit_mm * np.asarray(content.get("identity", none), np.float64),
            unit_mm * np.asarray(content.get("expression", none), np.float64),
            _names(content),
            content["triangles"],
        )
    except KeyError as error:
        raise AnymarkError(f"{path}: not a rig: lacks {error}") from None
    except (ValueError, TypeError) as error:  # an AnymarkError is one, too
        raise AnymarkError(f"{path}: {error}") from None
    if not len(rig.identity_mm) and not len(rig.expression_mm):
        raise AnymarkError(f"{path}: a rig without shapes")
    if landmarks is None and "canonical_mm" in content:
        canonical = np.asarray(content["canonical_mm"], np.float64)
        if canonical.shape != neutral.shape:
            raise AnymarkError(f"{path}: canonical_mm is {canonical.shape}, and there are {len(neutral)} vertices")
        return RigOnHead(rig, canonical)
    ids = content.get("ibug68") if landmarks is None else _read_ids(Path(landmarks))
    if ids is None:
        raise AnymarkError(f"{path}: the vertices of its 68 landmarks are needed, or canonical_mm")
    return register(rig, np.asarray(ids), str(path))


def _names(content: dict[str, npt.NDArray]) -> tuple[str, ...]:
    """Of the expressions; numbers where there are none."""
    if "expression_names" not in content:
        return tuple(f"expression{i:03d}" for i in range(len(content.get("expression", ()))))
    return tuple(str(name) for name in np.atleast_1d(content["expression_names"]))


def register(rig: Rig, ids: npt.NDArray[np.integer], name: str = "rig") -> RigOnHead:
    """Lay a rig onto the canonical head by where its 68 landmarks are.

    Raises:
        AnymarkError: they are not 68 of its vertices.
    """
    wanted = load_layout(LANDMARKS).points_mm.astype(np.float64)
    count = len(rig.neutral_mm)
    if ids.shape != (len(wanted),) or ids.dtype.kind not in "iu" or not 0 <= ids.min() <= ids.max() < count:
        raise AnymarkError(f"{name}: its landmarks must be {len(wanted)} vertices of 0..{count - 1}")
    own = rig.neutral_mm.astype(np.float64)
    own = own - own[ids].mean(0)
    known, to = own[ids], wanted
    head = CanonicalHead.load()
    skin = head.triangles[head.triangles_of(*SKIN)]
    placed, on = own, np.arange(0)
    for near_mm in _NEAR_MM:
        placed = extension_weights(known, own).astype(np.float64) @ to
        corners, weights, away = closest(head.vertices_mm.astype(np.float64), skin, placed)
        on = np.flatnonzero(away <= near_mm)
        surface = np.einsum("nk,nkd->nd", weights, head.vertices_mm[corners])
        anchors = on[:: max(1, len(on) // _ANCHORS)]
        known, to = np.concatenate([own[ids], own[anchors]]), np.concatenate([wanted, surface[anchors]])
        placed[on] = surface[on]
    canonical = np.full(own.shape, np.nan)
    canonical[on] = placed[on]
    return RigOnHead(rig, canonical)


def closest(
    vertices_mm: Array, triangles: npt.NDArray[np.integer], points_mm: Array
) -> tuple[npt.NDArray[np.int32], Array, Array]:
    """For each of the points (N, 3) the nearest one of the triangles (T, 3) about the nearest vertices: the triangle's
    corners (N, 3), their weights (N, 3), and how far it is (N,). Exact but where triangles are long and thin."""
    from scipy.spatial import KDTree  # only here, so that what knows of rigs does not need it

    used = np.unique(triangles)
    points = np.asarray(points_mm, np.float64)
    some = min(_NEAREST, len(used))
    nearest = used[KDTree(vertices_mm[used]).query(points, some)[1].reshape(len(points), some)].ravel()
    flat = triangles.ravel()
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(flat.max() + 2))
    count = (starts[1:] - starts[:-1])[nearest]
    of = np.repeat(np.arange(len(points)).repeat(some), count)
    place = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(starts[nearest], count)
    pair = order[place] // 3
    a, b, c = np.moveaxis(vertices_mm[triangles[pair]].astype(np.float64), 1, 0)
    weights, squared = closest_on_triangles(points[of], a, b, c)
    best = np.lexsort((squared, of))[np.searchsorted(of, np.arange(len(points)))]
    return triangles[pair[best]].astype(np.int32), weights[best], np.sqrt(squared[best])


def _read_folder(folder: Path) -> dict[str, npt.NDArray]:
    files = sorted(folder.glob("*.obj"))
    neutrals = [file for file in files if "neutral" in file.stem.lower()]
    if len(neutrals) != 1:
        raise AnymarkError(f"{folder}: one .obj file with neutral in its name is needed, not {len(neutrals)}")
    neutral, triangles = _read_obj(neutrals[0])
    if not len(triangles):
        raise AnymarkError(f"{neutrals[0]}: no faces")
    shapes: dict[str, list[Array]] = {"identity": [], "expression": []}
    names: list[str] = []
    for file in files:
        if file == neutrals[0]:
            continue
        vertices, own = _read_obj(file)
        if vertices.shape != neutral.shape or (len(own) and not np.array_equal(own, triangles)):
            counts = f"{len(vertices)} vertices and {len(own)} triangles"
            raise AnymarkError(
                f"{file}: another topology: {counts}, {neutrals[0].name} {len(neutral)} and {len(triangles)}"
            )
        kind = "identity" if file.stem.lower().startswith("identity") else "expression"
        shapes[kind].append(vertices - neutral)
        if kind == "expression":
            names.append(file.stem)
    content: dict[str, npt.NDArray] = {"neutral": neutral, "triangles": triangles}
    content |= {kind: np.stack(each) for kind, each in shapes.items() if each}
    content["expression_names"] = np.array(names)
    for name in ("landmarks.txt", "vertex_indices.json"):
        if (folder / name).is_file():
            content["ibug68"] = _read_ids(folder / name)
            break
    return content


def _read_obj(path: Path) -> tuple[Array, npt.NDArray[np.integer]]:
    """Vertices (V, 3) and triangles (T, 3)."""
    with reading(path, "an .obj file"):
        found = read_obj(path)
    if not len(found.vertices):
        raise AnymarkError(f"{path}: no vertices")
    if (found.triangles < 0).any() or (found.triangles >= len(found.vertices)).any():
        raise AnymarkError(f"{path}: a face of vertices that are not there")
    return found.vertices, found.triangles


def _read_ids(path: Path) -> npt.NDArray[np.int64]:
    """The numbers of a text, or of a JSON list, or of the landmarks of ICT-FaceKit's vertex_indices.json."""
    with reading(path, "a list of vertices"):
        text = path.read_text("utf-8")
        if path.suffix.lower() == ".json":
            value = json.loads(text)
            return np.array(value[_ICT_LANDMARKS] if isinstance(value, dict) else value, np.int64)
        return np.array([int(number) for number in re.findall(r"-?\d+", text)], np.int64)
