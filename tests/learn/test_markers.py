"""Marker models: the renderer, each term of the loss, and the traps of unpaired translation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from anymark.cli import main
from anymark.detect.markers import MarkerDetector
from anymark.detect.template import Template
from anymark.errors import AnymarkError
from anymark.learn.data.geometry import inverse, to_photo
from anymark.learn.data.marked import JitterConfig, blurred, compare, jittered, read_sets
from anymark.learn.models.markers import Deltas, MarkerConfig, MarkerModel, Pool, Strewn, softened
from anymark.learn.models.markers import Generator as Wiper
from anymark.learn.models.painter import Painter, PainterConfig
from anymark.learn.train.markers import (
    MarkerBatch,
    MarkerTask,
    critics_loss,
    descend,
    judged_loss,
    spring_loss,
    wiping_loss,
)
from anymark.learn.train.recipe import MarkerLossConfig, load_recipe

TEMPLATE = Template.of("cross", [[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5], [0.4, 0.6]], [[0, 1], [2, 3]])
TINY = MarkerConfig(32, (8, 8, 8, 8), (16, 16), 4, 1, 4, 1)
GIVEN = PainterConfig((0.1, 0.2, 0.9), 0.8, line=0.02)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def points_of(template: Template) -> Tensor:
    return torch.from_numpy(template.points)[None]


def test_paint_covers_dots_and_lines_and_nothing_else() -> None:
    cover = Painter(TEMPLATE, GIVEN).cover(points_of(TEMPLATE), 64)[0].detach()

    def at(x: float, y: float) -> float:
        return float(cover[round((y + 1) * 32 - 0.5), round((x + 1) * 32 - 0.5)])

    assert at(-0.25, 0.0) == pytest.approx(0.71, abs=0.03)  # half a pixel beside the line
    assert at(-0.25, 0.0) == pytest.approx(at(0.25, 0.0), abs=1e-3)
    assert at(0.4, 0.6) > 0.6
    assert at(0.7, 0.0) < 1e-3
    assert at(-0.6, -0.6) < 1e-6


def test_the_order_of_marks_does_not_count() -> None:
    swapped = Template.of("cross", TEMPLATE.points, TEMPLATE.lines[::-1, ::-1])
    one, other = (Painter(t, GIVEN).cover(points_of(t), 32) for t in (TEMPLATE, swapped))
    torch.testing.assert_close(one, other)


def test_the_painters_gradient_is_right() -> None:
    painter = Painter(TEMPLATE, GIVEN).double()
    image = torch.rand(1, 3, 12, 12, generator=seeded()).double()
    points = points_of(TEMPLATE).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: painter(image, p), points, atol=1e-5)


@pytest.mark.parametrize("shading", [0.0, 0.4, 1.0])
def test_paint_takes_the_light_of_the_picture(shading: float) -> None:
    painter = Painter(TEMPLATE, replace(GIVEN, opacity=0.98, shading=shading))
    dark, medium = (torch.full((1, 3, 64, 64), level) for level in (0.125, 0.5))
    x, y = 44, 51  # in the middle of the dot
    points = points_of(TEMPLATE)
    under, on = (float(painter(image, points)[0, 2, y, x].detach()) for image in (dark, medium))
    cover = float(painter.cover(points, 64)[0, y, x].detach())
    paint = [(seen - (1 - cover) * level) / cover for seen, level in ((under, 0.125), (on, 0.5))]
    assert paint[0] / paint[1] == pytest.approx(0.25**shading, rel=1e-3)


def test_blurred_comparison_attracts_from_afar_and_a_sharp_one_does_not() -> None:
    painter = Painter(Template.of("dot", [[0.0, 0.0]]), GIVEN)
    there = painter.cover(torch.tensor([[[0.5, 0.0]]]), 64).detach()

    def pull(blur: float) -> float:
        at = torch.zeros(1, 1, 2, requires_grad=True)
        blurred((painter.cover(at, 64) - there)[:, None], blur).square().mean().backward()
        assert at.grad is not None
        return -float(at.grad[0, 0, 0])

    assert pull(0.1) > 0
    assert abs(pull(0.0)) < 0.01 * pull(0.1)


def test_marks_are_strewn_about_where_they_were_and_over_all_looks() -> None:
    points = points_of(TEMPLATE).expand(400, -1, -1)
    strewn = Strewn.draw(400, len(TEMPLATE), 1.0, seeded())
    moved = strewn(points) - points
    assert moved.mean(0).abs().max() < 0.05
    assert float(moved.std(0).min()) > 0.05
    assert float(strewn.looks.opacity.min()) > 0.69
    image = torch.full((400, 3, 32, 32), 0.6)
    painted = Painter(TEMPLATE, GIVEN)(image, points, strewn.looks).detach()
    darkest = painted.mean(1).amin((1, 2))
    assert 0 <= painted.min() <= painted.max() <= 1
    assert darkest.std() > 0.01
    still = Strewn.draw(4, len(TEMPLATE), 0.0, seeded())
    torch.testing.assert_close(still(points[:4]), points[:4])
    one, other = (Painter(TEMPLATE, GIVEN)(image[:4], points[:4], looks) for looks in (still.looks, None))
    torch.testing.assert_close(one, other)


def test_springs_hold_neighbours_together() -> None:
    points = points_of(TEMPLATE)
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    for kind in ("vector", "length"):
        assert float(spring_loss(points + torch.tensor([0.2, -0.1]), TEMPLATE, kind)) < 1e-7
        assert float(spring_loss(points * 1.2, TEMPLATE, kind)) > 1e-3
    assert float(spring_loss(points @ turn, TEMPLATE, "length")) < 1e-7
    assert float(spring_loss(points @ turn, TEMPLATE, "vector")) > 1e-2


@pytest.mark.parametrize("kind", ["vector", "length"])
def test_points_that_slide_along_a_line_are_pulled_back(kind: str) -> None:
    line = Template.of("line", [[-0.6, 0], [-0.2, 0], [0.2, 0], [0.6, 0]], [[0, 1], [1, 2], [2, 3]])
    slid = points_of(line).clone()
    slid[0, 1, 0] += 0.15  # the line looks the same
    cover = [Painter(line, GIVEN).cover(p, 64) for p in (slid, points_of(line))]
    assert (cover[0] - cover[1]).abs().mean() < 0.01
    slid.requires_grad_()
    spring_loss(slid, line, kind).backward()  # type: ignore[arg-type]
    assert slid.grad is not None
    assert slid.grad[0, 1, 0] > 0
    assert slid.grad[0, 1, 0] > slid.grad[0, 3, 0].abs()


def test_training_starts_from_the_template() -> None:
    deltas = Deltas(TEMPLATE, TINY)
    found = deltas(torch.rand(3, 3, 32, 32, generator=seeded()))
    torch.testing.assert_close(found, points_of(TEMPLATE).expand(3, -1, -1))
    found.square().sum().backward()
    last = deltas.layers[-1]
    assert last.weight.grad is not None
    assert last.weight.grad.abs().sum() > 0


def batch_of(model_seed: int = 0) -> tuple[MarkerModel, MarkerBatch]:
    torch.manual_seed(model_seed)
    unmarked, marked = torch.rand(2, 2, 3, 32, 32, generator=seeded(1))
    noise = 0.05 * torch.randn(2, 3, 32, 32, generator=seeded(2))
    return MarkerModel(TEMPLATE, TINY), MarkerBatch(
        unmarked, marked, torch.arange(2), torch.eye(2, 3).expand(2, 2, 3), noise
    )


def test_neither_side_moves_the_other() -> None:
    model, batch = batch_of()
    critics = {id(p) for c in (model.of_marked, model.of_unmarked) for p in c.parameters()}
    made = model(batch.unmarked, batch.marked, batch.noise)
    judged_loss(model, made).backward(retain_graph=True)
    moved = {id(p) for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert not moved & critics
    assert any(id(p) in moved for p in model.deltas.parameters())
    assert any(id(p) in moved for p in model.generator.parameters())
    model.zero_grad()
    critics_loss(model, made, batch, 0.0, seeded()).backward()
    moved = {id(p) for p in model.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved <= critics
    assert moved


@pytest.mark.parametrize("term", ["cycle_unmarked", "identity"])
def test_each_term_of_what_g_learns_can_be_left_out(term: str) -> None:
    model, batch = batch_of()
    with torch.no_grad():  # it starts by leaving pictures alone: nothing to lose
        model.generator.last.bias.normal_(generator=seeded(4))
    made = model(batch.unmarked, batch.marked, batch.noise)
    nothing = MarkerLossConfig(0, 0, 0, 0, 0)
    assert float(wiping_loss(model, made, batch, nothing).detach()) == 0
    assert float(wiping_loss(model, made, batch, replace(nothing, **{term: 1.0})).detach()) > 0


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_descent_finds_what_was_painted(start: float) -> None:
    painter = Painter(TEMPLATE, GIVEN)
    plain = torch.full((2, 3, 48, 48), 0.7)
    rest = points_of(TEMPLATE).expand(2, -1, -1)
    there = rest + torch.tensor([[[0.12, -0.08]], [[-0.05, 0.1]]])
    painted = painter(plain, there).detach()

    def objective(points: Tensor, blur: float) -> Tensor:
        away = blurred(painter(plain, points) - painted, blur).abs().mean((1, 2, 3))
        return 100 * away + spring_loss(points, TEMPLATE)

    points = rest + start * torch.tensor([0.5, 0.3])
    before, going = objective(points, 0.0), torch.zeros_like(points)
    for i in range(40):
        left = 1 - i / 40
        points, going = descend(lambda p, left=left: objective(p, 0.05 * left), points, going, 0.02 * (0.1 + left))
    assert (points - there).norm(dim=-1).max() < 0.03
    assert (objective(points, 0.0) < 0.3 * before).all()


def test_found_points_are_kept_as_the_picture_has_them(run: Path) -> None:
    recipe = load_recipe(recipe_of(run, steps=10))
    task = MarkerTask(recipe)  # type: ignore[arg-type]
    task.to(torch.device("cpu"))
    task.model.steps.fill_(5)
    batch = task.draw(2, seeded(3))
    assert task.model.kept is not None
    rest = task.model.kept.clone()
    task.loss(task.model, batch)
    moved, going = (task.model.kept - rest).norm(dim=-1).mean(-1).unbind(1)
    others = torch.ones(len(rest), dtype=torch.bool)
    others[batch.which] = False
    assert (moved[others] == 0).all()
    assert (going[others] == 0).all()
    assert (moved[batch.which] > 0).all()
    assert (going[batch.which] > 0).all()
    assert moved.max() < 0.4  # a few short steps from the template, wherever the jitter had put the picture


def test_in_mirrored_pictures_found_points_swap_sides(run: Path) -> None:
    path = recipe_of(run)
    path.write_text(path.read_text() + "[data.jitter]\nmirror = 1.0\n")
    with pytest.raises(AnymarkError, match=r"mirror: the template 'cross' is not its own mirror image"):
        MarkerTask(load_recipe(path))  # type: ignore[arg-type]
    own = Template.of("own", [[-0.5, 0.0], [0.5, 0.0], [0.0, 0.4]], [[0, 2], [1, 2]])
    own.save(run / "template.json")
    task = MarkerTask(load_recipe(path))  # type: ignore[arg-type]
    affine = torch.tensor([[[-1.0, 0, 0.1], [0, 1.0, 0]]])
    found = torch.tensor([[[[-0.5, 0.1], [0.4, 0.0], [0.0, 0.4]], [[1.0, 0], [0, 1.0], [0, 0]]]])
    seen = task._through(affine, found)
    # what was left, at -0.5, is right in the mirror: there it is the second point
    torch.testing.assert_close(seen[0, 0], torch.tensor([[-0.3, 0.0], [0.6, 0.1], [0.1, 0.4]]))
    torch.testing.assert_close(seen[0, 1], torch.tensor([[0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(task._through(inverse(affine), seen), found)


def test_momentum_goes_on_where_a_slope_alternates() -> None:
    """Along a ravine a ball gets farther than steps of the same length that forget each other."""

    def ravine(points: Tensor) -> Tensor:
        return points[..., 1].square().sum(-1) + 0.05 * points[..., 0].square().sum(-1)

    points = torch.tensor([[[1.0, 0.05]]])
    still = torch.zeros_like(points)
    rolling, going = descend(ravine, *descend(ravine, points, still, 0.01), 0.01)
    stopping, _ = descend(ravine, descend(ravine, points, still, 0.01)[0], still, 0.01)
    assert rolling[0, 0, 0] < stopping[0, 0, 0] < 1
    assert (going != 0).any()


def test_what_g_could_hide_in_fine_detail_is_lost() -> None:
    hidden = torch.zeros(1, 3, 32, 32)
    hidden[..., ::2] = 1  # stripes of one pixel, as a generator that hides marks makes them
    assert softened(hidden)[..., 2:-2].std() < 0.35 * hidden.std()
    model, batch = batch_of()
    with torch.no_grad():
        torch.nn.init.normal_(model.deltas.layers[-1].weight, generator=seeded(2))
        noisy, plain = (
            model.eval()(batch.unmarked, batch.marked, noise).wiped_points
            for noise in (batch.noise, torch.zeros_like(batch.noise))
        )
    assert not torch.equal(noisy, plain)


def test_g_learns_nothing_from_what_would_help_to_find_points() -> None:
    model, batch = batch_of()
    with torch.no_grad():
        for last in (model.deltas.layers[-1], model.generator.last):
            torch.nn.init.normal_(last.weight, 0, 0.02, generator=seeded(2))
    made = model(batch.unmarked, batch.marked, batch.noise)
    made.wiped_points.sum().backward()
    assert any(p.grad is not None for p in model.deltas.parameters())
    assert all(p.grad is None for p in model.generator.parameters())


def test_g_starts_by_leaving_pictures_as_they_are() -> None:
    image = torch.rand(2, 3, 32, 32, generator=seeded())
    torch.testing.assert_close(Wiper(TINY)(image), image)


def test_g_learns_alone_first_and_then_all_do(run: Path) -> None:
    recipe = load_recipe(recipe_of(run, steps=20))
    task = MarkerTask(recipe)  # type: ignore[arg-type]
    task.to(torch.device("cpu"))
    with torch.no_grad():  # its weights start at zero: nothing before them would get a gradient
        torch.nn.init.normal_(task.model.deltas.layers[-1].weight, 0, 0.1, generator=seeded(2))

    def taught() -> set[str]:
        task.model.zero_grad()
        task.loss(task.model, task.draw(2, seeded())).backward()
        return {name.split(".")[0] for name, p in task.model.named_parameters() if p.grad is not None}

    assert taught() == {"generator"}
    task.model.steps.fill_(10)
    assert taught() == {"generator", "deltas", "painter", "of_marked", "of_unmarked"}


def test_pools_give_back_what_was_made_before_and_are_kept_with_the_weights() -> None:
    pool = Pool(32)
    for i in range(60):
        made = torch.full((1, 3, 32, 32), i / 255)
        given = pool.swap(made, seeded(i))
        assert float(given.max() * 255) == pytest.approx(i, abs=1e-3) or i >= 50
    again = Pool(32)
    again.load_state_dict(pool.state_dict())
    image = torch.rand(4, 3, 32, 32, generator=seeded())
    assert torch.equal(pool.swap(image, seeded(7)), again.swap(image, seeded(7)))


def test_jitter_moves_both_sets_alike_and_can_be_none() -> None:
    images = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8, generator=seeded())
    still = JitterConfig(0, 0, 0, 0, 0, 0, 0, 0)
    torch.testing.assert_close(jittered(images, still, seeded())[0], images.float() / 255, atol=1e-5, rtol=0)
    one, other = (jittered(images, JitterConfig(), seeded(4)) for _ in range(2))
    assert torch.equal(one[0], other[0])


def test_jitter_says_where_places_were() -> None:
    images = torch.zeros(8, 3, 64, 64, dtype=torch.uint8)
    images[..., 40, 20] = 255
    moved, before = jittered(images, JitterConfig(0.05, 0.1, 8, 0, 0, 0, 0.5, 0), seeded(2))
    y, x = torch.meshgrid(*[(torch.arange(64) + 0.5) / 32 - 1] * 2, indexing="ij")
    weight = moved[:, 0] / moved[:, 0].sum((1, 2), keepdim=True)
    spot = torch.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], 1)
    was = to_photo(spot[:, None], before)[:, 0]
    torch.testing.assert_close(was, torch.tensor([[20.5 / 32 - 1, 40.5 / 32 - 1]]).expand(8, 2), atol=0.02, rtol=0)


def pictures(
    folder: Path, count: int, marked: bool, seed: int, shift: int = 0, size: tuple[int, int] = (40, 40)
) -> Path:
    """Discs here and there; marked ones have a cross on them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    for i in range(count):
        cx, cy = width / 2 + rng.normal(0, 3), height / 2 + rng.normal(0, 3)
        disc = (x - cx) ** 2 + (y - cy) ** 2 < 14**2
        image = np.full((height, width, 3), 90 + shift, np.uint8)
        image[disc] = [200, 160 + shift // 2, 140]
        if marked:
            image[disc & ((np.abs(x - cx) < 1.2) | (np.abs(y - cy) < 1.2))] = [20, 30, 200]
        Image.fromarray(image).save(folder / f"{i:03d}.png")
    return folder


def test_sets_are_compared(tmp_path: Path) -> None:
    plain, marked = pictures(tmp_path / "u", 12, False, 0), pictures(tmp_path / "m", 12, True, 1)
    other, dark = pictures(tmp_path / "o", 12, False, 2), pictures(tmp_path / "d", 12, True, 3, shift=-60)
    unmarked, with_marks, without, darker = read_sets([plain, marked, other, dark], 32)
    assert compare(with_marks, unmarked).marks > 1
    assert abs(compare(without, unmarked).marks) < 0.5
    assert compare(with_marks, unmarked).colours < compare(darker, unmarked).colours


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p, "no such folder or video"),
        (lambda p: p.mkdir() or p, "no images"),
        (lambda p: pictures(p, 3, False, 0), "3 pictures; at least 8"),
        (lambda p: pictures(p, 9, False, 0, size=(60, 40)), "60 x 40: pictures of both sets"),
    ],
)
def test_sets_that_do_not_do_are_named(tmp_path: Path, make, said: str) -> None:
    good = pictures(tmp_path / "good", 9, False, 5)
    with pytest.raises(AnymarkError, match=said):
        read_sets([good, make(tmp_path / "bad")], 32)


