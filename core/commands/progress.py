"""Progress on stderr, for everything that takes more than two seconds."""

from __future__ import annotations

import sys
import time

from core.numbers import share
from core.runtime.jobs import JobControl

# Shorter work says nothing.
QUIET_SECONDS = 2.0
# How often a log, which cannot be overwritten, gets a line.
LOG_SECONDS = 10.0
TERMINAL_SECONDS = 0.1


class PrintedProgress(JobControl):
    """One line that overwrites itself at a terminal; a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._last: float | None = None

    def report(self, fraction: float, message: str) -> None:
        """Print it, if it is time to."""
        now = time.monotonic()
        every = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        if now - self._begun < QUIET_SECONDS or (self._last is not None and now - self._last < every):
            return
        self._last = now
        said = (message or "working") + (f": {share(fraction)}" if fraction else "")
        print(f"\r{said}\x1b[K" if self._terminal else said, end="" if self._terminal else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the line away again."""
        if self._terminal and self._last is not None:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
