"""Rigs read from files, and laid onto the canonical head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anymark.apps.rigs import closest, load_rig, register
from anymark.canonical import CanonicalHead, Layout, load_layout
from anymark.canonical.head import SKIN, closest_on_surface
from anymark.errors import AnymarkError
from anymark.fit import Rig

HEAD = CanonicalHead.load()


def skin() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles of the canonical skin alone."""
    ids, triangles = np.unique(HEAD.triangles[HEAD.triangles_of(*SKIN)], return_inverse=True)
    return HEAD.vertices_mm[ids].astype(np.float64), triangles.reshape(-1, 3).astype(np.int32)


def shapes(vertices: np.ndarray) -> np.ndarray:
    """Two offsets: the chin down, and all a little wider."""
    chin = np.zeros_like(vertices)
    chin[:, 1] = -10 * np.exp(-(((vertices - [0, -75, 90]) / 25) ** 2).sum(1))
    return np.stack([chin, vertices * (0.05, 0, 0)])


def landmark_ids(vertices: np.ndarray) -> np.ndarray:
    """The vertices nearest to the 68 landmarks."""
    points = load_layout("ibug68").points_mm
    return ((vertices[None] - points[:, None]) ** 2).sum(2).argmin(1)


def write_obj(path: Path, vertices: np.ndarray, triangles: np.ndarray) -> None:
    lines = ["v {} {} {}".format(*v) for v in vertices.tolist()]
    lines += ["f {0}/{0} {1}/{1} {2}/{2}".format(*t) for t in (triangles + 1).tolist()]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rig as a folder, in centimetres."""
    vertices, triangles = skin()
    chin, wide = shapes(vertices)
    write_obj(tmp_path / "my_neutral.obj", vertices / 10, triangles)
    write_obj(tmp_path / "jawOpen.obj", (vertices + chin) / 10, triangles)
    write_obj(tmp_path / "identity000.obj", (vertices + wide) / 10, triangles)
    (tmp_path / "landmarks.txt").write_text(" ".join(map(str, landmark_ids(vertices).tolist())))
    return tmp_path


def test_a_folder_of_shapes(folder: Path) -> None:
    vertices, triangles = skin()
    on = load_rig(folder)
    np.testing.assert_allclose(on.rig.neutral_mm, vertices, atol=1e-3)
    np.testing.assert_allclose(on.rig.expression_mm[0], shapes(vertices)[0], atol=1e-3)
    np.testing.assert_allclose(on.rig.identity_mm[0], shapes(vertices)[1], atol=1e-3)
    assert on.rig.expression_names == ("jawOpen",)
    np.testing.assert_array_equal(on.rig.triangles, triangles)


def test_an_npz_says_where_it_lies(tmp_path: Path) -> None:
    vertices, triangles = skin()
    content = {"neutral": 2 * vertices / 10, "expression": shapes(vertices)[:1] / 10, "triangles": triangles}
    np.savez(tmp_path / "rig.npz", **content, expression_names=["a"], canonical_mm=vertices)
    on = load_rig(tmp_path / "rig.npz")
    assert len(on.rig.identity_mm) == 0
    points, index = on.points_of(load_layout("dense-500"))
    assert len(index) == 500
    # a rig twice the size: its points are the layout's, twice as far
    np.testing.assert_allclose(points.on(on.rig.neutral_mm), 2 * load_layout("dense-500").points_mm, atol=1.0)


def test_a_rig_of_another_size_and_shape_is_laid_onto_the_head() -> None:
    """Turned to other axes' units, stretched and bent: it lands on the places that it is made of."""
    vertices, triangles = skin()
    bent = vertices * (1.15, 0.93, 1.05) + (30, -200, 12)
    bent[:, 2] += 6 * np.sin(bent[:, 1] / 30)
    rig = Rig(bent, shapes(vertices)[1:], shapes(vertices)[:1], ("a",), triangles)
    on = register(rig, landmark_ids(vertices))
    face = HEAD.vertices_of("face")
    known = np.isfinite(on.canonical_mm).all(1)
    assert known.mean() > 0.9
    ids = HEAD.vertices_of(*SKIN)
    of_face = np.isin(ids, face) & known
    off = np.linalg.norm(on.canonical_mm[of_face] - vertices[of_face], axis=1)
    assert np.median(off) < 2.5
    assert np.quantile(off, 0.9) < 8


