"""Who computes next: turns, and how much of the machine everybody has had.

On a few cores, thirty passes one after the other end sooner, and in less memory, than thirty at once, so there are few turns
(one by default). Long work hands its turn back between its steps, and each time it goes to the most urgent work that waits:

- the work of whoever has had least lately, in levels that double: below two seconds all are equal, so that thirty short jobs
  are done one after the other and not all at the end;
- then work that a page cannot do without before background work;
- then the shortest, as far as that is known; then what came first.

A person is whoever the pool is told that a viewer is; work that several want counts as that of the one who has had least, and
what it takes is shared out among them. Nothing starves: what later work overtook `patience` seconds ago gets one step, but no
more often than that, so that much waiting work cannot crowd out a short job.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from core.errors import JobCancelled

# Below so many seconds of computing all people are equal; each further level is twice as wide.
FIRST_LEVEL_SECONDS = 2.0
# In so many seconds half of what somebody has had is forgotten.
HALF_LIFE_SECONDS = 60.0
# A turn is not handed on sooner than that: each change leaves caches cold.
LEAST_SLICE_SECONDS = 0.1


class Work(Protocol):
    """What must be known of a job to say when it is its turn."""

    background: bool
    sequence: int
    cancel_requested: threading.Event

    @property
    def people(self) -> frozenset[str]:
        """Who wants it."""

    @property
    def seconds_left(self) -> float:
        """As far as is known; infinite where it is not."""


class Ledger:
    """How many seconds of computing everybody has had lately. Used under the lock of the turns."""

    def __init__(self) -> None:
        self._had: dict[str, tuple[float, float]] = {}

    def charge(self, people: frozenset[str], seconds: float) -> None:
        """Share `seconds` out among those who wanted the work."""
        now = time.monotonic()
        for person in people:
            self._had[person] = (self.had(person) + seconds / len(people), now)
        if len(self._had) > 4096:
            self._had = {person: kept for person, kept in self._had.items() if self.had(person) > 0.01}

    def had(self, person: str) -> float:
        """Seconds, of which half is forgotten every `HALF_LIFE_SECONDS`."""
        seconds, since = self._had.get(person, (0.0, 0.0))
        return seconds * 0.5 ** ((time.monotonic() - since) / HALF_LIFE_SECONDS) if seconds else 0.0

    def level(self, people: frozenset[str]) -> int:
        """0 for whoever has had little; one more for each doubling."""
        least = min((self.had(person) for person in people), default=0.0)
        return int(math.log2(1 + least / FIRST_LEVEL_SECONDS))


@dataclass(eq=False)
class _Waiter:
    work: Work
    # When later work was first let in before it; None until then.
    overtaken: float | None = None
    granted: bool = False


class Turns:
    """A counted permit to compute."""

    def __init__(self, count: int, patience: float) -> None:
        self._count = count
        self._free = count
        self._patience = patience
        self._waiting: list[_Waiter] = []
        self._changed = threading.Condition()
        self._ledger = Ledger()
        self._mercy_at = -math.inf

    def resize(self, count: int) -> None:
        """From now on there are `count` turns; those that are held stay held."""
        with self._changed:
            self._free += count - self._count
            self._count = count
            self._grant()

    def take(self, work: Work) -> None:
        """Wait for a turn; raises `JobCancelled`, holding none, if the work is cancelled before it comes."""
        with self._changed:
            self._wait_in_line(work)

    def give(self, work: Work, seconds: float) -> None:
        """Hand a turn back that was held for `seconds`."""
        with self._changed:
            self._ledger.charge(work.people, seconds)
            self._free += 1
            self._grant()

    def pass_on(self, work: Work, seconds: float) -> bool:
        """Hand the turn, held for `seconds`, to who is more urgent and wait for the next one; raises as `take` does.

        False, with the turn still held, if nobody is.
        """
        with self._changed:
            self._ledger.charge(work.people, seconds)
            if not any(self._before(waiter, work) for waiter in self._waiting):
                return False
            self._free += 1
            # In line before the turn is granted: otherwise other work could overtake it.
            self._wait_in_line(work)
            return True

    def place(self, work: Work) -> int:
        """How many wait that would be given a turn before this work."""
        with self._changed:
            return sum(waiter.work is not work and self._order(waiter.work) < self._order(work) for waiter in self._waiting)

    def wake(self) -> None:
        """Let waiting jobs see that they were cancelled."""
        with self._changed:
            self._changed.notify_all()

    def _wait_in_line(self, work: Work) -> None:
        waiter = _Waiter(work)
        self._waiting.append(waiter)
        self._grant()
        while not waiter.granted:
            if work.cancel_requested.is_set():
                self._waiting.remove(waiter)
                raise JobCancelled("The work was cancelled before it finished; start it again to get its result.")
            self._changed.wait()

    def _grant(self) -> None:
        while self._free > 0 and self._waiting:
            waiter = self._impatient()
            if waiter is None:
                waiter = min(self._waiting, key=lambda other: self._order(other.work))
            else:
                self._mercy_at = time.monotonic()
            self._waiting.remove(waiter)
            waiter.granted = True
            self._free -= 1
            for other in self._waiting:
                if other.overtaken is None and other.work.sequence < waiter.work.sequence:
                    other.overtaken = time.monotonic()
        self._changed.notify_all()

    def _before(self, waiter: _Waiter, work: Work) -> bool:
        return waiter is self._impatient() or self._order(waiter.work) < self._order(work)

    def _impatient(self) -> _Waiter | None:
        """Who was overtaken first, where that is too long ago and nobody was let in for it just now."""
        now = time.monotonic()
        too_long = [
            (waiter.overtaken, waiter)
            for waiter in self._waiting
            if waiter.overtaken is not None and now - waiter.overtaken >= self._patience
        ]
        if not too_long or now - self._mercy_at < self._patience:
            return None
        return min(too_long, key=lambda pair: pair[0])[1]

    def _order(self, work: Work) -> tuple[int, bool, float, int]:
        return self._ledger.level(work.people), work.background, work.seconds_left, work.sequence
