"""The training loop that every system shares: Fabric, AdamW, warm-up + cosine, EMA, resumable checkpoints."""

from __future__ import annotations

import io
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric import Fabric
from PIL import Image
from safetensors.torch import save
from torch import Generator, Tensor, nn

from anymark.errors import AnymarkError
from anymark.files import alone_in, atomic, cannot_write, make_folder, remove_partial
from anymark.learn.train.log import Log
from anymark.learn.train.recipe import WEIGHTS, TrainConfig, find_init
from anymark.learn.train.weights import start_from

CHECKPOINT = "last.ckpt"
RECIPE = "recipe.toml"
SHEETS = "sheets"
MOST_SKIPPED = 50
"""Steps in a row without a finite loss and gradient before a run gives up."""


class Stopped(Exception):  # noqa: N818, it is no error
    """A run was asked to stop, and has saved its state."""


@runtime_checkable
class Task(Protocol):
    """What a system brings to the loop."""

    @property
    def model(self) -> nn.Module: ...

    def to(self, device: torch.device) -> None:
        """Move the data to the device that it is augmented on."""
        ...

    def draw(self, batch: int, generator: Generator) -> Any:
        """One training batch, on the device."""
        ...

    def loss(self, model: Callable[..., Any], batch: Any) -> Tensor:
        """The loss of a batch, a scalar."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Held-out metrics; the first is shown while training. Called on the first process alone."""
        ...


@runtime_checkable
class Watched(Protocol):
    """A task that is judged by the eye, too."""

    def sheet(self, model: nn.Module) -> npt.NDArray[np.uint8]:
        """(H, W, 3) what the model makes of some pictures; written where metrics are, and before the first step."""
        ...


class Ema:
    """Exponential moving average of a model's parameters and running statistics; counters are copied."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))  # short runs and first steps must not lag
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, the full rate for a while, then a cosine to zero at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    falling = max(0.0, done - config.hold) / (1 - config.hold)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, falling)))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels decay; biases and norms (one-dimensional) do not. A parameter may have a `pace`, a share of
    the learning rate."""
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((parameter.ndim > 1, getattr(parameter, "pace", 1.0)), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "pace": pace}
        for (decays, pace), parameters in groups.items()
    ]


def fit(
    task: Task,
    config: TrainConfig,
    out: Path,
    recipe_text: str,
    *,
    recipe_folder: Path = Path(),
    accelerator: str = "auto",
    devices: int | None = None,
) -> dict[str, float]:
    """Train, or go on training, in the folder `out`.

    The folder holds recipe.toml, last.ckpt (everything, to resume), weights.safetensors (the average, to export),
    log.jsonl and tensorboard's files, and sheets/ of a `Watched` task. SIGTERM and Ctrl-C, to any process, save and
    stop; the same command goes on.

    Args:
        recipe_folder: where `config.init` is looked for first; then in the current directory.
        devices: processes, one a device; None: all GPUs, or one process on a CPU.

    Returns:
        The last held-out metrics; nothing on other processes than the first.

    Raises:
        AnymarkError: `out` holds another recipe's run, or one that goes on, or cannot be written, its checkpoint is
            damaged, there are no such devices, `config.init`, which only a run's start needs, is missing or of another
            model, or too many steps in a row gave nothing finite.
        Stopped: a signal ended it early; everything is saved. Other processes than the first return.
    """
    # what a user can get wrong comes before the launch: it starts other processes, which would wait
    resumes = (out / CHECKPOINT).exists()
    if resumes:
        _check_recipe(out, recipe_text)
    elif config.init is not None:
        start_from(task.model, find_init(config.init, recipe_folder))
    make_folder(out)
    fabric = _fabric(accelerator, devices, config)
    fabric.launch()
    try:
        with alone_in(out) if fabric.is_global_zero else nullcontext():
            return _fit(task, config, out, recipe_text, fabric, resumes)
    except OSError as error:
        raise cannot_write(out, error) from None


