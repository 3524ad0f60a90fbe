"""The behaviour comes first: without it no head's label means much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["present", "absent"]


@dataclass(frozen=True)
class Losses:
    """Mean cross-entropy in nats, positive, lower is better (science: "behaviour first").

    The first token of the second copy cannot be known by induction, so it is in neither copy's mean.
    """

    first_copy: float
    second_copy: float
    ln_length: float

    @property
    def gain(self) -> float:
        """How many nats better the second copy is predicted than the first."""
        return self.first_copy - self.second_copy

    @property
    def behaviour(self) -> State:
        """Absent unless the second copy beats `ln L`, what knowing only the set of earlier tokens would give."""
        return "present" if self.second_copy < self.ln_length else "absent"
