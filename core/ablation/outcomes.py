"""What an ablation came to: losses with and without heads, of a chosen set, of random sets, of every head alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import nan

import numpy as np
from jaxtyping import Bool, Float

from core.ablation.baselines import p_value, range_of, smallest_p
from core.behaviour import Losses
from core.heads import Head, HeadSet
from core.probes.layout import Layout
from core.probes.losses import losses_of
from core.settings.modes import Mode
from core.stats import DIFFERENCE_OF_SHARES, UNKNOWN, Number, estimate, student_intervals


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
    def second_copy_change(self) -> Number:
        """By how much the second-copy loss rises, in nats, with its interval over sequences."""
        return second_copy_change(self.clean, self.ablated, self.layout)

    @property
    def gain_lost(self) -> float:
        """The share of the gain that the ablation takes away."""
        return gain_lost(self.ablated_losses.second_copy, self.clean_losses)


@dataclass(frozen=True)
class TotalEffect:
    """How much of the right token's logit a set of heads gives, by whatever route; by sequence, in logits.

    logits: the logit less the mean over the vocabulary, before any soft cap: clean minus ablated. gain: the same logit on
    repeated less on fresh tokens, the model's own unit; None where there are no fresh ones.
    """

    heads: HeadSet
    mode: Mode
    logits: Float[np.ndarray, " sequences"]
    gain: Float[np.ndarray, " sequences"] | None

    @property
    def in_logits(self) -> Number:
        """In logits, which do not compare between models."""
        return estimate(self.logits)

    @property
    def unit(self) -> Number:
        """The model's gain, in logits."""
        return UNKNOWN if self.gain is None else estimate(self.gain)

    @property
    def in_gains(self) -> Number:
        """In units of the gain; withheld where the gain's own interval is not above zero, for then it is no unit."""
        if not self.unit.low > 0:
            return UNKNOWN
        return Number(*(end / self.unit.value for end in self.in_logits))


@dataclass(frozen=True)
class PatchedIn:
    """What a set's own outputs do in a run without an earlier copy. Second-half losses by sequence, in nats.

    clean: where there is the earlier copy; corrupted: where there is none; patched: there, with the set's outputs put in.
    """

    heads: HeadSet
    clean: Float[np.ndarray, " sequences"]
    corrupted: Float[np.ndarray, " sequences"]
    patched: Float[np.ndarray, " sequences"]

    @property
    def raised(self) -> Number:
        """By how much the right tokens' log-probability rises."""
        return estimate(self.corrupted - self.patched)

    @property
    def possible(self) -> Number:
        """By how much the earlier copy itself raises it."""
        return estimate(self.corrupted - self.clean)


@dataclass(frozen=True)
class Baselines:
    """The same ablation of other sets, matched by layer. `token_loss`: `[sets, tokens]`, averaged over sequences.

    bound_loss: with every head of the set's layers taken away together, the upper bound (Xu 2026).
    """

    sets: tuple[HeadSet, ...]
    note: str
    token_loss: Float[np.ndarray, "sets tokens"]
    layout: Layout
    bound_loss: Float[np.ndarray, " tokens"] | None = None

    @property
    def second_copy(self) -> Float[np.ndarray, " sets"]:
        """Each set's second-copy loss."""
        found: Float[np.ndarray, " sets"] = self.token_loss[:, self.layout.second_copy_targets].mean(-1, dtype=np.float64)
        return found

    @property
    def distinct(self) -> int:
        """How many of the sets differ."""
        return len(set(self.sets))

    @property
    def range(self) -> tuple[float, float, float]:
        """Smallest, largest and mean of the second-copy losses."""
        return range_of(self.second_copy)

    @property
    def bound(self) -> float:
        """The second-copy loss without any head of the set's layers; NaN where it is not measured."""
        return nan if self.bound_loss is None else float(self.bound_loss[self.layout.second_copy_targets].mean())

    @property
    def smallest_p(self) -> float:
        """What p can be at least with so many sets."""
        return smallest_p(len(self.sets))

    def p(self, result: Ablation) -> float:
        """How likely a set that could as well have been chosen costs at least as much as `result`'s."""
        return p_value(result.ablated_losses.second_copy, self.second_copy)


