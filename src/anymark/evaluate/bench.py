"""How long anymark takes on this machine: each measurement in a new process, with one thread or with all."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anymark.errors import AnymarkError
from anymark.evaluate.timing import Request, Timing

QUERY_COUNTS = (68, 1_000, 10_000, 50_000)
"""Points a frame, as in figure 14 of Continuous Landmark Detection."""

COLD_STARTS = 3

# numpy's own threads, by the library it is built with; they are set before it starts or not at all.
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

# Linux's ru_maxrss starts from that of the parent process, so the high-water mark is read instead.
_PRINT_PEAK = {
    "Linux": "print(1024 * int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]))",
    "Darwin": "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)",
}


@dataclass(frozen=True)
class Cold(Timing):
    """A new process from its start to its end."""

    peak_mb: float | None
    """The most memory it held; None where the system does not say."""


def timings(request: Request) -> dict[str, dict[str, Timing]]:
    """Measured in a process of its own: "queries" and, where the request has a photo, "stages".

    Raises:
        AnymarkError: a bad photo or model, or no head in the photo.
    """
    limits: dict[str, str] = (
        {} if request.threads is None else {name: str(request.threads) for name in _THREAD_VARIABLES}
    )
    answer = json.loads(_child(["-m", "anymark.evaluate.timing", json.dumps(asdict(request))], limits))
    return {part: {name: Timing(**t) for name, t in values.items()} for part, values in answer.items()}


def track_timings(model: str, locator: str, video: str, seconds: float) -> dict[str, Any]:
    """Of following one head through a video with one thread, beside MediaPipe's Face Mesh where it is installed: see
    `anymark.evaluate.track_timing`. "frame" and "processor" hold a `Timing` a name, the rest says of what and how.

    Raises:
        AnymarkError: a bad video or model, or no head in the video.
    """
    request = {"model": model, "locator": locator, "video": video, "seconds": seconds}
    limits: dict[str, str] = dict.fromkeys(_THREAD_VARIABLES, "1")
    answer = json.loads(_child(["-m", "anymark.evaluate.track_timing", json.dumps(request)], limits))
    timed = {part: {name: Timing(**t) for name, t in answer[part].items()} for part in ("frame", "processor")}
    return {**answer, **timed}


def engine_timings(assets: Path, photos: Path, seconds: float) -> dict[str, Timing]:
    """The data engine's, with one thread.

    Raises:
        AnymarkError: something is missing there, or OpenGL cannot be had.
    """
    limits: dict[str, str] = dict.fromkeys((*_THREAD_VARIABLES, "LP_NUM_THREADS"), "1")
    answer = json.loads(_child(["-m", "anymark.engine.timing", str(assets), str(photos), str(seconds)], limits))
    return {name: Timing(**t) for name, t in answer.items()}


def cold_starts(model: str, locator: str, photo: Path) -> dict[str, Cold]:
    """New processes that do nothing, import anymark, detect once from Python, and detect once from the command line.

    Raises:
        AnymarkError: a process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.json")
        arguments = ["detect", str(photo), "--json", out, "--model", model, "--locator", locator]
        programs = {
            "python alone": "pass",
            "import anymark": "import anymark",
            "first detection": f"import anymark; anymark.Detector({model!r}, {locator!r}).detect({str(photo)!r})",
            "anymark detect": f"from anymark.cli import main; assert main({arguments!r}) == 0",
        }
        return {name: _cold(program) for name, program in programs.items()}


def host() -> dict[str, Any]:
    """The machine and the versions that numbers belong to; never its name."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
        **{name: version(name) for name in ("anymark", "numpy", "onnxruntime", "pillow")},
    }


def _cold(program: str) -> Cold:
    print_peak = _PRINT_PEAK.get(platform.system())
    times, peaks = [], []
    for _ in range(COLD_STARTS):
        start = time.perf_counter()
        out = _child(["-c", f"{program}\n{print_peak or ''}"], {})
        times.append(1000 * (time.perf_counter() - start))
        if print_peak is not None:
            peaks.append(int(out.split()[-1]) / 1e6)
    return Cold(min(times), statistics.median(times), len(times), max(peaks) if peaks else None)


def _child(arguments: list[str], environment: Mapping[str, str]) -> str:
    """What a new Python prints.

    Raises:
        AnymarkError: it fails; with the last line of what it says.
    """
    command, variables = [sys.executable, *arguments], {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        raise AnymarkError((done.stderr.strip().splitlines() or [f"a new process failed ({done.returncode})"])[-1])
    return done.stdout


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _commit() -> str | None:
    """The checkout's commit, with -dirty where files differ from it; None outside of a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
