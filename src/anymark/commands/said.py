"""What commands say on stderr, and the folders they make."""

from __future__ import annotations

import sys
from pathlib import Path

from anymark.errors import AnymarkError


def complain(problem: AnymarkError | str) -> None:
    """A line on stderr."""
    print(f"anymark: {problem}", file=sys.stderr, flush=True)


def make_folder(folder: Path) -> None:
    """A folder, with those it lies in; it may be there.

    Raises:
        AnymarkError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AnymarkError(f"{folder}: cannot write ({(error.strerror or str(error)).lower()})") from None
