"""Signs of life: whoever holds a lock touches its file every few seconds, so that a process that was stopped can be told.

Who waits watches whether the file's time moves, by a clock of its own; what that time is, clocks may disagree on.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT_SECONDS = 2.0

# When processes that were waited for in vain had last stirred, in the time of the files that they touched.
_stopped: deque[int] = deque(maxlen=64)
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

    def remember(self) -> None:
        """This one was waited for in vain: what else its holder holds need not be, for as long."""
        if self._seen is not None:
            _stopped.append(self._seen)

    def stopped_with_another(self) -> bool:
        """Whether the file stands still since about when a holder stopped that was waited for in vain; no holder is as slow.

        All that a process holds is touched at the same beat, so what stopped with it is another's by chance alone; and that of
        another would have moved since.
        """
        seen, near = self._seen, 1.1 * BEAT_SECONDS * 1e9
        long_enough = time.monotonic() - self._since >= 1.5 * BEAT_SECONDS
        return seen is not None and long_enough and any(abs(seen - when) <= near for when in _stopped)


def _beat() -> None:
    while True:
        time.sleep(BEAT_SECONDS)
        with _lock:
            paths = list(_beating)
        for path in paths:
            with suppress(OSError):
                os.utime(path)
