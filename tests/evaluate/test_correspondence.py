"""Measurements of dense maps: who carries pixels, how well rigs follow, and the numbers that are made of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anymark.canonical import CanonicalHead
from anymark.canonical.files import HEAD, load_layout
from anymark.cli import main
from anymark.detect.camera import Camera
from anymark.detect.detector import Head
from anymark.detect.landmarks import Landmarks
from anymark.detect.points import Points
from anymark.engine.samples import Sample, write_shard
from anymark.evaluate.carriers import ByDense, ByDescriptors, ByQuery, Looked, carriers, nearest_triangles
from anymark.evaluate.correspondence import Carried, distances, pair_details
from anymark.evaluate.photo_sets import FACELAB_ANNOTATED, FACELAB_REGIONS
from tests.apps.heads import landmarks
from tests.apps.test_rigs import shapes
from tests.dense_maps import exact_map, turned_camera
from tests.learn.dense import render
from tests.portraits import portrait
from tests.samples import finish

FRONT, ASIDE = turned_camera(0.0), turned_camera(20.0)


class Asked(Head):
    """A head whose vertices lie where the camera sees them."""

    def __init__(self, camera: Camera) -> None:
        object.__setattr__(self, "seen_by", camera)

    def query(self, points: Points) -> Landmarks:
        return landmarks(self.seen_by, load_layout(HEAD))  # type: ignore[attr-defined]


def looked(camera: Camera) -> Looked:
    dense = exact_map(camera, (256, 256))
    colours = np.clip((dense.on_photo().points_mm + 130) / 260 * 255, 0, 255).astype(np.uint8)
    return Looked(colours, Asked(camera), dense)


@pytest.fixture(scope="module")
def pair() -> tuple[Looked, Looked, np.ndarray, np.ndarray]:
    points = load_layout("dense-500").points_mm
    points = points[(points[:, 2] > 80) & (np.abs(points[:, 0]) < 35) & (np.abs(points[:, 1]) < 60)]
    return looked(FRONT), looked(ASIDE), FRONT.project(points), ASIDE.project(points)


@pytest.mark.parametrize(("who", "most_px"), [(ByDense(), 0.5), (ByQuery(), 4.0)])
def test_pixels_are_carried_to_the_same_points(who, most_px: float, pair) -> None:
    first, second, start, want = pair
    assert np.median(distances(who.carry(first, second, start), want)) < most_px


def test_a_map_that_shows_no_head_misses_all_points(pair) -> None:
    first, second, start, _ = pair
    blank = replace(second, dense=replace(second.dense, head=np.zeros_like(second.dense.head)))
    assert np.isinf(distances(ByDense().carry(first, blank, start), start)).all()


def test_descriptors_find_what_looks_alike(pair) -> None:
    first, second, start, want = pair
    found, missing = carriers(mediapipe=False)
    names = [each.name for each in found]
    assert names[0] == "dense"
    assert not missing
    same = {each.name: np.median(distances(each.carry(first, first, start), start)) for each in found}
    assert same["colour and place"] < 4
    assert same["dense SIFT"] < 4
    (colours,) = [each for each in found if isinstance(each, ByDescriptors) and each.name == "colour and place"]
    # a head that turns leaves the place where it was: descriptors follow it badly, the map does not
    by_colour = np.median(distances(colours.carry(first, second, start), want))
    assert np.median(distances(found[0].carry(first, second, start), want)) < by_colour / 10


def test_a_point_lies_in_its_triangle_or_next_to_the_nearest() -> None:
    xy = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10], [5, 5], [5, 5]])
    triangles = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 4]])  # the last is flat
    points = np.array([[2.0, 3], [8, 9], [-4, 3]])
    triangle, weights = nearest_triangles(xy, triangles, points)
    assert triangle.tolist() == [0, 1, 0]
    np.testing.assert_allclose(np.einsum("nk,nkd->nd", weights, xy[triangles[triangle]]), points, atol=1e-9)
    assert weights[2].min() < 0


def test_numbers_of_pairs_are_of_all_points_together() -> None:
    found = [
        Carried(10.0, 256.0, {"dense": np.array([0.0, 10.0]), "other": np.array([np.inf, 30.0])}),
        Carried(50.0, 256.0, {"dense": np.array([20.0]), "other": np.array([1.0])}),
    ]
    table, by_turn = pair_details(found)
    assert table.rows["dense"]["MAE px"] == pytest.approx(10)
    assert table.rows["dense"]["RMSE px"] == pytest.approx(np.sqrt(500 / 3))
    assert table.rows["dense"]["PCK@0.05 %"] == pytest.approx(200 / 3)
    assert table.rows["other"]["PCK@0.05 %"] == pytest.approx(100 / 3)  # what was not found is wrong
    assert table.rows["other"]["MAE px"] == pytest.approx(15.5)
    assert list(by_turn.rows) == ["turned by 0-15 degrees", "turned by 30-60 degrees"]
    assert by_turn.rows["turned by 30-60 degrees"] == {"pairs": 1, "dense": 20.0, "other": 1.0}


def test_who_finds_nothing_has_no_mean() -> None:
    nothing = Carried(10.0, 256.0, {"dense": np.full(3, np.inf)})
    table, _ = pair_details([nothing])
    assert np.isnan([table.rows["dense"][name] for name in ("MAE px", "RMSE px")]).all()
    assert table.rows["dense"]["PCK@0.1 %"] == 0


# the commands, with the shipped models

ALWAYS = ["dense", "query model, nearest vertex", "colour and place", "dense SIFT"]
"""Who carries, whatever else is installed."""


def portrait_of(sample: Sample) -> Sample:
    """The same in the astronaut's skin."""
    told = sample.record
    camera = Camera(
        told["focal_px"], *(np.array(told[k]) for k in ("principal_px", "R_camera_head", "t_camera_head_mm"))
    )
    return replace(sample, image=portrait(camera, len(sample.image)))


