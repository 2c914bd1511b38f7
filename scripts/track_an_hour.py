"""Track an hour of looped video with `anymark track`, and watch how much memory it takes.

    uv run --all-extras scripts/track_an_hour.py CLIP [--minutes 60] [--layout mediapipe478] [--out FILE.json]

The clip's packets are copied one loop after another into a file, without decoding them. The command's own memory (not
pages of files, which the system takes back when it needs them) is read once a second, on Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from anymark.evaluate.bench import host
from anymark.files import write_json
from anymark.video.track import Track

ANYMARK = [sys.executable, "-c", "import sys; from anymark.cli import main; sys.exit(main())"]
SETTLED_S = 20
"""Until the networks are loaded and all buffers have been filled once."""


def looped(clip: Path, minutes: float, out: Path) -> None:
    """A clip over and over, for so long."""
    with av.open(str(out), "w") as target:
        start, stream = 0, None
        while stream is None or start * stream.time_base < 60 * minutes:
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(video)
                end = start
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.dts, packet.pts = packet.dts + start, packet.pts + start
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    target.mux(packet)
                start = end


def own_memory_mb(process: int) -> float:
    """What is not a file's."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--layout", default="mediapipe478")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/hour.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video, track = Path(folder) / "hour.mp4", Path(folder) / "hour.npz"
        looped(args.clip, args.minutes, video)
        command = [*ANYMARK, "track", str(video), "--layout", args.layout, "--threads", args.threads]
        started, samples = time.monotonic(), []
        with (Path(folder) / "said").open("wb") as said:
            process = subprocess.Popen([*command, "--out", str(track)], stdout=said, stderr=said)
            while process.poll() is None:
                try:
                    samples.append((time.monotonic() - started, own_memory_mb(process.pid)))
                except (OSError, StopIteration):  # it has just ended
                    break
                time.sleep(1)
        if process.wait():
            sys.exit((Path(folder) / "said").read_text()[-500:])
        seconds = time.monotonic() - started
        rows = Track.load(track)
        memory = np.array([mb for at, mb in samples if at > SETTLED_S])
        tenth = max(1, len(memory) // 10)
        measured = {
            "frames": len(rows.pts),
            "minutes of video": round(float(rows.time_s[-1]) / 60, 2),
            "frames with a head": len(np.unique(rows.rows["frame"])),
            "heads": len(rows.ids),
            "seconds": round(seconds, 1),
            "megabytes": {
                "first tenth": round(float(memory[:tenth].mean()), 1),
                "middle": round(float(np.median(memory)), 1),
                "last tenth": round(float(memory[-tenth:].mean()), 1),
                "most": round(float(memory.max()), 1),
            },
        }
    print(measured)
    write_json(args.out, {"host": host(), "layout": args.layout, "clip": args.clip.name, **measured}, indent=2)


if __name__ == "__main__":
    main()