def recipe_of(folder: Path, steps: int = 6, marked: str = "marked") -> Path:
    TEMPLATE.save(folder / "template.json")
    path = folder / "markers.toml"
    path.write_text(
        f"""
kind = "markers"
[model]
size = 32
widths = [8, 8, 8, 8]
hidden = [16, 16]
generator = 4
blocks = 1
critic = 4
critic_layers = 1
[data]
template = "{folder / "template.json"}"
unmarked = "{folder / "unmarked"}"
marked = "{folder / marked}"
[train]
steps = {steps}
batch = 2
lr = 2e-4
betas = [0.5, 0.999]
hold = 0.5
weight_decay = 0
warmup = 1
evaluate_every = {steps}
"""
    )
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("markers")
    pictures(folder / "unmarked", 10, False, 0)
    pictures(folder / "marked", 10, True, 1)
    path = recipe_of(folder)
    assert main(["train", str(path), "--out", str(folder / "run"), "--accelerator", "cpu"]) == 0
    assert main(["export", str(folder / "run"), str(folder / "model")]) == 0
    return folder


def test_a_run_shows_what_it_does_and_is_exported(run: Path) -> None:
    sheets = sorted(path.name for path in (run / "run" / "sheets").iterdir())
    assert sheets == ["000000.png", "000006.png"]
    with Image.open(run / "run" / "sheets" / "000006.png") as sheet:
        assert sheet.size == (8 * 32, 6 * 32)
    card = json.loads((run / "model" / "card.json").read_text())
    assert card["kind"] == "markers"
    assert card["template"]["name"] == "cross"
    assert card["onnx_difference"] < 1e-3
    assert len(card["sigma"]) == 5


