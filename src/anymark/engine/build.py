"""Data sets built from fitted photos, on many processes: shard by shard, each the same whoever makes it and when."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from anymark.canonical import CanonicalHead
from anymark.engine.fits import Fitted, Fitter, fit_photos
from anymark.engine.heads import canonical_rig
from anymark.engine.samples import Sample, write_shard
from anymark.engine.shots import ShotConfig
from anymark.engine.studio import Studio
from anymark.errors import AnymarkError
from anymark.evaluate.photo_files import Split, read_labels
from anymark.files import write_json
from anymark.fit import Rig
from anymark.tables import from_table, read_toml

RECIPE = "recipe.json"
INDEX = "index.json"


@dataclass(frozen=True)
class DataRecipe:
    """What a data set is built from, and how."""

    kind: Literal["data"] = "data"
    preset: Literal["photos", "views"] = "views"
    """photos: the labelled photos themselves, with the heads of their fits; views: the same heads re-posed."""
    sources: dict[str, int] = field(default_factory=dict)
    """Photo set -> at most so many of its photos, spread evenly; 0 for all."""
    split: Split = "train"
    size: int = 256
    """Side of the pictures, pixels."""
    views: int = 4
    """Samples a photo."""
    photos_a_shard: int = 48
    window_scale: float = 2.0
    """photos: side of the picture over the longer side of the face's box."""
    seed: int = 0
    shots: ShotConfig = field(default_factory=ShotConfig)


@dataclass(frozen=True)
class Job:
    """One shard."""

    number: int
    photos: tuple[tuple[str, int], ...]
    """(source, index among the fitted photos of its set)"""

    @property
    def name(self) -> str:
        return f"shard-{self.number:05d}.tar"


@dataclass(frozen=True)
class Place:
    """Where a build reads and writes."""

    assets: Path
    photos: Path
    out: Path


Progress = Callable[[str, int, int], None]


def load_data_recipe(path: Path) -> DataRecipe:
    """Read a recipe of a data set.

    Raises:
        AnymarkError: the file is missing, is not TOML, or holds a key or value that does not fit.
    """
    recipe = from_table(DataRecipe, read_toml(path), str(path))
    if not recipe.sources:
        raise AnymarkError(f"{path}: names no sources")
    if recipe.size % 4 or not 32 <= recipe.size <= 2048 or recipe.views < 1 or recipe.photos_a_shard < 1:
        raise AnymarkError(f"{path}: size must be a multiple of 4 from 32 to 2048, views and photos_a_shard at least 1")
    return recipe


def build(recipe: DataRecipe, place: Place, processes: int, progress: Progress | None = None) -> Counter[str]:
    """Make what is missing of a data set; returns how many samples there are, and reasons -> what was left out.

    Raises:
        AnymarkError: `place.out` holds another recipe's data, something is missing, or a shard cannot be written.
    """
    place.out.mkdir(parents=True, exist_ok=True)
    _claim(recipe, place.out)
    sets = fitted_sets(recipe, place, progress)
    jobs = list(plan(recipe, sets))
    counts: Counter[str] = Counter()
    for fitted in sets.values():
        counts.update(fitted.dropped)
    missing = [job for job in jobs if not (place.out / job.name).exists()]
    done = len(jobs) - len(missing)
    if progress is not None:
        progress("shards", done, len(jobs))
    for skipped in _run(recipe, place, missing, processes):
        done += 1
        counts.update(skipped)
        if progress is not None:
            progress("shards", done, len(jobs))
    write_json(place.out / INDEX, {"shards": [job.name for job in jobs], "left_out": dict(counts)}, indent=2)
    return counts


