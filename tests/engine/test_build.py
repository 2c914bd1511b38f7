"""Data sets of real photos, re-posed: exact labels, the same every time, resumed after a stop."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from anymark.canonical import CanonicalHead, load_layout
from anymark.canonical.meshes import vertex_normals
from anymark.engine.build import Place, build, make_shard, plan
from anymark.engine.data_recipe import DataRecipe, load_data_recipe
from anymark.engine.fits import Fitted
from anymark.engine.heads import canonical_rig
from anymark.engine.samples import Sample, read_shards
from anymark.engine.studio import Studio
from anymark.errors import AnymarkError
from anymark.files import LOCK
from anymark.fit import Rig

RECIPE = DataRecipe(sources={"faker": 3, "congress": 2}, size=96, views=2, photos_a_shard=3)


@pytest.fixture(scope="module")
def place(gl: None, assets: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(assets, shared / "photos", tmp_path_factory.mktemp("data") / "views")


@pytest.fixture(scope="module")
def built(place: Place) -> list[Sample]:
    build(RECIPE, place, 1)
    return list(read_shards(sorted(place.out.glob("*.tar"))))


def test_every_photo_gives_its_views(built: list[Sample]) -> None:
    assert len(built) == 10
    assert len({sample.key for sample in built}) == 10
    assert len({sample.key.rpartition("-")[0] for sample in built}) == 5


def test_labels_are_those_of_the_picture(built: list[Sample]) -> None:
    """The map says which canonical point a pixel shows; the posed vertices say where that point is."""
    head = CanonicalHead.load()
    for sample in built:
        rows, columns = np.nonzero((sample.part >= 0) & (sample.part < 5))
        surface = head.closest_point(sample.canonical_mm[rows, columns])
        corners = head.triangles[surface.triangles]
        weights = surface.barycentric
        xy = np.einsum("nk,nkd->nd", weights, sample.xy_px[corners])
        centre = np.stack([4 * columns + 2.5, 4 * rows + 2.5], 1)
        assert np.median(np.linalg.norm(xy - centre, axis=1)) < 0.5


def test_visible_points_are_inside_and_before_what_is_seen(built: list[Sample]) -> None:
    for sample in built:
        seen = sample.xy_px[sample.visible]
        assert seen.min() >= 0
        assert seen.max() <= sample.image.shape[0]
        rotation, translation = (np.array(sample.record[k]) for k in ("R_camera_head", "t_camera_head_mm"))
        placed = sample.vertices_mm @ rotation.T + translation
        normals = vertex_normals(placed, CanonicalHead.load().triangles)
        towards = -(normals * placed).sum(1) / np.linalg.norm(placed, axis=1)
        assert (towards[sample.visible] > -0.3).mean() > 0.98
        assert not sample.visible[towards < -0.8].any()


def test_the_face_fills_its_share(built: list[Sample]) -> None:
    face = load_layout("head").regions["face"]
    for sample in built:
        xy = sample.xy_px[face]
        share = (xy.max(0) - xy.min(0)).max() / sample.image.shape[0]
        assert 0.3 < share < 0.75


def test_a_build_is_the_same_on_two_processes_and_after_a_stop(
    place: Place, built: list[Sample], tmp_path: Path
) -> None:
    other = replace(place, out=tmp_path / "again")
    build(RECIPE, other, 2)
    for path in sorted(place.out.glob("*.tar")):
        assert (other.out / path.name).read_bytes() == path.read_bytes()
    gone = sorted(other.out.glob("*.tar"))[1]
    kept, stamp = sorted(other.out.glob("*.tar"))[0], sorted(other.out.glob("*.tar"))[0].stat().st_mtime_ns
    gone.unlink()
    build(RECIPE, other, 1)
    assert gone.read_bytes() == (place.out / gone.name).read_bytes()
    assert kept.stat().st_mtime_ns == stamp


def test_a_killed_build_leaves_no_processes_and_no_halves(place: Place, built: list[Sample], tmp_path: Path) -> None:
    out = tmp_path / "killed"
    recipe = replace(RECIPE, sources={"faker": 12}, photos_a_shard=1)
    code = f"""
