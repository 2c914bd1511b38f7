from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from anymark.canonical import Layout, load_layout
from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig, degrade
from anymark.learn.data.geometry import NO_AUGMENTATION, GeometryConfig
from anymark.learn.data.landmarks import LandmarkSet, Sampler
from anymark.learn.data.photos import load_photos

CLEAN = AppearanceConfig(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.05, 0, 0)
CPU = torch.device("cpu")


def test_splits_never_meet_and_bad_labels_are_dropped(photo_root: Path) -> None:
    train = load_photos(photo_root, "faker", 64, "train")
    held_out = load_photos(photo_root, "faker", 64, "held-out")
    assert set(train.names).isdisjoint(held_out.names)
    assert len(train) == 12 - 2 - 1  # one held out, one near-duplicate, one bad label
    assert len(held_out) == 1


def test_labels_scale_with_the_pixels(photo_root: Path) -> None:
    small, large = (load_photos(photo_root, "faker", side, "train") for side in (48, 96))
    assert torch.allclose(2 * small.points_px, large.points_px)
    assert torch.allclose(2 * small.depth_px, large.depth_px)
    assert torch.allclose(2 * small.box_px, large.box_px)


def test_cache_gives_the_same_pixels(photo_root: Path, tmp_path: Path) -> None:
    first = load_photos(photo_root, "congress", 64, "train", cache=tmp_path)
    assert list(tmp_path.glob("*.npy"))
    again = load_photos(photo_root, "congress", 64, "train", cache=tmp_path)
    assert torch.equal(first.images, again.images)


