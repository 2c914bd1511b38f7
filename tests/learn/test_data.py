"""Photo sets and the batches drawn from them: pixels, queries and labels belong together."""

from __future__ import annotations

import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from anymark.canonical import Layout, load_layout
from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig, degrade, occlude
from anymark.learn.data.geometry import NO_AUGMENTATION, GeometryConfig, compose, identity, is_mirrored, to_window
from anymark.learn.data.landmarks import LandmarkSet, Sampler, rarity_of
from anymark.learn.data.photos import load_photos
from anymark.learn.models.camera import Cameras
from anymark.learn.models.crop import to_theta
from anymark.learn.models.landmarker import Answer
from anymark.learn.train.landmarks import LandmarkTask
from anymark.learn.train.losses import LossConfig, landmark_loss
from anymark.learn.train.recipe import LandmarkData, LandmarkRecipe
from tests.learn.conftest import DISCS, photo_shown, project, write_photo_set
from tests.learn.tiny import UNCHANGED, model_config

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


def test_the_cache_notices_another_tar_of_the_same_size(photo_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "congress"
    shutil.copytree(photo_root / "congress", folder)
    first = load_photos(tmp_path, "congress", 64, "train", cache=tmp_path)
    with tarfile.open(folder / "crops.tar") as tar:
        names = tar.getnames()
        content = [io.BytesIO((tar.extractfile(name) or io.BytesIO()).read()) for name in names]
    size = (folder / "crops.tar").stat().st_size
    with tarfile.open(folder / "crops.tar", "w") as tar:
        for name, file in zip(reversed(names), content, strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(file.getvalue())
            tar.addfile(info, file)
    assert (folder / "crops.tar").stat().st_size == size
    again = load_photos(tmp_path, "congress", 64, "train", cache=tmp_path)
    assert not torch.equal(first.images, again.images)
    assert torch.equal(again.images, load_photos(tmp_path, "congress", 64, "train").images)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no labels", r"faker/labels\.npz: no such file"),
        ("no crops", r"faker/crops\.tar: cannot be read"),
        ("truncated crops", r"faker/crops\.tar: cannot be read"),
        ("truncated labels", r"faker/labels\.npz: not a file of labels"),
        ("other sizes", r"crops\.tar: 00000\.webp has 96 x 96 pixels, its labels are of 90 x 90"),
    ],
)
def test_a_broken_photo_set_is_named(photo_root: Path, tmp_path: Path, damage: str, message: str) -> None:
    folder = tmp_path / "faker"
    shutil.copytree(photo_root / "faker", folder)
    if damage.startswith("no "):
        (folder / ("labels.npz" if damage == "no labels" else "crops.tar")).unlink()
    elif damage == "other sizes":
        with np.load(folder / "labels.npz") as npz:
            labels = dict(npz)
        np.savez(folder / "labels.npz", **labels | {"size": np.full(12, 90)})
    else:
        file, keep = ("labels.npz", 3000) if damage == "truncated labels" else ("crops.tar", 5000)
        (folder / file).write_bytes((folder / file).read_bytes()[:keep])
    with pytest.raises(AnymarkError, match=message):
        load_photos(tmp_path, "faker", 64, "train")


def sampler(
    photo_root: Path,
    layout: Layout,
    geometry: GeometryConfig,
    queries: int = 32,
    size: int = 96,
    twins: float = 0.0,
    followed: float = 0.0,
    appearance: AppearanceConfig = UNCHANGED,
) -> Sampler:
    sets = [
        LandmarkSet.create(load_photos(photo_root, source, 96, "train"), layout, 1.0, CPU)
        for source in ("faker", "congress")
    ]
    return Sampler(sets, 48, size, 1.5, queries, twins, followed, 0.0, geometry, appearance)


