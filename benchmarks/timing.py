"""Times that can be compared: candidates in turn, so that a machine whose speed drifts treats them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def medians(candidates: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Each candidate's median seconds, as `turns`."""
    return {name: statistics.median(found) for name, found in turns(candidates, repeats).items()}


def median_ratio(above: list[float], below: list[float]) -> float:
    """The median over turns of one candidate's seconds over another's in the same turn: a slow minute counts in both."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def turns(candidates: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Each candidate's seconds in every turn, after one turn that does not count; run A B C A B C ..."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats + 1):
        for name, run in candidates.items():
            _synchronise()
            begin = time.perf_counter()
            run()
            _synchronise()
            if turn:
                times[name].append(time.perf_counter() - begin)
    return times


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