@pytest.mark.parametrize("damage", ["no labels", "no crops", "truncated crops", "truncated labels"])
def test_a_broken_photo_set_is_named(photo_root: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "faker"
    folder.mkdir()
    if damage != "no labels":
        whole = (photo_root / "faker" / "labels.npz").read_bytes()
        (folder / "labels.npz").write_bytes(whole[:3000] if damage == "truncated labels" else whole)
    if damage == "truncated crops":
        (folder / "crops.tar").write_bytes((photo_root / "faker" / "crops.tar").read_bytes()[:5000])
    with pytest.raises(AnymarkError, match="faker: not a photo set"):
        load_photos(tmp_path, "faker", 64, "train")


def sampler(photo_root: Path, layout: Layout, geometry: GeometryConfig, queries: int = 32, size: int = 96) -> Sampler:
    sets = [
        LandmarkSet.create(load_photos(photo_root, source, 96, "train"), layout, 1.0, CPU)
        for source in ("faker", "congress")
    ]
    return Sampler(sets, size, 1.5, queries, geometry, CLEAN)


def test_the_same_seed_draws_the_same_batch(photo_root: Path, layout: Layout) -> None:
    draw = sampler(photo_root, layout, GeometryConfig()).draw
    a, b = (draw(8, Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.target, b.target)


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_a_query_lands_on_what_it_names(photo_root: Path, layout: Layout, mirror: float) -> None:
    """The outer corner of the subject's right eye carries a red disc, of the left a blue one: mirrored photos swap."""
    geometry = GeometryConfig(mirror=mirror)
    source = sampler(photo_root, layout, geometry, queries=478, size=128)
    only_corners = [replace(s, triangles=None) for s in source.sets]
    batch = replace(source, sets=only_corners).draw(16, Generator().manual_seed(0))
    found = {33: 0, 263: 0}
    for i in range(16):
        for k in found:
            row = int((batch.queries_mm[i] - torch.tensor(layout.points_mm[k])).norm(dim=1).argmin())
            x, y = ((batch.target[i, row] + 1) * 64).floor().int().tolist()
            colour = batch.image[i, :, y, x]
            red_first = (k == 33) != bool(mirror)
            assert int(colour.argmax()) == (0 if red_first else 2)
            assert float(colour.max()) > 0.7
            found[k] += 1
    assert found == {33: 16, 263: 16}


def test_points_inside_triangles_interpolate_both_sides_alike(photo_root: Path, layout: Layout) -> None:
    """On a face that is an affine picture of the layout, every drawn query obeys the same affine map."""
    data = sampler(photo_root, layout, NO_AUGMENTATION).sets[0]
    affine = torch.tensor([[0.5, 0.1], [-0.2, 0.7], [0.05, 0.3]])
    points = (data.points_mm @ affine)[None].expand(3, -1, -1)
    queries, target, mask = data.draw_queries(points, 64, Generator().manual_seed(0))
    assert torch.allclose(queries @ affine, target, atol=1e-3)
    assert mask.all()
    on_corner = (queries[:, :, None] - data.points_mm).norm(dim=-1).amin(2) < 1e-3
    assert 0.6 < float(on_corner.float().mean()) < 0.9


def test_few_points_are_padded_and_masked(photo_root: Path, layout: Layout) -> None:
    data = sampler(photo_root, layout, NO_AUGMENTATION).sets[0]
    few = replace(
        data, points_mm=data.points_mm[:10], flip=data.flip[:10], triangles=None, further_weights=torch.zeros(0, 10)
    )
    queries, target, mask = few.draw_queries(torch.rand(2, 10, 2), 16, Generator().manual_seed(0))
    assert queries.shape == (2, 16, 3)
    assert target.shape == (2, 16, 2)
    assert mask.sum(1).tolist() == [10, 10]


def test_further_points_follow_the_labelled_ones(photo_root: Path, layout: Layout) -> None:
    photos = load_photos(photo_root, "faker", 96, "train")
    ears = load_layout("ears").points_mm
    data = LandmarkSet.create(photos, layout, 1.0, CPU, further_mm=ears)
    affine = torch.tensor([[0.5, 0.1], [-0.2, 0.7], [0.05, 0.3]])
    points = (data.points_mm @ affine)[None].expand(3, -1, -1)
    queries, target, mask = data.draw_queries(points, 64, Generator().manual_seed(0))
    assert torch.allclose(queries @ affine, target, atol=0.05)
    assert mask.all()
    on_ear = (queries[:, :, None] - torch.tensor(ears)).norm(dim=-1).amin(2) < 1e-3
    assert float(on_ear.float().mean()) == pytest.approx(0.25)


def test_layout_and_labels_must_agree(photo_root: Path, layout: Layout) -> None:
    short = Layout("short", layout.points_mm[:5])
    with pytest.raises(ValueError, match="478 labels, 5 points"):
        LandmarkSet.create(load_photos(photo_root, "faker", 64, "train"), short, 1.0, CPU)


def test_no_strength_changes_nothing() -> None:
    image = torch.rand(4, 3, 32, 32)
    assert torch.allclose(degrade(image.clone(), CLEAN, Generator().manual_seed(0)), image, atol=1e-5)


def test_all_effects_stay_in_range_and_grey_is_grey() -> None:
    every = AppearanceConfig(
        grey=1.0, light=1.0, blur=1.0, motion=1.0, low_resolution=1.0, jpeg=1.0, patch=1.0, noise=0
    )
    out = degrade(torch.rand(6, 3, 48, 48), every, Generator().manual_seed(0))
    assert torch.isfinite(out).all()
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    only_grey = replace(CLEAN, grey=1.0)
    out = degrade(torch.rand(6, 3, 48, 48), only_grey, Generator().manual_seed(0))
    assert torch.allclose(out[:, 0], out[:, 1], atol=1e-5)


def test_the_real_photos_are_what_the_readme_says(shared: Path) -> None:
    held_out = load_photos(shared / "photos", "faker", 64, "held-out")
    assert len(held_out) == 21
    # the iris ring lies around the iris centre, and the subject's right eye is on the left of these portraits
    centre, ring = held_out.points_px[:, 468], held_out.points_px[:, 469:473].mean(1)
    assert float((centre - ring).norm(dim=1).max()) < 0.5
    assert bool((held_out.points_px[:, 33, 0] < held_out.points_px[:, 263, 0]).all())
    assert np.isfinite(held_out.points_px.numpy()).all()
