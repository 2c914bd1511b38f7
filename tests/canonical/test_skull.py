"""The bones inside the canonical head, and the two layouts on them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.head import SKIN
from anymark.canonical.skull import Skull
from anymark.errors import AnymarkError

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(os.environ.get("ANYMARK_ASSETS", ROOT.parent / "shared" / "assets"))
HEAD, SKULL = CanonicalHead.load(), Skull.load()


def winding(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(N,) how often triangles (T, 3, 3) go round points: about 1 inside, 0 outside, small holes notwithstanding."""
    total = []
    for chunk in np.array_split(points, len(points) // 200 + 1):
        a, b, c = np.moveaxis(corners[None] - chunk[:, None, None], 2, 0)
        x, y, z = (np.linalg.norm(q, axis=2) for q in (a, b, c))
        below = x * y * z + (a * b).sum(2) * z + (b * c).sum(2) * x + (c * a).sum(2) * y
        total.append(np.arctan2((a * np.cross(b, c)).sum(2), below).sum(1) / (2 * np.pi))
    return np.concatenate(total)


def distance(points: np.ndarray, mesh: CanonicalHead) -> np.ndarray:
    return np.linalg.norm(mesh.closest_point(points).points_mm - points, axis=1)


def surface(vertices: np.ndarray, triangles: np.ndarray) -> CanonicalHead:
    """Any mesh as a head, which finds nearest points."""
    everything = np.arange(len(triangles), dtype=np.int32)
    return replace(HEAD, vertices_mm=vertices, triangles=triangles, regions={"all": everything})


def bone(body: str) -> CanonicalHead:
    return surface(SKULL.vertices_mm, SKULL.triangles[SKULL.triangles_of(body)])


def test_bodies_are_two_closed_surfaces_facing_outwards():
    assert SKULL.body_names == ("skull", "mandible")
    parts = [SKULL.vertices_of(body) for body in SKULL.body_names]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(len(SKULL.vertices_mm)))
    for body in SKULL.body_names:
        triangles = SKULL.triangles[SKULL.triangles_of(body)]
        np.testing.assert_array_equal(np.unique(triangles), SKULL.vertices_of(body))
        edges = {(t[k - 1], t[k]) for t in triangles.tolist() for k in range(3)}
        assert len(edges) == 3 * len(triangles)
        assert all((b, a) in edges for a, b in edges)
        a, b, c = np.moveaxis(SKULL.vertices_mm[triangles].astype(float), 1, 0)
        volume = (a * np.cross(b, c)).sum() / 6e3  # ml
        assert (2_000 < volume < 4_000) if body == "skull" else (30 < volume < 150)
    with pytest.raises(AnymarkError, match="no body named 'jaw'; there are skull, mandible"):
        SKULL.vertices_of("jaw")


def test_bone_lies_under_the_skin_everywhere():
    skin = HEAD.triangles[HEAD.triangles_of(*SKIN)]
    for body in SKULL.body_names:
        points = np.vstack([SKULL.vertices_mm[SKULL.vertices_of(body)], bone(body).sample(2_000, ("all",)).points_mm])
        points = points[points[:, 0] >= 0]  # the other half is its mirror image
        assert winding(points, HEAD.vertices_mm[skin].astype(float)).min() > 0.5
        assert distance(points, surface(HEAD.vertices_mm, skin)).min() > 1.5


@pytest.mark.parametrize(
    ("layout", "name", "least_mm", "most_mm"),
    [
        ("skull", "glabella", 4, 7),
        ("skull", "nasion", 5, 8),
        ("skull", "rhinion", 2, 4),
        ("skull", "vertex", 4, 7),
        ("skull", "opisthocranion", 5, 9),
        ("skull", "left euryon", 5, 9),
        ("skull", "left zygion", 4, 9),
        ("skull", "left orbitale", 5, 9),
        ("mandible", "pogonion", 8, 13),
        ("mandible", "menton", 5, 9),
        ("mandible", "left gonion", 7, 18),
    ],
)
def test_soft_tissue_is_as_thick_as_in_adults(layout: str, name: str, least_mm: float, most_mm: float):
    points = load_layout(layout)
    assert points.names is not None
    skin = surface(HEAD.vertices_mm, HEAD.triangles[HEAD.triangles_of(*SKIN)])
    assert least_mm < distance(points.points_mm[[points.names.index(name)]], skin)[0] < most_mm


