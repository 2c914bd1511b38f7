"""USD: a scene as .usda text, a camera for each head at the origin and the head before it.

y is up, cameras look along -z; centimetres, so that what USD measures in tenths of a unit, lenses, is in millimetres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from anymark.exports.conventions import FILM_BACK_MM, Y_UP, lens, plain
from anymark.exports.shot import Shot
from anymark.files import atomic
from anymark.video.rows import Rows

_WIDTH_CM = 0.2  # of a point, as it is drawn
_DEEP = " " * 16


def write_scene(path: Path, shot: Shot) -> None:
    """`/anymark/headN/camera`, and `/anymark/headN/head` with `points` and, if asked for, `mesh`.

    Heads are invisible in frames in which they were not found.

    Raises:
        AnymarkError: the file cannot be written.
    """
    rate, frames = float(shot.rate), shot.frames
    with atomic(path, "w") as file:
        file.write(
            "#usda 1.0\n(\n"
            '    defaultPrim = "anymark"\n'
            f"    startTimeCode = {frames[0]}\n    endTimeCode = {frames[-1]}\n"
            f"    timeCodesPerSecond = {rate:.15g}\n    framesPerSecond = {rate:.15g}\n"
            '    metersPerUnit = 0.01\n    upAxis = "Y"\n)\n\n'
            'def Xform "anymark"\n{\n'
        )
        for head in shot.track.ids:
            rows = shot.track.head(head)
            file.write(f'    def Xform "head{head}"\n    {{\n')
            _write_camera(file, shot, rows)
            _write_head(file, shot, rows)
            file.write("    }\n")
        file.write("}\n")


def _write_camera(file: IO[str], shot: Shot, rows: Rows) -> None:
    width, height = shot.track.size_px
    film = lens(rows["focal_px"].astype(np.float64), rows["principal_px"].astype(np.float64), shot.track.size_px)
    numbers = shot.frames[rows["frame"]].tolist()
    file.write(
        '        def Camera "camera"\n        {\n'
        '            token projection = "perspective"\n'
        f"            float horizontalAperture = {FILM_BACK_MM:g}\n"
        f"            float verticalAperture = {FILM_BACK_MM * height / width:.9g}\n"
        "            float2 clippingRange = (1, 100000)\n"
    )
    samples = {
        "focalLength": film.focal_mm,
        "horizontalApertureOffset": film.right_mm,
        "verticalApertureOffset": film.up_mm,
    }
    for name, values in samples.items():
        _write_samples(file, f"float {name}", numbers, (f"{value:.9g}" for value in values.tolist()), 12)
    file.write("        }\n")


def _write_head(file: IO[str], shot: Shot, rows: Rows) -> None:
    numbers = shot.frames[rows["frame"]].tolist()
    rotations = Y_UP @ rows["R_camera_head"].astype(np.float64)
    places_cm = rows["t_camera_head_mm"].astype(np.float64) @ Y_UP / 10
    points_cm = rows["xyz_mm"] / 10
    found = shot.changes(shot.found(rows))

    file.write('        def Xform "head"\n        {\n')
    _write_samples(file, "matrix4d xformOp:transform", numbers, map(_matrix, rotations, places_cm), 12)
    file.write('            uniform token[] xformOpOrder = ["xformOp:transform"]\n')
    shown = ('"inherited"' if there else '"invisible"' for _, there in found)
    _write_samples(file, "token visibility", [number for number, _ in found], shown, 12)

    file.write('            def Points "points"\n            {\n')
    _write_samples(file, "point3f[] points", numbers, map(_points, points_cm), 16)
    _write_samples(file, "float3[] extent", numbers, (_extent(points, _WIDTH_CM / 2) for points in points_cm), 16)
    names = ", ".join(f'"{name}"' for name in shot.point_names)
    for what, value, kind in (
        ("float[] widths", f"[{_WIDTH_CM:g}]", "constant"),
        ("string[] primvars:name", f"[{names}]", "vertex"),
    ):
        file.write(f'{_DEEP}{what} = {value} (\n{_DEEP}    interpolation = "{kind}"\n{_DEEP})\n')
    for name, values in (("visible", rows["visible"]), ("sigma_px", rows["sigma_px"])):
        texts = (f"[{', '.join(plain(value) for value in row)}]" for row in values.tolist())
        _write_samples(file, f"float[] primvars:{name}", numbers, texts, 16, 'interpolation = "vertex"')
    file.write("            }\n")

    if shot.mesh and shot.track.layout.triangles is not None:
        triangles = shot.track.layout.triangles
        corners = ", ".join(map(str, triangles.ravel().tolist()))
        file.write(
            '            def Mesh "mesh"\n            {\n'
            '                uniform token subdivisionScheme = "none"\n'
            f"                int[] faceVertexCounts = [{', '.join(['3'] * len(triangles))}]\n"
            f"                int[] faceVertexIndices = [{corners}]\n"
        )
        _write_samples(file, "point3f[] points", numbers, map(_points, points_cm), 16)
        _write_samples(file, "float3[] extent", numbers, (_extent(points, 0) for points in points_cm), 16)
        file.write("            }\n")
    file.write("        }\n")


def _write_samples(
    file: IO[str], what: str, numbers: Sequence[int], values: Iterable[str], indent: int, metadata: str = ""
) -> None:
    space = " " * indent
    if metadata:  # belongs to the attribute, which is declared without a value first
        file.write(f"{space}{what} (\n{space}    {metadata}\n{space})\n")
    file.write(f"{space}{what}.timeSamples = {{\n")
    for number, value in zip(numbers, values, strict=True):
        file.write(f"{space}    {number}: {value},\n")
    file.write(f"{space}}}\n")


def _matrix(rotation: npt.NDArray[np.float64], place: npt.NDArray[np.float64]) -> str:
    """As USD has it: points are rows before it, so the rotation lies transposed, and the place in the last row."""
    rows = np.column_stack([np.vstack([rotation.T, place]), [0, 0, 0, 1]])
    return f"( {', '.join('({:.9g}, {:.9g}, {:.9g}, {:g})'.format(*row) for row in rows.tolist())} )"


def _points(points: npt.NDArray[np.float32]) -> str:
    return f"[{', '.join('({:.7g}, {:.7g}, {:.7g})'.format(*point) for point in points.tolist())}]"


def _extent(points: npt.NDArray[np.float32], margin: float) -> str:
    return _points(np.stack([points.min(0) - margin, points.max(0) + margin]))
