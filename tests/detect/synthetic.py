"""Tiny networks with known answers: a "head" is a bright Gaussian blob on black.

The locator boxes a blob to 3 of its radii, if it is alone and the box 20 to 130 pixels wide; the encoder finds its
centroid in the window, and a canonical point lies (x, -y) / 100 half windows from there, with a sigma of 0.01. So all
geometry between the pixels and the landmarks is checked without trained weights.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx.parser

SIZE = 64
SIGMA = 0.01
WINDOW_SCALE = 1.5

_HEADER = '<ir_version: 8, opset_import: ["" : 17]>'

# Centroid (B, 2) in normalised window coordinates of `image`.
_CENTROID = """
    sum_axes = Constant <value_ints = [1, 2, 3]> ()
    pixels = Cast <to = 1> (image)
    mass = ReduceSum <keepdims = 0> (pixels, sum_axes)
    tiny = Constant <value_float = 0.000001> ()
    safe = Add (mass, tiny)
    weighted_x = Mul (pixels, grid_x)
    weighted_y = Mul (pixels, grid_y)
    sum_x = ReduceSum <keepdims = 0> (weighted_x, sum_axes)
    sum_y = ReduceSum <keepdims = 0> (weighted_y, sum_axes)
    x = Div (sum_x, safe)
    y = Div (sum_y, safe)
"""


def _tensor(name: str, values: npt.ArrayLike) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)


def _save(path: Path, text: str, **constants: npt.ArrayLike) -> None:
    model = onnx.parser.parse_model(f"{_HEADER} {text}")
    model.graph.initializer.extend(_tensor(name, values) for name, values in constants.items())
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def write_card(folder: Path, **card: object) -> Path:
    """card.json with the SHA-256 of the folder's ONNX files."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(folder.glob("*.onnx"))
    }
    (folder / "card.json").write_text(json.dumps({"format": 1, "files": files, "name": folder.name, **card}))
    return folder


def write_landmark_model(folder: Path, predictor: str = "basis") -> Path:
    """encode.onnx, query.onnx and card.json of the blob's landmark model."""
    folder.mkdir()
    centres = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    grids = {"grid_x": centres.reshape(1, 1, SIZE, 1), "grid_y": centres.reshape(1, SIZE, 1, 1)}
    linear = np.zeros((1, 4, 3))
    linear[0, 0, 2], linear[0, 1, 0], linear[0, 2, 1] = np.log(SIGMA), 1, -1
    if predictor == "basis":
        _save(
            folder / "encode.onnx",
            f"""e (uint8[B, S, T, 3] image) => (float[B, 4, 3] coefficients) {{ {_CENTROID}
                middle = Constant <value_ints = [1]> ()
                last = Constant <value_ints = [1, 2]> ()
                x1 = Unsqueeze (x, last)
                y1 = Unsqueeze (y, last)
                ex = Mul (x1, place_x)
                ey = Mul (y1, place_y)
                moved = Add (ex, ey)
                coefficients = Add (moved, linear)
            }}""",
            **grids,
            linear=linear,
            place_x=np.eye(12)[0].reshape(1, 4, 3),
            place_y=np.eye(12)[1].reshape(1, 4, 3),
        )
        _save(
            folder / "query.onnx",
            """q (float[N, 3] points_mm) => (float[N, 4] basis) {
                zero = Constant <value_float = 0.0> ()
                one = Constant <value_float = 1.0> ()
                axes = Constant <value_ints = [1]> ()
                summed = ReduceSum (points_mm, axes)
                nothing = Mul (summed, zero)
                ones = Add (nothing, one)
                scaled = Mul (points_mm, hundredth)
                basis = Concat <axis = 1> (ones, scaled)
            }""",
            hundredth=0.01,
        )
    else:
        _save(
            folder / "encode.onnx",
            f"""e (uint8[B, S, T, 3] image) => (float[B, 2] code) {{ {_CENTROID}
                last = Constant <value_ints = [1]> ()
                x1 = Unsqueeze (x, last)
                y1 = Unsqueeze (y, last)
                code = Concat <axis = 1> (x1, y1)
            }}""",
            **grids,
        )
        _save(
            folder / "query.onnx",
            """q (float[B, 2] code, float[N, 3] points_mm) => (float[B, N, 3] landmarks) {
                at = MatMul (points_mm, linear)
                axes = Constant <value_ints = [1]> ()
                base = MatMul (code, lift)
                lifted = Unsqueeze (base, axes)
                moved = Add (lifted, at)
                landmarks = Add (moved, offset)
            }""",
            linear=linear[0, 1:] / 100,
            lift=np.eye(2, 3),
            offset=linear[0, :1],
        )
    return write_card(
        folder, kind="landmarks", predictor=predictor, input_size=SIZE, window_scale=WINDOW_SCALE, licence="CC0"
    )


