"""Runs made models: the card says what was measured, and no other folder is harmed."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from anymark import Detector
from anymark.cli import main
from anymark.detect.image import open_photo
from anymark.errors import AnymarkError
from anymark.learn import export_locator as export_locator_module
from anymark.learn.cards import PANORAMAS, data_entries
from anymark.learn.data.geometry import identity
from anymark.learn.data.heads import boxes_px
from anymark.learn.data.photos import DATA_CARDS
from anymark.learn.export import model_folder, write_card
from anymark.learn.export_locator import checked_images, difference_px, export_locator
from anymark.learn.models.camera import Cameras
from anymark.learn.models.encoder import EncoderConfig
from anymark.learn.models.landmarker import Answer
from anymark.learn.models.locator import Locator
from anymark.learn.train.landmarks import LandmarkTask
from anymark.learn.train.locator import LocatorTask, panorama_folder
from anymark.learn.train.recipe import LandmarkRecipe, LocatorRecipe, TrainConfig, load_recipe
from anymark.learn.train.tasks import UNSURE_BOUNDS, checked_pictures, most_unsure, starting_weights
from tests.learn.conftest import photo_shown
from tests.learn.test_locator import SHALLOW, drawn_heads
from tests.learn.tiny import CROP_SIZE, MODEL, WINDOW_SIZE

LANDMARKS = f"""
kind = "landmarks"
{MODEL}
[data]
store_size = 96
queries = 16
[data.sources]
faker = 1.0
congress = 0.5
[train]
steps = 2
batch = 4
warmup = 1
"""

LOCATOR = """
kind = "locator"
[model]
stem = 8
early = 8
widths = [16, 16, 16, 16]
depths = [0, 0, 0, 0]
fusion = 16
[data]
store_size = 64
size = 64
views = 1
textures = 8
[data.sources]
whole-faker = 1.0
[card]
licence = "mine"
known_sources = true
"""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def landmark_run(photo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of a tiny landmark detector, as `anymark train` leaves them."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.toml").write_text(LANDMARKS)
    argv = ["train", str(folder / "tiny.toml"), "--out", str(folder / "tiny"), "--accelerator", "cpu"]
    assert main([*argv, "--photos", str(photo_root), "--cache", str(folder / "cache")]) == 0
    return folder / "tiny"


def task_of(run: Path, photo_root: Path) -> LandmarkTask:
    recipe = load_recipe(run / "recipe.toml")
    assert isinstance(recipe, LandmarkRecipe)
    task = LandmarkTask(recipe, photo_root, None, limit=1)
    task.to(torch.device("cpu"))
    return task


def write_panorama(path: Path, width: int = 64, height: int = 32) -> None:
    rows = np.random.default_rng(0).integers(20, 130, (height, 4, width)).astype(np.uint8)
    lines = (bytes([2, 2, 0, width]) + b"".join(bytes([width]) + c.tobytes() for c in row) for row in rows)
    path.write_bytes(b"#?RADIANCE\n\n-Y %d +X %d\n" % (height, width) + b"".join(lines))


@pytest.fixture(scope="module")
def locator_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of an untrained tiny locator, and the folder of its photos."""
    folder = tmp_path_factory.mktemp("locator")
    whole, run, panoramas = folder / "photos" / "whole", folder / "run", folder / "assets" / "hdri"
    for path in (whole, run, panoramas):
        path.mkdir(parents=True)
    for name in ("lobby", "meadow"):  # a held-out one, and one to train on
        write_panorama(panoramas / f"{name}.hdr")
    heads, rng = drawn_heads(40), np.random.default_rng(5)
    names = [f"faker_{i:05d}.webp" for i in range(len(heads))]
    with tarfile.open(whole / "photos.tar", "w") as tar:
        for name, image in zip(names, heads.images, strict=True):
            blocks = rng.integers(0, 60, (12, 10, 3)).repeat(10, 0).repeat(10, 1)  # looks differ, as people's do
            pixels = np.clip(image.permute(1, 2, 0).numpy() * 0.75 + blocks, 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
            info = tarfile.TarInfo(name)
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    boxes = torch.cat([boxes_px(outline) for outline in heads.outlines_px]).numpy()
    eyes = torch.cat(list(heads.eyes_px)).flatten(1).numpy()
    np.savez(whole / "faces.npz", name=np.array(names), photo=np.arange(len(names)), box=boxes, eyes=eyes)
    (run / "recipe.toml").write_text(LOCATOR)
    torch.manual_seed(0)
    save_file(
        {key: value.contiguous() for key, value in Locator(SHALLOW).state_dict().items()}, run / "weights.safetensors"
    )
    return run, folder / "photos"


def test_a_landmark_run_becomes_a_model(
    landmark_run: Path, photo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (landmark_run / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "lo')  # as a kill leaves it
    out = tmp_path / "model"
    argv = ["export", str(landmark_run), str(out), "--photos", str(photo_root), "--cache", str(tmp_path / "cache")]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    graphs = {"crop.onnx", "encode.onnx", "query.onnx", "decode.onnx"}
    assert {path.name for path in out.iterdir()} == {"card.json", "weights.safetensors", *graphs}
    assert {path.name for path in tmp_path.iterdir()} == {"model", "cache"}  # nothing temporary stays behind
    card = json.loads((out / "card.json").read_text())
    assert (card["name"], card["kind"], card["steps"]) == ("model", "landmarks", 2)
    assert card["metrics"]["photos"] == 2
    assert card["sigma_scale"] > 0
    assert card["visible"] == {"scale": 1.0, "shift": 0.0, "surface": 1.0}  # photos do not say what they show
    unknown = {"what": "not stated", "licence": "not stated"}  # the recipe, an older one, has no [card]
    assert card["data"] == [{"name": "faker", **unknown}, {"name": "congress", **unknown}]
    assert (card["licence"], card["labels"]) == ("not stated", "not stated")
    assert UNSURE_BOUNDS[0] <= card["most_unsure"] <= UNSURE_BOUNDS[1]
    photo = np.full((80, 90, 3), 128, np.uint8)
    [face] = Detector(out).detect(photo, "ibug68", boxes=[[20, 20, 60, 70]])
    assert face.xy_px.shape == (68, 2)
    assert np.isfinite(face.xy_px).all()


def test_a_locator_run_becomes_a_model_and_a_bad_graph_does_not_replace_it(
    locator_run: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, photos = locator_run
    out = tmp_path / "find"
    argv = ["export", str(run), str(out), "--photos", str(photos), "--name", "tiny"]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    card = json.loads((out / "card.json").read_text())
    assert (card["name"], card["kind"]) == ("tiny", "locator")
    assert (card["licence"], card["labels"]) == ("mine", "not stated")
    assert card["data"] == [{"name": "faker", **DATA_CARDS["faker"]}, {"name": "panoramas", **PANORAMAS}]
    assert card["metrics"]["photos"] > 0
    boxes = Detector(locator=out).locator.locate(open_photo(np.zeros((90, 120, 3), np.uint8)))
    assert all(box.score >= card["threshold"] for box in boxes)

    before = files(out)
    monkeypatch.setattr(export_locator_module, "export_locator", lambda _, path: path.write_bytes(b"another graph"))
    monkeypatch.setattr(export_locator_module, "difference_px", lambda *_: float("nan"))
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("anymark: tiny: the exported locator differs from torch by ")
    assert files(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["find"]


def test_a_locator_is_checked_on_heads_that_it_never_learned(locator_run: tuple[Path, Path]) -> None:
    run, photos = locator_run
    recipe = load_recipe(run / "recipe.toml")
    assert isinstance(recipe, LocatorRecipe)
    task = LocatorTask(recipe, photos, None)
    task.to(torch.device("cpu"))
    learned = {image.numpy().tobytes() for heads in task._train.values() for image in heads.images}
    assert not learned & {image.numpy().tobytes() for image in task.held_out.images}
    assert len(learned) + len(task.held_out) == 40
    images = checked_images(task)
    shown = min(8, len(task.held_out))
    assert images.shape == (shown + 2, 320, 320, 3)
    for image, index in zip(images, np.linspace(0, len(task.held_out) - 1, shown).round().astype(int), strict=False):
        red, blue = ((eye * 320 / 120).int().tolist() for eye in task.held_out.eyes_px[index][0])
        left = (320 - round(100 * 320 / 120)) // 2  # the photo is 100 x 120
        assert image[red[1], left + red[0]].argmax() == 0
        assert image[blue[1], left + blue[0]].argmax() == 2


def test_cards_say_of_data_what_sets_and_recipe_state(tmp_path: Path) -> None:
    def write(path: Path, **said: str) -> None:
        path.parent.mkdir()
        np.savez(path, **{key: np.array(value) for key, value in said.items()})

    write(tmp_path / "mine" / "labels.npz", licence="CC-BY-4.0", what="my photos")
    write(tmp_path / "congress" / "labels.npz", licence="all rights reserved")  # someone's own, under a known name
    for name in ("faker", "other"):
        write(tmp_path / name / "labels.npz")
    write(tmp_path / "whole" / "faces.npz")
    sources = ("mine", "congress", "faker", "other", "whole-faker", "whole-voteview")
    mine = {"name": "mine", "what": "my photos", "licence": "CC-BY-4.0"}
    congress = {"name": "congress", "what": "not stated", "licence": "all rights reserved"}
    nothing = {"what": "not stated", "licence": "not stated"}
    assert data_entries(tmp_path, sources, known_sources=True) == [
        mine,
        congress,
        {"name": "faker", **DATA_CARDS["faker"]},
        {"name": "other", **nothing},
        {"name": "voteview", **DATA_CARDS["voteview"]},
    ]
    rest = [{"name": name, **nothing} for name in ("faker", "other", "voteview")]
    assert data_entries(tmp_path, sources, known_sources=False) == [mine, congress, *rest]


def test_weights_that_a_run_started_from_are_on_its_card() -> None:
    assert starting_weights(LandmarkRecipe()) == {}
    assert starting_weights(LandmarkRecipe(train=TrainConfig(init="a.safetensors"))) == {
        "started_from": "a.safetensors"
    }
    pretrained = LandmarkRecipe(encoder=EncoderConfig("convnext-tiny", pretrained=True))
    assert starting_weights(pretrained) == {"started_from": "timm's weights of convnext-tiny"}


def test_panoramas_lie_in_the_assets_or_beside_the_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    assert panorama_folder(Path("a/photos")) == Path("a/assets/hdri")
    monkeypatch.setenv("ANYMARK_ASSETS", "b/things")
    assert panorama_folder(Path("a/photos")) == Path("b/things/hdri")


def test_no_run_is_one_line(photo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    for run in ("run", "missing"):
        assert main(["export", str(tmp_path / run), str(tmp_path / "out"), "--photos", str(photo_root)]) == 2
        err = capsys.readouterr().err
        assert (
            err == f"anymark: {tmp_path / run}: no weights.safetensors in it; is it a folder made by anymark train?\n"
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("strange", ["notes.txt", "other.onnx"])
def test_a_folder_that_is_no_model_is_left_alone(
    landmark_run: Path, photo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], strange: str
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    write_card(out, {"format": 1})
    (out / strange).write_bytes(b"a week's work")
    before = files(out)
    assert main(["export", str(landmark_run), str(out), "--photos", str(photo_root)]) == 2
    assert capsys.readouterr().err == (
        f"anymark: {out}: holds {strange}, which is no part of a model; choose another folder\n"
    )
    assert files(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_networks_without_a_card_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "encode.onnx").write_bytes(b"somebody's")
    with pytest.raises(AnymarkError, match=r"holds encode\.onnx"), model_folder(tmp_path):
        pytest.fail("entered")
    assert (tmp_path / "encode.onnx").read_bytes() == b"somebody's"


@pytest.mark.parametrize("name", ["model", "old", "new"])
def test_a_model_is_replaced_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    out = tmp_path / "deeper" / name

    def write(files: dict[str, bytes], fails: bool = False) -> None:
        with model_folder(out) as folder:
            for file, content in files.items():
                (folder / file).write_bytes(content)
            if fails:
                raise KeyboardInterrupt
            write_card(folder, {"format": 1})

    write({"a.onnx": b"1", "b.onnx": b"2"})
    assert (out / "b.onnx").read_bytes() == b"2"
    first = files(out)
    with pytest.raises(KeyboardInterrupt):
        write({"a.onnx": b"3"}, fails=True)
    assert files(out) == first
    write({"a.onnx": b"3"})
    assert set(files(out)) == {"a.onnx", "card.json"}
    assert (out / "a.onnx").read_bytes() == b"3"
    assert list(out.parent.iterdir()) == [out]


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out, message in ((file, "a file, not a model's folder"), (file / "model", "cannot write")):
        with pytest.raises(AnymarkError, match=message), model_folder(out):
            pytest.fail("entered")
    assert file.read_text() == "mine"


def test_graphs_are_checked_on_photos_of_every_source(landmark_run: Path, photo_root: Path) -> None:
    task = task_of(landmark_run, photo_root)
    for held_out in (True, False):
        if not held_out:
            task.held_out = []
        with torch.no_grad():
            windows, crops = map(torch.from_numpy, checked_pictures(task))
        assert windows.shape == (2, WINDOW_SIZE, WINDOW_SIZE, 3)  # one photo of each is held out, one of each learned
        assert crops.shape == (2, CROP_SIZE, CROP_SIZE, 3)
        for pictures in (windows, crops):
            shown = {photo_shown(picture.permute(2, 0, 1) / 255) for picture in pictures}
            assert {name for name, _ in shown} == {"faker", "congress"}
            assert (shown == {("faker", 10), ("congress", 4)}) == held_out


class AsUnsureAs(nn.Module):
    """Every point with the same sigma, in half crops, which are the windows."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.log_sigma = float(np.log(sigma))

    def forward(self, window: Tensor, look: object, points_mm: Tensor, dataset: Tensor) -> Answer:
        heads, points = len(window), points_mm.shape[1]
        theta, nothing = identity(heads, window), torch.zeros(heads, points)
        xyz_mm, camera = torch.zeros(heads, points, 3), Cameras.from_flat(torch.full((heads, 13), torch.nan))
        return Answer(theta, theta, xyz_mm[..., :2], nothing + self.log_sigma, nothing, xyz_mm, camera)


@pytest.mark.parametrize(
    ("sigma", "scale", "limit"), [(0.06, 1.0, 0.0675), (0.02, 3.0, 0.0675), (0.001, 1.0, 0.04), (0.5, 1.0, 0.08)]
)
def test_the_limit_of_unsureness_follows_the_photos_within_bounds(
    landmark_run: Path, photo_root: Path, sigma: float, scale: float, limit: float
) -> None:
    """The window is 1.5 faces wide, so sigma half windows are 0.75 sigma faces; the limit is 1.5 times that."""
    task = task_of(landmark_run, photo_root)
    task.model = AsUnsureAs(sigma)
    assert most_unsure(task, scale) == pytest.approx(limit, abs=1e-4)
    task.held_out = []
    assert most_unsure(task, scale) is None


def test_the_exported_graph_equals_torch_at_any_size(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Locator(SHALLOW).eval()
    export_locator(model, tmp_path / "locate.onnx")
    rng = np.random.default_rng(0)
    for shape in ((1, 32, 64, 3), (3, 160, 224, 3)):
        images = rng.integers(0, 256, shape).astype(np.uint8)
        assert difference_px(model, tmp_path / "locate.onnx", images) < 1e-3
