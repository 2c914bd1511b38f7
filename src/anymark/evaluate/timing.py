"""Times the stages of a detection and its queries; run as a process of its own, so that threads can be limited.

Usage: python -m anymark.evaluate.timing REQUEST, where REQUEST is a `Request` as JSON; prints the timings as JSON.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout, load_layout
from anymark.detect.dense import DENSE, DenseNetwork
from anymark.detect.detector import Detector, dense_maps
from anymark.detect.image import open_photo
from anymark.detect.model import Model
from anymark.detect.round_trip import Refiner
from anymark.detect.window import Crop, Window, crop
from anymark.errors import AnymarkError

LEAST_RUNS = 3


@dataclass(frozen=True)
class Timing:
    """Wall-clock time of one thing, done many times."""

    min_ms: float
    median_ms: float
    runs: int


@dataclass(frozen=True)
class Request:
    """What a process is to time."""

    model: str
    threads: int | None
    """Threads of each network; None is all cores."""
    seconds: float
    """For each number."""
    query_counts: Sequence[int]
    locator: str | None = None
    """None: the queries alone, no stages."""
    photo: str | None = None


def measure(work: Callable[[], object], seconds: float, most_runs: int = 1000) -> Timing:
    """Time `work`: once to warm up, then for `seconds`, `LEAST_RUNS` times at the least."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_RUNS or (time.perf_counter() < end and len(times) < most_runs):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return Timing(min(times), statistics.median(times), len(times))


def stages(detector: Detector, photo: Path, seconds: float, threads: int | None = None) -> dict[str, Timing]:
    """Each stage from a photo's file to the 68 points of its largest head, and to its dense map.

    Args:
        threads: of the dense model's network.

    Raises:
        AnymarkError: a bad photo or model, or no head in the photo.
    """
    landmarker, layout = detector.landmarker, load_layout("ibug68")
    opened = open_photo(photo)
    heads = detector.encode(opened)
    if not heads:
        raise AnymarkError(f"{photo}: no head in it to measure on (give --image FILE)")
    head, look = heads[0], heads[0].looks[0]
    seen = head.crop.scaled(1 / opened.shrink)
    crops = crop(opened.pixels, seen, landmarker.input_size)[None]
    new_points = _never_twice(layout.points_mm)
    dense = DenseNetwork(Model(DENSE, "dense", threads=threads))
    square = dense.window_of(head.box_px, head.roll_rad)
    picture = crop(opened.pixels, square.scaled(1 / opened.shrink), dense.input_size)[None]
    priors = dense.priors([Crop(square.affine())], [head.mesh()])
    refined = replace(head, refiner=Refiner(dense_maps(dense, opened, [head])[0], dense.round_trip))
    work: dict[str, Callable[[], object]] = {
        "load image": lambda: open_photo(photo),
        "locate": lambda: detector.locator.locate(opened),
        "crop": lambda: crop(opened.pixels, seen, landmarker.input_size),
        "encode": lambda: landmarker.encode(crops),
        "window to points": lambda: detector.encode(opened, [head.window])[0].query(layout),
        "followed to points": lambda: detector.follow(opened, [head.next_window()])[0].query(layout),
        "query, new layout": lambda: head.query(next(new_points)),
        "query, layout seen before": lambda: head.query(layout),
        "decode": lambda: landmarker.landmarks(look.code, look.camera_vector, layout),
        "dense network": lambda: dense(picture, priors),
        "dense map": lambda: dense_maps(dense, opened, [replace(head)]),  # a new one: it has not been drawn yet
        "query, refined": lambda: refined.query(layout),
        "all, from file to points": lambda: detector.detect(photo, layout, max_heads=1),
    }
    return {name: measure(do, seconds) for name, do in work.items()}


def query_rates(detector: Detector, counts: Sequence[int], seconds: float) -> dict[int, Timing]:
    """Number of queries -> time of one frame: the encoder once, then so many points (a layout seen before).

    The time does not depend on what is in the picture, so noise is encoded.
    """
    size, landmarker = detector.landmarker.input_size, detector.landmarker
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (size, size, 3), np.uint8)
    crops = crop(image, Window.from_box(np.array([0, 0, size, size]), 1.0), size)[None]
    points = rng.uniform(-70, 70, (max(counts), 3)).astype(np.float32)

    def frame(asked: Layout) -> object:
        codes, cameras = landmarker.encode(crops)
        return landmarker.landmarks(codes[0], cameras[0], asked)

    layouts = {count: Layout("points", points[:count]) for count in counts}
    return {count: measure(lambda asked=asked: frame(asked), seconds) for count, asked in layouts.items()}


def answer(request: Request) -> dict[str, dict[str, dict[str, float]]]:
    """All timings of a request, as plain numbers."""
    detector = Detector(request.model, request.locator or "locator", threads=request.threads)
    timed = {}
    if request.photo is not None:
        timed["stages"] = stages(detector, Path(request.photo), request.seconds, request.threads)
    timed["queries"] = query_rates(detector, request.query_counts, request.seconds)
    return {part: {str(key): asdict(value) for key, value in values.items()} for part, values in timed.items()}


def _never_twice(points_mm: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """The same points again and again, each time off by a micrometre more, so that no cache knows them."""
    return (points_mm + np.float32(1e-3 * i) for i in itertools.count(1))


if __name__ == "__main__":
    try:
        print(json.dumps(answer(Request(**json.loads(sys.argv[1])))))
    except AnymarkError as error:
        sys.exit(str(error))
