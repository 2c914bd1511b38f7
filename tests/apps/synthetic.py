"""A tiny landmark model whose heads turn: the mean red of a window is its yaw, the mean green its pitch.

The canonical head stands `DISTANCE_MM` before a pinhole camera; the deformer moves all points by 10 mm times the data
set code along x and y.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.detect.synthetic import _LIFT as LIFT
from tests.detect.synthetic import _PINHOLE as PINHOLE
from tests.detect.synthetic import _save as save
from tests.detect.synthetic import write_card

SIZE = 32
DISTANCE_MM, HALF_CROP_MM = 600.0, 133.0
CODES = {"fits": [0.0, 0.0], "ibug68": [1.0, 0.0], "mediapipe478": [0.0, 0.6]}


def colour_of(yaw_deg: float, pitch_deg: float) -> tuple[int, int, int]:
    """RGB of a head turned so, to the next of 256 steps; both within 60 degrees."""
    red, green = (round(127.5 + 127.5 * angle / 60) for angle in (yaw_deg, pitch_deg))
    return red, green, 0


def write_turning(folder: Path) -> Path:
    """The model's folder: an mlp, for all that a caller can tell."""
    folder.mkdir()
    save(
        folder / "encode.onnx",
        f"""e (uint8[B, {SIZE}, {SIZE}, 3] image) => (float[B, 2] code, float[B, 13] camera) {{
            pixels = Cast <to = 1> (image)
            mean = ReduceMean <axes = [1, 2], keepdims = 0> (pixels)
            scaled = MatMul (mean, per_grey)
            angles = Sub (scaled, middle)
            cos = Cos (angles)
            sin = Sin (angles)
            cos_terms = MatMul (cos, spread_cos)
            sin_terms = MatMul (sin, spread_sin)
            terms = Add (cos_terms, sin_terms)
            with_one = Add (terms, ones)
            split = Constant <value_ints = [3, 3]> ()
            yaw, pitch = Split <axis = 1> (with_one, split)
            last = Constant <value_ints = [2]> ()
            first = Constant <value_ints = [1]> ()
            yaw_row = Unsqueeze (yaw, first)
            pitch_column = Unsqueeze (pitch, last)
            products = Mul (pitch_column, yaw_row)
            flat_shape = Constant <value_ints = [-1, 9]> ()
            flat = Reshape (products, flat_shape)
            turned = MatMul (flat, bilinear)
            camera = Add (turned, place)
            code = Sub (angles, angles)
        }}""",
        per_grey=np.eye(3, 2) * np.radians(60) / 127.5,
        middle=np.full(2, np.radians(60)),
        spread_cos=[[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]],
        spread_sin=[[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]],
        ones=[1, 0, 0, 1, 0, 0],
        bilinear=_rotations(),
        place=[0] * 11 + [DISTANCE_MM, DISTANCE_MM / HALF_CROP_MM],
    )
    save(
        folder / "query.onnx",
        """q (float[N, 3] points_mm, float[E] dataset) => (float[N, 3] deformed_mm, float[N, 5] query) {
            step = MatMul (dataset, steps)
            deformed_mm = Add (points_mm, step)
            nothing = MatMul (deformed_mm, weight)
            query = Add (nothing, bias)
        }""",
        steps=[[10, 0, 0], [0, 10, 0]],
        weight=np.zeros((3, 5)),
        bias=[0, 0, 0, -4, 3],
    )
    save(
        folder / "decode.onnx",
        f"""d (float[B, 2] code, float[B, 13] camera, float[N, 3] points_mm, float[N, 5] query)
            => (float[B, N, 7] landmarks) {{ {LIFT} {PINHOLE} }}""",
        lift=np.zeros((2, 5)),
    )
    return write_card(
        folder,
        format=2,
        kind="landmarks",
        predictor="mlp",
        input_size=SIZE,
        window_scale=1.5,
        crop=None,
        codes=CODES,
        sigma_scale=1.0,
        visible={"scale": 1.0, "shift": 0.0, "surface": 1.0},
    )


def _rotations() -> npt.NDArray[np.float64]:
    """(9, 13) R_camera_head = FACING @ x(-pitch) @ y(yaw) from the products of [1, cos, sin] of pitch and yaw."""
    still_x, cos_x, sin_x = (
        np.diag([1.0, 0, 0]),
        np.diag([0, 1.0, 1.0]),
        np.array([[0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    )
    still_y, cos_y, sin_y = (
        np.diag([0, 1.0, 0]),
        np.diag([1.0, 0, 1.0]),
        np.array([[0, 0, 1.0], [0, 0, 0], [-1.0, 0, 0]]),
    )
    facing = np.diag([1.0, -1.0, -1.0])
    rows = [(facing @ x @ y).ravel() for x in (still_x, cos_x, sin_x) for y in (still_y, cos_y, sin_y)]
    return np.pad(rows, ((0, 0), (0, 4)))
