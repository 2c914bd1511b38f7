"""Tiny networks with known answers: a "head" is a bright Gaussian blob on black.

The locator boxes a blob to 3 of its radii, if it is alone and the box 20 to 130 pixels wide. S moves its crop to the
blob's centroid and makes it `SPREAD` times as wide as the blob, and turns it, if asked to. The encoder finds the
centroid in the crop and places the canonical head there, before a camera `DISTANCE_MM` away, with a sigma of 0.01. So
all geometry between the pixels and the landmarks is checked without trained weights.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx.parser

SIZE, WINDOW_SIZE = 64, 48
SIGMA = 0.01
LOGIT = 3.0
"""Of being seen, the same for all points."""
WINDOW_SCALE = 1.5
SPREAD = 4.5 * 2**0.5
"""Half the crop's side over the blob's standard deviation: as the locator's boxes and `WINDOW_SCALE` would have it."""
FOCAL, HALF_CROP_MM = 10.0, 133.0
DISTANCE_MM = FOCAL * HALF_CROP_MM
CODES = {"fits": [0.0, 0.0], "ibug68": [1.0, 0.0], "mediapipe478": [0.0, 0.0]}
"""The deformer moves points by 10 mm times these along x and y."""

_HEADER = '<ir_version: 8, opset_import: ["" : 17]>'

# Centroid (B, 2) in normalised coordinates of `image`.
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
    last = Constant <value_ints = [1]> ()
    x1 = Unsqueeze (x, last)
    y1 = Unsqueeze (y, last)
    centroid = Concat <axis = 1> (x1, y1)
"""

# What all predictors have in common: `out` (B, N, 5) is a displacement in mm, log sigma and the logit of being seen.
_PINHOLE = """
    zero = Constant <value_ints = [0]> ()
    two = Constant <value_ints = [2]> ()
    three = Constant <value_ints = [3]> ()
    five = Constant <value_ints = [5]> ()
    nine = Constant <value_ints = [9]> ()
    twelve = Constant <value_ints = [12]> ()
    thirteen = Constant <value_ints = [13]> ()
    one = Constant <value_ints = [1]> ()
    square = Constant <value_ints = [-1, 3, 3]> ()
    place = Slice (out, zero, three, two)
    rest = Slice (out, three, five, two)
    xyz = Add (points_mm, place)
    rows = Slice (camera, zero, nine, one)
    rotation = Reshape (rows, square)
    back = Transpose <perm = [0, 2, 1]> (rotation)
    translation = Slice (camera, nine, twelve, one)
    translation1 = Unsqueeze (translation, one)
    focal = Slice (camera, twelve, thirteen, one)
    focal1 = Unsqueeze (focal, one)
    turned = MatMul (xyz, back)
    seen = Add (turned, translation1)
    across = Slice (seen, zero, two, two)
    depth = Slice (seen, two, three, two)
    ratio = Div (across, depth)
    xy = Mul (ratio, focal1)
    landmarks = Concat <axis = 2> (xy, rest, xyz)
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
    (folder / "card.json").write_text(json.dumps({"files": files, "name": folder.name, **card}))
    return folder


def _grids(size: int) -> dict[str, npt.NDArray[np.float64]]:
    """The pixels' centres."""
    centres = (np.arange(size) + 0.5) / size * 2 - 1
    return {"grid_x": centres.reshape(1, 1, size, 1), "grid_y": centres.reshape(1, size, 1, 1)}


