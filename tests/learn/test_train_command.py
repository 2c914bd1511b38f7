"""`anymark train` as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anymark.cli import main
from anymark.files import LOCK
from anymark.learn.train.landmarks import LandmarkTask
from anymark.learn.train.weights import trained_steps
from tests.learn.tiny import MODEL

RECIPE = f"""
{MODEL}
[data]
store_size = 64
queries = 16
[data.sources]
faker = 1.0
[train]
steps = 3
batch = 4
warmup = 1
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with a recipe in it."""
    (tmp_path / "tiny.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(photos: Path, *options: str, recipe: str = "tiny.toml") -> int:
    return main(["train", recipe, "--photos", str(photos), "--accelerator", "cpu", *options])


def test_train_leaves_a_run_and_prints_its_metrics(
    workplace: Path, photo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(photo_root) == 0
    assert "NME %: " in capsys.readouterr().out
    out = workplace / "runs" / "tiny"
    assert {p.name for p in out.iterdir() if p.name != LOCK} == {
        "recipe.toml", "last.ckpt", "weights.safetensors", "log.jsonl", "tensorboard"
    }  # fmt: skip
    assert (out / "recipe.toml").read_text() == RECIPE
    assert trained_steps(out / "weights.safetensors") == 3
    assert {json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()} == {3}
    before = (out / "weights.safetensors").read_bytes()
    assert train(photo_root) == 0  # finished: only the metrics again
    assert "NME %: " in capsys.readouterr().out
    assert (out / "weights.safetensors").read_bytes() == before


def test_limit_takes_so_many_photos_of_each_source(
    workplace: Path, photo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    to = LandmarkTask.to
    monkeypatch.setattr(
        LandmarkTask, "to", lambda task, device: (seen.extend(map(len, task._train.values())), to(task, device))[1]
    )
    assert train(photo_root, "--limit", "2") == 0
    assert seen == [2]


def test_another_recipes_run_is_refused(workplace: Path, photo_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(photo_root, "--out", "run") == 0
    (workplace / "tiny.toml").write_text(RECIPE.replace("batch = 4", "batch = 5"))
    capsys.readouterr()
    assert train(photo_root, "--out", "run") == 2
    assert capsys.readouterr().err == (
        "anymark: run: holds a run of another recipe; choose another --out, or delete it\n"
    )
    assert (workplace / "run" / "recipe.toml").read_text() == RECIPE


@pytest.mark.parametrize(
    ("recipe", "photos", "options", "message"),
    [
        ("none.toml", "", (), "none.toml: cannot be read"),
        ("tiny.toml", "nowhere", (), "nowhere: no such folder (give --photos DIR)"),
        ("tiny.toml", "empty", (), "empty/faker/labels.npz: no such file"),
        ("tiny.toml", "", ("--limit", "0"), "--limit 0: must be at least 1"),
        ("tiny.toml", "", ("--devices", "0"), "--accelerator cpu --devices 0: "),
        ("tiny.toml", "", ("--out", "tiny.toml"), "tiny.toml: cannot write"),
        ("init.toml", "", (), "train.init: no such file: gone.safetensors"),
    ],
)
def test_what_cannot_be_is_one_line(
    workplace: Path,
    photo_root: Path,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    photos: str,
    options: tuple[str, ...],
    message: str,
) -> None:
    (workplace / "empty").mkdir()
    (workplace / "init.toml").write_text(RECIPE + 'init = "gone.safetensors"')
    assert train(workplace / photos if photos else photo_root, *options, recipe=recipe) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert lines[0].startswith("anymark: ")
