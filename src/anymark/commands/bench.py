"""`anymark bench`: how long everything takes on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import UseAppendAction, arg

from anymark.commands.demo import astronaut
from anymark.errors import AnymarkError
from anymark.evaluate import bench
from anymark.evaluate.timing import Request, Timing
from anymark.files import check_targets, check_writable, shared_folder, write_json

DEFAULT_MODEL = "small"


@dataclass
class Bench:
    """Time each stage, a cold start and its memory, and frames a second against the number of queries.

    Everything is timed with one thread and with all cores. The minimum is what the machine can do; a median far above
    it means that the machine was busy.
    """

    model: UseAppendAction[Annotated[tuple[str, ...], arg(metavar="NAME|DIR")]] = ()
    """Landmark model, small by default; give several to compare their queries. Stages are those of the first."""
    locator: Annotated[str, arg(metavar="NAME|DIR")] = "locator"
    """Model that finds the heads."""
    image: Annotated[Path | None, arg(metavar="FILE")] = None
    """A photo with a head; by default the astronaut of scikit-image."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write the numbers, with the machine and the versions they belong to."""
    seconds: Annotated[float, arg(metavar="S")] = 1.0
    """Time spent on each number."""
    track: Annotated[str | None, arg(metavar="VIDEO")] = None
    """Time following one head through a video instead, with one thread, decoding included, beside MediaPipe's Face Mesh
    on the same frames where it is installed (anymark[teacher])."""
    engine: bool = False
    """Time the data engine instead, with one thread: fits, renders and samples. Needs ../shared, or $ANYMARK_ASSETS."""

    def run(self) -> int:
        """Time everything and print it. Returns the exit code.

        Raises:
            AnymarkError: a bad photo, model or place to write to.
        """
        if self.seconds < 0:
            raise AnymarkError(f"--seconds {self.seconds}: must not be negative")
        check_writable([] if self.json is None else [self.json])
        if self.engine and self.track is not None:
            raise AnymarkError("--engine and --track each time something else: give one of them")
        if self.engine:
            return self._engine()
        models = self.model or (DEFAULT_MODEL,)
        if self.track is not None:
            return self._track(models[0], self.track)
        photo = self.image or astronaut()
        if self.json is not None:
            check_targets([self.json], [photo])
        machine = _print_host()
        warm = {str(threads or "all"): self._warm(models, photo, threads) for threads in (1, None)}
        cold = bench.cold_starts(models[0], self.locator, photo)
        _print_timings("cold start, a new process", cold)
        for name, start in cold.items():
            if start.peak_mb is not None:
                print(f"  {name:28} peak memory {start.peak_mb:.0f} MB")
        if self.json is not None:
            starts = {name: asdict(start) for name, start in cold.items()}
            numbers = {"host": machine, "image": photo.name, "models": list(models), "threads": warm}
            write_json(self.json, {**numbers, "cold_start": starts}, indent=2)
        return 0

    def _track(self, model: str, video: str) -> int:
        if self.json is not None:
            check_targets([self.json], [Path(video)])
        machine = _print_host()
        timed = bench.track_timings(model, self.locator, video, self.seconds)
        parts, (width, height) = {part: timed.pop(part) for part in ("frame", "processor")}, timed["size_px"]
        _print_rates(
            f"1 thread, {model}, {Path(video).name}, {width} x {height}", parts["frame"], "478 points of a head"
        )
        _print_timings("the processor's time for a frame", parts["processor"])
        if self.json is not None:
            numbers = {
                part: {
                    name: {**asdict(timing), "frames_per_second": 1000 / timing.median_ms}
                    for name, timing in timings.items()
                }
                for part, timings in parts.items()
            }
            about = {"host": machine, "video": Path(video).name, "model": model, **timed}
            write_json(self.json, {**about, "threads": {"1": numbers}}, indent=2)
        return 0

    def _engine(self) -> int:
        assets, photos = (shared_folder(None, name, "$ANYMARK_ASSETS") for name in ("assets", "photos"))
        if find_spec("cv2") is None:
            raise AnymarkError("bench --engine needs cv2: pip install 'anymark[data]'")
        machine = _print_host()
        timed = bench.engine_timings(assets, photos, self.seconds)
        _print_timings("1 thread, data engine", timed)
        if self.json is not None:
            numbers = {name: asdict(timing) for name, timing in timed.items()}
            write_json(self.json, {"host": machine, "threads": {"1": {"engine": numbers}}}, indent=2)
        return 0

    def _warm(self, models: Sequence[str], photo: Path, threads: int | None) -> dict[str, Any]:
        """Stages of the first model and queries of all of them, printed and as plain numbers."""
        label = f"{threads or os.cpu_count()} thread{'' if threads == 1 else 's'}"
        numbers: dict[str, Any] = {"stages": {}, "queries": {}}
        for i, model in enumerate(models):
            request = Request(model, threads, self.seconds, bench.QUERY_COUNTS)
            if i == 0:
                request = replace(request, locator=self.locator, photo=str(photo))
            timed = bench.timings(request)
            if i == 0:
                _print_timings(f"{label}, {model}", timed["stages"])
                numbers["stages"] = {name: asdict(timing) for name, timing in timed["stages"].items()}
            rates = {f"{count:>6} queries": timing for count, timing in timed["queries"].items()}
            _print_rates(f"{label}, {model}", rates, "encode + queries")
            numbers["queries"][model] = {
                count: {**asdict(timing), "frames_per_second": 1000 / timing.min_ms}
                for count, timing in timed["queries"].items()
            }
        return numbers


def _print_host() -> dict[str, Any]:
    machine = bench.host()
    print(f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; onnxruntime {machine['onnxruntime']}")
    return machine


def _print_timings(title: str, timings: Mapping[str, Timing]) -> None:
    print(f"{title}: ms, minimum and median")
    for name, timing in timings.items():
        print(f"  {name:28} {timing.min_ms:10.3f} {timing.median_ms:10.3f}   ({timing.runs} runs)", flush=True)


def _print_rates(title: str, rates: Mapping[str, Timing], what: str) -> None:
    print(f"{title}: frames a second ({what}), best and median")
    for name, timing in rates.items():
        best, median = 1000 / timing.min_ms, 1000 / timing.median_ms
        print(f"  {name:21} {best:10.1f} {median:10.1f}   ({timing.runs} runs)", flush=True)