def written(folder: Path, samples: list[Sample]) -> Path:
    """A finished data set of held-out heads."""
    folder.mkdir()
    write_shard(folder / "shard-00000.tar", samples)
    finish(folder)
    return folder


def measured(out: Path, *command: str) -> dict[str, Any]:
    """What `anymark eval` writes."""
    assert main(["eval", *command, "--threads=1", f"--json={out}"]) == 0
    numbers = json.loads(out.read_text())
    assert set(numbers) == {"measured on", "host", "model", "details", "notes"}
    assert numbers["model"] == "small"
    assert {"cpu", "commit"} <= set(numbers["host"])
    return numbers


def last_numbers(capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Of the line that says what matters most."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", capsys.readouterr().out.splitlines()[-1])]


def test_eval_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = {(-30, -20): "0-15", (0, 20): "15-30", (-15, 25): "30-60"}
    samples = [
        portrait_of(render(f"head{i}-0-{letter}", yaw, side=256))
        for i, yaws in enumerate(turns)
        for letter, yaw in zip("ab", yaws, strict=True)
    ]
    shards = written(tmp_path / "pairs", samples)
    numbers = measured(tmp_path / "all.json", "pairs", str(shards))
    table, by_turn = numbers["details"].values()
    assert list(table)[:4] == ALWAYS
    assert set(table["dense"]) == {"MAE px", "RMSE px", "PCK@0.05 %", "PCK@0.1 %"}
    assert table["dense"]["MAE px"] < 5
    assert table["dense"]["MAE px"] <= table["dense"]["RMSE px"]
    assert table["dense"]["PCK@0.05 %"] > 90
    # a model of heads carries points better than what looks alike
    assert table["dense"]["MAE px"] < 0.6 * table["colour and place"]["MAE px"]
    assert list(by_turn) == [f"turned by {ends} degrees" for ends in turns.values()]
    assert [row["pairs"] for row in by_turn.values()] == [1, 1, 1]
    # all pairs have as many points
    assert np.mean([row["dense"] for row in by_turn.values()]) == pytest.approx(table["dense"]["MAE px"], abs=1e-4)
    told = [0.05, table["dense"]["PCK@0.05 %"], table["dense"]["MAE px"], 3]
    assert last_numbers(capsys) == pytest.approx(told, abs=0.006)

    limited = measured(tmp_path / "one.json", "pairs", str(shards), "--limit=1")
    (_, alone) = limited["details"].values()
    assert alone == {"turned by 0-15 degrees": by_turn["turned by 0-15 degrees"]}
    assert last_numbers(capsys)[-1] == 1


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three of eleven annotated people; the first and the third smile, too."""
    root = tmp_path_factory.mktemp("facelab")
    (root / "neutral").mkdir()
    (root / "smiling").mkdir()
    annotated = load_layout("facelab189").points_mm
    vertices = CanonicalHead.load().vertices_mm
    chin = shapes(vertices)[0]
    names, points = [f"{i:03d}_03" for i in range(FACELAB_ANNOTATED + 1)], []
    builds = np.array([(1, 1, 1), (1.08, 1, 1), (1, 1.06, 1)])
    for i, name in enumerate(names):
        camera, build = turned_camera(4.0 * (i % 3 - 1)), builds[i % 3]
        points.append(camera.project(annotated * build))
        if i < 3:
            Image.fromarray(portrait(camera, vertices_mm=vertices * build)).save(root / f"neutral/{name}.jpg")
        if i in (0, 2):
            smiling = portrait(camera, vertices_mm=vertices * build + chin)
            Image.fromarray(smiling).save(root / f"smiling/{i:03d}_08.jpg")
    np.savez(root / "points.npz", points=np.stack(points), name=names)
    return root


def test_eval_across(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = measured(tmp_path / "a.json", "across", f"--root={people}", "--limit=3")
    assert numbers["measured on"].startswith("3 people, ")
    table, regions = numbers["details"].values()
    assert list(table)[:4] == ALWAYS
    assert list(regions) == list(FACELAB_REGIONS)
    assert bool(numbers["notes"]) == (find_spec("mediapipe") is None)
    for who in ALWAYS:
        row = table[who]
        assert set(row) == {"mean", "median", "median point", "through a smile", "missed"}
        assert 0 < row["median"] < row["mean"] < 0.2
        assert 0 < row["through a smile"] < 0.3
        assert row["missed"] < 0.05
        sizes = [sum(end - start for start, end in parts) for parts in FACELAB_REGIONS.values()]
        by_region = [regions[name][who] for name in FACELAB_REGIONS]
        assert np.average(by_region, weights=sizes) == pytest.approx(row["mean"], rel=0.05)
    assert table["dense"]["mean"] < 0.04
    assert table["dense"]["mean"] < table["colour and place"]["mean"]
    assert last_numbers(capsys) == pytest.approx([100 * table["dense"]["mean"], 6], abs=0.006)


def test_eval_across_without_smiles(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "neutral alone"
    root.mkdir()
    for name in ("neutral", "points.npz"):
        (root / name).symlink_to(people / name)
    numbers = measured(tmp_path / "a.json", "across", f"--root={root}", "--limit=2")
    (table, _) = numbers["details"].values()
    assert table["dense"]["through a smile"] is None
    assert 0 < table["dense"]["mean"] < 0.04
    assert last_numbers(capsys)[-1] == 2


def test_eval_headtrack(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [
        portrait_of(render(f"head{i}-{k}", yaw + 8 * k, side=256)) for i, yaw in enumerate((-20, 5)) for k in range(3)
    ]
    samples = [replace(each, record={**each.record, "frame": int(each.key[-1])}) for each in samples]
    shards = written(tmp_path / "sequences", samples)
    numbers = measured(tmp_path / "all.json", "headtrack", str(shards), f"--assets={assets}")
    assert list(numbers["details"]) == ["2 sequences, 6 frames"]
    (table,) = numbers["details"].values()
    assert list(table) == ["dense maps", "landmarks"]
    for row in table.values():
        assert set(row) == {"pose deg", "median pose deg", "vertices mm", "median vertices mm"}
        assert 0 < row["pose deg"] < 4
        assert 0 < row["median vertices mm"] < row["vertices mm"] < 4
    ours = table["dense maps"]
    assert last_numbers(capsys) == pytest.approx([ours["pose deg"], ours["vertices mm"], 2], abs=0.006)

    limited = measured(tmp_path / "one.json", "headtrack", str(shards), f"--assets={assets}", "--limit=1")
    assert list(limited["details"]) == ["1 sequences, 3 frames"]
    assert last_numbers(capsys)[-1] == 1
