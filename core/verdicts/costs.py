"""What it costs to remove the heads behind a verdict: the causal map, only in the layers that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.ablation.outcomes import CausalMap
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement
from core.verdicts.labels import MATCHING


@dataclass(frozen=True)
class Cost:
    """The change in second-copy loss (nats) when a head is removed alone; None where it is not measured.

    random_heads: the median of the same for the heads of its layer that are not called; None where there are none.
    """

    effect: float | None = None
    random_heads: float | None = None

    @property
    def lacks_random_heads(self) -> bool:
        """Whether it is measured, but every head of its layer is called."""
        return self.effect is not None and self.random_heads is None


def layers_to_measure(verdicts: Iterable[Verdict]) -> tuple[int, ...]:
    """The layers that hold called heads, the last first, then those that hold previous-token heads.

    Later layers cost less to measure, and called heads are what a person asks about.
    """
    given = tuple(verdicts)
    called = {verdict.head.layer for verdict in given if verdict.label in MATCHING}
    previous = {verdict.head.layer for verdict in given if verdict.label == "previous token"} - called
    return (*sorted(called, reverse=True), *sorted(previous, reverse=True))


def cost_of(verdict: Verdict, judged: Judgement, effects: CausalMap | None) -> Cost:
    """What removing a verdict's head costs, as far as `effects` has its layer."""
    if effects is None or not effects.knows(verdict.head):
        return Cost()
    left_out = {other.head for other in judged.called} | {verdict.head}
    layer = effects.effect[verdict.head.layer]
    others = [layer[head] for head in range(len(layer)) if (verdict.head.layer, head) not in left_out]
    return Cost(float(effects.effect[verdict.head]), float(np.median(others)) if others else None)