@dataclass(frozen=True)
class CausalMap:
    """The change in loss (nats) when each head is ablated alone; NaN where a head is not measured yet or does not exist.

    losses: each sequence's second-copy loss without the head; clean: with nothing ablated. engine: as an ablation's; both
    names where heads were measured by different ones. exists: None where every layer has all its heads.
    """

    mode: Mode
    losses: Float[np.ndarray, "n_layers n_heads sequences"]
    clean: Float[np.ndarray, " sequences"]
    engine: str = "hooks"
    exists: Bool[np.ndarray, "n_layers n_heads"] | None = None

    @property
    def effect(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Change in second-copy loss, averaged over sequences."""
        found: Float[np.ndarray, "n_layers n_heads"] = (self.losses - self.clean).mean(-1)
        return found

    @property
    def interval(self) -> tuple[Float[np.ndarray, "n_layers n_heads"], Float[np.ndarray, "n_layers n_heads"]]:
        """Lower and upper ends of each effect's 95 % Student-t interval over sequences; NaN for fewer than two."""
        return student_intervals(self.losses - self.clean)

    @property
    def measured(self) -> Bool[np.ndarray, "n_layers n_heads"]:
        """Which heads are measured."""
        found: Bool[np.ndarray, "n_layers n_heads"] = ~np.isnan(self.losses).any(-1)
        return found

    @property
    def there(self) -> Bool[np.ndarray, "n_layers n_heads"]:
        """Which heads there are."""
        return np.ones(self.losses.shape[:2], dtype=bool) if self.exists is None else self.exists

    @property
    def complete(self) -> bool:
        """Whether every head that exists is measured."""
        return bool((self.measured | ~self.there).all())

    def knows(self, head: Head) -> bool:
        """Whether this head and the others of its layer are measured: a screen's choice of them is no comparison."""
        return bool(self.measured[head] and (self.measured | ~self.there)[head.layer].all())


@dataclass(frozen=True)
class PatchedCopying:
    """Changes in log-probability (nats) by putting one head's clean output in, prompt by prompt; NaN for heads that are not.

    first: of the first token of `w`. later: of its other tokens, their mean. The controls: the same with the head's output from
    another prompt.
    """

    first: Float[np.ndarray, "n_layers n_heads prompts"]
    later: Float[np.ndarray, "n_layers n_heads prompts"]
    first_control: Float[np.ndarray, "n_layers n_heads prompts"]
    later_control: Float[np.ndarray, "n_layers n_heads prompts"]


@dataclass(frozen=True)
class Pruning:
    """One head taken away: losses in nats, and prefix matching of every head before and after.

    change: by how much the second-copy loss rises, in nats. by_sequence: every head's prefix matching before and after.
    """

    head: Head
    mode: Mode
    clean: Losses
    pruned: Losses
    change: Number
    by_sequence: tuple[Float[np.ndarray, "n_layers n_heads sequences"], Float[np.ndarray, "n_layers n_heads sequences"]]

    @cached_property
    def before(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Every head's prefix matching with the head."""
        found: Float[np.ndarray, "n_layers n_heads"] = self.by_sequence[0].mean(-1)
        return found

    @cached_property
    def after(self) -> Float[np.ndarray, "n_layers n_heads"]:
        """Every head's prefix matching without it."""
        found: Float[np.ndarray, "n_layers n_heads"] = self.by_sequence[1].mean(-1)
        return found

    @property
    def n_sequences(self) -> int:
        """Sequences that it was measured on."""
        found: int = self.by_sequence[0].shape[-1]
        return found

    @cached_property
    def lost_interval(self) -> tuple[Float[np.ndarray, "n_layers n_heads"], Float[np.ndarray, "n_layers n_heads"]]:
        """Lower and upper ends of the 95 % Student-t interval of what each head's prefix matching loses."""
        before, after = self.by_sequence
        return student_intervals(before.astype(np.float64) - after, DIFFERENCE_OF_SHARES)

    def lost(self, heads: HeadSet) -> Number:
        """What the prefix matching of `heads`, their mean, loses; unknown for none."""
        if not heads:
            return UNKNOWN
        before, after = (np.stack([values[head] for head in heads]).astype(np.float64) for values in self.by_sequence)
        return estimate((before - after).mean(0), DIFFERENCE_OF_SHARES)

    @property
    def gain_lost(self) -> float:
        """The share of the gain on the second copy that is lost."""
        return gain_lost(self.pruned.second_copy, self.clean)


def second_copy_change(
    clean: Float[np.ndarray, "sequences tokens"], ablated: Float[np.ndarray, "sequences tokens"], layout: Layout
) -> Number:
    """By how much the second-copy loss rises, in nats, with its interval over sequences."""
    there = layout.second_copy_targets
    return estimate((ablated[:, there].astype(np.float64) - clean[:, there]).mean(-1))


def gain_lost(ablated_second_copy: float, clean: Losses) -> float:
    """`(l2_ablated - l2) / (l1 - l2)`: 0 = no damage, 1 = the second copy is as hard as the first. NaN without a sure gain."""
    return (ablated_second_copy - clean.second_copy) / clean.gain if clean.has_gain else float("nan")