from pathlib import Path
from anymark.engine.build import Place, build
from anymark.engine.data_recipe import DataRecipe
if __name__ == "__main__":
    place = Place(Path({str(place.assets)!r}), Path({str(place.photos)!r}), Path({str(out)!r}))
    build(DataRecipe(sources={recipe.sources}, size=96, views=2, photos_a_shard=1), place, 2)
"""
    script = tmp_path / "job.py"
    script.write_text(code)
    job = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not any(out.glob("*.tar")) and time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.1)
    job.kill()
    job.wait()
    while _members(job.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _members(job.pid), "a worker outlived its parent"
    done = sorted(out.glob("*.tar"))
    assert done
    assert all(len(list(read_shards([path]))) == 2 for path in done)
    build(recipe, replace(place, out=out), 1)
    assert len(sorted(out.glob("*.tar"))) == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_says_one_line_and_goes_on(
    place: Place, built: list[Sample], tmp_path: Path, number: signal.Signals
) -> None:
    out, recipe = tmp_path / "stopped", tmp_path / "recipe.toml"
    recipe.write_text("size = 96\nviews = 2\nphotos_a_shard = 1\n[sources]\nfaker = 12\n")
    arguments = ["data", "build", recipe, "--out", out, "--assets", place.assets, "--photos", place.photos]
    code = f"from anymark.cli import main; raise SystemExit(main({list(map(str, arguments))!r} + ['--processes', '2']))"
    job = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not any(out.glob("*.tar")) and time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.05)
    os.killpg(job.pid, number) if number == signal.SIGINT else job.send_signal(number)  # a terminal's goes to all
    _, said = job.communicate(timeout=60)
    assert job.returncode == 130
    lines = [line for line in said.splitlines() if not line.startswith(("fits of", "shards"))]
    assert lines == ["anymark: stopped; the same command goes on from here"]
    while _members(job.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _members(job.pid)
    assert [path.name for path in out.glob(".*")] == [LOCK]
    assert 0 < len(list(out.glob("*.tar"))) < 12
    assert build(load_data_recipe(recipe), replace(place, out=out), 1).shards == 12


def test_what_is_missing_stops_a_build_before_it_begins(place: Place, built: list[Sample], tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for folder in place.assets.iterdir():
        if folder.name != "hands":
            (assets / folder.name).symlink_to(folder)
    new = replace(place, assets=assets, out=tmp_path / "out")
    with pytest.raises(AnymarkError, match=r"left\.glb"):
        build(RECIPE, new, 1)
    assert not list(new.out.glob("*.tar"))
    (assets / "hands").symlink_to(place.assets / "hands")
    other = replace(RECIPE, sources={"faker": 1}, seed=3)  # nothing is there that another recipe could spoil
    assert build(other, new, 1).samples == 2


def _members(session: int) -> list[int]:
    """Living processes of a session (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_photos_keep_their_own_labels(place: Place, tmp_path: Path) -> None:
    recipe = replace(RECIPE, preset="photos", sources={"faker": 3})
    build(recipe, replace(place, out=tmp_path / "photos"), 1)
    samples = list(read_shards(sorted((tmp_path / "photos").glob("*.tar"))))
    head = CanonicalHead.load()
    mesh = load_layout("mediapipe478").points_mm[:468]
    surface = head.closest_point(mesh)
    for sample in samples:
        xy = np.einsum("nk,nkd->nd", surface.barycentric, sample.xy_px[head.triangles[surface.triangles]])
        points = np.array(sample.record["points_px"])
        error = np.linalg.norm(xy - points[:468], axis=1).mean() / np.linalg.norm(points[33] - points[263])
        assert error < 0.012  # the fit alone leaves about 0.02
        seen, box = sample.xy_px[sample.visible], np.array(sample.record["valid_box_px"])
        assert (seen >= box[:2] - 0.1).all()  # nothing is seen where the photo ends
        assert (seen <= box[2:] + 0.1).all()


def test_what_was_left_out_before_a_stop_is_counted(place: Place, built: list[Sample], tmp_path: Path) -> None:
    class OneGoodPhoto(Studio):
        """A studio that reads the shard's first photo and no other."""

        def __init__(self) -> None:
            labels = SimpleNamespace(names=["a.jpg"] * 9)
            self.sets = {name: cast(Fitted, SimpleNamespace(labels=labels, index=range(9))) for name in RECIPE.sources}

        def label(self, source: str, k: int, key: str, window_scale: float) -> Sample:
            if next(counter):
                raise AnymarkError("a photo cannot be read")
            return built[0]

    again = replace(place, out=tmp_path / "again")
    shutil.copytree(place.out, again.out)
    counter = itertools.count()
    job = next(plan(RECIPE, RECIPE.sources))
    assert make_shard(replace(RECIPE, preset="photos"), OneGoodPhoto(), again.out, job) == 1
    found = build(RECIPE, again, 1)
    assert found.left_out["a photo cannot be read"] == 2
    assert found.samples == len(built) - 3 * RECIPE.views + 1
    (again.out / job.left_out).write_text("[]")
    with pytest.raises(AnymarkError, match="not what a shard left out"):
        build(RECIPE, again, 1)


def test_another_recipes_data_is_not_overwritten(place: Place, built: list[Sample]) -> None:
    with pytest.raises(AnymarkError, match="another recipe"):
        build(replace(RECIPE, seed=5), place, 1)


def test_held_out_photos_are_not_drawn_for_training(place: Place, built: list[Sample]) -> None:
    from anymark.photo_files import read_labels

    train = set()
    for source in RECIPE.sources:
        labels = read_labels(place.photos / source)
        train |= {f"{source}-{Path(labels.names[i]).stem}" for i in np.flatnonzero(labels.split == 0)}
    assert {sample.key.rpartition("-")[0] for sample in built} <= train


def test_every_photo_is_planned_once() -> None:
    jobs = list(plan(RECIPE, {"a": 7, "b": 4}))
    photos = [photo for job in jobs for photo in job.photos]
    assert sorted(photos) == [("a", i) for i in range(7)] + [("b", i) for i in range(4)]
    assert [len(job.photos) for job in jobs] == [3, 3, 3, 2]


def test_every_shipped_data_recipe_is_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes" / "data").glob("*.toml"))
    assert recipes
    for path in recipes:
        load_data_recipe(path)


def test_a_recipe_changes_what_it_names_and_keeps_the_rest_of_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "data.toml"
    path.write_text("preset = 'helmet'\n[sources]\nfaker = 1\n[shots]\nmarks = 'none'")
    shots = load_data_recipe(path).shots
    assert shots.marks == "none"
    assert shots.infrared
    assert shots.distance_mm[1] < 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset = 'views'", "names no sources"),
        ("size = 50\n[sources]\nfaker = 1", "multiple of 4"),
        ("view = 3\n[sources]\nfaker = 1", "unknown key 'view'; did you mean views"),
        ("preset = 'film'\n[sources]\nfaker = 1", "'film' is none of"),
    ],
)
def test_bad_recipes_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.toml"
    path.write_text(text)
    with pytest.raises(AnymarkError, match=message):
        load_data_recipe(path)