def test_the_vault_is_evenly_thick_under_the_scalp():
    points = load_layout("skull").points_mm
    skin = surface(HEAD.vertices_mm, HEAD.triangles[HEAD.triangles_of(*SKIN)])
    depth = distance(points[points[:, 1] > 90], skin)
    assert len(depth) > 100
    assert np.abs(np.percentile(depth, [5, 95]) - 6).max() < 2


@pytest.mark.parametrize(("body", "row", "up"), [("skull", "upper", -1), ("mandible", "lower", 1)])
def test_teeth_stand_in_the_bones(body: str, row: str, up: int):
    """Crowns stick out, from the gum on; roots lie within, or all but."""
    triangles = SKULL.triangles[SKULL.triangles_of(body)]
    solid = SKULL.vertices_mm[triangles].astype(float)
    teeth = [name for name in HEAD.regions if name.startswith((f"{row} left", f"{row} right"))]
    assert len(teeth) == 16
    for name in teeth:
        vertices = HEAD.vertices_mm[np.unique(HEAD.triangles[HEAD.regions[name]])].astype(float)
        below = (vertices[:, 1] * up).max() - vertices[:, 1] * up  # the biting edge
        assert winding(vertices[below < 6], solid).max() < 0.5, name
        root = vertices[below > 12]
        if len(root):
            assert (distance(root, bone(body))[winding(root, solid) < 0.5] < 1.5).all(), name
        neck = vertices[(below > 6) & (below < 14)]
        assert distance(neck, bone(body)).min() < 2.5, name


def test_orbits_leave_room_for_the_eyeballs():
    eyes = HEAD.vertices_of("right eye", "left eye")
    points = HEAD.vertices_mm[eyes].astype(float)
    skull = SKULL.vertices_mm[SKULL.triangles[SKULL.triangles_of("skull")]].astype(float)
    assert winding(points, skull).max() < 0.5
    assert 0.8 < distance(points, bone("skull")).min() < 3


def test_condyles_lie_in_their_sockets_without_touching():
    mandible = SKULL.vertices_mm[SKULL.vertices_of("mandible")].astype(float)
    skull = SKULL.vertices_mm[SKULL.triangles[SKULL.triangles_of("skull")]].astype(float)
    assert winding(mandible, skull).max() < 0.5
    layout = load_layout("mandible")
    condyles = [layout.names.index(f"{side} condylion") for side in ("left", "right")]  # pyright: ignore
    gap = distance(layout.points_mm[condyles].astype(float), bone("skull"))
    assert (gap > 0.5).all()
    assert (gap < 5).all()
    # about where ICT-FaceKit's lower teeth turn: (y, z) = (4.4, 23.6)
    assert np.abs(layout.points_mm[condyles][:, 1:] - (4.4, 23.6)).max() < 8


def test_left_and_right_are_mirror_images():
    for body in SKULL.body_names:
        points = SKULL.vertices_mm[SKULL.vertices_of(body)]
        assert {tuple(p) for p in points.tolist()} == {(-x + 0.0, y, z) for x, y, z in points.tolist()}


@pytest.mark.parametrize(("name", "size", "landmarks"), [("skull", 500, 30), ("mandible", 300, 14)])
def test_layouts_lie_on_the_bone(name: str, size: int, landmarks: int):
    layout = load_layout(name)
    assert len(layout) == size
    assert distance(layout.points_mm.astype(float), bone(name)).max() < 0.1
    np.testing.assert_array_equal(layout.regions["landmarks"], np.arange(landmarks))
    assert layout.names is not None
    assert len(set(layout.names)) == size
    assert layout.flip is not None
    np.testing.assert_allclose(layout.points_mm[layout.flip], layout.points_mm * (-1, 1, 1), atol=1e-4)
    swap = {"left": "right", "right": "left"}
    for i, other in enumerate(layout.flip):
        assert [swap.get(word, word) for word in layout.names[i].split()] == layout.names[other].split()


@pytest.mark.parametrize("name", ["skull", "mandible"])
def test_other_points_are_spread_out(name: str):
    layout = load_layout(name)
    points = layout.points_mm[len(layout.regions["landmarks"]) :].astype(float)
    apart = np.linalg.norm(points[:, None] - points, axis=2) + 1e3 * np.eye(len(points))
    nearest = apart.min(1)
    assert np.percentile(nearest, 5) > 0.5 * np.median(nearest)  # independent draws: 0.3


