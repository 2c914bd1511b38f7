"""The head as a mesh: what is read back from its files is what was written, and a scene shows what the photo shows."""

from __future__ import annotations

import builtins
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from anymark import AnymarkError, Camera, CanonicalHead, HeadMesh, load_layout
from anymark.engine.shots import turned

HEAD = CanonicalHead.load()


@pytest.fixture
def mesh() -> HeadMesh:
    """A head of its own, turned, beside the middle of a photo of 800 x 600."""
    vertices = HEAD.vertices_mm * np.array([1.05, 0.97, 1.02], np.float32) + np.float32(0.123456)
    rotation = turned(*np.radians([25, 10, -5]))
    camera = Camera(1400.0, np.array([440.0, 270.0]), rotation, np.array([8.0, -5.0, 720.0]))
    return HeadMesh(vertices, camera, (800, 600))


def test_it_has_the_canonical_heads_triangles_parts_and_texture_coordinates(mesh: HeadMesh) -> None:
    assert len(mesh.vertices_mm) == len(HEAD.vertices_mm)
    for name in ("triangles", "part", "part_names", "uv"):
        assert getattr(mesh, name) is getattr(HEAD, name)


def test_obj_is_read_back_as_a_layout(mesh: HeadMesh, tmp_path: Path) -> None:
    mesh.save(tmp_path / "head.obj")
    layout = load_layout(tmp_path / "head.obj")
    np.testing.assert_allclose(layout.points_mm, mesh.vertices_mm, atol=5.1e-4)
    assert layout.triangles is not None
    rows = {tuple(row) for row in layout.triangles.tolist()}  # by parts, so in another order
    assert rows == {tuple(row) for row in mesh.triangles.tolist()}


def test_obj_has_parts_texture_and_the_camera(mesh: HeadMesh, tmp_path: Path) -> None:
    mesh.save(tmp_path / "head.obj")
    lines = (tmp_path / "head.obj").read_text().splitlines()
    assert [line[2:].replace("_", " ") for line in lines if line.startswith("g ")] == list(HEAD.part_names)
    texture = np.array([line.split()[1:] for line in lines if line.startswith("vt ")], float)
    faces = [line.split()[1:] for line in lines if line.startswith("f ")]
    corners = np.array([[corner.split("/") for corner in face] for face in faces], int) - 1
    uv = dict(zip(map(tuple, HEAD.triangles.tolist()), HEAD.uv, strict=True))
    for triangle in corners[::97]:
        np.testing.assert_allclose(texture[triangle[:, 1]], uv[tuple(triangle[:, 0].tolist())], atol=1e-5)
    comments = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# ") and "_" in line.split()[1])
    numbers = {key: json.loads(value) for key, value in comments.items()}
    camera = Camera(*(numbers[key] if key == "focal_px" else np.array(numbers[key]) for key in numbers))
    np.testing.assert_allclose(camera.project(mesh.vertices_mm), mesh.camera.project(mesh.vertices_mm), atol=0.01)


