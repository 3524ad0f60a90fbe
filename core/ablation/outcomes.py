"""What an ablation came to: losses with and without heads, of a chosen set, of random sets, of every head alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.behaviour import Losses
from core.heads import Head, HeadSet
from core.probes.layout import Layout
from core.probes.losses import losses_of
from core.settings.modes import Mode


@dataclass(frozen=True)
class Ablation:
    """What a set of heads costs. Losses by target position in nats, NaN at position 0.

    text: a text's token losses, clean and ablated; None where it was left out or the model has no tokenizer.
    engine: what ran the blocks again: "fused", or "hooks" where a model cannot be run the fast way.
    """

    heads: HeadSet
    mode: Mode
    layout: Layout
    clean: Float[np.ndarray, "sequences tokens"]
    ablated: Float[np.ndarray, "sequences tokens"]
    text: tuple[Float[np.ndarray, "1 text_tokens"], Float[np.ndarray, "1 text_tokens"]] | None = None
    engine: str = "hooks"

    @property
    def clean_losses(self) -> Losses:
        """First-copy and second-copy loss before."""
        return losses_of(self.clean, self.layout)

    @property
    def ablated_losses(self) -> Losses:
        """First-copy and second-copy loss after."""
        return losses_of(self.ablated, self.layout)

    @property
    def gain_lost(self) -> float:
        """The share of the gain that the ablation takes away."""
        return gain_lost(self.ablated_losses.second_copy, self.clean_losses)


@dataclass(frozen=True)
class Baselines:
    """The same ablation of random sets, matched by layer. `token_loss`: `[sets, tokens]`, averaged over sequences."""

    sets: tuple[HeadSet, ...]
    note: str
    token_loss: Float[np.ndarray, "sets tokens"]
    layout: Layout

    @property
    def second_copy(self) -> Float[np.ndarray, " sets"]:
        """Each random set's second-copy loss."""
        found: Float[np.ndarray, " sets"] = self.token_loss[:, self.layout.second_copy_targets].mean(-1, dtype=np.float64)
        return found

    @property
    def distinct(self) -> int:
        """How many of the sets differ."""
        return len(set(self.sets))

    @property
    def band(self) -> tuple[float, float, float]:
        """Low, high and mean of the second-copy losses: the 95 % band."""
        return band(self.second_copy)


@dataclass(frozen=True)
class CausalMap:
    """The change in loss (nats) when each head is ablated alone; NaN where a layer is not measured yet.

    losses: each sequence's second-copy loss without the head; clean: with nothing ablated. engine: as an ablation's; both
    names where layers were measured by different ones.
    """

    mode: Mode
    losses: Float[np.ndarray, "n_layers n_heads sequences"]
    clean: Float[np.ndarray, " sequences"]
    engine: str = "hooks"

    @property
    def effect(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Change in second-copy loss, averaged over sequences."""
        found: Float[np.ndarray, "n_layers n_heads"] = (self.losses - self.clean).mean(-1)
        return found

    @property
    def complete(self) -> bool:
        """Whether every layer is measured."""
        return not np.isnan(self.losses).any()

    def knows(self, head: Head) -> bool:
        """Whether this head's layer is measured."""
        return not np.isnan(self.losses[head]).any()


@dataclass(frozen=True)
class Pruning:
    """One head taken away: losses in nats, and prefix matching of every head before and after."""

    head: Head
    mode: Mode
    clean: Losses
    pruned: Losses
    before: Float[np.ndarray, "n_layers n_heads"]
    after: Float[np.ndarray, "n_layers n_heads"]

    @property
    def gain_lost(self) -> float:
        """The share of the gain on the second copy that is lost."""
        return gain_lost(self.pruned.second_copy, self.clean)


def band(values: Float[np.ndarray, " sets"]) -> tuple[float, float, float]:
    """The 95 % band (2.5th and 97.5th percentile) of random sets' losses, and their mean; NaN where there are none."""
    if len(values) == 0:
        return float("nan"), float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high), float(np.mean(values))


def gain_lost(ablated_second_copy: float, clean: Losses) -> float:
    """`(l2_ablated - l2) / (l1 - l2)`: 0 = no damage, 1 = the second copy is as hard as the first. NaN without a gain."""
    return (ablated_second_copy - clean.second_copy) / clean.gain if clean.gain > 0 else float("nan")
