"""Spoil whole files of every kind at random and have them read: benchmarks/hardening.json counts what comes of it.

    uv run --all-extras scripts/fuzz_readers.py [--count 10000] [--only KIND ...] [--out benchmarks/hardening.json]

Each kind has a process of its own that may take 2 GB more than it begins with and 10 s for a file. Whatever is neither
read nor refused with an `AnymarkError` is a failure, and its file is kept under runs/fuzz/.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.hardening.mutations import mutated  # noqa: E402
from tests.hardening.readers import READERS  # noqa: E402

from anymark.errors import AnymarkError  # noqa: E402
from anymark.evaluate.bench import host  # noqa: E402
from anymark.files import write_json  # noqa: E402

MOST_BYTES = 2 << 30
"""Of memory, beside what a process has before it reads the first file,"""
MOST_S = 10
"""and of time, for one file."""
KEPT = ROOT / "runs" / "fuzz"


class TooLong(BaseException):
    """No reader takes it for something wrong with its file."""


def work(kind: str, start: int, count: int, pipe: Connection) -> None:
    """Read spoilt files of a kind, and say what came of each: (number, result, failure)."""
    reader = READERS[kind]
    signal.signal(signal.SIGALRM, _stop)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        wholes = []
        for suffix in reader.suffixes:
            whole = Path(folder) / f"whole{suffix}"
            reader.write(whole)
            reader.read(whole)
            wholes.append(whole)
        for beside in Path(folder).glob("whole.*"):  # pictures beside labels
            beside.with_name(f"spoilt{beside.suffix}").write_bytes(beside.read_bytes())
        pipe.send((start, "ready", ""))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C libraries say of spoilt files
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
        for number in range(start, count):
            rng = np.random.default_rng([number, *kind.encode()])
            whole = wholes[number % len(wholes)]
            spoilt = whole.with_name(f"spoilt{whole.suffix}")
            spoilt.write_bytes(mutated(whole.read_bytes(), rng))
            pipe.send((number, "begun", spoilt.read_bytes()))
            pipe.send((number, *_outcome(reader.read, spoilt)))
    pipe.send((count, "done", ""))


def _outcome(read: object, spoilt: Path) -> tuple[str, str]:
    signal.alarm(MOST_S)
    try:
        read(spoilt)  # type: ignore[operator]
        return "read", ""
    except AnymarkError as error:
        named = spoilt.stem in str(error) or "whole" in str(error)
        return ("refused", "") if named else ("file not named", str(error))
    except TooLong:
        return "too long", ""
    except MemoryError:
        return "too much memory", ""
    except BaseException as error:
        return "other exception", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def _stop(*_: object) -> None:
    raise TooLong


def fuzz(kind: str, count: int) -> Counter[str]:
    """What came of so many files of a kind; a process that dies or hangs is begun again after the file at fault."""
    found, start = Counter[str](), 0
    while start < count:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=work, args=(kind, start, count, theirs))
        process.start()
        theirs.close()
        at, content, ready, finished = start, b"", False, False
        while True:
            try:
                hung = not ours.poll(3 * MOST_S + 60)  # the first files take their imports
                number, result, what = (at, "hung", "") if hung else ours.recv()
            except EOFError:
                process.join()
                number, result, what = at, "crashed", f"exit code {process.exitcode}"
                if not ready:
                    raise SystemExit(f"{kind}: whole files are not read") from None
            if result == "done":
                finished = True
                break
            if result == "ready":
                ready = True
                continue
            if result == "begun":
                at, content = number, what
                continue
            found[result] += 1
            start = number + 1
            if result not in ("read", "refused"):
                KEPT.mkdir(parents=True, exist_ok=True)
                kept = KEPT / f"{kind.replace(' ', '-')}-{number}"
                kept.write_bytes(content)
                print(f"{kind} {number}: {result} {what} ({kept})", file=sys.stderr)
            if result in ("hung", "crashed"):
                break
        if not finished:
            process.kill()
        process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="files in all")
    parser.add_argument("--only", nargs="*", choices=list(READERS), help="kinds; all by default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    kinds = given.only or list(READERS)
    each = -(-given.count // len(kinds))
    rows = {}
    for kind in kinds:
        rows[kind] = {"files": each, **fuzz(kind, each)}
        print(kind, rows[kind], flush=True)
        if given.out:
            said = f"{each * len(rows)} spoilt files"
            write_json(given.out, {"measured on": said, "host": host(), "kinds": rows}, 1)


if __name__ == "__main__":
    main()