def write_landmark_model(
    folder: Path, predictor: str = "basis", turn: npt.ArrayLike | None = ((1, 0), (0, 1)), logit: float = LOGIT
) -> Path:
    """The four networks and card.json of the blob's landmark model.

    Args:
        turn: (2, 2) what S does besides: crop axes in the window, of determinant 1; None: there is no S.
        logit: of being seen.
    """
    folder.mkdir()
    if turn is not None:
        _write_crop(folder / "crop.onnx", np.asarray(turn, float))
    # R_camera_head of a frontal head, then where it is, then the focal length
    camera = np.array([1, 0, 0, 0, -1, 0, 0, 0, -1, 0, 0, DISTANCE_MM, FOCAL])
    place = np.zeros((2, 13))
    place[[0, 1], [9, 10]] = HALF_CROP_MM
    basis = predictor == "basis"
    code = "float[B, 4, 5] code" if basis else "float[B, 2] code"
    _save(
        folder / "encode.onnx",
        f"""e (uint8[B, S, T, 3] image) => ({code}, float[B, 13] camera) {{ {_CENTROID}
            moved = MatMul (centroid, place)
            camera = Add (moved, frontal)
            nothing = MatMul (centroid, lift)
            shape = Constant <value_ints = {"[-1, 4, 5]" if basis else "[-1, 2]"}> ()
            flat = Add (nothing, constant)
            code = Reshape (flat, shape)
        }}""",
        **_grids(SIZE),
        place=place,
        frontal=camera,
        lift=np.zeros((2, 20)) if basis else np.eye(2),
        constant=np.pad([np.log(SIGMA), logit], (3, 15)) if basis else np.zeros(2),
    )
    terms = 4 if basis else 5
    _save(
        folder / "query.onnx",
        f"""q (float[N, 3] points_mm, float[E] dataset) => (float[N, 3] deformed_mm, float[N, {terms}] query) {{
            step = MatMul (dataset, steps)
            deformed_mm = Add (points_mm, step)
            linear = MatMul (deformed_mm, weight)
            query = Add (linear, bias)
        }}""",
        steps=[[10, 0, 0], [0, 10, 0]],
        weight=np.eye(3, 4, 1) / 100 if basis else np.zeros((3, 5)),
        bias=np.eye(4)[0] if basis else [0, 0, 0, np.log(SIGMA), logit],
    )
    _save(
        folder / "decode.onnx",
        f"""d ({code}, float[B, 13] camera, float[N, 3] points_mm, float[N, {terms}] query)
            => (float[B, N, 7] landmarks) {{
            {"out = MatMul (query, code)" if basis else _LIFT}
            {_PINHOLE}
        }}""",
        **({} if basis else {"lift": np.zeros((2, 5))}),
    )
    return write_card(
        folder,
        format=2,
        kind="landmarks",
        predictor=predictor,
        input_size=SIZE,
        window_scale=WINDOW_SCALE,
        crop=None if turn is None else {"kind": "affine", "input_size": WINDOW_SIZE},
        codes=CODES,
        sigma_scale=1.0,
        visible={"scale": 1.0, "shift": 0.0, "surface": 1.0},
        licence="CC0",
    )


_LIFT = """
            nothing = MatMul (code, lift)
            axis = Constant <value_ints = [1]> ()
            nothing1 = Unsqueeze (nothing, axis)
            out = Add (nothing1, query)
"""


def _write_crop(path: Path, turn: npt.NDArray[np.float64]) -> None:
    """S: where nothing is to be seen, the window itself."""
    _save(
        path,
        f"""c (uint8[B, {WINDOW_SIZE}, {WINDOW_SIZE}, 3] image) => (float[B, 2, 3] crop) {{ {_CENTROID}
            square_x = Mul (weighted_x, grid_x)
            square_y = Mul (weighted_y, grid_y)
            squares = Add (square_x, square_y)
            sum_squares = ReduceSum <keepdims = 0> (squares, sum_axes)
            square = Div (sum_squares, safe)
            xx = Mul (x, x)
            yy = Mul (y, y)
            less_x = Sub (square, xx)
            scatter = Sub (less_x, yy)
            positive = Max (scatter, tiny)
            deviation = Sqrt (positive)
            scale = Mul (deviation, spread)
            is_black = Less (mass, enough)
            one = Constant <value_float = 1.0> ()
            side = Where (is_black, one, scale)
            linear_shape = Constant <value_ints = [-1, 1, 1]> ()
            side1 = Reshape (side, linear_shape)
            linear = Mul (side1, turn)
            shift_shape = Constant <value_ints = [-1, 2, 1]> ()
            shift = Reshape (centroid, shift_shape)
            crop = Concat <axis = 2> (linear, shift)
        }}""",
        **_grids(WINDOW_SIZE),
        spread=SPREAD / 2**0.5,  # the scatter is that of both axes
        enough=1.0,
        turn=turn[None],
    )


def expected(
    centre_px: npt.ArrayLike, affine: npt.NDArray[np.float64], points_mm: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """(N, 2) pixels of canonical points (N, 3) of the head at a blob's centre, seen by a crop (2, 3)."""
    x, y, z = np.asarray(points_mm, float).T
    return centre_px + (FOCAL * np.stack([x, -y], 1) / (DISTANCE_MM - z)[:, None]) @ affine[:, :2].T


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
    return write_card(folder, format=1, kind="locator", stride=32, threshold=0.5)


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
    return write_card(folder, format=1, kind="locator", threshold=0.5)


def blobs(width: int, height: int, *centres: tuple[float, float], sigma: float = 10.0) -> npt.NDArray[np.uint8]:
    """A black photo (H, W, 3) with Gaussian blobs at pixel coordinates (x, y)."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    total = sum((np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy in centres), np.zeros_like(x))
    return np.rint(255 * total.clip(0, 1)).astype(np.uint8)[..., None].repeat(3, 2)