def test_ply_is_read_back_as_a_layout(mesh: HeadMesh, tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    mesh.save(tmp_path / "head.ply")
    layout = load_layout(tmp_path / "head.ply")
    np.testing.assert_array_equal(layout.points_mm, mesh.vertices_mm)
    np.testing.assert_array_equal(layout.triangles, mesh.triangles)


def read_glb(path: Path) -> tuple[dict, bytes]:
    """The JSON and the binary chunk of a glTF 2.0 file, by its specification."""
    content = path.read_bytes()
    assert struct.unpack_from("<4sII", content) == (b"glTF", 2, len(content))
    length, kind = struct.unpack_from("<I4s", content, 12)
    assert kind == b"JSON"
    start = 20 + length
    assert content[start + 4 : start + 8] == b"BIN\0"
    return json.loads(content[20:start]), content[start + 8 :]


def accessor(tree: dict, binary: bytes, index: int, width: int, kind: str) -> np.ndarray:
    entry = tree["accessors"][index]
    view = tree["bufferViews"][entry["bufferView"]]
    start = view.get("byteOffset", 0) + entry.get("byteOffset", 0)
    return np.frombuffer(binary, kind, entry["count"] * width, start).reshape(-1, width)


def test_glb_shows_through_its_camera_what_the_photo_shows(mesh: HeadMesh, tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    mesh.save(tmp_path / "head.glb")
    tree, binary = read_glb(tmp_path / "head.glb")
    nodes = {node["name"]: node for node in tree["nodes"]}
    assert "matrix" not in nodes["camera"] or np.array_equal(nodes["camera"]["matrix"], np.eye(4).ravel())
    perspective = tree["cameras"][nodes["camera"]["camera"]]["perspective"]
    assert perspective["aspectRatio"] == pytest.approx(800 / 600)
    primitive = tree["meshes"][nodes["head"]["mesh"]]["primitives"][0]
    places = accessor(tree, binary, primitive["attributes"]["POSITION"], 3, "<f4")
    pose = np.array(nodes["head"]["matrix"]).reshape(4, 4).T  # column by column
    seen = places @ pose[:3, :3].T + pose[:3, 3]  # metres; x right, y up, z backward
    half = np.tan(perspective["yfov"] / 2)
    found = np.stack([400 - 300 * seen[:, 0] / seen[:, 2] / half, 300 + 300 * seen[:, 1] / seen[:, 2] / half], 1)
    of = np.abs(places[:, None] * 1000 - mesh.vertices_mm[None, ::50]).max(2).argmin(0)
    np.testing.assert_allclose(places[of] * 1000, mesh.vertices_mm[::50], atol=1e-3)
    wanted = mesh.camera.project(mesh.vertices_mm[::50])
    error = np.linalg.norm(found[of] - wanted, axis=1)
    assert error.max() < 0.01 * np.ptp(wanted, axis=0).max()  # it is not in the photo's middle: see `Camera.about`
    middle = mesh.camera.about([400, 300]).project(mesh.vertices_mm[::50])
    np.testing.assert_allclose(found[of], middle, atol=0.02)


def test_glb_has_all_triangles_and_texture_coordinates(mesh: HeadMesh, tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    mesh.save(tmp_path / "head.glb")
    tree, binary = read_glb(tmp_path / "head.glb")
    (primitive,) = tree["meshes"][0]["primitives"]
    index = accessor(tree, binary, primitive["indices"], 1, "<u4").reshape(-1, 3)
    places = accessor(tree, binary, primitive["attributes"]["POSITION"], 3, "<f4")
    uv = accessor(tree, binary, primitive["attributes"]["TEXCOORD_0"], 2, "<f4")
    np.testing.assert_allclose(places[index] * 1000, mesh.vertices_mm[mesh.triangles], atol=1e-4)
    np.testing.assert_allclose(uv[index] * (1, -1) + (0, 1), mesh.uv, atol=1e-6)  # glTF's v runs down


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("head.stl", r"head\.stl: a mesh's file must end in \.obj, \.glb, \.ply"),
        ("head", r"head: a mesh's file must end in"),
        ("none/head.obj", r"head\.obj: cannot write"),
    ],
)
def test_a_file_that_cannot_be_is_named(mesh: HeadMesh, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(AnymarkError, match=message):
        mesh.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_trimesh_the_extra_is_named_and_obj_still_works(
    mesh: HeadMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name == "trimesh":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for suffix in (".glb", ".ply"):
        with pytest.raises(AnymarkError, match=rf"a{suffix}: .*pip install 'anymark\[mesh\]'"):
            mesh.save(tmp_path / f"a{suffix}")
    mesh.save(tmp_path / "a.obj")
    assert [path.name for path in tmp_path.iterdir()] == ["a.obj"]


@pytest.mark.parametrize("vertices", [HEAD.vertices_mm[1:], HEAD.vertices_mm * np.float32(np.nan)])
def test_vertices_of_no_head_are_refused(mesh: HeadMesh, vertices: np.ndarray) -> None:
    with pytest.raises(AnymarkError, match="mesh: "):
        HeadMesh(vertices, mesh.camera, (800, 600))
