"""Calling a head: from evidence to a verdict (science: "calling a head an induction head").

A head is called when its contrast is above zero by a sign-flip permutation test over sequences, corrected over all heads
(Benjamini and Hochberg), *and* its interval lies wholly above an effect floor. A significant but tiny contrast is no induction
head, and neither is a large one that a few sequences made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.heads import Head, every_head
from core.verdicts.evidence import Evidence
from core.verdicts.labels import Label, called_heads, label_of


@dataclass(frozen=True)
class Verdict:
    """One head's label and the numbers that gave it. `low`, `high`: 95 % interval of the mean contrast."""

    head: Head
    label: Label
    induction: float
    contrast: float
    q: float
    low: float
    high: float
    copying: float
    logit_copying: float
    attribution: float
    previous_token: float
    duplicate_token: float
    sink: float

    @property
    def name(self) -> str:
        """`L5H7`."""
        return self.head.name


def judge_heads(
    evidence: Evidence,
    q: Float[np.ndarray, "n_layers n_heads"],
    low: Float[np.ndarray, "n_layers n_heads"],
    high: Float[np.ndarray, "n_layers n_heads"],
    floor: float,
) -> tuple[Verdict, ...]:
    """A verdict on every head, in layer order, from q-values and intervals at hand: another floor costs nothing."""
    called = called_heads(q, low, floor)
    mean = evidence.contrast.mean(-1)
    return tuple(
        Verdict(
            head=head,
            label=label_of(evidence, head, bool(called[head]), floor),
            induction=float(evidence.induction[head]),
            contrast=float(mean[head]),
            q=float(q[head]),
            low=float(low[head]),
            high=float(high[head]),
            copying=float(evidence.copying[head]),
            logit_copying=float(evidence.logit_copying[head]),
            attribution=float(evidence.attribution[head]),
            previous_token=float(evidence.previous_token[head]),
            duplicate_token=float(evidence.duplicate_token[head]),
            sink=float(evidence.sink[head]),
        )
        for head in every_head(*mean.shape)
    )
