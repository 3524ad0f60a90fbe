"""Signs of life: whoever holds a lock touches its file every few seconds, so that a process that was stopped can be told.

Who waits watches whether the file's time moves, by a clock of its own; what that time is, clocks may disagree on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT_SECONDS = 2.0

_beating: dict[str, int] = {}
_lock = threading.Lock()
_thread: threading.Thread | None = None


@contextmanager
def beating(path: str) -> Iterator[None]:
    """While inside, `path` is touched every `BEAT_SECONDS`."""
    global _thread
    with _lock:
        _beating[path] = _beating.get(path, 0) + 1
        # A thread does not survive a fork.
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_beat, name="signs of life", daemon=True)
            _thread.start()
    try:
        yield
    finally:
        with _lock:
            _beating[path] -= 1
            if not _beating[path]:
                del _beating[path]


class Watch:
    """Whether a file's time has stood still."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: int | None = None
        self._since = time.monotonic()

    def still_for(self) -> float:
        """For how many seconds, as far as this watch has seen; 0 for a file that is gone."""
        try:
            now = self._path.stat().st_mtime_ns
        except OSError:
            self._seen, self._since = None, time.monotonic()
            return 0.0
        if now != self._seen:
            self._seen, self._since = now, time.monotonic()
        return time.monotonic() - self._since


def _beat() -> None:
    while True:
        time.sleep(BEAT_SECONDS)
        with _lock:
            paths = list(_beating)
        for path in paths:
            with suppress(OSError):
                os.utime(path)
