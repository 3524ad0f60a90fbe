"""A property that is kept, and that never makes two objects wait for each other."""

from __future__ import annotations

import threading

from core.runtime.made_once import made_once


class Asked:
    def __init__(self, before: threading.Event, after: threading.Event) -> None:
        self.before, self.after, self.times = before, after, 0

    @made_once
    def value(self) -> int:
        """Said as the method says it."""
        self.times += 1
        self.before.set()
        assert self.after.wait(20)
        return self.times


def test_it_is_made_once_and_kept() -> None:
    ready = threading.Event()
    ready.set()
    asked = Asked(ready, ready)
    assert (asked.value, asked.value, asked.times) == (1, 1, 1)
    assert Asked.value.__doc__ == "Said as the method says it."


def test_one_object_does_not_wait_for_what_another_waits_for() -> None:
    """As cards of two heads did for ever: one inside, waiting for its turn, the other with the turn, before the same lock."""
    inside, turn = threading.Event(), threading.Event()
    first = Asked(inside, turn)
    waiting = threading.Thread(target=lambda: first.value, daemon=True)
    waiting.start()
    assert inside.wait(20)
    free = threading.Event()
    free.set()
    second = Asked(threading.Event(), free)
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(second.value), daemon=True)
    other.start()
    other.join(20)
    assert found == [1]
    turn.set()
    waiting.join(20)
    assert first.times == 1
