"""The command line: a table of subcommands, of which only the one that is called is imported."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, Protocol


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
    "demo": Entry("anymark.commands.demo:Demo", "detect on scikit-image's astronaut, or on your own photo"),
    "eval": Entry("anymark.commands.eval:Eval", "score a model on 300-W, on few-shot points or on held-out photos"),
    "bench": Entry("anymark.commands.bench:Bench", "time every stage, cold start and queries a frame"),
    "train": Entry("anymark.commands.train:Train", "learn a model from a recipe", extra="train"),
    "export": Entry("anymark.commands.export:Export", "make a trained run a model that detect loads", extra="train"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for bad input, or 130 where the user stopped it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
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
        print(f"anymark: {name}: no such command; {hint}", file=sys.stderr)
        return 2
    return _run(name, arguments[1:])


def _run(name: str, arguments: list[str]) -> int:
    import tyro

    from anymark.errors import AnymarkError

    entry = COMMANDS[name]
    module, _, attribute = entry.target.partition(":")
    try:
        target: type[Command] = getattr(importlib.import_module(module), attribute)
        command = tyro.cli(target, prog=f"anymark {name}", args=arguments)
        return command.run()
    except SystemExit as stop:  # tyro's, after --help or a mistyped option
        return stop.code if isinstance(stop.code, int) else 2
    except AnymarkError as error:
        print(f"anymark: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if entry.extra is None or (error.name or "").partition(".")[0] == "anymark":
            raise
        print(f"anymark: {name} needs {error.name}: pip install 'anymark[{entry.extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("anymark: stopped", file=sys.stderr)
        return 130


def _overview() -> str:
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:{width}}  {entry.summary}" for name, entry in COMMANDS.items())
    return (
        "usage: anymark COMMAND ...\n\nFind any point of a head in any image.\n\n"
        f"{table}\n\nanymark COMMAND --help says more; anymark --version says which version this is."
    )


if __name__ == "__main__":
    sys.exit(main())
