"""The head locator: targets, scenes, mirroring and learning."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from anymark.detect.boxes import iou
from anymark.engine.hdr import read_hdr
from anymark.errors import AnymarkError
from anymark.learn.data.appearance import AppearanceConfig
from anymark.learn.data.backgrounds import painted_textures, panorama_views
from anymark.learn.data.heads import (
    HeadPhotos,
    boxes_px,
    ellipse_outline,
    extreme_points,
    looks_like_any,
    thumbnails,
)
from anymark.learn.data.scenes import HEAD, SceneConfig, SceneSampler
from anymark.learn.models.locator import STRIDE, Locator, LocatorConfig, best_cells, decode, encode_targets
from anymark.learn.train.locator import locator_loss
from anymark.learn.train.recipe import LocatorRecipe, load_recipe
from anymark.learn.train.score_locator import detect

REPO = Path(__file__).parents[2]
TINY = LocatorConfig(8, 16, (24, 32, 48, 48), (1, 1, 1, 1), 32)
SHALLOW = LocatorConfig(8, 8, (16, 16, 16, 16), (0, 0, 0, 0), 16)
UNCHANGED = AppearanceConfig(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def drawn_heads(count: int, seed: int = 0) -> HeadPhotos:
    """Photos of a pale disc each, with a red right eye and a blue left one, on noise."""
    rng = np.random.default_rng(seed)
    images, outlines, eyes = [], [], []
    y, x = np.mgrid[:120, :100] + 0.5
    for _ in range(count):
        image = rng.integers(20, 90, (120, 100, 3))
        cx, cy, r = rng.uniform(42, 58), rng.uniform(45, 70), rng.uniform(22, 30)
        image[np.hypot(x - cx, y - cy) < r] = (230, 210, 190)
        pair = np.array([[cx - 0.45 * r, cy - 0.2 * r], [cx + 0.45 * r, cy - 0.2 * r]])
        for (ex, ey), colour in zip(pair, ((255, 0, 0), (0, 0, 255)), strict=True):
            image[np.hypot(x - ex, y - ey) < 0.2 * r] = colour
        images.append(torch.from_numpy(image.astype(np.uint8).transpose(2, 0, 1).copy()))
        outlines.append(ellipse_outline(torch.tensor([[cx - r, cy - r, cx + r, cy + r]], dtype=torch.float32)))
        eyes.append(torch.from_numpy(pair.astype(np.float32))[None])
    return HeadPhotos(images, outlines, eyes)


def sampler(scenes: SceneConfig, size: int = 128) -> SceneSampler:
    backgrounds = painted_textures(6, 128, np.random.default_rng(1))
    return SceneSampler([drawn_heads(6)], [1.0], backgrounds, size, scenes, UNCHANGED)


@pytest.mark.parametrize(("side", "x", "y"), [(12, 100.3, 60.9), (40, 33.0, 41.5), (260, 150.2, 170.0)])
def test_targets_decode_to_the_head_they_came_from(side: float, x: float, y: float) -> None:
    head = torch.tensor([x - side / 2, y - side * 0.6, x + side / 2, y + side * 0.6])
    eyes = torch.tensor([x - side * 0.2, y - 3, x + side * 0.2, y + 2])
    geometry = torch.cat([head, eyes])[None, None]
    targets = encode_targets(geometry, torch.tensor([[True]]), torch.tensor([[False]]), (40, 40))
    (row, column) = divmod(int(targets.heat.argmax()), 40)
    assert abs((column + 0.5) * STRIDE - x) <= STRIDE / 2
    assert abs((row + 0.5) * STRIDE - y) <= STRIDE / 2
    centre = torch.tensor([(column + 0.5) * STRIDE, (row + 0.5) * STRIDE])
    distances = torch.cat([centre - head[:2], head[2:] - centre]) / STRIDE
    raw = torch.zeros(1, 40, 40, 8)
    raw[0, row, column] = torch.cat([distances.log(), (eyes - centre.repeat(2)) / (side * 1.1)])
    assert (decode(raw)[0, row, column] - geometry[0, 0]).abs().max() < 0.01
    assert (targets.geometry[0, row, column] == geometry[0, 0]).all()
    assert targets.weight[0, row, column] > 0.5


def test_each_cell_learns_the_nearer_head_and_nothing_counts_on_ignored_ones() -> None:
    heads = torch.tensor([[40.0, 40, 80, 80], [160, 40, 200, 80], [40, 160, 120, 240]])
    geometry = torch.cat([heads, heads], 1)[None]
    targets = encode_targets(
        geometry, torch.tensor([[True, True, False]]), torch.tensor([[False, False, True]]), (32, 32)
    )
    assert torch.equal(targets.geometry[0, 7, 7, :4], heads[0])
    assert torch.equal(targets.geometry[0, 7, 22, :4], heads[1])
    assert not targets.counts[0, 25, 10]
    assert targets.counts[0, 7, 7]
    assert targets.weight[0, 25, 10] == 0
    assert int((targets.heat == 1).sum()) == 2


@pytest.mark.parametrize("kind", ["single", "tiles", "paste"])
def test_scenes_say_where_heads_and_eyes_are(kind: str) -> None:
    shares = {"single": 0.0, "tiles": 0.0, "paste": 0.0, "empty": 0.0, kind: 1.0}
    scenes = sampler(SceneConfig(**shares, smallest=0.15, roll_deg=8, any_roll=0, occluded=0))
    seen, hidden, mirrored = 0, 0, 0
    for seed in range(4):
        batch = scenes.draw(8, torch.Generator().manual_seed(seed))
        for image, heads, state in zip(batch.image, batch.geometry, batch.state, strict=True):
            for head in heads[state == HEAD]:
                eyes = head[4:].view(2, 2)
                assert eyes[0, 0] < eyes[1, 0]  # upright: the subject's right eye is on the left, mirrored or not
                if eyes.min() < 1 or eyes.max() > 126 or float(head[2] - head[0]) < 16:
                    continue
                redness = [float(image[0, int(y), int(x)] - image[2, int(y), int(x)]) for x, y in eyes]
                seen += 1
                hidden += int(min(redness) > -0.4 or max(redness) < 0.4)  # behind the next tile, or cut
                mirrored += int(redness[1] > redness[0])  # the red eye was the right one
    assert seen > 10
    assert hidden < 0.15 * seen
    assert 0.2 * seen < mirrored < 0.8 * seen


def test_scenes_without_heads_have_none_and_seeds_repeat() -> None:
    scenes = sampler(SceneConfig(single=0, tiles=0, paste=0, empty=1))
    batch = scenes.draw(4, torch.Generator().manual_seed(3))
    assert int((batch.state == HEAD).sum()) == 0
    again = scenes.draw(4, torch.Generator().manual_seed(3))
    assert torch.equal(batch.image, again.image)


def test_outlines_keep_the_box_and_turn_with_the_face() -> None:
    box = torch.tensor([[10.0, 20, 50, 80]])
    assert torch.allclose(boxes_px(ellipse_outline(box)), box)
    points = torch.randn(3, 468, 2, generator=torch.Generator().manual_seed(0)) * 20
    extremes = extreme_points(points)
    for angle in (0.0, 0.4, 1.3):
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        assert torch.allclose(boxes_px(extremes @ turn.T), boxes_px(points @ turn.T), atol=2.0)


def test_the_same_photo_is_recognised_at_another_size_and_others_are_not() -> None:
    rng = np.random.default_rng(2)
    photos = drawn_heads(5)
    for image in photos.images:  # looks differ, as people's do
        blocks = torch.from_numpy(rng.integers(0, 256, (3, 12, 10)).astype(np.uint8))
        image.copy_(blocks.repeat_interleave(10, 1).repeat_interleave(10, 2))
    larger = HeadPhotos(
        [i.repeat_interleave(2, 1).repeat_interleave(2, 2) for i in photos.images],
        [o * 2 for o in photos.outlines_px],
        [e * 2 for e in photos.eyes_px],
    )
    looks = thumbnails(photos)
    assert looks_like_any(looks, thumbnails(larger)).all()
    others = HeadPhotos([i.flip(1) for i in larger.images], larger.outlines_px, larger.eyes_px)
    assert not looks_like_any(looks, thumbnails(others)).any()
    assert not looks_like_any(looks, looks[:0]).any()


def test_panoramas_are_read_and_seen_through_a_pinhole(shared: Path, tmp_path: Path) -> None:
    panorama = read_hdr(next(iter(sorted((shared / "assets" / "hdri").glob("*.hdr")))))
    assert panorama.shape == (256, 512, 3)
    assert np.isfinite(panorama).all()
    assert panorama.max() > 1 > panorama.mean() > 0
    views = panorama_views(panorama, 3, 64, np.random.default_rng(0))
    assert views.float().std((1, 2, 3)).min() > 3
    broken = tmp_path / "broken.hdr"
    broken.write_bytes(b"#?RADIANCE\n\n-Y 2 +X 8\n\x02\x02\x00\x08\x01")
    with pytest.raises(AnymarkError, match=r"broken\.hdr"):
        read_hdr(broken)


def test_the_recipe_reads() -> None:
    recipe = load_recipe(REPO / "recipes" / "locator.toml")
    assert isinstance(recipe, LocatorRecipe)
    assert recipe.appearance.patch == 0
    assert sum(recipe.data.sources.values()) == pytest.approx(1)


def test_a_wrong_list_in_a_recipe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('kind = "locator"\n[model]\nwidths = [48, "96"]\n')
    with pytest.raises(AnymarkError, match=r"widths\[1\]"):
        load_recipe(path)


def test_a_tiny_locator_learns_four_scenes_by_heart() -> None:
    torch.manual_seed(0)
    scenes = sampler(
        SceneConfig(single=1, tiles=0, paste=0, empty=0, largest=0.6, too_close=0, any_roll=0, occluded=0), 96
    )
    batch = scenes.draw(4, torch.Generator().manual_seed(11))
    model = Locator(TINY)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(100):
        loss = locator_loss(*model(batch.image), batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
    for module in model.modules():  # statistics of these four scenes alone
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model(batch.image)
    model.eval()
    for found, heads, state in zip(detect(model, batch.image, 0.4), batch.geometry, batch.state, strict=True):
        truth = heads[state == HEAD]
        assert len(found.score) == len(truth) == 1
        assert iou(*(x[:, :4].double().numpy() for x in (truth, found.geometry))).max(1).min() > 0.6


def test_one_peak_a_head() -> None:
    score = torch.zeros(1, 10, 10)
    score[0, 4, 4], score[0, 4, 5], score[0, 8, 1] = 0.9, 0.8, 0.6
    values, cells = best_cells(score, 3)
    assert values[0].tolist() == pytest.approx([0.9, 0.6, 0.0])
    assert cells[0, :2].tolist() == [44, 81]
