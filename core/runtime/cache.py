"""A result from the store, computed if need be; or only if it is at hand, for a page that must answer at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from core.runtime.store import Stored, default_store

T = TypeVar("T")
_thread = threading.local()


def kept_result(key: str, compute: Callable[[], Stored]) -> Stored:
    """A kept result, computed once for everybody; inside `at_hand` nothing is computed."""
    if not getattr(_thread, "only_stored", False):
        return default_store().get_or_compute(key, compute)
    stored = default_store().get(key)
    if stored is None:
        raise _NotAtHand
    return stored


def kept(key: str, compute: Callable[[], Stored]) -> Mapping[str, np.ndarray]:
    """The arrays of a kept result, as `kept_result`."""
    return kept_result(key, compute).arrays


def at_hand(work: Callable[[], T]) -> T | None:
    """What `work` returns if every result it takes by `kept` is at hand; None, at once, if one would have to be computed.

    Raises what `work` raises for bad input.
    """
    before = getattr(_thread, "only_stored", False)
    _thread.only_stored = True
    try:
        return work()
    except _NotAtHand:
        return None
    finally:
        _thread.only_stored = before


class _NotAtHand(Exception):
    """A result would have to be computed."""
