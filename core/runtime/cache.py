"""A result from the store, computed if need be; or only if it is there, for a page that must answer at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from core.errors import BadInput
from core.runtime.store import Stored, default_store
from core.runtime.torch_defaults import usual_torch

T = TypeVar("T")
_thread = threading.local()


def cached(key: str, compute: Callable[[], Stored]) -> Stored:
    """The result of `key`, computed once for everybody; inside `if_cached` nothing is computed.

    Raises BadInput inside `nothing_measured`.
    """
    why_not: str = getattr(_thread, "why_not", "")
    if why_not:
        raise BadInput(why_not)
    if not getattr(_thread, "only_cached", False):
        return default_store().get_or_compute(key, usual_torch()(compute))
    stored = default_store().get(key)
    if stored is None:
        raise _NotCached
    return stored


@contextmanager
def nothing_measured(why: str) -> Iterator[None]:
    """Inside, whoever asks for a result is told `why` there is none: it would be kept as the model's own, and is not.

    An empty `why` leaves all as it is.
    """
    before = getattr(_thread, "why_not", "")
    _thread.why_not = why or before
    try:
        yield
    finally:
        _thread.why_not = before


def about_to_compute() -> None:
    """To be said before long work whose result is in no store: inside `if_cached` it is not begun."""
    if getattr(_thread, "only_cached", False):
        raise _NotCached


def if_cached(work: Callable[[], T]) -> T | None:
    """What `work` returns if every result that it takes by `cached` is there, and no file has to be read at length; else None.

    Raises what `work` raises for bad input.
    """
    before = getattr(_thread, "only_cached", False)
    _thread.only_cached = True
    try:
        return work()
    except _NotCached:
        return None
    finally:
        _thread.only_cached = before


class _NotCached(Exception):
    """A result would have to be computed."""
