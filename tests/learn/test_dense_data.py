"""Batches of dense models: labels stay with their pixels through windows, mirrors, patches and pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from anymark.canonical import CanonicalHead
from anymark.canonical.frame import mm_to_uvw
from anymark.detect.mesh import HeadMesh
from anymark.detect.prior import no_prior, prior_of
from anymark.detect.window import Crop, Window
from anymark.engine.samples import write_shard
from anymark.engine.tracked_clips import TrackedClip
from anymark.errors import AnymarkError
from anymark.learn.data import priors
from anymark.learn.data.appearance import AppearanceConfig
from anymark.learn.data.dense import DenseBatch, DenseSampler, parts_mirrored
from anymark.learn.data.dense_sets import HAIR, NO_HEAD, UNKNOWN, DenseSet, load_dense, load_tracks
from anymark.learn.data.geometry import NO_AUGMENTATION, GeometryConfig
from tests.dense_maps import turned_camera
from tests.learn.dense import SIDE, render, write_pairs
from tests.learn.tiny import UNCHANGED
from tests.samples import finish

WILD = GeometryConfig(scale=0.2, shift=0.1, roll_deg=20.0, mirror=0.0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> DenseSet:
    return load_dense(write_pairs(tmp_path_factory.mktemp("pairs") / "set"))


def draw(
    data: DenseSet, geometry: GeometryConfig = NO_AUGMENTATION, appearance: AppearanceConfig = UNCHANGED, **more: object
) -> DenseBatch:
    sampler = DenseSampler([data], 96, 2.0, 128, 24, 0.05, geometry, appearance, **more)  # type: ignore[arg-type]
    return sampler.draw(8, Generator().manual_seed(0))


def colours(image: torch.Tensor, xy: torch.Tensor) -> torch.Tensor:
    found = F.grid_sample(image, xy[:, :, None], mode="nearest", align_corners=False)
    return found[..., 0].transpose(1, 2) * 0.6 + 0.2


@pytest.mark.parametrize("geometry", [NO_AUGMENTATION, WILD])
def test_labels_stay_with_their_pixels(pairs: DenseSet, geometry: GeometryConfig) -> None:
    batch = draw(pairs, geometry)
    on = batch.region < NO_HEAD
    assert on.sum() > 200
    away = (colours(batch.image, batch.xy) - batch.uvw)[on]  # the pictures' colours are the cube's
    assert away.abs().amax(-1).median() < 0.01
    inner = away[away.abs().amax(-1) < 0.02]
    assert len(inner) > 0.6 * len(away)
    assert inner.mean(0).abs().max() < 0.002  # half a pixel would be 0.0075
    assert batch.uvw[on].isfinite().all()
    none = (batch.region == NO_HEAD) & (batch.xy.abs() < 0.95).all(-1)
    assert batch.uvw[batch.region == NO_HEAD].isnan().all()
    assert colours(batch.image, batch.xy)[none].quantile(0.9) < 0.25  # black


def with_exact_priors(data: DenseSet) -> DenseSet:
    """As if the query model had found the very heads."""
    whole = Crop(Window(np.full(2, SIDE / 2), float(SIDE)).affine())
    head = CanonicalHead.load().vertices_mm
    cameras = [turned_camera(yaw + turn, 150.0, 900.0, SIDE / 2) for yaw in np.linspace(-40, 30, 4) for turn in (0, 20)]
    priors = [prior_of(HeadMesh(head, camera, (SIDE, SIDE)), whole, SIDE // 4) for camera in cameras]
    return replace(data, prior=torch.from_numpy(np.stack(priors)))


@pytest.mark.parametrize("geometry", [NO_AUGMENTATION, WILD, replace(WILD, mirror=1.0)])
def test_priors_go_with_their_views(pairs: DenseSet, geometry: GeometryConfig) -> None:
    batch = draw(with_exact_priors(pairs), geometry)
    found = F.grid_sample(batch.prior[:, :3], batch.xy[:, :, None], align_corners=False)[..., 0].transpose(1, 2)
    on = batch.region < NO_HEAD
    away = (found - batch.uvw)[on]
    inner = away[away.abs().amax(-1) < 0.02]
    assert len(inner) > 0.6 * len(away)
    assert inner.mean(0).abs().max() < 0.002
    loose = draw(with_exact_priors(pairs), geometry, loose=0.1).prior
    assert (loose - batch.prior).abs().mean() > 0.01
    blind = draw(with_exact_priors(pairs), geometry, blind=1.0).prior
    assert torch.equal(blind, torch.tensor(no_prior(24)).expand(8, 4, 24, 24))


def test_priors_are_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pairs(tmp_path / "set", 2)
    first = load_dense(folder).prior
    assert first.shape == (4, 4, SIDE // 4, SIDE // 4)
    kept = (folder / priors.FILE).read_bytes()
    monkeypatch.setattr(priors, "Detector", None)
    assert torch.equal(load_dense(folder).prior, first)
    assert torch.equal(load_dense(folder, limit=3).prior, first[:3])
    monkeypatch.undo()
    (folder / priors.FILE).write_bytes(kept[:200])  # cut short
    assert torch.equal(load_dense(folder).prior, first)


def test_other_pictures_beside_the_same_file_are_asked_about_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def answer(images: np.ndarray, box_px: np.ndarray, name: str) -> np.ndarray:
        asked.append(len(images))
        return np.full((len(images), 4, 8, 8), len(asked), np.float16)

    monkeypatch.setattr(priors, "ask", answer)
    images = np.random.default_rng(0).integers(0, 255, (4, 3, 32, 32)).astype(np.uint8)
    box = np.tile(np.array([4, 4, 20, 20], np.float32), (4, 1))
    for some, want in ((slice(0, 4), 1), (slice(0, 2), 1), (slice(2, 4), 2), (slice(0, 4), 3)):
        assert (priors.read_priors(tmp_path, images[some], box[some]) == want).all()
    moved = box + np.array([0, 0, 0, 1], np.float32)
    assert (priors.read_priors(tmp_path, images, moved) == 4).all()
    assert asked == [4, 2, 4, 4]


def test_models_that_start_from_no_prior_ask_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pairs(tmp_path / "set", 2)
    monkeypatch.setattr(priors, "Detector", None)
    batch = draw(load_dense(folder, priors=False), NO_AUGMENTATION)
    assert (batch.prior[:, :3] == 0.5).all()


def test_a_mirror_swaps_the_sides(pairs: DenseSet) -> None:
    batch = draw(pairs, replace(NO_AUGMENTATION, mirror=1.0))
    on = batch.region < NO_HEAD
    seen = colours(batch.image, batch.xy)
    flipped = torch.cat([1 - seen[..., :1], seen[..., 1:]], -1)
    assert (flipped - batch.uvw).abs().amax(-1)[on].median() < 0.01
    names = CanonicalHead.load().part_names
    right = batch.region == names.index("right ear")
    assert right.any()
    assert (batch.uvw[right][:, 0] < 0.5).all()  # the subject's right is -x


def test_mirroring_twice_is_nothing() -> None:
    swap = parts_mirrored()
    assert torch.equal(swap[swap], torch.arange(NO_HEAD + 1))
    assert swap[HAIR] == HAIR
    assert (swap != torch.arange(NO_HEAD + 1)).sum() == 4  # two ears, two eyes


@pytest.mark.parametrize("geometry", [NO_AUGMENTATION, WILD, replace(WILD, mirror=0.5)])
def test_matches_show_the_same_point(pairs: DenseSet, geometry: GeometryConfig) -> None:
    batch = draw(pairs, geometry)
    assert batch.matched.sum() > 20
    first, second = (colours(batch.image.chunk(2)[k], batch.match[:, :, k])[batch.matched] for k in (0, 1))
    assert (first - second).abs().amax(-1).median() < 0.02
    apart = torch.cdist(batch.match[:, :, 0], batch.match[:, :, 0])
    near = (apart < 0.1 - 1e-6) & batch.matched[:, :, None] & batch.matched[:, None]
    assert near.sum() == batch.matched.sum()  # each is near to itself alone


def test_the_two_views_are_two_pictures_of_one_head(pairs: DenseSet) -> None:
    batch = draw(pairs)
    first, second = batch.image.chunk(2)
    assert ((first - second).abs().mean((1, 2, 3)) > 1e-3).all()


def test_what_lies_under_a_patch_says_nothing(pairs: DenseSet) -> None:
    patched = AppearanceConfig(*[0.0] * 13, patch=1.0)
    batch, clear = draw(pairs, appearance=patched), draw(pairs)
    hidden = (batch.region == UNKNOWN) & (clear.region != UNKNOWN)
    assert hidden.any()
    told = batch.region < NO_HEAD
    assert (colours(batch.image, batch.xy) - batch.uvw).abs().amax(-1)[told].median() < 0.01
    assert batch.matched.sum() <= clear.matched.sum()


def test_some_views_show_no_head(pairs: DenseSet) -> None:
    backgrounds = torch.full((3, 3, 16, 16), 200, dtype=torch.uint8)
    batch = draw(pairs, backgrounds=backgrounds, empty=1.0)
    assert (batch.region == NO_HEAD).all()
    assert not batch.matched.any()
    assert batch.image.min() > 0.7


def test_photos_know_how_far_off_they_are_and_where_they_end(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    write_shard(folder / "shard-00000.tar", [render(f"photo{i}", 5.0 * i, sd_mm=2.0) for i in range(3)])
    finish(folder, "train")
    data = load_dense(folder)
    assert data.count.tolist() == [1, 1, 1]
    batch = draw(data)
    on = batch.region < NO_HEAD
    assert (batch.sd_mm[on] >= 2.0 - 0.04).all()
    assert batch.sd_mm[on].median() < 2.5
    assert batch.sd_mm[on].max() < 8.0
    columns = torch.arange(SIDE // 4) * 4 + 2.5
    assert (data.region[:, :, columns > SIDE / 2] == UNKNOWN).all()
    assert (data.region[:, :, columns < SIDE / 2] != UNKNOWN).all()


def test_renders_are_exact(pairs: DenseSet) -> None:
    assert pairs.spread_mm.max() == 0
    assert pairs.count.tolist() == [2, 2, 2, 2]
    assert pairs.first.tolist() == [0, 2, 4, 6]


def test_tracks_are_matches_alone(tmp_path: Path, pairs: DenseSet) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("one", 12), ("two", 9)):
        TrackedClip(
            rng.integers(0, 255, (4, SIDE, SIDE, 3)).astype(np.uint8),
            rng.uniform(20, 44, (4, count, 2)).astype(np.float32),
            np.ones((4, count), bool),
            np.tile(np.array([16, 16, 48, 48], np.float32), (4, 1)),
            np.tile(np.array([0, 0, SIDE, SIDE], np.float32), (4, 1)),
            "lucas-kanade",
        ).save(tmp_path / f"{name}.tracks.npz")
    data = load_tracks(tmp_path, weight=2.0)
    assert data.count.tolist() == [4, 4]
    assert not data.visible[4:, 9:].any()  # padding
    batch = draw(data)
    assert (batch.region == UNKNOWN).all()
    assert batch.matched.any()
    both = DenseSampler([data, pairs], 96, 2.0, 128, 24, 0.05, NO_AUGMENTATION, UNCHANGED)
    assert len(both.draw(16, Generator().manual_seed(1)).image) == 16
    with pytest.raises(AnymarkError, match="no clips"):
        load_tracks(tmp_path / "nothing")
    (tmp_path / "three.tracks.npz").write_bytes(b"PK")
    with pytest.raises(AnymarkError, match="not a tracked clip"):
        load_tracks(tmp_path)


def test_the_cube_holds_the_head() -> None:
    uvw = mm_to_uvw(CanonicalHead.load().vertices_mm)
    assert uvw.min() > 0.02
    assert uvw.max() < 0.98
