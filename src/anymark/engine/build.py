"""Data sets built from fitted photos, on many processes: shard by shard, each the same whoever makes it and when."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import CanonicalHead
from anymark.engine.data_recipe import DataRecipe
from anymark.engine.fits import Fitted, Fitter, fit_photos
from anymark.engine.heads import canonical_rig
from anymark.engine.occluders import load_hands
from anymark.engine.render import Renderer
from anymark.engine.samples import ENGINE, INDEX, RECIPE, Sample, count_samples, write_shard
from anymark.engine.studio import Studio
from anymark.errors import AnymarkError
from anymark.files import alone_in, read_json, reading, write_json
from anymark.fit import Fit, Rig
from anymark.photo_files import LABELS, PhotoLabels, read_labels
from anymark.signals import deaf_to_interrupts

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Job:
    """One shard."""

    number: int
    photos: tuple[tuple[str, int], ...]
    """(source, index among the fitted photos of its set)"""

    @property
    def name(self) -> str:
        return f"shard-{self.number:05d}.tar"

    @property
    def left_out(self) -> str:
        """The file that says what a shard had to leave out; there is none where it left out nothing."""
        return f"shard-{self.number:05d}-left-out.json"


@dataclass(frozen=True)
class Place:
    """Where a build reads and writes."""

    assets: Path
    photos: Path
    out: Path


Progress = Callable[[str, int, int, int], None]
"""What is being made, how many parts of it are done, of how many, and the samples made so far."""


@dataclass(frozen=True)
class Built:
    """A finished data set."""

    shards: int
    samples: int
    left_out: Counter[str]
    """Reason -> photos."""
    residual: dict[str, dict[str, float]]
    """Photo set, and "all" -> n, median and P90 of what fits leave over, over the outer corners of the eyes in 3D."""


def build(recipe: DataRecipe, place: Place, processes: int, progress: Progress | None = None) -> Built:
    """Make what is missing of a data set.

    Raises:
        AnymarkError: `place.out` holds another recipe's data or another process is at work in it, something is missing,
            or a shard cannot be written.
    """
    with alone_in(place.out):
        return _build(recipe, place, processes, progress or (lambda *_: None))


def _build(recipe: DataRecipe, place: Place, processes: int, tell: Progress) -> Built:
    _claim(recipe, place)
    for litter in place.out.glob(".shard-*.tmp"):  # of workers that were killed
        litter.unlink(missing_ok=True)
    # one thread a process: llvmpipe, numpy and cv2 would each take all cores
    os.environ |= dict.fromkeys(("LP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    with ProcessPoolExecutor(processes, spawn, _start_worker, (recipe, place, stop)) as pool:
        try:
            with deaf_to_interrupts():
                ready = [pool.submit(_check) for _ in range(processes)]
            for check in ready:
                check.result()
            sets = {}
            for source in recipe.sources:

                def solve(parts: Sequence[Index], source: str = source) -> Iterator[Fit]:
                    for i, found in enumerate(pool.map(_fit, [source] * len(parts), parts)):
                        tell(f"fits of {source}", i + 1, len(parts), 0)
                        yield found

                sets[source] = fitted_set(recipe, place, read_labels(place.photos / source), solve)
            jobs = list(plan(recipe, {source: len(fitted) for source, fitted in sets.items()}))
            missing = [job for job in jobs if not (place.out / job.name).exists()]
            counts: Counter[str] = Counter()
            for fitted in sets.values():
                counts.update(fitted.dropped)
            before, made = len(jobs) - len(missing), 0
            tell("shards", before, len(jobs), made)
            for i, count in enumerate(_unordered(pool, missing, 2 * processes)):
                made += count
                tell("shards", before + i + 1, len(jobs), made)
        except BrokenProcessPool:
            raise AnymarkError(
                f"{place.out}: a worker was killed (too little memory?); the same command goes on"
            ) from None
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for job in jobs:  # those of earlier runs too
        counts.update(_left_out(place.out / job.left_out))
    names = [job.name for job in jobs]
    try:
        samples = sum(count_samples(place.out / name) for name in names)
    except AnymarkError as error:
        raise AnymarkError(f"{error}; delete it, and the same command makes it again") from None
    if samples == 0:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
        raise AnymarkError(f"{place.out}: not a single sample could be made ({reasons})")
    residual = _residuals({source: fitted.residual() for source, fitted in sets.items()})
    content = {"shards": names, "samples": samples, "split": recipe.split}
    content |= {"left_out": dict(counts), "fit_residual": residual}
    write_json(place.out / INDEX, content, indent=2)
    return Built(len(jobs), samples, counts, residual)


def fitted_set(
    recipe: DataRecipe, place: Place, labels: PhotoLabels, solve: Callable[[Sequence[Index]], Iterable[Fit]]
) -> Fitted:
    """The fits of one of a recipe's photo sets, made or read from the data set's folder."""
    folder = labels.path.parent
    limit = recipe.sources[folder.name] or None
    fitted = fit_photos(labels, recipe.split, solve, cache=place.out / "fits", limit=limit)
    if len(fitted) == 0:
        raise AnymarkError(f"{folder}: no photo of split {recipe.split!r} has a good fit")
    return fitted


def plan(recipe: DataRecipe, counts: dict[str, int]) -> Iterator[Job]:
    """The shards of a data set of so many photos of each source: mixed, so that any shard is a fair sample."""
    everyone = [(source, k) for source, count in counts.items() for k in range(count)]
    order = np.random.default_rng(recipe.seed).permutation(len(everyone))
    for number, start in enumerate(range(0, len(order), recipe.photos_a_shard)):
        yield Job(number, tuple(everyone[i] for i in order[start : start + recipe.photos_a_shard]))


def _residuals(of_sets: dict[str, Array]) -> dict[str, dict[str, float]]:
    everything = {**of_sets, "all": np.concatenate(list(of_sets.values()))}
    return {
        name: {
            "n": len(values),
            "median": round(float(np.median(values)), 5),
            "P90": round(float(np.quantile(values, 0.9)), 5),
        }
        for name, values in everything.items()
    }


class _Stopped(Exception):  # noqa: N818, it is no error
    """A shard is given up: the build was stopped."""


def make_shard(
    recipe: DataRecipe, studio: Studio, out: Path, job: Job, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Write one shard, and what it leaves out; returns its number of samples."""
    skipped: Counter[str] = Counter()

    def samples() -> Iterator[Sample]:
        for source, k in job.photos:
            if stopping():
                raise _Stopped
            photo = studio.sets[source].labels.names[studio.sets[source].index[k]]
            name = re.sub(r"[^\w-]", "_", f"{source}-{photo.rpartition('.')[0] or photo}")  # webdataset wants no dots
            try:
                if recipe.preset == "photos":
                    yield studio.label(source, k, name, recipe.window_scale)
                    continue
                taken = studio.take(source, k)
                for number in range(recipe.views):
                    rng = np.random.default_rng([recipe.seed, zlib.crc32(name.encode()), number])
                    key = f"{name}-{number}"
                    if recipe.preset == "pairs":
                        yield from studio.pair(taken, recipe.shots, key, rng)
                    elif recipe.preset == "sequences":
                        yield from studio.sequence(taken, recipe.shots, recipe.frames, recipe.cameras, key, rng)
                    else:
                        yield studio.show(taken, recipe.shots, key, rng, recipe.preset)
            except AnymarkError as error:
                skipped[str(error)] += 1
        if skipped:  # before the shard is in its place: what is counted is never lost
            write_json(out / job.left_out, dict(skipped), indent=2)

    return write_shard(out / job.name, samples())


