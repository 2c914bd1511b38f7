"""What commands say, on either stream; names of strangers' files are in it."""

from __future__ import annotations

import sys

from anymark.errors import AnymarkError


def say(line: str) -> None:
    """A line on stdout."""
    print(printable(line), flush=True)


def complain(problem: AnymarkError | str) -> None:
    """A line on stderr."""
    print(f"anymark: {printable(str(problem))}", file=sys.stderr, flush=True)


def printable(line: str) -> str:
    """With control characters as escapes: a terminal would obey those that a file's name may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
