"""What commands say, on either stream; names of strangers' files are in it."""

from __future__ import annotations

import sys
import unicodedata

from anymark.errors import AnymarkError

_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def say(line: str) -> None:
    """A line on stdout."""
    print(printable(line), flush=True)


def complain(problem: AnymarkError | str) -> None:
    """A line on stderr."""
    print(f"anymark: {printable(str(problem))}", file=sys.stderr, flush=True)


def printable(line: str) -> str:
    """With control characters as escapes: a terminal would obey those that a file's name may hold."""
    return "".join(c.encode("unicode_escape").decode() if _is_obeyed(c) else c for c in line)


def _is_obeyed(c: str) -> bool:
    """Whether a character ends lines, moves the cursor, colours, or turns the direction of what follows."""
    return unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in _TURNING
