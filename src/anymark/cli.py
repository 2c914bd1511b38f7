"""The command line: a table of subcommands, of which only the one that is called is imported."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

from anymark.commands.said import complain
from anymark.errors import AnymarkError


@runtime_checkable
class Command(Protocol):
    """A dataclass whose fields are the options of a subcommand; tyro fills it."""

    def run(self) -> int:
        """Do it and return the exit code; an `AnymarkError` is printed as one line and exits with 2."""
        ...


class Entry(NamedTuple):
    """Where a subcommand lives, and what it is for."""

    target: str
    """module:dataclass"""
    summary: str
    extra: str | None = None
    """What `pip install 'anymark[extra]'` adds for it, or None."""


COMMANDS = {
    "detect": Entry("anymark.commands.detect:Detect", "find, draw and write the points of every head in photos"),
    "track": Entry("anymark.commands.track:Track", "follow every head through a video and write its points"),
    "convert": Entry("anymark.commands.convert:Convert", "write a track for Nuke, Blender, Maya and other programs"),
    "demo": Entry("anymark.commands.demo:Demo", "detect on scikit-image's astronaut, or on your own photo"),
    "segment": Entry("anymark.commands.segment:Segment", "tell the regions of heads apart", "apps"),
    "paint": Entry("anymark.commands.paint:Paint", "lay a picture over heads, as if painted on the skin", "apps"),
    "texture": Entry("anymark.commands.texture:Texture", "gather a head's texture from photos and clips", "apps"),
    "anatomy": Entry("anymark.commands.anatomy:AnatomyCommand", "fit skull, jaw, teeth and eyes to heads"),
    "capture": Entry("anymark.commands.capture:CaptureCommand", "fit a rig of yours to a clip", "apps"),
    "dense": Entry("anymark.commands.dense:DenseCommand", "say where on the head every pixel lies", "apps"),
    "match": Entry("anymark.commands.match:MatchCommand", "match the pixels of two photos of heads", "apps"),
    "warp": Entry("anymark.commands.warp:WarpCommand", "lay one head's pixels over another", "apps"),
    "stereo": Entry("anymark.commands.stereo:StereoCommand", "reconstruct a head from calibrated photos", "apps"),
    "headtrack": Entry("anymark.commands.headtrack:HeadTrack", "fit a rig to the dense maps of a clip", "apps"),
    "layout": Entry("anymark.commands.layout:LayoutCommand", "list layouts, or make one from a few annotated photos"),
    "eval": Entry(
        "anymark.commands.eval:Eval", "score a model on public benchmarks, held-out photos, renders and clips"
    ),
    "report": Entry("anymark.commands.report:ReportCommand", "write the report of a folder of measurements"),
    "bench": Entry("anymark.commands.bench:Bench", "time every stage, cold start and queries a frame"),
    "data": Entry("anymark.commands.data:Data", "make photos and labels to learn from", extra="data"),
    "train": Entry("anymark.commands.train:Train", "learn a model from a recipe", extra="train"),
    "import": Entry("anymark.commands.import_model:ImportModel", "make DenseMarks' own weights a model", extra="train"),
    "export": Entry("anymark.commands.export:Export", "make a trained run a model that detect loads", extra="train"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for bad input, or 130 where the user stopped it; 1 is what a
    check found not to hold."""
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        complain("stopped: nobody reads what is printed")
        return 2
    except BaseException as error:
        if not _is_stop(error):
            raise
        complain("stopped")
        return 130


def _main(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name == "--version":
        from anymark import __version__

        print(f"anymark {__version__}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        complain(f"{name}: no such command; {hint}")
        return 2
    return _run(name, arguments[1:])


def _run(name: str, arguments: list[str]) -> int:
    entry = COMMANDS[name]
    module, _, attribute = entry.target.partition(":")
    try:
        target: type[Command] = getattr(importlib.import_module(module), attribute)
        command = _parse(name, target, arguments)
        return command if isinstance(command, int) else command.run()
    except AnymarkError as error:
        complain(error)
        return 2
    except ModuleNotFoundError as error:
        if entry.extra is None or (error.name or "").partition(".")[0] == "anymark":
            raise
        complain(f"{name} needs {error.name}: pip install 'anymark[{entry.extra}]'")
        return 2


def _parse(name: str, target: type[Command], arguments: list[str]) -> Command | int:
    """The command with its options, or the exit code after --help.

    Raises:
        AnymarkError: options that the command does not take.
    """
    import tyro

    for option, value in pairwise(["", *arguments]):
        # to pathlib an empty name is the current folder, where it most likely is an unset variable of a script
        empty = option if not value else value[:-1] if value.endswith("=") else ""
        if empty.startswith("--"):
            raise AnymarkError(f"{empty}: an empty value")
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return tyro.cli(target, prog=f"anymark {name}", args=arguments)
    except SystemExit as stop:
        if stop.code in (None, 0):
            return 0
        raise AnymarkError(f"{_gist(box.getvalue())} (anymark {name} --help says more)") from None


def _gist(box: str) -> str:
    """What tyro says in a box of many lines, in one."""
    lines = [line.strip("│| ") for line in re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()[1:]]  # without its title
    sections: list[list[str]] = [[]]
    for line in lines:
        if line and not line.strip("─-"):  # a rule
            sections.append([])
        else:
            sections[-1].append(line)
    first, *others = [section for section in sections if any(section)] or [[box.strip()]]  # ASCII boxes rule off titles
    said = " ".join(first[: first.index("")] if "" in first else first).replace("{None}|", "").rstrip(".")
    near = [line for section in others if section[0] == "Perhaps you meant:" for line in section]
    meant = [line.split()[0] for line in near if line.startswith("--")]
    return said + (f"; did you mean {' or '.join(meant)}?" if meant else "")


def _is_stop(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an exception: libraries stopped while they load make an ImportError of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _overview() -> str:
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:{width}}  {entry.summary}" for name, entry in COMMANDS.items())
    return (
        "usage: anymark COMMAND ...\n\nFind any point of a head in any image.\n\n"
        f"{table}\n\nanymark COMMAND --help says more; anymark --version says which version this is."
    )


if __name__ == "__main__":
    sys.exit(main())
