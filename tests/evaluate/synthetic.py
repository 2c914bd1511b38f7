"""Tiny networks whose answers can be written down, and trees of files as 300-W has them.

The networks see the mean colour of a window: its red turns the head, its green nods it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx.parser
from PIL import Image

SIZE = 32
HALF_WINDOW_MM = 133.0
CAMERA_MM = 600.0
"""Distance of the camera of the model "perspective"; that of "linear" is infinitely far away."""
LOG_SIGMA, LOGIT = -3.0, 3.0
"""Of all points, in half windows; and of their being seen."""

FACE_BOX = np.array([60.0, 60.0, 260.0, 260.0])
"""Where the locator finds the only face of any photo of 320 x 320 pixels."""

_ENCODE = """
    axes = Constant <value_ints = [1, 2]> ()
    pixels = Cast <to = 1> (image)
    mean = ReduceMean <keepdims = 0> (pixels, axes)
    product = MatMul (mean, weight)
    flat = Add (product, bias)
    nothing = MatMul (mean, no_colour)
    camera = Add (nothing, frontal)
"""
_CAMERA = {"no_colour": np.zeros((3, 13)), "frontal": [1, 0, 0, 0, -1, 0, 0, 0, -1, 0, 0, 1000, 1000 / HALF_WINDOW_MM]}

# `first` (B, N, 4) are x, y, log sigma and the logit of being seen; points stay where the layout has them
_DECODED = """
    one = Constant <value_ints = [1]> ()
    zero = Constant <value_ints = [0]> ()
    two = Constant <value_ints = [2]> ()
    column = Slice (first, zero, one, two)
    empty = Sub (column, column)
    xyz = Add (empty, points_mm)
    landmarks = Concat <axis = 2> (first, xyz)
"""


def project(points_mm: np.ndarray, colour: Sequence[float], camera_mm: float = np.inf) -> np.ndarray:
    """What the networks answer on a photo of one colour: (N, 3) millimetres -> (N, 2) in the window's [-1, 1]."""
    red, green = np.asarray(colour, float)[:2] / 255 - 0.5
    x, y, z = np.asarray(points_mm, float).T
    flat = np.stack([x + red * z, -y + green * z], 1) / HALF_WINDOW_MM
    return flat / (1 - z / camera_mm)[:, None]


def write_linear(folder: Path) -> Path:
    """A basis predictor: phi(p) = [1, p], coefficients that are affine in the mean colour."""
    weight, bias = np.zeros((3, 4, 5)), np.zeros((4, 5))
    weight[0, 3, 0] = weight[1, 3, 1] = 1 / HALF_WINDOW_MM / 255
    bias[1, 0], bias[2, 1], bias[3, :2] = np.array([1, -1, -0.5]) / HALF_WINDOW_MM
    bias[0, 2:4] = LOG_SIGMA, LOGIT
    _save(
        folder / "encode.onnx",
        f"""e (uint8[B, {SIZE}, {SIZE}, 3] image) => (float[B, 4, 5] code, float[B, 13] camera) {{ {_ENCODE}
            shape = Constant <value_ints = [-1, 4, 5]> ()
            code = Reshape (flat, shape)
        }}""",
        weight=weight.reshape(3, 20),
        bias=bias.reshape(20),
        **_CAMERA,
    )
    _save(
        folder / "query.onnx",
        """q (float[N, 3] points_mm, float[E] dataset) => (float[N, 3] deformed_mm, float[N, 4] query) {
            deformed_mm = Identity (points_mm)
            product = MatMul (points_mm, weight)
            query = Add (product, bias)
        }""",
        weight=np.eye(4)[1:],
        bias=np.eye(4)[0],
    )
    _save(
        folder / "decode.onnx",
        f"""d (float[B, 4, 5] code, float[B, 13] camera, float[N, 3] points_mm, float[N, 4] query)
            => (float[B, N, 7] landmarks) {{
            product = MatMul (query, code)
            start = Constant <value_ints = [0]> ()
            end = Constant <value_ints = [4]> ()
            axis = Constant <value_ints = [2]> ()
            first = Slice (product, start, end, axis)
            {_DECODED}
        }}""",
    )
    return _write_landmark_card(folder, "basis")


