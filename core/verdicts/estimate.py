"""A mean over sequences with its interval: of every head at once, and of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from core.heads import Head
from core.stats import student_intervals


class Number(NamedTuple):
    """A mean and its 95 % interval; NaN for what is not measured or withheld."""

    value: float
    low: float
    high: float


UNKNOWN = Number(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Estimates:
    """The mean of each head and its 95 % Student-t interval over sequences; NaN for a head that does not exist."""

    value: Float[np.ndarray, "n_layers n_heads"]
    low: Float[np.ndarray, "n_layers n_heads"]
    high: Float[np.ndarray, "n_layers n_heads"]

    def of(self, head: Head) -> Number:
        """One head's."""
        return Number(float(self.value[head]), float(self.low[head]), float(self.high[head]))


def estimates(values: Float[np.ndarray, "n_layers n_heads sequences"]) -> Estimates:
    """The means over sequences, with intervals."""
    low, high = student_intervals(values)
    return Estimates(values.mean(-1, dtype=np.float64), low, high)


def estimate(values: Float[np.ndarray, " sequences"]) -> Number:
    """One mean with its interval; unknown where there is nothing."""
    if not values.size:
        return UNKNOWN
    low, high = student_intervals(values[None])
    return Number(float(values.mean(dtype=np.float64)), float(low[0]), float(high[0]))
