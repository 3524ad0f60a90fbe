"""A bounded memory shared by threads: what was used longest ago goes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from copy import copy
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """At most `most` values by key. Safe for many threads."""

    def __init__(self, most: int) -> None:
        self._values: LRUCache[K, V] = LRUCache(most)
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, now the latest used; None if it is not there."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, in place of what was used longest ago if there is no room."""
        with self._lock:
            if self._values.maxsize >= 1:
                self._values[key] = value

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """The value, made if it is not there. Two threads may both make it, so it must not matter which one stays."""
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value)
        return value

    def shrink(self, most: int) -> int:
        """Let go of what was used longest ago beyond `most`; how many that were."""
        with self._lock:
            gone = max(0, len(self._values) - most)
            for _ in range(gone):
                self._values.popitem()
        return gone

    def drop(self, value: V) -> None:
        """Forget `value`, under whichever keys it is."""
        with self._lock:
            for key in [key for key, other in self._values.items() if other is value]:
                del self._values[key]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()

    def in_order(self) -> tuple[K, ...]:
        """What is there, what was used longest ago first."""
        with self._lock:
            values = copy(self._values)
        # The order of use shows only in what goes next: by itself a cache lists what was put in first first.
        return tuple(values.popitem()[0] for _ in range(len(values)))
