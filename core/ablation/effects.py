"""What is known of every head's effect: measured with its interval, estimated, or nothing; and which of these it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from core.ablation.outcomes import CausalMap
from core.heads import Head, HeadSet


@dataclass(frozen=True)
class Effects:
    """Changes in second-copy loss (nats) when each head is ablated alone; NaN for what is not known or does not exist.

    effect, low, high: measured, with the 95 % interval over sequences. estimate: by gradient; all NaN where there is none.
    exists: which heads there are; None where every layer has all its heads.
    """

    effect: Float[np.ndarray, "n_layers n_heads"]
    low: Float[np.ndarray, "n_layers n_heads"]
    high: Float[np.ndarray, "n_layers n_heads"]
    estimate: Float[np.ndarray, "n_layers n_heads"]
    complete: bool
    exists: Bool[np.ndarray, "n_layers n_heads"] | None = None

    @staticmethod
    def of(
        found: CausalMap | None,
        estimate: Float[np.ndarray, "n_layers n_heads"] | None,
        exists: Bool[np.ndarray, "n_layers n_heads"],
    ) -> Effects:
        """From a map that may be partial or missing, and an estimate that may be."""
        nothing = np.full(exists.shape, np.nan)
        low, high = (nothing, nothing) if found is None else found.interval
        return Effects(
            effect=nothing if found is None else found.effect,
            low=low,
            high=high,
            estimate=nothing if estimate is None else estimate,
            complete=found is not None and found.complete,
            exists=exists,
        )

    @property
    def measured(self) -> Bool[np.ndarray, "n_layers n_heads"]:
        """Which heads are measured."""
        found: Bool[np.ndarray, "n_layers n_heads"] = ~np.isnan(self.effect)
        return found

    @property
    def n_heads(self) -> int:
        """How many heads there are."""
        return self.effect.size if self.exists is None else int(self.exists.sum())

    @property
    def has_intervals(self) -> bool:
        """Whether what is measured has intervals: one sequence gives none."""
        return not bool(np.isnan(self.low).all())

    @cached_property
    def shown(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Measured where it is, else the estimate."""
        found: Float[np.ndarray, "n_layers n_heads"] = np.where(self.measured, self.effect, self.estimate)
        return found

    @cached_property
    def estimated(self) -> HeadSet:
        """Heads whose shown value is only an estimate."""
        where = ~self.measured & ~np.isnan(self.shown)
        return tuple(Head(int(layer), int(head)) for layer, head in np.argwhere(where))
