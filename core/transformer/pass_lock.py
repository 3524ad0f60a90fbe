"""The lock of a model in memory: one pass at a time, but a long one makes way between two of its blocks.

Hooks sit on the shared module, so a pass holds the model. Passes whose hooks act in their own thread alone may be left standing
between two blocks while another thread makes its own; whoever changes more than that holds the model whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType


class _Holds(threading.local):
    """How often this thread holds the lock, each way."""

    def __init__(self) -> None:
        self.whole = 0
        self.passing = 0


class PassLock:
    """Re-entrant. `with lock` holds the model whole; `with lock.passing()` lets others in at `make_way`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._of_thread = _Holds()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._of_thread.whole += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._of_thread.whole -= 1
        self._lock.release()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold the model for a pass whose hooks do nothing in other threads."""
        with self._lock:
            self._of_thread.passing += 1
            try:
                yield
            finally:
                self._of_thread.passing -= 1

    def make_way(self, checkpoint: Callable[[], None]) -> None:
        """Called where a pass may be left standing: `checkpoint` runs while this thread holds nothing.

        Does nothing where the thread holds the model whole. What `checkpoint` raises is raised with the lock held again.
        """
        mine = self._of_thread
        if mine.whole:
            return
        held, mine.passing = mine.passing, 0
        for _ in range(held):
            self._lock.release()
        try:
            checkpoint()
        finally:
            for _ in range(held):
                self._lock.acquire()
            mine.passing = held
