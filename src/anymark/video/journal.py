"""What a run has done so far, on disk, so that a killed one goes on: a folder beside the file that is to be written.

    run.json      what is being done; another run does not go on with it
    frames.jsonl  a line a frame: its place and time, how many heads it has, the tracker's state after it; then an end
    rows          the heads, `row_dtype`, one after another

A frame's rows are written before its line, and both before the next frame is begun: whatever is torn is the end of
either file, and is cut off. One process at a time works in the folder: it holds a lock on the file .lock, where the
system has such locks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anymark.canonical import Layout
from anymark.errors import AnymarkError
from anymark.files import LOCK, alone_in, cannot_write, make_folder, write_json
from anymark.video.frames import Frame, Video
from anymark.video.rows import Rows, row_dtype, to_rows
from anymark.video.track import Track
from anymark.video.tracker import TrackedHead

_RUN = "run.json"
_ENDED = "end"


class Journal:
    """The journal of one run; opens what an earlier run like it has left, or begins a new one.

    Args:
        folder: Where it lies.
        run: Plain values that say what is done; a run with others is another run.
        layout: What is looked for.

    Raises:
        AnymarkError: the folder holds another run or something else, a process is at work in it, or it cannot be
            written to.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], layout: Layout) -> None:
        self.folder = folder
        self.frames = 0
        """How many frames are done."""
        self.state: dict[str, Any] | None = None
        """The tracker's after the last of them; None before the first."""
        self.any_decoded = False
        """Whether any of them decoded."""
        self.ended = False
        """Whether all frames are done."""
        self._layout = layout
        self._dtype = row_dtype(len(layout))
        self._files: list[FileIO] = []
        self._alone = ExitStack()
        with _writing(folder):
            make_folder(folder)
            if not (folder / _RUN).exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
                raise AnymarkError(f"{folder}: holds something else; remove it, or write elsewhere with --out")
            self._alone.enter_context(alone_in(folder))
            try:
                self._open(run)
            except BaseException:
                self.close()
                raise

    def add(self, frame: Frame, heads: Sequence[TrackedHead], state: Mapping[str, Any]) -> None:
        """The next frame and its heads, and the tracker's state after it.

        Raises:
            AnymarkError: a number is not finite, or the disk is full; the frame is not written then.
        """
        rows = to_rows(frame, heads, len(self._layout))
        size = None if frame.pixels is None else frame.pixels.shape[1::-1]
        line = {"pts": frame.pts, "time_s": frame.time_s, "size_px": size, "heads": len(heads), "state": state}
        self._write(rows.tobytes(), line)
        self.frames += 1
        self.any_decoded |= size is not None

    def end(self) -> None:
        """All frames are done."""
        self._write(b"", {_ENDED: self.frames})
        self.ended = True

    def track(self, video: Video) -> Track:
        """The frames that are done, with rows that are mapped from their file."""
        pts, time_s = np.zeros(self.frames, np.int64), np.zeros(self.frames)
        decoded = np.zeros(self.frames, bool)
        size = (0, 0)
        for i, (line, _) in zip(range(self.frames), self._lines(), strict=False):
            pts[i], time_s[i], decoded[i] = line["pts"], line["time_s"], line["size_px"] is not None
            if decoded[i] and not any(size):
                size = (int(line["size_px"][0]), int(line["size_px"][1]))
        return Track(
            video.name, size, video.time_base, self._layout, "none", pts, time_s, decoded, self._rows("rows", "r")
        )

    def scratch(self, name: str) -> Rows:
        """A copy of the rows, mapped from a file of its own."""
        with _writing(self.folder):  # it takes its room now: what is mapped and finds the disk full is killed
            shutil.copyfile(self.folder / "rows", self.folder / name)
        return self._rows(name, "r+")

    def close(self) -> None:
        """Let the files go; the run can be gone on with."""
        self._close_files()
        self._alone.close()

    def remove(self) -> None:
        """The run is over.

        Raises:
            AnymarkError: something cannot be removed.
        """
        self._close_files()
        with _writing(self.folder):
            for path in self.folder.iterdir():
                if path.name not in (_RUN, LOCK):  # while run.json is there, what is left is this run's
                    path.unlink()
            (self.folder / _RUN).unlink()
            shutil.rmtree(self.folder)
        self.close()

    def _rows(self, name: str, mode: Literal["r", "r+"]) -> Rows:
        path = self.folder / name
        empty = path.stat().st_size == 0  # which cannot be mapped
        return np.zeros(0, self._dtype) if empty else np.memmap(path, self._dtype, mode)

    def _open(self, run: Mapping[str, Any]) -> None:
        self._check_run(run)
        lines, rows = self.folder / "frames.jsonl", self.folder / "rows"
        lines.touch()
        rows.touch()
        whole_lines, whole_rows = self._replay()
        os.truncate(lines, whole_lines)
        os.truncate(rows, whole_rows * self._dtype.itemsize)
        # nothing is buffered: what could not be written would be tried again when the file is closed
        self._files = [rows.open("ab", buffering=0), lines.open("ab", buffering=0)]

    def _close_files(self) -> None:
        for file in self._files:
            file.close()

    def _check_run(self, run: Mapping[str, Any]) -> None:
        path = self.folder / _RUN
        if not path.exists():
            write_json(path, run, indent=1)
        try:
            before = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError):
            before = {}
        before = before if isinstance(before, dict) else {}
        changed = [key for key, value in run.items() if before.get(key) != json.loads(json.dumps(value))]
        if changed or before.keys() - run.keys():
            raise AnymarkError(
                f"{self.folder}: a stopped run with another {changed[0] if changed else 'version'}; "
                "finish it, remove it, or write elsewhere with --out"
            )

    def _replay(self) -> tuple[int, int]:
        """Bytes of whole lines and number of their rows; takes over what the lines say."""
        there = (self.folder / "rows").stat().st_size // self._dtype.itemsize
        size, rows = 0, 0
        for line, length in self._lines():
            if _ENDED in line:
                self.ended = True
                return size + length, rows
            if rows + line["heads"] > there:
                break
            self.frames, self.state = self.frames + 1, line["state"]
            self.any_decoded |= line["size_px"] is not None
            size, rows = size + length, rows + line["heads"]
        return size, rows

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each whole line and how many bytes it takes."""
        with (self.folder / "frames.jsonl").open("rb") as file:
            for text in file:
                if not text.endswith(b"\n"):
                    return
                try:
                    line = json.loads(text)
                    if _ENDED not in line:
                        _ = line["pts"], line["time_s"], line["size_px"], line["state"], int(line["heads"])
                except (ValueError, TypeError, KeyError, RecursionError):  # damaged: all after it is done again
                    return
                yield line, len(text)

    def _write(self, rows: bytes, line: Mapping[str, Any]) -> None:
        with _writing(self.folder):
            for file, content in zip(self._files, (rows, json.dumps(line).encode() + b"\n"), strict=True):
                left = memoryview(content)
                while left:  # one call may write a part only
                    left = left[file.write(left) :]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(folder, error) from None