def test_the_same_seed_draws_the_same_batch_and_the_same_crops(photo_root: Path, layout: Layout) -> None:
    often = AppearanceConfig(blur=0.5, noise=1.0, patch=1.0)
    source = sampler(photo_root, layout, GeometryConfig(rough=0.5), twins=0.5, appearance=often)
    a, b = (source.draw(8, Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a.image, b.image)
    assert torch.equal(a.window, b.window)
    assert torch.equal(a.truth.xy_px, b.truth.xy_px)
    assert torch.equal(a.queries_mm, b.queries_mm)
    theta = to_theta(0.2 * torch.randn(8, 4, generator=Generator().manual_seed(0)))
    crops = a.look(theta)
    assert torch.equal(crops, b.look(theta))
    assert a.look.covered is not None
    assert a.look.covered.any((1, 2)).all()
    assert torch.equal(a.look.covered, b.look.covered)
    other = source.draw(8, Generator().manual_seed(6))
    assert not torch.equal(a.image, other.image)


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_a_followed_head_is_in_the_middle_of_its_window_turned_as_it_is(
    photo_root: Path, layout: Layout, mirror: float
) -> None:
    """However rough the other windows are."""
    geometry = GeometryConfig(rough=1.0, mirror=mirror)
    source = sampler(photo_root, layout, geometry, queries=478, followed=1.0, twins=0.4)
    batch = source.draw(64, Generator().manual_seed(0))
    assert batch.followed.all()
    assert bool(is_mirrored(batch.window).all()) == bool(mirror)
    places = to_window(batch.truth.xy_px, batch.window)
    low, high = places.amin(1), places.amax(1)
    assert ((low + high).abs() / 2 < 0.3).all()
    assert ((high - low).amax(1) * 1.5 / 2 - 1).abs().max() < 0.4
    off = ((low + high) / 2).mean(0)
    assert off.abs().max() < 0.05  # by chance alone
    some = sampler(photo_root, layout, geometry, followed=0.3, twins=0.5).draw(64, Generator().manual_seed(0))
    assert 0 < some.followed.sum() < 40
    assert torch.equal(some.followed, some.followed[some.twin])


def test_no_photo_of_another_split_is_ever_drawn(photo_root: Path) -> None:
    """Neither a held-out photo nor its near-duplicate; told by what windows and crops show."""
    model = model_config()
    recipe = LandmarkRecipe(
        crop=model.crop,
        encoder=model.encoder,
        predictor=model.predictor,
        data=LandmarkData(sources={"faker": 0.6, "congress": 0.4}, store_size=96, queries=4),
        geometry=NO_AUGMENTATION,
        appearance=UNCHANGED,
    )
    task = LandmarkTask(recipe, photo_root, None)
    task.to(CPU)
    drawn = []
    for step in range(10):
        batch = task.draw(32, Generator().manual_seed(step))
        crops = batch.look(identity(32, batch.window))
        drawn += [photo_shown(image) for image in batch.image]
        assert drawn[-32:] == [photo_shown(crop) for crop in crops]
    good = {"faker": range(1, 10), "congress": range(1, 4)}  # the first label is bad, the last two are of other splits
    assert set(drawn) == {(source, i) for source, photos in good.items() for i in photos}


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_a_query_lands_on_what_it_names(photo_root: Path, layout: Layout, mirror: float) -> None:
    """Each disc of a picture lies on its point; in a mirrored picture left and right swap their names, not places."""
    source = sampler(photo_root, layout, GeometryConfig(mirror=mirror, roll_deg=6), queries=478, size=128)
    every_point = [replace(s, triangles=None) for s in source.sets]
    batch = replace(source, sets=every_point).draw(16, Generator().manual_seed(0))
    theta = to_theta(torch.tensor([[0.1, 0.4, 0.05, -0.1]]).expand(16, 4))
    swap = {33: 263, 263: 33} if mirror else {}
    for crop in (identity(16, theta), theta):
        targets = to_window(batch.truth.xy_px, compose(batch.window, crop))
        for image, queries, target in zip(batch.look(crop), batch.queries_mm, targets, strict=True):
            at = {}
            for k in DISCS:
                distance = (queries - torch.tensor(layout.points_mm[k])).norm(dim=1)
                assert distance.min() < 1e-3
                at[k] = target[distance.argmin()]
                x, y = ((at[k] + 1) * 64).floor().int().tolist()
                colour = torch.tensor(DISCS[swap.get(k, k)]) / 255
                assert (image[:, y, x] - colour).abs().max() < 0.25
            assert at[33][0] < at[263][0]  # the subject's right is at the image's left, whichever face it shows
            # red grows to the right in every photo, and green downwards: what is mirrored here is the picture itself
            (x0, y0), (x1, y1) = ((((at[k] + at[1]) / 2 + 1) * 64).int().tolist() for k in (33, 263))
            assert bool(image[0, y0, x0] > image[0, y1, x1]) == bool(mirror)


def test_twins_show_one_photo_in_two_windows_and_are_asked_the_same(photo_root: Path, layout: Layout) -> None:
    batch = sampler(photo_root, layout, GeometryConfig(), twins=0.5).draw(40, Generator().manual_seed(0))
    each = torch.arange(40)
    assert torch.equal(batch.twin[batch.twin], each)
    paired = batch.twin != each
    assert 16 <= int(paired.sum()) <= 24
    photos = torch.cat([view.photos for view in batch.look.views])
    for value in (photos, batch.queries_mm, batch.truth.xy_px, batch.truth.mask, batch.unit_px, batch.dataset):
        assert torch.equal(value[batch.twin], value)
    assert torch.equal(is_mirrored(batch.window)[batch.twin], is_mirrored(batch.window))
    centres = batch.window[:, :, 2]
    apart = (centres[batch.twin] - centres).norm(dim=1) / batch.unit_px
    assert torch.equal(apart > 0, paired)
    assert float(apart.max()) < 0.25


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_all_samples_may_be_twins_but_for_an_odd_one(photo_root: Path, layout: Layout, batch: int) -> None:
    source = sampler(photo_root, layout, GeometryConfig(), twins=1.0)
    twin = replace(source, sets=source.sets[:1]).draw(batch, Generator().manual_seed(0)).twin
    assert torch.equal(twin[twin], torch.arange(batch))
    assert int((twin == torch.arange(batch)).sum()) == batch % 2


def test_pictures_lie_around_photos_where_windows_reach_beyond(photo_root: Path, layout: Layout) -> None:
    """Windows here are much wider than photos. A red bank of pictures fills half of what lies around them."""
    source = sampler(photo_root, layout, NO_AUGMENTATION)
    red = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 255
    batch = replace(source, window_scale=6.0, backgrounds=red).draw(64, Generator().manual_seed(0))
    corners = batch.image[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    shows_red = (corners == torch.tensor([1.0, 0, 0])[:, None]).all(1).all(1)
    assert 0.15 < float(shows_red.float().mean()) < 0.6
    assert torch.equal(batch.look(identity(64, batch.window))[shows_red][:, :, 0, 0], corners[shows_red][:, :, 0])


def test_points_inside_triangles_interpolate_both_sides_alike(photo_root: Path, layout: Layout) -> None:
    """On a face that is an affine picture of the layout, every drawn query obeys the same affine map."""
    data = sampler(photo_root, layout, NO_AUGMENTATION).sets[0]
    affine = torch.tensor([[0.5, 0.1], [-0.2, 0.7], [0.05, 0.3]])
    points = (data.points_mm @ affine)[None].expand(3, -1, -1)
    queries, target, mask = data.draw_queries(points, points[:, :0], 64, Generator().manual_seed(0))
    assert torch.allclose(queries @ affine, target, atol=1e-3)
    assert mask.all()
    on_corner = (queries[:, :, None] - data.points_mm).norm(dim=-1).amin(2) < 1e-3
    assert 0.6 < float(on_corner.float().mean()) < 0.9


def test_few_points_are_padded_and_masked(photo_root: Path, layout: Layout) -> None:
    data = sampler(photo_root, layout, NO_AUGMENTATION).sets[0]
    few = replace(data, points_mm=data.points_mm[:10], flip=data.flip[:10], triangles=None)
    queries, target, mask = few.draw_queries(torch.rand(2, 10, 2), torch.zeros(2, 0, 2), 16, Generator().manual_seed(0))
    assert queries.shape == (2, 16, 3)
    assert target.shape == (2, 16, 2)
    assert mask.sum(1).tolist() == [10, 10]


def test_further_points_follow_the_labelled_ones(photo_root: Path, layout: Layout) -> None:
    photos = load_photos(photo_root, "faker", 96, "train")
    ears = load_layout("ears").points_mm
    data = LandmarkSet.create(photos, layout, 1.0, CPU, further_mm=ears)
    affine = torch.tensor([[0.5, 0.1], [-0.2, 0.7], [0.05, 0.3]])
    points = (data.points_mm @ affine)[None].expand(3, -1, -1)
    queries, target, mask = data.draw_queries(points, data.guessed(points), 64, Generator().manual_seed(0))
    assert torch.allclose(queries @ affine, target, atol=0.05)
    assert mask.all()
    on_ear = (queries[:, :, None] - torch.tensor(ears)).norm(dim=-1).amin(2) < 1e-3
    assert float(on_ear.float().mean()) == pytest.approx(0.25)


def test_layout_and_labels_must_agree(photo_root: Path, layout: Layout) -> None:
    short = Layout("short", layout.points_mm[:5])
    with pytest.raises(AnymarkError, match="faker: 478 labels, 5 points"):
        LandmarkSet.create(load_photos(photo_root, "faker", 64, "train"), short, 1.0, CPU)


OWN = (*range(0, 380, 24), *DISCS)
"""The points of the face mesh that make a layout of 20."""


@pytest.fixture(scope="module")
def own_root(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> Path:
    """A photo set of the face mesh, and one of a layout of its own, without depth and flip pairs, with boxes."""
    root, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(3)
    faces = {source: np.stack([project(layout, 96, rng) for _ in range(8)]) for source in ("faker", "own")}
    write_photo_set(root / "faker", faces["faker"], 96)
    few = np.round(faces["own"][:, OWN, :2] * 64).astype(np.int16)
    box = np.hstack([few.min(1) - 640, few.max(1) + 320]).astype(np.float32) / 64
    write_photo_set(root / "own", faces["own"], 96, landmarks_q64=few, layout="points.json", box=box)
    Layout("own", layout.points_mm[list(OWN)]).save(root / "own" / "points.json")
    return root


def own_sampler(root: Path, geometry: GeometryConfig = NO_AUGMENTATION) -> Sampler:
    photos = [load_photos(root, source, 96, "train") for source in ("faker", "own")]
    sets = [LandmarkSet.create(p, load_layout(p.layout), 1.0, CPU) for p in photos]
    return Sampler(sets, 48, 96, 1.5, 64, 0.0, 0.0, 0.0, geometry, UNCHANGED)


def test_one_batch_mixes_layouts(own_root: Path, layout: Layout) -> None:
    source = own_sampler(own_root)
    batch = source.draw(24, Generator().manual_seed(1))
    known = {
        "faker": (torch.tensor(layout.points_mm), 64, 48),
        "own": (torch.tensor(layout.points_mm[list(OWN)]), 20, 20),
    }
    photos = {s.photos.source: s.photos for s in source.sets}
    seen = set()
    targets = to_window(batch.truth.xy_px, batch.window)
    for image, queries, target, mask in zip(batch.image, batch.queries_mm, targets, batch.truth.mask, strict=True):
        name, i = photo_shown(image)
        seen.add(name)
        points_mm, valid, corners = known[name]
        assert int(mask.sum()) == valid
        distance = (queries[mask][:, None] - points_mm).norm(dim=-1)
        is_corner, which = distance.amin(1) < 1e-3, distance.argmin(1)
        assert len(set(which[is_corner].tolist())) == int(is_corner.sum()) == corners  # each of its own points once
        row = photos[name].names.index(f"{i:05d}.webp")
        box, points = photos[name].box_px[row], photos[name].points_px[row]
        want = (points - (box[:2] + box[2:]) / 2) / (0.75 * (box[2:] - box[:2]).max())
        assert torch.allclose(target[mask][is_corner], want[which[is_corner]], atol=1e-4)
    assert seen == {"faker", "own"}


def test_masked_queries_carry_no_loss(own_root: Path) -> None:
    batch = own_sampler(own_root).draw(24, Generator().manual_seed(1))
    mask = batch.truth.mask
    assert 0 < int(mask.sum()) < mask.numel()
    said = torch.randn(*mask.shape, 7, generator=Generator().manual_seed(2)).requires_grad_()
    camera = Cameras.from_flat(torch.tensor([1.0, 0, 0, 0, -1, 0, 0, 0, -1, 0, 0, 700, 5]).expand(24, 13))
    theta = identity(24, batch.window)
    answer = Answer(theta, theta, said[..., :2], said[..., 2], said[..., 3], said[..., 4:], camera)
    seen = replace(batch.truth, visible=torch.ones(mask.shape), xyz_mm=torch.zeros(*mask.shape, 3))
    landmark_loss(answer, replace(batch, truth=seen), LossConfig()).backward()
    assert said.grad is not None
    assert torch.equal((said.grad != 0).all(-1), mask)
    assert torch.equal((said.grad != 0).any(-1), mask)


def test_only_flip_pairs_allow_mirroring(own_root: Path) -> None:
    with pytest.raises(AnymarkError, match=r"own: its layout has no flip pairs; geometry\.mirror must be 0"):
        own_sampler(own_root, GeometryConfig(mirror=0.5))


def test_depth_that_is_unknown_is_nan(own_root: Path) -> None:
    faker, own = (load_photos(own_root, source, 96, "train") for source in ("faker", "own"))
    assert torch.isfinite(faker.depth_px).all()
    assert torch.isnan(own.depth_px).all()
    assert own.depth_px.shape == (len(own), 20)


def test_points_in_a_plane_cannot_be_extended(own_root: Path, layout: Layout) -> None:
    photos = load_photos(own_root, "own", 96, "train")
    flat = Layout("flat", layout.points_mm[list(OWN)] * (1, 1, 0))
    assert len(LandmarkSet.create(photos, flat, 1.0, CPU).photos) == len(photos)
    with pytest.raises(AnymarkError, match=r"own: .* in one plane"):
        LandmarkSet.create(photos, flat, 1.0, CPU, further_mm=layout.points_mm)


def test_no_strength_changes_nothing() -> None:
    image = torch.rand(4, 3, 32, 32)
    assert torch.allclose(degrade(image.clone(), UNCHANGED, Generator().manual_seed(0)), image, atol=1e-5)
    kept, covered = occlude(image, UNCHANGED, Generator().manual_seed(0))
    assert torch.equal(kept, image)
    assert not covered.any()


def test_all_effects_stay_in_range_and_grey_is_grey() -> None:
    every = AppearanceConfig(grey=1.0, light=1.0, blur=1.0, motion=1.0, low_resolution=1.0, jpeg=1.0, noise=0)
    out = degrade(torch.rand(6, 3, 48, 48), every, Generator().manual_seed(0))
    assert torch.isfinite(out).all()
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    only_grey = replace(UNCHANGED, grey=1.0)
    out = degrade(torch.rand(6, 3, 48, 48), only_grey, Generator().manual_seed(0))
    assert torch.allclose(out[:, 0], out[:, 1], atol=1e-5)


def test_what_is_put_over_pictures_is_told_to_the_pixel() -> None:
    image = torch.rand(40, 3, 32, 32, generator=Generator().manual_seed(1))
    before = image.clone()
    out, covered = occlude(image, replace(UNCHANGED, patch=0.5), Generator().manual_seed(0))
    assert torch.equal(image, before)
    assert torch.equal((out != image).any(1), covered)
    touched = covered.any((1, 2))
    assert 0.25 < float(touched.float().mean()) < 0.75
    assert 0.01 < float(covered[touched].float().mean()) < 0.5


def test_the_real_photos_are_what_the_readme_says(shared: Path) -> None:
    held_out = load_photos(shared / "photos", "faker", 64, "held-out")
    assert len(held_out) == 21
    # the iris ring lies around the iris centre, and the subject's right eye is on the left of these portraits
    centre, ring = held_out.points_px[:, 468], held_out.points_px[:, 469:473].mean(1)
    assert float((centre - ring).norm(dim=1).max()) < 0.5
    assert bool((held_out.points_px[:, 33, 0] < held_out.points_px[:, 263, 0]).all())
    assert np.isfinite(held_out.points_px.numpy()).all()


def test_rare_yaws_come_more_often_but_none_too_often() -> None:
    yaws = np.array([*np.linspace(-9, 9, 60), *np.linspace(21, 29, 30), *np.linspace(-38, -31, 9), 75.0])
    chances = rarity_of(yaws)
    assert chances.sum() == pytest.approx(1)
    front, turned, far, once = chances[:60], chances[60:90], chances[90:99], chances[99]
    assert front.sum() == pytest.approx(turned.sum(), rel=1e-5)
    assert front[0] < turned[0] < far[0] < once < 6 * chances.mean()
    np.testing.assert_allclose(rarity_of(np.array([3.0, -4.0, 5.0])), 1 / 3)
