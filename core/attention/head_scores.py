"""What a scoring pass came to: every score of every head on every sequence, and the loss of every token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.attention.scores import ALL_SCORES, PLACEBO_SHIFTS
from core.behaviour import Losses
from core.probes.layout import Layout
from core.probes.losses import losses_of


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head on every sequence, and the loss of every token, of one model on one probe.

    per_sequence: name to `[n_layers, n_heads, sequences]`; also `induction_control` where the probe has a control.
    placebo: `[shifts, n_layers, n_heads, sequences]`: the induction cells shifted by `PLACEBO_SHIFTS`.
    token_loss: `[sequences, tokens]` in nats, by target position; the first is NaN, for nothing predicts it.
    """

    per_sequence: Mapping[str, Float[np.ndarray, "n_layers n_heads sequences"]]
    placebo: Float[np.ndarray, "shifts n_layers n_heads sequences"]
    token_loss: Float[np.ndarray, "sequences tokens"]
    layout: Layout
    engine: str = "hooks"

    def __post_init__(self) -> None:
        shapes = {array.shape for array in self.per_sequence.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 3:
            raise ValueError(f"every score must be [n_layers, n_heads, sequences], not {shapes}")
        if self.token_loss.shape != (next(iter(shapes))[2], self.layout.n_tokens):
            raise ValueError(f"token_loss has shape {self.token_loss.shape}")
        if self.placebo.shape != (len(PLACEBO_SHIFTS), *next(iter(shapes))):
            raise ValueError(f"placebo has shape {self.placebo.shape}")

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        found: int = self.placebo.shape[1]
        return found

    @property
    def n_heads(self) -> int:
        """Query heads in each layer."""
        found: int = self.placebo.shape[2]
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The scores at hand, in the table's order; contrast only where there was a control."""
        return tuple(n for n in ALL_SCORES if n in self.per_sequence or (n == "contrast" and self.has_control))

    @property
    def has_control(self) -> bool:
        """Whether a control was measured."""
        return "induction_control" in self.per_sequence

    def sequences(self, name: str) -> Float[np.ndarray, "n_layers n_heads sequences"]:
        """One score of every head on every sequence; raises KeyError for a score that was not measured."""
        if name == "contrast":
            found: Float[np.ndarray, "n_layers n_heads sequences"] = (
                self.per_sequence["induction"] - self.per_sequence["induction_control"]
            )
            return found
        return self.per_sequence[name]

    def mean(self, name: str) -> Float[np.ndarray, "n_layers n_heads"]:
        """One score of every head, averaged over sequences."""
        found: Float[np.ndarray, "n_layers n_heads"] = self.sequences(name).mean(axis=-1)
        return found

    def losses(self) -> Losses:
        """First-copy and second-copy loss of this probe."""
        return losses_of(self.token_loss, self.layout)
