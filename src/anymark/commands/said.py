"""What commands say on stderr, and the folders they make."""

from __future__ import annotations

import sys

from anymark.errors import AnymarkError


def complain(problem: AnymarkError | str) -> None:
    """A line on stderr."""
    print(f"anymark: {problem}", file=sys.stderr, flush=True)