def fitted_sets(recipe: DataRecipe, place: Place, progress: Progress | None = None) -> dict[str, Fitted]:
    """The fits of a recipe's photos, made or read from the data set's folder."""
    rig = Rig.load_ict(place.assets)
    fitter = Fitter(rig, canonical_rig(rig, CanonicalHead.load()))
    sets = {}
    for source, limit in recipe.sources.items():

        def tell(done: int, of: int, source: str = source) -> None:
            if progress is not None:
                progress(f"fits of {source}", done, of)

        labels = read_labels(place.photos / source)
        kept = place.out / "fits"
        sets[source] = fit_photos(fitter, labels, recipe.split, cache=kept, limit=limit or None, progress=tell)
        if len(sets[source]) == 0:
            raise AnymarkError(f"{place.photos / source}: no photo of split {recipe.split!r} has a good fit")
    return sets


def plan(recipe: DataRecipe, sets: dict[str, Fitted]) -> Iterator[Job]:
    """The shards of a data set: its photos, mixed, so that any shard is a fair sample."""
    everyone = [(source, k) for source, fitted in sets.items() for k in range(len(fitted))]
    order = np.random.default_rng(recipe.seed).permutation(len(everyone))
    for number, start in enumerate(range(0, len(order), recipe.photos_a_shard)):
        yield Job(number, tuple(everyone[i] for i in order[start : start + recipe.photos_a_shard]))


def make_shard(recipe: DataRecipe, studio: Studio, out: Path, job: Job) -> Counter[str]:
    """Write one shard; returns reasons -> what was left out of it."""
    skipped: Counter[str] = Counter()

    def samples() -> Iterator[Sample]:
        for source, k in job.photos:
            name = f"{source}-{Path(studio.sets[source].labels.names[studio.sets[source].index[k]]).stem}"
            try:
                if recipe.preset == "photos":
                    yield studio.label(source, k, name, recipe.window_scale)
                    continue
                taken = studio.take(source, k)
                for number in range(recipe.views):
                    rng = np.random.default_rng([recipe.seed, zlib.crc32(name.encode()), number])
                    yield studio.show(taken, recipe.shots, f"{name}-{number}", rng)
            except AnymarkError as error:
                skipped[str(error)] += 1

    write_shard(out / job.name, samples())
    return skipped


_worker: tuple[DataRecipe, Studio, Path] | None = None  # of this process


def _start_worker(recipe: DataRecipe, place: Place) -> None:
    global _worker
    sets = fitted_sets(recipe, place)  # from the cache
    studio = Studio(place.assets, place.photos, sets, recipe.size, recipe.split == "held-out")
    _worker = recipe, studio, place.out


def _work(job: Job) -> Counter[str]:
    assert _worker is not None
    recipe, studio, out = _worker
    return make_shard(recipe, studio, out, job)


def _run(recipe: DataRecipe, place: Place, jobs: list[Job], processes: int) -> Iterator[Counter[str]]:
    """What each shard left out, as they are done."""
    if not jobs:
        return
    # one thread a process: llvmpipe, numpy and cv2 would each take all cores
    os.environ |= dict.fromkeys(("LP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _start_worker, (recipe, place)) as pool:
        waiting: set[Future[Counter[str]]] = set()
        try:
            for job in jobs:
                waiting.add(pool.submit(_work, job))
                if len(waiting) >= 2 * processes:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _claim(recipe: DataRecipe, out: Path) -> None:
    content = json.loads(json.dumps(asdict(recipe)))
    kept = out / RECIPE
    if kept.exists():
        try:
            same = json.loads(kept.read_text("utf-8")) == content
        except (OSError, ValueError):
            same = False
        if not same:
            raise AnymarkError(f"{out}: holds data of another recipe; choose another --out, or delete it")
    write_json(kept, content, indent=2)


def digest(path: Path) -> str:
    """SHA-256 of a shard, to compare builds."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seconds_left(start: float, first: int, done: int, of: int) -> float | None:
    """Time left at the pace since `start`, when `first` were done; None before anything was done."""
    if done <= first:
        return None
    return (time.monotonic() - start) / (done - first) * (of - done)
