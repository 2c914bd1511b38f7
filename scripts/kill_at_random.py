"""Kill training, data builds, tracks and batches at random moments, go on, and compare with what was never stopped.

    uv run --all-extras scripts/kill_at_random.py [--kills 25] [--only JOB ...] [--out benchmarks/kills.json]

A job is killed (SIGKILL, with all its processes) so often, each time from nothing, at a moment drawn evenly over its
length; then the same command is run to its end. Counted is how often the result has the same bytes as that of a run
that nobody stopped, and how often a file lay under its final name, unfinished, after the kill. The data build needs
../shared.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.video.clips import write_clip  # noqa: E402

from anymark.commands.demo import astronaut  # noqa: E402
from anymark.detect.template import Template  # noqa: E402
from anymark.evaluate.bench import host  # noqa: E402
from anymark.files import write_json  # noqa: E402

ANYMARK = [sys.executable, "-c", "import sys; from anymark.cli import main; sys.exit(main())"]
SHARED = Path(os.environ.get("ANYMARK_SHARED", ROOT.parent / "shared"))


class Job(NamedTuple):
    """A command, and what it leaves under `out`."""

    arguments: Callable[[Path], list[str]]
    """Of a folder for what it reads and writes."""
    results: tuple[str, ...]
    """Globs of what is compared; these files appear whole or not at all."""


def _photo(side: int = 512) -> Image.Image:
    return Image.open(astronaut()).convert("RGB").resize((side, side))


def train(folder: Path) -> list[str]:
    """A marker model of 40 steps, with a checkpoint every second."""
    rng = np.random.default_rng(0)
    for name in ("unmarked", "marked"):
        (folder / name).mkdir(exist_ok=True)
        for i in range(12):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / name / f"{i:02}.png")
    Template.of("three", [[-0.5, 0], [0.5, 0], [0, 0.5]], [[0, 1]]).save(folder / "template.json")
    (folder / "recipe.toml").write_text(
        'kind = "markers"\n[model]\nsize = 32\n'
        '[data]\ntemplate = "template.json"\nunmarked = "unmarked"\nmarked = "marked"\n'
        "[train]\nsteps = 40\nbatch = 2\nwarmup = 1\nevaluate_every = 20\ncheckpoint_minutes = 0.01\n"
    )
    return ["train", str(folder / "recipe.toml"), "--out", str(folder / "out"), "--accelerator", "cpu"]


def build(folder: Path) -> list[str]:
    """Views of six photos, in three shards."""
    (folder / "data.toml").write_text(
        'kind = "data"\npreset = "views"\nviews = 1\nphotos_a_shard = 2\n[sources]\nfaker = 6\n'
    )
    where = ["--photos", str(SHARED / "photos"), "--assets", str(SHARED / "assets")]
    return ["data", "build", str(folder / "data.toml"), "--out", str(folder / "out"), "--processes", "1", *where]


def track(folder: Path) -> list[str]:
    """A clip of 90 frames."""
    photo = _photo(256)
    frames = [np.asarray(photo.rotate(4 * np.sin(i / 9), translate=(i // 9, 0))) for i in range(90)]
    write_clip(folder / "clip.mp4", frames, pix_fmt="rgb24", codec="libx264rgb")
    return [
        "track",
        str(folder / "clip.mp4"),
        "--out",
        str(folder / "out" / "clip.npz"),
        "--csv",
        "--smooth",
        "offline",
    ]


def batch(folder: Path) -> list[str]:
    """Thirty photos."""
    (folder / "photos").mkdir(exist_ok=True)
    for i in range(30):
        _photo(300 + 10 * i).save(folder / "photos" / f"{i:02}.png")
    out = folder / "out"
    return [
        "detect",
        str(folder / "photos"),
        "--out",
        str(out),
        "--json",
        str(out / "all.json"),
        "--csv",
        str(out / "all.csv"),
    ]


JOBS = {
    "training": Job(train, ("weights.safetensors",)),
    "data build": Job(build, ("shard-*.tar", "index.json")),
    "track": Job(track, ("clip.npz", "clip.csv")),
    "batch of photos": Job(batch, ("*.json", "*.csv", "*.png")),
}


def digests(out: Path, globs: tuple[str, ...]) -> dict[str, str]:
    """Of each result that is there."""
    files = [path for pattern in globs for path in out.glob(pattern)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kill(name: str, times: int, rng: np.random.Generator) -> dict[str, float]:
    """What came of so many kills."""
    job = JOBS[name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        out = folder / "out"
        command = [*ANYMARK, *job.arguments(folder)]

        def run() -> tuple[float, str]:
            """Seconds, and what is wrong."""
            begun = time.monotonic()
            done = subprocess.run(command, capture_output=True, env=environment, cwd=folder, text=True)
            return time.monotonic() - begun, "" if done.returncode == 0 else done.stderr.strip()[-300:]

        out.mkdir()
        length, wrong = run()
        if wrong:
            raise SystemExit(f"{name}: {wrong}")
        whole = digests(out, job.results)
        found = {"kills": 0, "seconds": round(length, 1), "the same bytes": 0, "half files": 0, "failed to go on": 0}
        while found["kills"] < times:
            shutil.rmtree(out)
            out.mkdir()
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **silent)
            try:
                process.wait(rng.uniform(0, length))
                continue  # it was faster this time: nobody was killed
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            found["kills"] += 1
            if name != "training":  # whose weights are those of the last evaluation until the end
                found["half files"] += sum(whole.get(k) != v for k, v in digests(out, job.results).items())
            _, wrong = run()
            if wrong:
                found["failed to go on"] += 1
                print(f"{name}: {wrong}", file=sys.stderr)
            found["the same bytes"] += digests(out, job.results) == whole
            print(f"{name}: {found}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25, help="of each job")
    parser.add_argument("--only", nargs="*", choices=list(JOBS), help="jobs; all by default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = {}
    for name in given.only or JOBS:
        if name == "data build" and not SHARED.is_dir():
            print(f"{name}: skipped, {SHARED} is not there", file=sys.stderr)
            continue
        rows[name] = kill(name, given.kills, rng)
        print(name, rows[name], flush=True)
        if given.out:
            write_json(given.out, {"measured on": "random kills", "host": host(), "jobs": rows}, 1)


if __name__ == "__main__":
    main()
