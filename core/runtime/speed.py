"""How fast this machine multiplies: measured once, so that the time that work will take can be said before it begins."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np

_SIZE = 768
# A model's passes reach about so much of what one large product does.
_EFFICIENCY = 0.6
# What a graphics processor does at least; measuring it would import what a first screen must not wait for.
_GPU_FLOPS = 5e12


@lru_cache
def flops_per_second(device: str = "cpu") -> float:
    """Floating-point operations a second that a model's passes can be expected to do on a kind of device."""
    if device != "cpu":
        return _GPU_FLOPS
    one = np.ones((_SIZE, _SIZE), dtype=np.float32)
    fastest = float("inf")
    # Other work may have the processors for a moment: the best of some counts.
    for _ in range(8):
        begin = time.perf_counter()
        one @ one
        fastest = min(fastest, time.perf_counter() - begin)
    return _EFFICIENCY * 2 * _SIZE**3 / fastest