def write_locator(folder: Path, roll: float = 0.0) -> Path:
    """locate.onnx and card.json: boxes of 3 radii about each blob, eyes 2.4 radii apart and turned by `roll`.

    As a real one it sees faces of some sizes only. Each cell sees 96 pixels: where two blobs lie in them, they scatter
    wider than one of their mass would, and there is no face.
    """
    folder.mkdir()
    eye = 1.2 * np.array([np.cos(roll), np.sin(roll)])
    _save(
        folder / "locate.onnx",
        """l (uint8[B, H, W, 3] image) => (float[B, h, w] score, float[B, h, w, 8] geometry) {
            float_image = Cast <to = 1> (image)
            bright = ReduceMean <axes = [3], keepdims = 0> (float_image)
            axis = Constant <value_ints = [1]> ()
            planes = Unsqueeze (bright, axis)
            part = Div (planes, full)
            shape = Shape (part)
            two = Constant <value_int = 2> ()
            three = Constant <value_int = 3> ()
            height = Gather <axis = 0> (shape, two)
            width = Gather <axis = 0> (shape, three)
            start = Constant <value_int = 0> ()
            step = Constant <value_int = 1> ()
            columns = Range (start, width, step)
            rows = Range (start, height, step)
            float_columns = Cast <to = 1> (columns)
            float_rows = Cast <to = 1> (rows)
            x_line = Add (float_columns, half)
            y_line = Add (float_rows, half)
            y_axes = Constant <value_ints = [1]> ()
            y_column = Unsqueeze (y_line, y_axes)
            part_x = Mul (part, x_line)
            part_y = Mul (part, y_column)
            part_xx = Mul (part_x, x_line)
            part_yy = Mul (part_y, y_column)
            part_square = Add (part_xx, part_yy)
            mean = AveragePool <kernel_shape = [96, 96], strides = [32, 32], pads = [32, 32, 32, 32],
                                count_include_pad = 1> (part)
            mean_x = AveragePool <kernel_shape = [96, 96], strides = [32, 32], pads = [32, 32, 32, 32],
                                  count_include_pad = 1> (part_x)
            mean_y = AveragePool <kernel_shape = [96, 96], strides = [32, 32], pads = [32, 32, 32, 32],
                                  count_include_pad = 1> (part_y)
            mean_square = AveragePool <kernel_shape = [96, 96], strides = [32, 32], pads = [32, 32, 32, 32],
                                       count_include_pad = 1> (part_square)
            safe = Max (mean, tiny)
            x = Div (mean_x, safe)
            y = Div (mean_y, safe)
            square = Div (mean_square, safe)
            xx = Mul (x, x)
            yy = Mul (y, y)
            less_x = Sub (square, xx)
            scatter = Sub (less_x, yy)
            mass = Mul (mean, kernel)
            area = Div (mass, pi)
            radius = Sqrt (area)
            xy = Concat <axis = 1> (x, y, x, y, x, y, x, y)
            around = Mul (radius, offsets)
            planes_out = Add (xy, around)
            geometry = Transpose <perm = [0, 2, 3, 1]> (planes_out)
            more = Add (mass, enough)
            ratio = Div (mass, more)
            most_scatter = Mul (area, most_times)
            alone = Less (scatter, most_scatter)
            large = Greater (radius, least_radius)
            small = Less (radius, most_radius)
            of_size = And (large, small)
            is_face = And (alone, of_size)
            faces = Where (is_face, ratio, zero)
            highest = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (faces)
            is_peak = GreaterOrEqual (faces, highest)
            peaks = Where (is_peak, faces, zero)
            score = Squeeze (peaks, axis)
        }""",
        full=255.0,
        half=0.5,
        tiny=1e-9,
        kernel=96 * 96,
        pi=np.pi,
        enough=20.0,
        zero=0.0,
        most_times=1.3,
        least_radius=20 / 6,
        most_radius=130 / 6,
        offsets=np.array([-3, -3, 3, 3, *(-eye), *eye]).reshape(1, 8, 1, 1),
    )
    return write_card(folder, kind="locator", stride=32, threshold=0.5)


def write_fixed_locator(folder: Path, boxes: npt.ArrayLike, scores: npt.ArrayLike) -> Path:
    """locate.onnx and card.json: these boxes (M, 4), pixels of each level, with these scores (M,), in any photo."""
    folder.mkdir()
    corners = np.asarray(boxes, np.float32)
    middle = (corners[:, :2] + corners[:, 2:]) / 2  # both eyes: no roll
    _save(
        folder / "locate.onnx",
        """l (uint8[1, H, W, 3] image) => (float[1, 1, M] score, float[1, 1, M, 8] geometry) {
            score = Identity (fixed_score)
            geometry = Identity (fixed_geometry)
        }""",
        fixed_score=np.asarray(scores, np.float32)[None, None],
        fixed_geometry=np.concatenate([corners, middle, middle], 1)[None, None],
    )
    return write_card(folder, kind="locator", threshold=0.5)


def blobs(width: int, height: int, *centres: tuple[float, float], sigma: float = 10.0) -> npt.NDArray[np.uint8]:
    """A black photo (H, W, 3) with Gaussian blobs at pixel coordinates (x, y)."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    total = sum((np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy in centres), np.zeros_like(x))
    return np.rint(255 * total.clip(0, 1)).astype(np.uint8)[..., None].repeat(3, 2)
