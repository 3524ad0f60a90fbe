"""Means over sequences with their intervals, of every head at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.heads import Head
from core.stats import Number, Range, student_intervals


@dataclass(frozen=True)
class Estimates:
    """The mean of each head and its 95 % Student-t interval over sequences; NaN for a head that does not exist."""

    value: Float[np.ndarray, "n_layers n_heads"]
    low: Float[np.ndarray, "n_layers n_heads"]
    high: Float[np.ndarray, "n_layers n_heads"]

    def of(self, head: Head) -> Number:
        """One head's."""
        return Number(float(self.value[head]), float(self.low[head]), float(self.high[head]))


def estimates(values: Float[np.ndarray, "n_layers n_heads sequences"], possible: Range) -> Estimates:
    """The means over sequences, with intervals."""
    low, high = student_intervals(values, possible)
    return Estimates(values.mean(-1, dtype=np.float64), low, high)
