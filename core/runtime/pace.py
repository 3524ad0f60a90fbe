"""How fast one sender may go on: so many at once, so many a second afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """`burst` messages at once are free; after them each waits until it is its turn, at `rate` a second.

    clock: seconds, which go on evenly.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, float(burst), clock
        self._left, self._at = float(burst), clock()
        self._waited_since: float | None = None

    def take(self) -> float:
        """Seconds for which the message that has just come is to wait; 0 where it need not."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        if self._left >= self._burst / 2:
            # Only a pause lets so much come together: a wait that takes a little longer than it should does not.
            self._waited_since = None
        elif self._left < 0 and self._waited_since is None:
            self._waited_since = now
        return max(0.0, -self._left / self._rate)

    def hurried(self) -> float:
        """Seconds since a message first had to wait: how long the sender has been too fast without a pause."""
        return 0.0 if self._waited_since is None else self._clock() - self._waited_since