@pytest.mark.parametrize("preset", ["pairs", "sequences", "helmet", "marked"])
def test_every_preset_says_all_of_its_samples(preset: str, place: Place, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        f"preset = '{preset}'\nsize = 96\nviews = 1\nframes = 5\nseed = 3\n[sources]\nfaker = 2\n"
    )
    made = build(load_data_recipe(tmp_path / "recipe.toml"), replace(place, out=tmp_path / "out"), 1)
    samples = list(read_shards(sorted((tmp_path / "out").glob("*.tar"))))
    assert len(samples) == made.samples == 2 * {"pairs": 2, "sequences": 5}.get(preset, 1)
    rig = canonical_rig(Rig.load_ict(place.assets), CanonicalHead.load())
    for sample in samples:
        record = sample.record
        assert record["dataset"] == preset
        posed = rig.vertices_mm(record["identity"], record["expression"])
        skin = rig.parts["face"]
        assert np.abs(posed[skin] - sample.vertices_mm[skin]).max() < 0.1  # the coefficients are those of the vertices
        rows, columns = np.nonzero(sample.part == 0)
        head = CanonicalHead.load()
        surface = head.closest_point(sample.canonical_mm[rows, columns])
        xy = np.einsum("nk,nkd->nd", surface.barycentric, sample.xy_px[head.triangles[surface.triangles]])
        off = np.linalg.norm(xy - np.stack([4 * columns + 2.5, 4 * rows + 2.5], 1), axis=1)
        assert np.median(off) < 0.8  # under a lens too
    if preset == "sequences":
        steps = np.linalg.norm(np.diff([s.xy_px for s in samples[:5]], axis=0), axis=2).mean(1)
        assert 0 < steps.max() < 40
        assert np.array_equal(samples[0].record["identity"], samples[4].record["identity"])
    if preset in ("pairs", "sequences"):
        assert samples[0].record["R_camera_head"] != samples[1].record["R_camera_head"]
    if preset == "marked":
        assert samples[0].record["lines"]
    if preset == "helmet":
        assert {"distortion_k", "distance_mm"} <= set(samples[0].record)
        grey = samples[0].image.astype(int)
        assert np.abs(grey[..., 0] - grey[..., 2]).mean() < 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = -1", "seed: -1 must be"),
        ("window_scale = 0.0", r"window_scale: 0\.0 must be"),
        ("size = 98", "size: 98 must be a multiple of 4"),
        ("[shots]\noccluded = 1.5", r"occluded: 1\.5 must be"),
        ("[shots]\nface_share = [0.6, 0.4]", r"face_share: from 0\.6 to 0\.4 is no range"),
        ("[shots]\ndistance_mm = [300, 900, 1200]", "distance_mm: must be a list of 2, not of 3"),
        ("[shots]\ndistance_mm = [0, 900]", r"distance_mm: 0\.0 must be"),
    ],
)
def test_a_recipes_numbers_are_checked(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(f"{text}\n[sources]\nfaker = 1\n")
    with pytest.raises(AnymarkError, match=message):
        load_data_recipe(tmp_path / "recipe.toml")


def test_a_sequence_before_several_cameras_that_stand_still(place: Place, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        "preset = 'sequences'\nsize = 96\nviews = 1\nframes = 3\ncameras = 3\nseed = 3\n[sources]\nfaker = 1\n"
    )
    made = build(load_data_recipe(tmp_path / "recipe.toml"), replace(place, out=tmp_path / "out"), 1)
    samples = list(read_shards(sorted((tmp_path / "out").glob("*.tar"))))
    assert len(samples) == made.samples == 9
    cameras = [samples[3 * i : 3 * i + 3] for i in range(3)]
    assert [sample.record["camera"] for sample in samples] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for one, other in zip(cameras[0], cameras[2], strict=True):
        np.testing.assert_allclose(one.vertices_mm, other.vertices_mm, atol=0.02)  # the same head at the same moment
    turns = [
        np.array(other.record["R_camera_head"]) @ np.array(one.record["R_camera_head"]).T
        for one, other in zip(cameras[0], cameras[2], strict=True)
    ]
    np.testing.assert_allclose(turns, np.tile(turns[0], (3, 1, 1)), atol=1e-4)
    assert np.degrees(np.arccos((np.trace(turns[0]) - 1) / 2)) == pytest.approx(70, abs=0.1)
    shifts = [
        np.array(other.record["t_camera_head_mm"]) - turns[0] @ np.array(one.record["t_camera_head_mm"])
        for one, other in zip(cameras[0], cameras[2], strict=True)
    ]
    np.testing.assert_allclose(shifts, np.tile(shifts[0], (3, 1)), atol=0.1)


def test_a_hand_passes_from_one_side_to_the_other(place: Place, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        "preset = 'sequences'\nsize = 96\nviews = 1\nframes = 7\nseed = 3\n[sources]\nfaker = 1\n"
        "[shots]\npassing = 1.0\nuniform = 0.0\nyaw_deg = 5.0\nwith_hair = 0.0\nwith_sheet = 0.0\n"
    )
    build(load_data_recipe(tmp_path / "recipe.toml"), replace(place, out=tmp_path / "out"), 1)
    samples = list(read_shards(sorted((tmp_path / "out").glob("*.tar"))))
    covered = [int(sample.covered.sum()) for sample in samples]
    assert max(covered[2:5]) > 20 + covered[0]
    columns = [np.nonzero(sample.covered)[1].mean() for sample in samples if sample.covered.sum() > 10]
    assert len(columns) > 1
    steps = np.diff(columns)
    assert (steps > 0).all() or (steps < 0).all()