def test_points_that_the_rig_lacks_are_left_out() -> None:
    vertices, triangles = skin()
    front = triangles[(vertices[triangles][..., 2] > 60).all(1)]
    on = register(Rig(vertices, shapes(vertices)[:1], shapes(vertices)[:1], ("a",), front), landmark_ids(vertices))
    points, index = on.points_of(load_layout("dense-500"))
    kept = load_layout("dense-500").points_mm[index]
    assert 50 < len(index) < 400
    assert kept[:, 2].min() > 50
    assert len(points) == len(index)
    with pytest.raises(AnymarkError, match="no point of the layout 'back' lies on the rig"):
        on.points_of(Layout("back", np.array([[0.0, 0, -90]])))


def test_the_closest_point_is_that_of_all_triangles() -> None:
    vertices, triangles = skin()
    rng = np.random.default_rng(0)
    points = HEAD.sample(200).points_mm + rng.normal(0, 0.5, (200, 3))
    corners, weights, away = closest(vertices, triangles, points)
    ids, exact = closest_on_surface(vertices, triangles, points)
    both = (weights, corners), (exact, triangles[ids])
    found, expected = (np.einsum("nk,nkd->nd", each, vertices[of]) for each, of in both)
    np.testing.assert_allclose(np.linalg.norm(found - points, axis=1), away, atol=1e-9)
    assert np.median(np.linalg.norm(found - expected, axis=1)) < 1e-6
    assert (away - np.linalg.norm(expected - points, axis=1)).max() < 0.5


def test_ict_s_own_file_of_landmarks(folder: Path) -> None:
    ids = landmark_ids(skin()[0]).tolist()
    (folder / "landmarks.txt").unlink()
    with pytest.raises(AnymarkError, match="the vertices of its 68 landmarks are needed"):
        load_rig(folder)
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": ids}))
    assert np.isfinite(load_rig(folder).canonical_mm).all(1).mean() > 0.9
    (folder / "own.json").write_text(json.dumps(ids[:67]))
    with pytest.raises(AnymarkError, match="its landmarks must be 68 vertices"):
        load_rig(folder, landmarks=folder / "own.json")


def test_bad_rigs(folder: Path, tmp_path: Path) -> None:
    vertices, triangles = skin()
    write_obj(folder / "smile.obj", vertices[:-1] / 10, triangles[:5])
    with pytest.raises(AnymarkError, match=r"smile\.obj: another topology: \d+ vertices and 5 triangles"):
        load_rig(folder)
    write_obj(folder / "smile.obj", vertices / 10, triangles[:, ::-1])
    with pytest.raises(AnymarkError, match=r"smile\.obj: another topology"):
        load_rig(folder)
    (folder / "smile.obj").write_text("v 1 2\n")
    with pytest.raises(AnymarkError, match=r"smile\.obj: "):
        load_rig(folder)
    (folder / "smile.obj").unlink()
    write_obj(folder / "neutral2.obj", vertices / 10, triangles)
    with pytest.raises(AnymarkError, match=r"one \.obj file with neutral in its name is needed, not 2"):
        load_rig(folder)
    for content, said in (
        ({"triangles": triangles}, "lacks 'neutral'"),
        ({"neutral": vertices, "triangles": triangles}, "a rig without shapes"),
        (
            {"neutral": vertices, "triangles": triangles, "expression": np.ones((1, 4, 3)), "expression_names": ["a"]},
            "must be",
        ),
    ):
        np.savez(tmp_path / "bad.npz", **content)
        with pytest.raises(AnymarkError, match=said):
            load_rig(tmp_path / "bad.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(AnymarkError, match=r"not an \.npz file of a rig"):
        load_rig(tmp_path / "text.npz")
    with pytest.raises(AnymarkError, match="no such file"):
        load_rig(tmp_path / "none.npz")
    with pytest.raises(AnymarkError, match="unit_mm"):
        load_rig(folder, unit_mm=0)
