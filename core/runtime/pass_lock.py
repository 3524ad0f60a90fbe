"""The lock of a model in memory: one pass at a time, but whoever hands on its turn lets others through meanwhile.

Hooks sit on the shared module, so a pass holds the model. Passes whose hooks act in their own thread alone may be left standing
while another thread makes its own; whoever changes more than that holds the model whole, and keeps its turn as long as it does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class _Holds(threading.local):
    """What this thread holds: how often a model whole, and each lock that it may let go."""

    def __init__(self) -> None:
        self.whole = 0
        self.passing: list[threading.RLock] = []


_holds = _Holds()


class PassLock:
    """Re-entrant. `with lock` holds the model whole; `with lock.passing()` for passes that `let_go` may leave standing."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()
        _holds.whole += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _holds.whole -= 1
        self._lock.release()

    @property
    def mine(self) -> bool:
        """Whether this thread holds it."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]  # what the library's own condition asks

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold the model for a pass whose hooks do nothing in other threads."""
        with self._lock:
            _holds.passing.append(self._lock)
            try:
                yield
            finally:
                _holds.passing.pop()


@contextmanager
def let_go() -> Iterator[bool]:
    """Whether this thread can wait for others: inside, it then holds no model, and afterwards all that it held.

    It cannot where it holds a model whole, which it then goes on holding.
    """
    if _holds.whole:
        yield False
        return
    held, _holds.passing = _holds.passing, []
    for lock in reversed(held):
        lock.release()
    try:
        yield True
    finally:
        for lock in held:
            lock.acquire()
        _holds.passing = held
