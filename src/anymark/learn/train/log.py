"""What a training run says of itself: progress on stderr, log.jsonl and tensorboard."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from anymark.files import atomic

LOG = "log.jsonl"
SHOWN_EVERY_S = 10.0


class Log:
    """Progress on stderr, log.jsonl and tensorboard; silent on all ranks but the first."""

    def __init__(self, out: Path, active: bool, steps: int, first: int) -> None:
        self.active, self.steps, self.first = active, steps, first
        self.images = 0
        self.start = self.shown = time.monotonic()
        self.headline = ""
        if active:
            _cut_log(out / LOG, first)
            self.file = (out / LOG).open("a")
            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=first + 1)

    def step(self, step: int, loss: Tensor, norm: Any, images: int, lr: float, skipped: int) -> None:
        """`skipped`: steps without a finite loss and gradient, since the run started or went on."""
        self.images += images
        now = time.monotonic()
        if not self.active or (now - self.shown < SHOWN_EVERY_S and step != self.steps):
            return
        value = float(loss.detach())
        speed = self.images / (now - self.start)
        left = (self.steps - step) / max(1e-9, (step - self.first) / (now - self.start))
        row = {"step": step, "loss": value, "grad_norm": float(norm), "lr": lr, "images_per_s": round(speed, 1)}
        self._write({**row, "skipped": skipped})
        bad = f"  {skipped} skipped" if skipped else ""
        shown = f"loss {value:.3f}{bad}  {speed:.0f} img/s  {_duration(left)} left{self.headline}"
        print(f"step {step}/{self.steps}  {shown}", file=sys.stderr, flush=True)
        self.shown = now

    def metrics(self, step: int, metrics: dict[str, float]) -> None:
        if not self.active or not metrics:
            return
        name, value = next(iter(metrics.items()))
        self.headline = f"  {name} {value:.3f}"
        self._write({"step": step, **metrics})

    def _write(self, row: dict[str, float]) -> None:
        finite = {key: value if math.isfinite(value) else None for key, value in row.items()}  # JSON has no NaN
        self.file.write(json.dumps(finite, allow_nan=False) + "\n")
        self.file.flush()
        for key, value in finite.items():
            if key != "step" and value is not None:
                self.board.add_scalar(key, value, int(row["step"]))

    def close(self) -> None:
        if self.active:
            self.file.close()
            self.board.close()


def _cut_log(path: Path, step: int) -> None:
    """Keep the rows up to a checkpoint's step: a kill may tear the last one, and later ones will be written again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(errors="replace").splitlines():
        with suppress(json.JSONDecodeError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    with atomic(path, "w") as file:
        file.writelines(kept)


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
