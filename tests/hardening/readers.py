"""What reads files of users: each kind, with whole files of it."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat

from anymark.apps.annotations import read_annotations
from anymark.apps.clicks import read_markers
from anymark.apps.flame import read_flame
from anymark.apps.maps import load_maps, save_maps
from anymark.apps.rigs import load_rig
from anymark.apps.uv import UvPicture
from anymark.canonical import CanonicalHead, load_layout
from anymark.commands.capture import read_cameras
from anymark.detect.image import open_photo
from anymark.detect.locate import Locator
from anymark.detect.model import Model
from anymark.detect.template import Template, load_template
from anymark.engine.data_recipe import load_data_recipe
from anymark.engine.hdr import read_hdr
from anymark.engine.samples import read_shards, write_shard
from anymark.engine.tracked_clips import TrackedClip
from anymark.evaluate.mat_files import read_arrays
from anymark.learn.train.recipe import load_recipe
from anymark.learn.train.weights import read_weights
from anymark.photo_files import read_npz
from anymark.video import open_video
from anymark.video.exr import read_exr
from anymark.video.track import Track
from tests.dense_maps import exact_map, turned_camera
from tests.detect.synthetic import write_locator
from tests.exports.tracks import track
from tests.samples import grey_sample
from tests.video.clips import write_clip

RECIPES = Path(__file__).parents[2] / "recipes"
CARD = "card.json"
SIDE = 48


class Reader(NamedTuple):
    """What reads a kind of file, and how whole files of it are made."""

    suffixes: tuple[str, ...]
    write: Callable[[Path], Any]
    """Write a whole file under a name with one of the suffixes."""
    read: Callable[[Path], Any]


def rainbow(count: int = 1) -> np.ndarray:
    """(count, S, S, 3) bytes, alike in no two places."""
    ramp = np.linspace(0, 255, SIDE)
    plane = np.stack([*np.meshgrid(ramp, ramp), np.full((SIDE, SIDE), 90)], -1)
    return np.stack([np.roll(plane, 3 * i, 0) for i in range(count)]).astype(np.uint8)


def _picture(path: Path) -> None:
    Image.fromarray(rainbow()[0]).save(path)


def _exr(path: Path) -> None:
    import OpenEXR

    pixels = (rainbow()[0] / 255).astype(np.float32)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": pixels}).write(str(path))


def _clip(path: Path) -> None:
    codec, pix_fmt = {".gif": ("gif", "rgb8"), ".mkv": ("ffv1", "bgr0")}.get(path.suffix, ("libx264rgb", "rgb24"))
    write_clip(path, list(rainbow(6)), codec=codec, pix_fmt=pix_fmt, unit=Fraction(1, 1000))


def _watched(path: Path) -> None:
    for frame in open_video(path):
        if frame.index > 50:  # a torn header may promise more than there is
            break


def _annotations(path: Path) -> None:
    _picture(path.with_suffix(".jpg"))
    points = rainbow()[0, :5, 0, :2].astype(float).tolist()
    name = path.with_suffix(".jpg").name
    if path.suffix == ".pts":
        rows = "\n".join(f"{x} {y}" for x, y in points)
        path.write_text(f"version: 1\nn_points: 5\n{{\n{rows}\n}}\n")
    elif path.suffix == ".csv":
        rows = "\n".join(f"{name},{i},{x},{y}" for i, (x, y) in enumerate(points))
        path.write_text(f"image,point,x,y\n{rows}\n")
    else:
        path.write_text(json.dumps({"images": [{"image": name, "faces": [{"points": points}]}]}))


def _rig(path: Path) -> None:
    head = CanonicalHead.load()
    smile = np.zeros((1, *head.vertices_mm.shape))
    smile[0, :100] = 1
    np.savez(path, neutral=head.vertices_mm, expression=smile, triangles=head.triangles, canonical_mm=head.vertices_mm)


def _flame(path: Path) -> None:
    n = 12
    content = {
        "v_template": np.zeros((n, 3)),
        "shapedirs": np.zeros((n, 3, 400)),
        "f": np.arange(12).reshape(4, 3),
        "weights": np.full((n, 5), 0.2),
        "J_regressor": np.full((5, n), 1 / n),
    }
    path.write_bytes(pickle.dumps(content, protocol=2))


def _obj(path: Path) -> None:
    path.write_text(
        "v 0 40 90\nv 30 40 80\nv 0 -40 95\nv 30 -40 85\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\nf 2/2 4/1 3/3\n"
    )


def _cameras(path: Path) -> None:
    one = {
        "focal_px": 900.0,
        "principal_px": [320.0, 240.0],
        "R_camera_world": np.eye(3).tolist(),
        "t_camera_world_mm": [0.0, 0.0, 900.0],
    }
    path.write_text(json.dumps([one, one]))


def _shard(path: Path) -> None:
    facing = np.diag([1.0, -1.0, -1.0])
    write_shard(path, [grey_sample(f"grey-{i}-0", facing, np.array([0, 0, 700.0]), 32, 60.0) for i in range(2)])


def _hdr(path: Path) -> None:
    row = bytes([2, 2, 0, 16, *(byte for level in (128, 100, 90, 129) for byte in (128 + 16, level))])
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 16\n" + 8 * row)


def _weights(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.ones(3, 4), "b": torch.arange(5)}, path)


def _of_locator(path: Path, name: str) -> None:
    path.write_bytes((write_locator(path.parent / f"of-{path.name}") / name).read_bytes())


def _model(path: Path, name: str) -> None:
    """A locator with that file in place of its own; of a network, the card knows the hash."""
    folder = path.parent / "spoilt-of"
    shutil.rmtree(folder, ignore_errors=True)
    write_locator(folder)
    (folder / name).write_bytes(path.read_bytes())
    if name.endswith(".onnx"):
        card = json.loads((folder / CARD).read_text())
        card["files"][name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / CARD).write_text(json.dumps(card))
    Locator(Model(folder, "locator")).locate(open_photo(rainbow()[0]))


READERS: dict[str, Reader] = {
    "photos": Reader((".png", ".jpg", ".webp", ".tif", ".bmp", ".gif"), _picture, open_photo),
    "exr pictures": Reader((".exr",), _exr, read_exr),
    "videos": Reader((".mp4", ".mkv", ".gif", ".mov"), _clip, _watched),
    "layouts": Reader((".json",), lambda path: load_layout("ibug68").save(path), load_layout),
    "templates": Reader((".json",), lambda path: Template.of("t", np.eye(2) / 2, [[0, 1]]).save(path), load_template),
    "annotations": Reader((".pts", ".csv", ".json"), _annotations, read_annotations),
    "marker tables": Reader(
        (".csv",), lambda path: path.write_text("name,x_px,y_px,frame\nmole,12.5,40,0\nscar,20,21,3\n"), read_markers
    ),
    "rigs": Reader((".npz",), _rig, load_rig),
    "FLAME's file": Reader((".pkl",), _flame, read_flame),
    "meshes": Reader((".obj",), _obj, load_layout),
    "cameras": Reader((".json",), _cameras, lambda path: read_cameras(path, 2)),
    "textures": Reader((".png",), _picture, UvPicture.load),
    "tracks": Reader((".npz",), lambda path: track().save(path), Track.load),
    "tracked clips": Reader(
        (".npz",),
        lambda path: TrackedClip(
            rainbow(3),
            np.zeros((3, 4, 2), np.float32),
            np.ones((3, 4), bool),
            *np.ones((2, 3, 4), np.float32),
            "lk",
        ).save(path),
        TrackedClip.load,
    ),
    "dense maps": Reader(
        (".npz",), lambda path: save_maps(path, [exact_map(turned_camera(10.0), (256, 256), 32)]), load_maps
    ),
    "labels": Reader(
        (".npz",),
        lambda path: np.savez_compressed(path, points=np.ones((4, 5, 2))),
        lambda path: read_npz(path, ["points"]),
    ),
    "MATLAB files": Reader(
        (".mat",), lambda path: savemat(path, {"points": np.ones((4, 5))}), lambda path: read_arrays(path, ["points"])
    ),
    "shards": Reader((".tar",), _shard, lambda path: list(read_shards([path]))),
    "panoramas": Reader((".hdr",), _hdr, read_hdr),
    "recipes": Reader((".toml",), lambda path: path.write_bytes((RECIPES / "small.toml").read_bytes()), load_recipe),
    "data recipes": Reader(
        (".toml",), lambda path: path.write_bytes((RECIPES / "data" / "helmet.toml").read_bytes()), load_data_recipe
    ),
    "weights": Reader((".safetensors",), _weights, read_weights),
    "model cards": Reader((".json",), lambda path: _of_locator(path, CARD), lambda path: _model(path, CARD)),
    "networks": Reader(
        (".onnx",), lambda path: _of_locator(path, "locate.onnx"), lambda path: _model(path, "locate.onnx")
    ),
}