def write_perspective(folder: Path) -> Path:
    """A predictor that is not linear in the points: the same head before a pinhole camera."""
    _save(
        folder / "encode.onnx",
        f"""e (uint8[B, {SIZE}, {SIZE}, 3] image) => (float[B, 3] code, float[B, 13] camera) {{ {_ENCODE}
            code = Identity (flat)
        }}""",
        weight=np.eye(3) / 255,
        bias=np.full(3, -0.5),
        **_CAMERA,
    )
    _save(
        folder / "query.onnx",
        """q (float[N, 3] points_mm, float[E] dataset) => (float[N, 3] deformed_mm, float[N, 3] query) {
            deformed_mm = Identity (points_mm)
            query = Identity (points_mm)
        }""",
    )
    _save(
        folder / "decode.onnx",
        f"""d (float[B, 3] code, float[B, 13] camera, float[N, 3] points_mm, float[N, 3] query)
            => (float[B, N, 7] landmarks) {{
            head = Constant <value_ints = [1]> ()
            code1 = Unsqueeze (code, head)
            flat = MatMul (query, flatten)
            z = MatMul (query, take_z)
            turned = Mul (z, code1)
            xy = Add (flat, turned)
            xy1 = MatMul (xy, widened)
            far = Constant <value_float = 1.0> ()
            nearer = Div (z, distance)
            depth = Sub (far, nearer)
            divided = Div (xy1, depth)
            first = Add (divided, sure)
            {_DECODED}
        }}""",
        flatten=np.diag([1.0, -1.0, 0.0]),
        take_z=np.array([[0.0], [0.0], [1.0]]),
        widened=np.eye(3, 4) * np.array([1, 1, 0, 0]) / HALF_WINDOW_MM,
        distance=np.array(CAMERA_MM),
        sure=np.array([0, 0, LOG_SIGMA, LOGIT]),
    )
    return _write_landmark_card(folder, "mlp")


def write_locator(folder: Path) -> Path:
    """Finds a face at `FACE_BOX` of whatever it is shown at 320 pixels, and none at other sizes."""
    _save(
        folder / "locate.onnx",
        """l (uint8[1, H, W, 3] image) => (float[1, 1, 1] score, float[1, 1, 1, 8] geometry) {
            shape = Shape <start = 2, end = 3> (image)
            width = Cast <to = 1> (shape)
            same = Equal (width, searched)
            one_or_none = Cast <to = 1> (same)
            score = Mul (constant_score, one_or_none)
            geometry = Identity (constant_geometry)
        }""",
        searched=np.array([320]),
        constant_score=np.full((1, 1, 1), 0.9),
        constant_geometry=np.array([*FACE_BOX, 120, 140, 200, 140]).reshape(1, 1, 1, 8),
    )
    return _write_card(folder, format=1, kind="locator", threshold=0.5)


class Tree:
    """A root of 300-W, made face by face."""

    def __init__(self, root: Path, face: np.ndarray) -> None:
        self.root = root
        self.face = face
        """(68, 2) what `add` writes unless it is told, in anymark's pixels."""

    def add(
        self,
        stem: str,
        points_px: np.ndarray | None = None,
        colour: tuple[int, int, int] = (128, 128, 128),
        suffix: str | None = ".png",
        text: str | None = None,
    ) -> None:
        """`stem`.pts, and an image of 320 x 320 pixels of one colour beside it unless `suffix` is None."""
        path = self.root / stem
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix is not None:
            Image.new("RGB", (320, 320), colour).save(f"{path}{suffix}")
        points = self.face if points_px is None else points_px
        rows = "\n".join(f"{x:.9g} {y:.9g}" for x, y in points + 0.5)
        text = f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}\n" if text is None else text
        Path(f"{path}.pts").write_text(text, newline="")


def _save(path: Path, text: str, **constants: npt.ArrayLike) -> None:
    path.parent.mkdir(exist_ok=True)
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in constants.items()
    )
    path.write_bytes(model.SerializeToString())


def _write_landmark_card(folder: Path, predictor: str) -> Path:
    return _write_card(
        folder,
        format=2,
        kind="landmarks",
        predictor=predictor,
        input_size=SIZE,
        window_scale=1.5,
        crop=None,
        codes={"fits": [0.0]},
        sigma_scale=1.0,
        visible={"scale": 1.0, "shift": 0.0, "surface": 1.0},
    )


def _write_card(folder: Path, **card: object) -> Path:
    files = {p.name: {"sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in folder.glob("*.onnx")}
    (folder / "card.json").write_text(json.dumps({"name": folder.name, "files": files, **card}))
    return folder
