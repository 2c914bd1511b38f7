"""Ctrl-C and SIGTERM: long work is stopped by either, and only in one place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does, so that what was done is written and no temporary file is left."""
    with _handled(signal.SIGTERM, signal.default_int_handler):
        yield


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes that are started here do not see Ctrl-C, which a terminal sends to all of a group: who starts them
    tells them when to stop."""
    with _handled(signal.SIGINT, signal.SIG_IGN):
        yield


@contextmanager
def _handled(number: signal.Signals, handler: Callable[..., Any] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there may signals be set
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
