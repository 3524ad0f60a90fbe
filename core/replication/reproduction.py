"""What the report's recipe came to on a model: maps, losses, and its table under some corrections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import range_of
from core.behaviour import Behaviour, Losses
from core.heads import HeadSet
from core.probes.losses import losses_of
from core.replication.recipe import Recipe
from core.settings.view import Corrections


@dataclass(frozen=True)
class Measured:
    """One pass over the recipe's tokens: what the report read off every head's pattern, and every token's loss in nats.

    whole: mean of the whole diagonal `1 - L`; rows: of its second-copy queries; previous: of the whole diagonal `-1`.
    """

    whole: Float[np.ndarray, "n_layers n_heads"]
    rows: Float[np.ndarray, "n_layers n_heads"]
    previous: Float[np.ndarray, "n_layers n_heads"]
    token_loss: Float[np.ndarray, "sequences tokens"]


@dataclass(frozen=True)
class ReproducedRow:
    """One row of the table. threshold: None for the untouched model. value: nats, or a log-probability without `sign`.

    low, high: its 95 % Student-t interval over sequences; NaN for one sequence.
    baselines: the same number for each random set; empty where there are none. note: how their match had to be relaxed.
    """

    threshold: float | None
    heads: HeadSet
    value: float
    low: float
    high: float
    baselines: Float[np.ndarray, " baselines"]
    note: str = ""

    @property
    def range(self) -> tuple[float, float, float]:
        """Smallest, largest and mean of the other sets; NaN where there are none."""
        return range_of(self.baselines)


@dataclass(frozen=True)
class Reproduction:
    """The recipe on one model under some corrections.

    rows: the untouched model first, then thresholds downwards. behaviour: what the report did not check, whether the model
        does induction on its own probe at all.
    """

    corrections: Corrections
    recipe: Recipe
    measured: Measured
    rows: tuple[ReproducedRow, ...]
    behaviour: Behaviour

    @property
    def scores(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Induction scores in the chosen convention."""
        return self.measured.rows if self.corrections.rows else self.measured.whole

    @property
    def baseline_notes(self) -> tuple[str, ...]:
        """How the match of random sets had to be relaxed, each said once."""
        return tuple(dict.fromkeys(row.note for row in self.rows if row.note))

    @property
    def losses(self) -> Losses:
        """Each copy's loss on its own probe."""
        return losses_of(self.measured.token_loss, self.recipe.subject.layout)