def _fit(
    task: Task, config: TrainConfig, out: Path, recipe_text: str, fabric: Fabric, resumes: bool
) -> dict[str, float]:
    if fabric.is_global_zero:
        for name in (CHECKPOINT, WEIGHTS):
            remove_partial(out / name)
        with atomic(out / RECIPE, "w") as file:
            file.write(recipe_text)
    fabric.barrier()
    torch.manual_seed(config.seed)
    task.to(fabric.device)
    optimizer = torch.optim.AdamW(parameter_groups(task.model, config.weight_decay), config.lr, betas=config.betas)
    bare = task.model.to(fabric.device).to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(bare, optimizer)
    ema = Ema(bare, config.ema)
    step = 0
    if resumes:
        step = _resume(fabric, out / CHECKPOINT, bare, optimizer, ema)
        fabric.print(f"going on from step {step}", file=sys.stderr)

    log = Log(out, fabric.is_global_zero, config.steps, step)
    generator = Generator(device=fabric.device)
    if step == 0 and fabric.is_global_zero:
        _show(task, bare, ema, out, 0)
    metrics = _evaluate(task, bare, ema) if step >= config.steps and fabric.is_global_zero else {}
    saved = time.monotonic()
    skipped = in_a_row = 0
    with _StopSignal() as stop:
        while step < config.steps:
            for group in optimizer.param_groups:
                group["lr"] = group.get("pace", 1.0) * learning_rate(step, config)
            # seeded by the step, so that a resumed run draws what an uninterrupted one would have drawn
            generator.manual_seed((config.seed * 1_000_003 + step) * 1024 + fabric.global_rank)
            bare.train()
            before = [buffer.clone() for buffer in bare.buffers()]
            loss = task.loss(model, task.draw(config.batch, generator))
            fabric.backward(loss)
            norm = fabric.clip_gradients(model, optimizer, max_norm=config.clip, error_if_nonfinite=False)
            bad = not bool(torch.isfinite(loss.detach()) & torch.isfinite(cast(Tensor, norm)))
            (bad,) = _agree(fabric, bad)
            step += 1
            if bad:  # a rare bad batch must not ruin the run: its NaN would stay in running statistics for ever
                skipped, in_a_row = skipped + 1, in_a_row + 1
                _restore_buffers(bare, before)
            else:
                in_a_row = 0
                optimizer.step()
                ema.update(bare, step)
            optimizer.zero_grad()
            if in_a_row >= MOST_SKIPPED:
                log.close()
                raise AnymarkError(
                    f"{out}: {in_a_row} steps in a row, to step {step}, gave no finite loss and gradient"
                )
            log.step(step, loss, norm, config.batch * fabric.world_size, optimizer.param_groups[0]["lr"], skipped)
            if fabric.is_global_zero and (step % config.evaluate_every == 0 or step == config.steps):
                metrics = _evaluate(task, bare, ema)
                log.metrics(step, metrics)
                _show(task, bare, ema, out, step)
            due = fabric.is_global_zero and time.monotonic() - saved > 60 * config.checkpoint_minutes
            stopping, due = _agree(fabric, stop.requested, due)
            if stopping or due or step == config.steps:
                _save(fabric, out, bare, optimizer, ema, step)
                saved = time.monotonic()
            if stopping:
                break
    log.close()
    if step < config.steps and fabric.is_global_zero:
        raise Stopped(f"stopped at step {step}; the same command goes on")
    return metrics


def _fabric(accelerator: str, devices: int | None, config: TrainConfig) -> Fabric:
    try:
        return Fabric(
            accelerator=accelerator, devices="auto" if devices is None else devices, precision=config.precision
        )
    except Exception as error:  # lightning raises its own kinds
        asked = f"--accelerator {accelerator}" + ("" if devices is None else f" --devices {devices}")
        raise AnymarkError(f"{asked}: {' '.join(str(error).split())}") from error


def _check_recipe(out: Path, recipe_text: str) -> None:
    kept = out / RECIPE
    if kept.exists() and kept.read_text(encoding="utf-8", errors="replace") != recipe_text:
        raise AnymarkError(f"{out}: holds a run of another recipe; choose another --out, or delete it")


def _agree(fabric: Fabric, *wanted: bool) -> tuple[bool, ...]:
    """What any process wants, all do: one that saved or stopped alone would wait for the others for ever."""
    if fabric.world_size == 1:
        return wanted
    flags = torch.tensor(wanted, dtype=torch.float32, device=fabric.device)
    return tuple((cast(Tensor, fabric.all_reduce(flags, reduce_op="sum")) > 0).tolist())


def _save(fabric: Fabric, out: Path, model: nn.Module, optimizer: Any, ema: Ema, step: int) -> None:
    """Write the checkpoint and the average, each of them whole: a kill leaves the old ones."""
    if fabric.is_global_zero:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema.state, "step": step}
        content = io.BytesIO()  # torch writes to a full disk with errors of its own
        torch.save(state, content)
        with atomic(out / CHECKPOINT, "wb") as file:
            file.write(content.getbuffer())
        with atomic(out / WEIGHTS, "wb") as file:
            file.write(save({k: v.contiguous() for k, v in ema.state.items()}, {"step": str(step)}))
    fabric.barrier()


def _resume(fabric: Fabric, path: Path, model: nn.Module, optimizer: Any, ema: Ema) -> int:
    """Load what `_save` wrote. Not by `fabric.load`: before Lightning 2.6 that runs any code in the file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        if {key: value.shape for key, value in state["ema"].items()} != shapes:
            raise ValueError("its average is of another model")
        step = int(state["step"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # a damaged file may raise anything
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AnymarkError(f"{path}: no checkpoint of this run, or damaged ({why})") from error
    ema.state = {k: v.to(fabric.device) for k, v in state["ema"].items()}
    return step


@torch.no_grad()
def _restore_buffers(model: nn.Module, kept: list[Tensor]) -> None:
    for buffer, value in zip(model.buffers(), kept, strict=True):
        buffer.copy_(value)


def _evaluate(task: Task, model: nn.Module, ema: Ema) -> dict[str, float]:
    with _averaged(model, ema):
        return task.evaluate(model)


def _show(task: Task, model: nn.Module, ema: Ema, out: Path, step: int) -> None:
    if isinstance(task, Watched):
        folder = out / SHEETS
        folder.mkdir(exist_ok=True)
        with _averaged(model, ema), atomic(folder / f"{step:06d}.png", "wb") as file:
            Image.fromarray(task.sheet(model)).save(file, "png")


@contextmanager
def _averaged(model: nn.Module, ema: Ema) -> Iterator[None]:
    """The model as its average, for evaluation."""
    kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.load_state_dict(ema.state)
    model.eval()
    with torch.no_grad():
        yield
    model.load_state_dict(kept)


class _StopSignal:
    """Turns SIGTERM and Ctrl-C into a request that the loop answers after its step."""

    requested = False

    def __enter__(self) -> _StopSignal:
        def request(*_: object) -> None:
            self.requested = True

        self._old = {s: signal.signal(s, request) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for s, handler in self._old.items():
            signal.signal(s, handler)
