"""FLAME's model file (Li et al. 2017), for users who have it, as a linear rig.

The file is a pickle. Nothing that it names is called: all becomes bags of values, and arrays of numbers are made of
what lies in those of numpy's. numpy itself must not be called by a stranger's pickle: it would take bytes for pointers.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.files import reading

Array = npt.NDArray[np.floating]

FLAME_UNIT_MM = 1000.0
IDENTITIES, EXPRESSIONS = 100, 50
"""Of its 300 and 100 shapes, those that matter most come first."""

JAW = 2
"""Its joint, after the root and the neck."""

_REACH = 2.0  # standard deviations of an expression's coefficient, to either side, that a weight of 1 means
_JAW_RAD = 0.35  # that its weight of 1 opens the jaw by
_NUMBERS = re.compile(r"[fiub][1248]")
_ORDERS = ("<", ">", "|", "=")


class _Bag:
    """What stands in for every object of a library: numpy's and chumpy's arrays, scipy's matrices."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return type(name, (_Bag,), {"__module__": module})


def read_flame(path: Path) -> dict[str, npt.NDArray]:
    """FLAME as a linear rig, in metres: neutral (V, 3), identity (100, V, 3), expression (101, V, 3),
    expression_names, triangles.

    A weight of 0..1 goes one way only, so each of its first 50 expressions is two shapes, "NN+" and "NN-"; "jaw" opens
    the jaw. Neck, eyes and the jaw's other motions are left out.

    Raises:
        AnymarkError: the file is missing or something else.
    """
    with reading(path, "FLAME's model"):
        with path.open("rb") as file:
            content = _Reader(file, encoding="latin1").load()
        model = {key: _array(content[key]) for key in ("v_template", "shapedirs", "f", "weights", "J_regressor")}
        neutral, shapes = model["v_template"].astype(np.float64), model["shapedirs"].astype(np.float64)
        count = len(neutral)
        faces = model["f"].astype(np.int64)
        if neutral.shape != (count, 3) or shapes.shape[:2] != (count, 3) or shapes.shape[2] < 300 + EXPRESSIONS:
            raise ValueError("its shapes are not FLAME's")
        identity = np.moveaxis(shapes[..., :IDENTITIES], 2, 0)
        moves = _REACH * np.moveaxis(shapes[..., 300 : 300 + EXPRESSIONS], 2, 0)
        jaw = _opened(neutral, model["J_regressor"].astype(np.float64), model["weights"].astype(np.float64))
        expression = np.concatenate([moves, -moves, jaw[None]])
    names = [f"{i:02d}{sign}" for sign in "+-" for i in range(EXPRESSIONS)]
    return {
        "neutral": neutral,
        "identity": identity,
        "expression": expression,
        "expression_names": np.array([*names, "jaw"]),
        "triangles": faces,
    }


def _opened(neutral: Array, regressor: Array, weights: Array) -> Array:
    """(V, 3) how far vertices move as the jaw opens, by linear blend skinning of that one joint."""
    joint = (regressor @ neutral)[JAW]
    cos, sin = np.cos(_JAW_RAD), np.sin(_JAW_RAD)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])  # about x: the chin goes down and back
    return weights[:, JAW, None] * ((neutral - joint) @ turn.T + joint - neutral)


def _array(value: Any) -> npt.NDArray:
    """What a bag holds: numpy's arrays are bytes and a kind of number, chumpy keeps its array as x, scipy's sparse
    matrices are in three parts.

    Raises:
        ValueError: no numbers.
    """
    inside, kind = (vars(value), _kind(value)) if isinstance(value, _Bag) else ({}, type(value).__name__)
    if kind == "_reconstruct":
        _, shape, number, fortran, content = inside["state"]
        return _numbers(shape, number, fortran, content)
    if "x" in inside:
        return _array(inside["x"])
    if {"data", "indices", "indptr"} <= set(inside):
        rows, columns = inside["_shape" if "_shape" in inside else "shape"]
        data, indices, starts = (_array(inside[key]) for key in ("data", "indices", "indptr"))
        out = np.zeros((rows, columns) if kind.startswith("csr") else (columns, rows))
        for line in range(len(starts) - 1):
            part = slice(starts[line], starts[line + 1])
            out[line, indices[part]] = data[part]
        return out if kind.startswith("csr") else out.T
    raise ValueError(f"{kind} is no array")


def _kind(bag: _Bag) -> str:
    """The class that a bag stands for; protocol 0 and 1 say it to `copyreg`."""
    name = type(bag).__name__
    return bag.args[0].__name__ if name == "_reconstructor" else name


def _numbers(shape: Any, kind: Any, fortran: Any, content: Any) -> npt.NDArray:
    """An array of what numpy pickles of one."""
    code, order = kind.args[0], kind.state[1]
    if not _NUMBERS.fullmatch(code) or order not in _ORDERS:
        raise ValueError(f"an array of {code!r:.20} is none of numbers")
    if isinstance(content, _Bag):  # _codecs.encode(text, "latin1"), as protocol 2 has bytes
        content = content.args[0] if content.args else b""
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, order + code).reshape(shape, order="F" if fortran else "C")
