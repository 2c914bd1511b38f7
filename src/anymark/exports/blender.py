"""Blender: a script that builds the scene, with all numbers in it."""

from __future__ import annotations

import base64
import json
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.exports.conventions import FILM_BACK_MM, Z_UP, lens, quaternions
from anymark.exports.shot import Shot
from anymark.files import atomic

_PLACE = 'SCENE = ""\n'  # in blender_scene.py


def write_script(path: Path, shot: Shot) -> None:
    """`blender_scene.py` with this shot's numbers.

    Raises:
        AnymarkError: the file cannot be written.
    """
    width, height = shot.track.size_px
    rate = shot.rate
    triangles = shot.track.layout.triangles if shot.mesh else None
    scene = {
        "size": [width, height],
        "fps": round(rate),
        "fps_base": round(rate) / float(rate),
        "frames": [int(shot.frames[0]), int(shot.frames[-1])],
        "film_back_mm": FILM_BACK_MM,
        "points": shot.point_names,
        "triangles": None if triangles is None else _packed(triangles, "<i4"),
        "heads": [_head(shot, head) for head in shot.track.ids],
    }
    text = json.dumps(scene, separators=(",", ":"), allow_nan=False)
    script = resources.files("anymark.exports").joinpath("blender_scene.py").read_text("utf-8")
    before, after = script.split(_PLACE)
    with atomic(path, "w") as file:
        file.write(f"{before}SCENE = {_quoted(text)}\n{after}")


def _head(shot: Shot, head: int) -> dict[str, Any]:
    rows = shot.track.head(head)
    film = lens(rows["focal_px"].astype(np.float64), rows["principal_px"].astype(np.float64), shot.track.size_px)
    return {
        "head": head,
        "frames": _packed(shot.frames[rows["frame"]], "<i4"),
        "hidden": [[number, not found] for number, found in shot.changes(shot.found(rows))],
        "lens_mm": _packed(film.focal_mm, "<f4"),
        # of the picture's width, as the film is fitted to it
        "shift": _packed(np.stack([film.right_mm, film.up_mm], 1) / FILM_BACK_MM, "<f4"),
        "places_m": _packed(rows["t_camera_head_mm"].astype(np.float64) @ Z_UP.T / 1000, "<f4"),
        "turns": _packed(quaternions(Z_UP @ rows["R_camera_head"].astype(np.float64)), "<f4"),
        "points_m": _packed(rows["xyz_mm"] / 1000, "<f4"),
    }


def _packed(values: npt.NDArray[Any], dtype: str) -> list[Any]:
    """Shape, dtype and values; those of one column lie together, which is what compresses."""
    columns = np.moveaxis(values.astype(dtype), 0, -1)
    return [list(values.shape), dtype, base64.b64encode(zlib.compress(columns.tobytes(), 9)).decode()]


def _quoted(text: str) -> str:
    """A Python string on lines that editors can show: one of megabytes makes Blender's text editor hang."""
    lines = [text[i : i + 4000] for i in range(0, len(text), 4000)]
    return "(\n" + "\n".join(f"    {line!r}" for line in lines) + "\n)"
