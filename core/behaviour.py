"""The behaviour comes first: without it no head's label means much.

Four halves after the same first copy `r`: `rep` repeats it; `fresh` are other tokens; `shuf` are its own tokens without any
pair of neighbours; `rot` is `r` from another place on. A model that copies by what came before is better on `rep` *and* on
`rot` than on `shuf` *and* on `fresh`. Knowing which tokens occur helps on all but `fresh`; looking a fixed distance back
whenever a token repeats helps on `rep` alone; so neither is the behaviour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from core.stats import student_intervals

State = Literal["present", "weak", "absent"]
# Shares of the loss without a copy, which the interval's lower end must be above.
PRESENT_ABOVE = 0.25
WEAK_ABOVE = 0.05
LEAST_SEQUENCES = 3
LEAST_LENGTH = 4
# Strongest first: what several probes show together is what the best of them shows.
STATES: tuple[State, ...] = ("present", "weak", "absent")


@dataclass(frozen=True)
class Losses:
    """Mean cross-entropy in nats, positive, lower is better (science: "behaviour first").

    The first token of the second copy cannot be known by induction, so it is in neither copy's mean. ln_length: what knowing
    only which tokens occur would give; a remark, which decides nothing. gain_low: the lower end of the gain's 95 % interval
    over sequences; NaN for one sequence.
    """

    first_copy: float
    second_copy: float
    ln_length: float
    gain_low: float = math.nan

    @property
    def gain(self) -> float:
        """How many nats better the second copy is predicted than the first."""
        return self.first_copy - self.second_copy

    @property
    def has_gain(self) -> bool:
        """Whether there is a gain that something can be a share of: surely above zero, where sequences can say so."""
        return self.gain > 0 and not self.gain_low <= 0


@dataclass(frozen=True)
class Behaviour:
    """Whether a model predicts the second copy by looking back, and the numbers that say so; NaN for what is not measured.

    state: None where it cannot be said (`more_needed`, `length`, or halves that were not measured).
    e: how much better `rep` and `rot` are predicted than `shuf` and `fresh`: the smallest of the four differences, as a share
        of the loss without a copy, the smaller of `shuf` and `fresh`. low: the smallest lower end of their 95 % intervals.
    rep, rot, shuf, fresh: mean losses in nats. top1: share of the repeated tokens that the model ranks first.
    """

    state: State | None
    e: float
    low: float
    rep: float
    rot: float
    shuf: float
    fresh: float
    top1: float
    sequences: int
    length: int

    @property
    def measured(self) -> bool:
        """Whether all four halves were."""
        return not any(math.isnan(loss) for loss in (self.rep, self.rot, self.shuf, self.fresh))

    @property
    def unsure(self) -> bool:
        """Whether the mean alone would say more than `state`: what is missing is sequences, not the behaviour."""
        return self.state is not None and STATES.index(_state_of(self.e)) < STATES.index(self.state)

    @property
    def more_needed(self) -> int:
        """How many more sequences an interval needs; 0 where there are enough."""
        return max(0, LEAST_SEQUENCES - self.sequences)


def behaviour_of(
    rep: Float[np.ndarray, " sequences"],
    rot: Float[np.ndarray, " sequences"],
    shuf: Float[np.ndarray, " sequences"],
    fresh: Float[np.ndarray, " sequences"],
    top1: Float[np.ndarray, " sequences"],
    length: int,
) -> Behaviour:
    """The rule, from each sequence's mean loss (nats) on each half; NaN for a half that was not measured."""
    losses = np.stack([rep, rot, shuf, fresh]).astype(np.float64)
    means = losses.mean(-1)
    differences = np.stack([base - copied for base in losses[2:] for copied in losses[:2]])
    unit = float(means[2:].min())
    lower, _ = student_intervals(differences)
    e, low = float(differences.mean(-1).min()) / unit, float(lower.min()) / unit
    enough = rep.shape[-1] >= LEAST_SEQUENCES and length >= LEAST_LENGTH and math.isfinite(low)
    return Behaviour(
        state=_state_of(low) if enough else None,
        e=e,
        low=low,
        rep=float(means[0]),
        rot=float(means[1]),
        shuf=float(means[2]),
        fresh=float(means[3]),
        top1=float(top1.astype(np.float64).mean()),
        sequences=rep.shape[-1],
        length=length,
    )


def _state_of(low: float) -> State:
    return "present" if low > PRESENT_ABOVE else "weak" if low > WEAK_ABOVE else "absent"


def strongest(found: list[State | None]) -> State | None:
    """What several probes show together; None where none of them can say."""
    return next((state for state in STATES if state in found), None)
