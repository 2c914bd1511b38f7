"""Two processes on one CPU, with gloo: they save, stop and go on together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from anymark.learn.data.landmarks import Batch
from anymark.learn.train.landmarks import LandmarkTask
from anymark.learn.train.loop import CHECKPOINT, Stopped, fit
from anymark.learn.train.recipe import LandmarkRecipe, load_recipe
from anymark.learn.train.weights import trained_steps
from tests.learn.tiny import MODEL

REPO = Path(__file__).parents[2]
STEPS = 5
RECIPE = f"""
{MODEL}
[data]
store_size = 64
queries = 16
[data.sources]
faker = 1.0
[train]
steps = {STEPS}
batch = 4
warmup = 2
evaluate_every = 3
checkpoint_minutes = 100.0
"""


class StopsOneRank(LandmarkTask):
    """The second process alone is asked to stop, in its second step."""

    draws = 0

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        self.draws += 1
        if self.draws == 2 and os.environ["LOCAL_RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return super().draw(batch, generator)


def train(task: type[LandmarkTask], folder: Path, photos: Path, out: str) -> None:
    """One run of two processes; each leaves the weights that it ended with beside the run's folder."""
    path = folder / "two.toml"
    recipe = load_recipe(path)
    assert isinstance(recipe, LandmarkRecipe)
    trained = task(recipe, photos, None)
    try:
        fit(trained, recipe.train, folder / out, path.read_text(), accelerator="cpu", devices=2)
    except Stopped as stopped:
        print(stopped)
    state = {k: v.contiguous() for k, v in trained.model.named_parameters()}
    save_file(state, folder / f"{out}-{os.environ['LOCAL_RANK']}.safetensors")


def test_two_processes_stop_together_and_go_on_to_the_same_weights(photo_root: Path, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(RECIPE)
    command = [sys.executable, "-m", "tests.learn.test_distributed", str(tmp_path), str(photo_root)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    # a signal to the second process stopped both after the same step, and one of them said so
    assert done.stdout.count("stopped at step 2") == 1
    assert done.stderr.count("going on from step 2") == 1
    assert trained_steps(tmp_path / "stopped.safetensors") == 2
    assert trained_steps(tmp_path / "parts" / "weights.safetensors") == STEPS
    whole, parts, stopped = (
        load_file(tmp_path / f"{name}.safetensors") for name in ("whole/weights", "parts/weights", "stopped")
    )
    assert all(torch.allclose(whole[k].float(), parts[k].float(), atol=1e-5) for k in whole)
    assert any(not torch.allclose(stopped[k].float(), parts[k].float(), atol=1e-3) for k in stopped)
    first, second = (load_file(tmp_path / f"parts-{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[k], second[k]) for k in first)


def main(folder: Path, photos: Path) -> None:
    """What each of the two processes does; lightning starts the second one with the same arguments."""
    torch.set_num_threads(1)
    train(LandmarkTask, folder, photos, "whole")
    train(StopsOneRank, folder, photos, "parts")
    if os.environ["LOCAL_RANK"] == "0":
        (folder / "stopped.safetensors").write_bytes((folder / "parts" / "weights.safetensors").read_bytes())
    assert (folder / "parts" / CHECKPOINT).exists()
    train(LandmarkTask, folder, photos, "parts")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
