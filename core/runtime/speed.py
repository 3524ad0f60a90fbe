"""How fast this machine multiplies: measured, so that the time that work will take can be said before it begins."""

from __future__ import annotations

import threading
import time

import numpy as np

_SIZE = 768
_TRIES = 3
# A busy machine looks slow: it is looked at again when somebody asks later, and the best that was ever seen counts.
AGAIN_SECONDS = 5.0
# A model's passes reach about so much of what one large product does.
_EFFICIENCY = 0.6
# What a graphics processor does at least; measuring it would import what a first screen must not wait for.
_GPU_FLOPS = 5e12

_lock = threading.Lock()
_best = 0.0
_looked_at = -AGAIN_SECONDS


def flops_per_second(device: str = "cpu") -> float:
    """Floating-point operations a second that a model's passes can be expected to do on a kind of device."""
    global _best, _looked_at
    if device != "cpu":
        return _GPU_FLOPS
    with _lock:
        if not _best or time.monotonic() - _looked_at >= AGAIN_SECONDS:
            _best, _looked_at = max(_best, _measured()), time.monotonic()
        return _EFFICIENCY * _best


def _measured() -> float:
    one = np.ones((_SIZE, _SIZE), dtype=np.float32)
    fastest = float("inf")
    for _ in range(_TRIES):
        begin = time.perf_counter()
        one @ one
        fastest = min(fastest, time.perf_counter() - begin)
    return 2.0 * _SIZE**3 / fastest