def test_a_marker_model_answers_as_landmarks(run: Path) -> None:
    detector = MarkerDetector(run / "model")
    pixels = np.full((50, 80, 3), 120, np.uint8)
    (found,) = detector.detect(pixels)
    assert found.layout.name == "cross"
    # the square in the middle: the template nearly in its place, as the run was short
    want = TEMPLATE.points * 25 + [40, 25]
    np.testing.assert_allclose(found.xy_px, want, atol=6)
    np.testing.assert_allclose(found.camera.project(found.xyz_mm), found.xy_px, atol=1e-2)
    np.testing.assert_allclose(found.to_dict()["box_px"], [*found.xy_px.min(0), *found.xy_px.max(0)], atol=1e-2)


def test_marks_that_are_not_to_be_seen_are_told_of(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(run / "plain", 10, False, 7)
    recipe = load_recipe(recipe_of(run, marked="plain"))
    MarkerTask(recipe)  # type: ignore[arg-type]
    assert "are marks to be seen?" in capsys.readouterr().err
    recipe = load_recipe(recipe_of(run))
    MarkerTask(recipe)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""


def test_a_stopped_run_goes_on_as_if_it_had_not_been(run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from anymark.learn.train.loop import Stopped, fit

    path = recipe_of(run)
    recipe = load_recipe(path)
    text = path.read_text()

    class Stopping(MarkerTask):
        def draw(self, batch, generator):
            if int(self.model.steps) == 3:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGTERM)
            return super().draw(batch, generator)

    with pytest.raises(Stopped):
        fit(Stopping(recipe), recipe.train, tmp_path / "run", text, accelerator="cpu")  # type: ignore[arg-type]
    fit(MarkerTask(recipe), recipe.train, tmp_path / "run", text, accelerator="cpu")  # type: ignore[arg-type]
    whole, stopped = (load_file(folder / "run" / "weights.safetensors") for folder in (run, tmp_path))
    for key, value in whole.items():
        torch.testing.assert_close(stopped[key], value, msg=key)


def test_detect_and_track_find_the_template(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, shots = str(run / "model"), str(run / "unmarked")
    assert main(["detect", f"{shots}/000.png", "--model", model, "--json", str(tmp_path / "found.json")]) == 0
    assert "5 points" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["layout"]["name"] == "cross" if isinstance(found.get("layout"), dict) else "cross" in json.dumps(found)
    assert main(["track", shots, "--model", model, "--out", str(tmp_path / "t.npz")]) == 0
    assert "head 1  10 of 10 frames" in capsys.readouterr().out
    assert main(["detect", f"{shots}/000.png", "--model", model, "--layout", "ibug68", "--out", str(tmp_path)]) == 2
    assert "finds its template 'cross' alone" in capsys.readouterr().err
    assert main(["detect", f"{shots}/000.png", "--model", model, "--pose", "--out", str(tmp_path)]) == 2
    assert "--pose: a marker model finds its template" in capsys.readouterr().err
    assert main(["detect", f"{shots}/000.png", "--model", model, "--refine", "--out", str(tmp_path)]) == 2
    assert "--refine" in capsys.readouterr().err
    assert main(["segment", f"{shots}/000.png", "--model", model, "--out", str(tmp_path)]) == 2
    assert "a model of kind 'markers', not 'landmarks'" in capsys.readouterr().err


def test_a_template_is_made_of_clicks(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from anymark.detect.template import load_template

    photo, out = str(run / "unmarked" / "000.png"), tmp_path / "t.json"
    clicks = [part for xy in ("20,20", "30,20", "20,35.5") for part in ("--click", xy)]
    assert main(["layout", "marks", photo, *clicks, "--line", "0,1,2", "--out", str(out)]) == 0
    template = load_template(out)
    np.testing.assert_allclose(template.points, [[0, 0], [0.5, 0], [0, 0.775]], atol=1e-5)
    assert template.lines.tolist() == [[0, 1], [1, 2]]
    for bad, said in (
        ([], "either --layout, or --click"),
        (["--click", "50,3"], "outside of -1..1"),
        (["--click", "1"], "--click 1"),
        (["--click", "1,1", "--line", "0,1"], "lines has an index"),
        (["--click", "1,1", "--line", "0"], "at least two points"),
    ):
        assert main(["layout", "marks", photo, *bad, "--out", str(out)]) == 2
        assert said in capsys.readouterr().err


def test_points_are_placed_on_the_canonical_head_in_spite_of_a_lost_photo() -> None:
    from skimage import data

    from anymark.apps.placed import placed
    from anymark.apps.points import Click
    from anymark.canonical import Layout, load_layout
    from anymark.detect.detector import Detector

    whole = load_layout("ibug68")
    some = Layout("some", whole.points_mm[30:60:3])
    (head, *_) = Detector(looks=4).encode(data.astronaut())
    there = head.query(some).xy_px
    lost = there + np.random.default_rng(0).normal(0, 20, there.shape)
    clicks = [Click(head, there), Click(head, there), Click(head, lost.astype(np.float32)), Click(head, there)]
    layout, error_px, used = placed(clicks, some, "mine")
    assert used == 3
    assert layout.name == "mine"
    assert np.median(np.linalg.norm(layout.points_mm - some.points_mm, axis=1)) < 1.0  # depth is hardly seen
    assert error_px.max() < 0.3