def _left_out(path: Path) -> Counter[str]:
    """Reason -> photos that a shard left out.

    Raises:
        AnymarkError: its file is damaged.
    """
    if not path.exists():
        return Counter()
    with reading(path, "what a shard left out"):
        return Counter({str(reason): int(count) for reason, count in read_json(path, "what a shard left out").items()})


class _Worker:
    """What a process of the pool keeps; each part is made when it is first needed."""

    def __init__(self, recipe: DataRecipe, place: Place, stop: Event) -> None:
        self.recipe, self.place, self.stop = recipe, place, stop
        self._labels: dict[str, PhotoLabels] = {}

    def labels(self, source: str) -> PhotoLabels:
        if source not in self._labels:
            self._labels[source] = read_labels(self.place.photos / source)
        return self._labels[source]

    @cached_property
    def fitter(self) -> Fitter:
        rig = Rig.load_ict(self.place.assets)
        return Fitter(rig, canonical_rig(rig, CanonicalHead.load()))

    @cached_property
    def studio(self) -> Studio:
        recipe, place = self.recipe, self.place
        sets = {
            source: fitted_set(recipe, place, self.labels(source), partial(self.fitter.solve, self.labels(source)))
            for source in recipe.sources  # from the cache
        }
        return Studio(place.assets, place.photos, self.fitter, sets, recipe.size, recipe.split == "held-out")


_worker: _Worker | None = None  # of this process


def _start_worker(recipe: DataRecipe, place: Place, stop: Event) -> None:
    global _worker
    _worker = _Worker(recipe, place, stop)
    threading.Thread(target=_die_with_the_parent, daemon=True).start()


def _die_with_the_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _check() -> None:
    """What every shard needs, before hours are spent on the rest.

    Raises:
        AnymarkError: there is no rendering, or something is missing among the assets.
    """
    assert _worker is not None
    Renderer((8, 8)).close()
    load_hands(_worker.place.assets)


def _fit(source: str, part: Index) -> Fit:
    assert _worker is not None
    if _worker.stop.is_set():
        raise _Stopped
    labels = _worker.labels(source)
    return _worker.fitter.fit(labels.points_px[part], labels.depth_px[part])


def _make(job: Job) -> int:
    assert _worker is not None
    if _worker.stop.is_set():
        raise _Stopped
    return make_shard(_worker.recipe, _worker.studio, _worker.place.out, job, _worker.stop.is_set)


def _unordered(pool: ProcessPoolExecutor, jobs: list[Job], ahead: int) -> Iterator[int]:
    """What `make_shard` says of each shard, as they are done; few are handed out ahead, so that a stop loses little."""
    waiting: set[Future[int]] = set()
    for job in jobs:
        waiting.add(pool.submit(_make, job))
        if len(waiting) >= ahead:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise AnymarkError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None


def _claim(recipe: DataRecipe, place: Place) -> None:
    """Write down what the data set is made of, or check that the shards that are there are made of the same."""
    labels = {source: _digest(place.photos / source / LABELS) for source in recipe.sources}
    content = json.loads(json.dumps({**asdict(recipe), "engine": ENGINE, "labels": labels}))
    out, kept = place.out, place.out / RECIPE
    if kept.exists() and any(out.glob("shard-*.tar")):
        try:
            same = read_json(kept, "a recipe") == content
        except AnymarkError:
            same = False
        if not same:
            raise AnymarkError(
                f"{out}: holds data of another recipe, of other labels or of another version of the engine; choose "
                "another --out, or delete it"
            )
    write_json(kept, content, indent=2)