def test_landmarks_are_where_their_names_say():
    def at(layout: str, name: str) -> np.ndarray:
        points = load_layout(layout)
        assert points.names is not None
        return points.points_mm[points.names.index(name)]

    vertices = {body: SKULL.vertices_mm[SKULL.vertices_of(body)] for body in SKULL.body_names}
    assert at("skull", "vertex")[1] == pytest.approx(vertices["skull"][:, 1].max(), abs=0.5)
    assert at("skull", "opisthocranion")[2] == pytest.approx(vertices["skull"][:, 2].min(), abs=0.5)
    assert at("skull", "left euryon")[0] == vertices["skull"][:, 0].max()
    assert at("mandible", "menton")[1] == pytest.approx(vertices["mandible"][:, 1].min(), abs=0.5)
    assert at("mandible", "left condylion")[1] == vertices["mandible"][:, 1].max()
    middle = [at("skull", name) for name in ("vertex", "glabella", "nasion", "rhinion", "nasal spine", "prosthion")]
    middle += [at("mandible", name) for name in ("infradentale", "supramentale", "pogonion", "menton")]
    assert (np.diff(np.array(middle)[:, 1]) < 0).all()
    assert (np.array(middle)[:, 0] == 0).all()
    eye = HEAD.vertices_mm[np.unique(HEAD.triangles[HEAD.regions["left eye"]])].mean(0)
    assert at("skull", "left orbitale")[1] < eye[1] - 14
    assert at("skull", "left supraorbitale")[1] > eye[1] + 14
    assert at("skull", "left maxillofrontale")[0] < eye[0] - 14
    assert at("skull", "left ectoconchion")[0] > eye[0] + 14


def test_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        SKULL.vertices_mm[0] = 0


@pytest.mark.skipif(not (ASSETS / "ict_facekit").is_dir(), reason=f"no assets in {ASSETS}; set ANYMARK_ASSETS")
@pytest.mark.parametrize("opening", [0.0, 1.0])
def test_the_mandible_may_follow_the_lower_teeth(opening: float):
    with np.load(ASSETS / "ict_facekit" / "ict_facekit_light.npz") as data:
        k = data["expression_names"].tolist().index("jawOpen")
        jaw_open = 10.0 * data["expression_q"][k].astype(float) * data["expression_scale"][k]
    posed = HEAD.vertices_mm + (opening - 0.3) * jaw_open[HEAD.ict_vertices]
    teeth = HEAD.vertices_of("lower teeth")
    before, after = HEAD.vertices_mm[teeth].astype(float), posed[teeth]
    u, _, vt = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
    mandible = (SKULL.vertices_mm[SKULL.vertices_of("mandible")] - before.mean(0)) @ u @ vt + after.mean(0)
    skull = SKULL.vertices_mm[SKULL.triangles[SKULL.triangles_of("skull")]].astype(float)
    assert winding(mandible, skull).max() < 0.5
    assert winding(mandible, posed[HEAD.triangles[HEAD.triangles_of(*SKIN)]]).min() > 0.5


@pytest.mark.skipif(not (ASSETS / "skull").is_dir(), reason=f"no assets in {ASSETS}; set ANYMARK_ASSETS")
def test_rebuilding_gives_the_shipped_data(tmp_path: Path):
    pytest.importorskip("scipy")
    script = ROOT / "scripts" / "build_skull.py"
    subprocess.run([sys.executable, script, "--assets", ASSETS, "--out", tmp_path], check=True, capture_output=True)
    data = resources.files("anymark.canonical") / "data"
    built = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npz"))
    assert built == ["layouts/mandible.npz", "layouts/skull.npz", "skull.npz"]
    for path in built:
        with np.load(tmp_path / path) as new, (data / path).open("rb") as file, np.load(file) as shipped:
            assert new.files == shipped.files, path
            for key in new.files:
                assert new[key].dtype == shipped[key].dtype, (path, key)
                if new[key].dtype.kind == "f":  # rounded to 0.01 mm, and the last bits may differ between machines
                    np.testing.assert_allclose(new[key], shipped[key], atol=0.02, err_msg=f"{path} {key}")
                else:
                    np.testing.assert_array_equal(new[key], shipped[key], err_msg=f"{path} {key}")


def test_without_assets_the_script_says_what_is_missing(tmp_path: Path):
    pytest.importorskip("scipy")
    script = ROOT / "scripts" / "build_skull.py"
    done = subprocess.run(
        [sys.executable, script, "--assets", tmp_path, "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path} has no folder skull; pass --assets or set ANYMARK_ASSETS\n"
