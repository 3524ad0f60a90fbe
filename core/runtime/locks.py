"""Locks that are waited for as everything is: without a turn to compute, and only as long as somebody wants the result."""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.runtime.jobs import current_control

POLL_SECONDS = 0.05


def take_lock(lock: threading.Lock) -> None:
    """Take a lock of this process; raises JobCancelled, holding nothing, if the job that waits is cancelled."""
    take(lambda seconds: lock.acquire(timeout=seconds), lock.release)


def take(try_for: Callable[[float], bool], release: Callable[[], None], look: Callable[[], None] = lambda: None) -> None:
    """Take a lock, giving the turn to compute away while it has to be waited for; raises as `take_lock` does.

    Args:
        try_for: tries for so many seconds, and says whether the lock was taken.
        release: gives it back, if the job is cancelled at the very moment that the lock comes.
        look: called at every poll; what it raises ends the waiting.
    """
    if try_for(0):
        return
    control = current_control()
    taken = False
    try:
        with control.waiting():
            while not taken:
                control.raise_if_cancelled()
                taken = try_for(POLL_SECONDS)
                if not taken:
                    look()
    except BaseException:
        if taken:
            release()
        raise
