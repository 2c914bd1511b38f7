"""Layouts from files: round trips, and one clear line for whatever may be wrong."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anymark.canonical import Layout, load_layout
from anymark.errors import AnymarkError

POINTS = np.array([(0, 50.25, 110), (-40, 0, 90), (40, 0, 90), (0, -60, 100)], np.float32)


@pytest.fixture
def layout() -> Layout:
    return Layout(
        "mine",
        POINTS,
        names=("top", "right", "left", "bottom"),
        edges=np.array([(0, 1), (1, 3)]),
        triangles=np.array([(0, 1, 3), (0, 3, 2)]),
        flip=np.array([0, 2, 1, 3]),
        regions={"sides": np.array([1, 2]), "none": np.array([], int)},
        code=(0.1, -2.5e-7, 1 / 3),
        model="small 46a2ea96ea17",
        slides_mm=np.linspace(-9, 9, 24).reshape(4, 2, 3),
    )


def same(a: Layout, b: Layout) -> bool:
    return (
        a.name == b.name
        and a.names == b.names
        and (a.code, a.model) == (b.code, b.model)
        and all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("points_mm", "slides_mm", "edges", "triangles"))
        and np.array_equal(a.flip, b.flip)
        and list(a.regions) == list(b.regions)
        and all(np.array_equal(a.regions[k], b.regions[k]) for k in a.regions)
    )


def test_json_round_trip(layout: Layout, tmp_path: Path):
    layout.save(tmp_path / "other.json")
    assert same(load_layout(tmp_path / "other.json"), layout)
    assert same(load_layout(str(tmp_path / "other.json")), layout)
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]


@pytest.mark.parametrize("name", ["ibug68", "teeth"])
def test_shipped_layouts_survive_json(name: str, tmp_path: Path):
    load_layout(name).save(tmp_path / "a.json")
    assert same(load_layout(tmp_path / "a.json"), load_layout(name))


coordinate = st.floats(-150, 150, width=32)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(coordinate, coordinate, st.floats(30, 150, width=32)), min_size=1, max_size=9))
def test_points_survive_every_text_format(tmp_path: Path, points: list[tuple[float, float, float]]):
    want = np.array(points, np.float32)
    Layout("a", want).save(tmp_path / "a.json")
    (tmp_path / "a.csv").write_text("".join(f"{x!r},{y!r},{z!r}\n" for x, y, z in points))
    (tmp_path / "a.obj").write_text("".join(f"v {x!r} {y!r} {z!r}\n" for x, y, z in points))
    for suffix in ("json", "csv", "obj"):
        np.testing.assert_array_equal(load_layout(tmp_path / f"a.{suffix}").points_mm, want)


def test_csv_with_header_names_and_another_order(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeffName, Z, y, x\r\nnose, 130, 4, 0\r\n\r\nchin, 100, -80, 1\r\n", encoding="utf-8")
    layout = load_layout(path)
    assert layout.name == "a"
    assert layout.names == ("nose", "chin")
    np.testing.assert_array_equal(layout.points_mm, [(0, 4, 130), (1, -80, 100)])


def test_csv_without_header_takes_a_fourth_column_as_names(tmp_path: Path):
    (tmp_path / "a.csv").write_text("0,4,130,nose\n1,-80,100,chin\n")
    assert load_layout(tmp_path / "a.csv").names == ("nose", "chin")


def test_obj_keeps_order_duplicates_and_unused_vertices(tmp_path: Path):
    path = tmp_path / "a.OBJ"
    path.write_text(
        "# mine\no head\nv 0 50 110\nv 0 50 110 1.0\nvt 0 0\nv -40 0 90\nv 40 0 90\nv 0 -60 100\n"
        "f 1/1/1 3/1 5//2 -2\nl 1 3 5\n"
    )
    layout = load_layout(path)
    np.testing.assert_array_equal(layout.points_mm[:2], [(0, 50, 110)] * 2)
    np.testing.assert_array_equal(layout.triangles, [(0, 2, 4), (0, 4, 3)])
    np.testing.assert_array_equal(layout.edges, [(0, 2), (2, 4)])


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_ply_keeps_order_and_duplicates(encoding: str, tmp_path: Path):
    trimesh = pytest.importorskip("trimesh")
    points = np.vstack([POINTS, POINTS[:1]])
    mesh = trimesh.Trimesh(points, [(0, 1, 3), (0, 3, 2)], process=False)
    (tmp_path / "a.ply").write_bytes(mesh.export(file_type="ply", encoding=encoding))
    layout = load_layout(tmp_path / "a.ply")
    np.testing.assert_array_equal(layout.points_mm, points)
    np.testing.assert_array_equal(layout.triangles, [(0, 1, 3), (0, 3, 2)])


def test_ply_of_points_alone(tmp_path: Path):
    pytest.importorskip("trimesh")
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in POINTS.tolist())
    header = (
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "a.ply").write_text(header + rows)
    layout = load_layout(tmp_path / "a.ply")
    np.testing.assert_array_equal(layout.points_mm, POINTS)
    assert layout.triangles is None


def test_ply_without_trimesh_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name == "trimesh":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.ply").write_text("ply")
    with pytest.raises(AnymarkError, match=r"a\.ply: .*pip install 'anymark\[mesh\]'"):
        load_layout(tmp_path / "a.ply")


POINT = '"points_mm": [[0, 50, 110], [0, 0, 120]]'
BAD = {
    "no_json.json": ("{", "not valid JSON"),
    "list.json": ("[1]", "must be a JSON object"),
    "deep.json": ("[" * 100_000, "not valid JSON"),
    "no_points.json": ('{"points": [[0, 50, 110]]}', 'must be a JSON object with "points_mm"'),
    "key.json": (f'{{{POINT}, "flips": [0, 1]}}', "unknown key 'flips'"),
    "name.json": (f'{{{POINT}, "name": 3}}', "'name' must be a JSON string"),
    "names.json": (f'{{{POINT}, "names": ["a"]}}', "1 names for 2 points"),
    "regions.json": (f'{{{POINT}, "regions": [1]}}', "'regions' must be a JSON object"),
    "region.json": (f'{{{POINT}, "regions": {{"a": [2]}}}}', "region 'a' has an index outside 0..1"),
    "region_of_text.json": (f'{{{POINT}, "regions": {{"a": "b"}}}}', "region 'a' must be a table of whole numbers"),
    "edges.json": (f'{{{POINT}, "edges": [[0, 1, 1]]}}', "edges must be"),
    "edges_none.json": (f'{{{POINT}, "edges": [[0, null]]}}', "edges must be a table of whole numbers"),
    "edges_half.json": (f'{{{POINT}, "edges": [[0, 0.5]]}}', "edges must be a table of whole numbers"),
    "edges_one.json": (f'{{{POINT}, "edges": 3}}', "edges must be"),
    "flip.json": (f'{{{POINT}, "flip": [1, 1]}}', "flip is not its own inverse"),
    "flip_short.json": (f'{{{POINT}, "flip": [0]}}', "flip must be"),
    "triangles.json": (f'{{{POINT}, "triangles": [[0, 1, 9]]}}', "triangles has an index outside"),
    "code.json": (f'{{{POINT}, "code": ["a"]}}', "code must be a table of numbers"),
    "code_one.json": (f'{{{POINT}, "code": 0.5}}', "code must be the name of a data set or a list of numbers"),
    "code_table.json": (f'{{{POINT}, "code": [[1], [2]]}}', "code must be the name of a data set or a list of numbers"),
    "code_none.json": (f'{{{POINT}, "code": []}}', "code must be the name of a data set or finite numbers"),
    "code_empty.json": (f'{{{POINT}, "code": ""}}', "code must be the name of a data set or finite numbers"),
    "code_nan.json": (f'{{{POINT}, "code": [0, NaN]}}', "code must be the name of a data set or finite numbers"),
    "code_huge.json": (f'{{{POINT}, "code": [1e60]}}', "code must be the name of a data set or finite numbers"),
    "model.json": (f'{{{POINT}, "code": [1], "model": 3}}', "'model' must be a JSON string"),
    "model_alone.json": (f'{{{POINT}, "code": "a", "model": "m"}}', "a model goes with a code of numbers"),
    "slides.json": (f'{{{POINT}, "slides_mm": [[1, 2, 3]]}}', "slides must be (2, 2, 3) finite numbers"),
    "slides_nan.json": (
        f'{{{POINT}, "slides_mm": [[[0, 0, NaN], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]}}',
        "slides must be (2, 2, 3) finite numbers",
    ),
    "slides_word.json": (
        f'{{{POINT}, "slides_mm": [[["a", 0, 0], [0, 0, 0]]]}}',
        "slides_mm must be a table of numbers",
    ),
    "empty.json": ('{"points_mm": []}', "points must be (N, 3)"),
    "flat.json": ('{"points_mm": [[0, 50], [0, 0]]}', "points must be (N, 3)"),
    "ragged.json": ('{"points_mm": [[0, 50, 110], [0]]}', "table of numbers"),
    "text.json": ('{"points_mm": "nose"}', "table of numbers"),
    "nan.json": ('{"points_mm": [[0, 50, 110], [0, NaN, 0]]}', "point 1 is not finite"),
    "huge.json": ('{"points_mm": [[0, 50, 1e99]]}', "not finite"),
    "outside.json": ('{"points_mm": [[0, 50, 1100]]}', "positions are millimetres"),
    "cm.json": ('{"points_mm": [[0, 5, 11], [0, 0, 12]]}', "these look like centimetres"),
    "metres.json": ('{"points_mm": [[0, 0.05, 0.11], [0, 0, 0.12]]}', "these look like metres"),
    "latin.json": (b"\xff\xfe\xfa", "not a text file"),
    "empty.csv": ("", "is empty"),
    "header.csv": ("x,y,z\n", "points must be (N, 3)"),
    "short.csv": ("1,2\n", "line 1 must hold three numbers"),
    "text.csv": ("x,y,z\n0,50,110\n0,a,110\n", "line 3 must hold three numbers"),
    "nan.csv": ("0,nan,110\n", "point 0 is not finite"),
    "quote.csv": ('"0,50,110\n', "not valid CSV"),
    "nul.csv": ("0,5\0,1\n", "nul.csv"),
    "empty.obj": ("# nothing\n", "has no vertices"),
    "number.obj": ("v 0 a 110\n", "line 1 is not valid OBJ"),
    "far.obj": ("v 0 50 90\nf 1 99999999999999999999 1\n", "line 2 is not valid OBJ"),
    "short.obj": ("v 0 50\n", "line 1: a vertex needs three numbers"),
    "zero.obj": ("v 0 50 110\nv 0 40 110\nf 0 1 2\n", "line 3 is not valid OBJ: f 0 1 2"),
    "zero_line.obj": ("v 0 50 110\nl 1 0/3\n", "line 2 is not valid OBJ: l 1 0/3"),
    "face.obj": ("v 0 50 110\nf 1 2 3\n", "index outside"),
    "cm.obj": ("v 0 5 11\nv 1 5 11\n", "centimetres"),
    "empty.ply": ("", "not a PLY file"),
    "text.ply": ("hello\nthere\n", "not a PLY file"),
    "cut.ply": ("ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\n", "not a PLY file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_line_that_names_them(name: str, tmp_path: Path):
    content, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnymarkError) as error:
        load_layout(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert message in text
    assert "\n" not in text
    assert error.value.__context__ is None or error.value.__suppress_context__  # no second traceback below


def test_files_that_are_not_there(tmp_path: Path):
    with pytest.raises(AnymarkError, match=r"a\.json: no such file"):
        load_layout(tmp_path / "a.json")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(AnymarkError, match=r"b\.csv: cannot be read: Is a directory"):
        load_layout(tmp_path / "b.csv")
    with pytest.raises(AnymarkError, match=r"c\.stl: a layout's file must end in \.json, \.csv, \.obj, \.ply"):
        load_layout(tmp_path / "c.stl")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("ibug86", "did you mean ibug68"),
        ("mediapipe", "mediapipe478"),
        ("Teeth", "teeth"),
        ("xyzzy", "there are dense-50"),
    ],
)
def test_unknown_names_get_the_nearest(asked: str, hint: str):
    with pytest.raises(AnymarkError, match=hint) as error:
        load_layout(asked)
    assert repr(asked) in str(error.value)


def test_a_name_cannot_leave_the_package(tmp_path: Path):
    for name in ("../head", "..", "", "/etc/passwd"):
        with pytest.raises(AnymarkError):
            load_layout(name)


def test_saving_elsewhere_than_json_is_refused(layout: Layout, tmp_path: Path):
    with pytest.raises(AnymarkError, match=r"saved as \.json"):
        layout.save(tmp_path / "a.csv")
    with pytest.raises(AnymarkError, match="cannot write"):
        layout.save(tmp_path / "missing" / "a.json")
    assert not list(tmp_path.iterdir())


def test_saved_json_has_the_documented_keys(layout: Layout, tmp_path: Path):
    layout.save(tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert set(data) == {
        "name",
        "points_mm",
        "names",
        "edges",
        "flip",
        "triangles",
        "regions",
        "code",
        "model",
        "slides_mm",
    }
    assert data["points_mm"][0] == [0, 50.25, 110]


@pytest.mark.parametrize("code", [None, "wflw98", (1.0, 0.5)])
def test_whose_points_they_are_is_kept(code: str | tuple[float, ...] | None, tmp_path: Path):
    Layout("mine", POINTS, code=code).save(tmp_path / "a.json")
    assert load_layout(tmp_path / "a.json").code == code
    assert ("code" in json.loads((tmp_path / "a.json").read_text())) == (code is not None)


def test_layout_keeps_its_own_copies(layout: Layout):
    points = POINTS.copy()
    mine = Layout("mine", points)
    points[:] = 0
    np.testing.assert_array_equal(mine.points_mm, POINTS)
    assert len(mine) == 4
