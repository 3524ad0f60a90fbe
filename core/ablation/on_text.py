"""What heads are worth on text: the change in loss on repeat tokens and on all others, apart.

A token is a repeat where its bigram was seen earlier in the window. An induction head costs the first and spares the second.
Where a mean stands in for the heads, it is the text's own, over windows that are not measured on: the mean over random tokens
alone costs .07 nats on text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from core.ablation.baselines import p_value, range_of, smallest_p
from core.heads import HeadSet
from core.settings.modes import Mode
from core.stats import SHARE, Number, estimate
from core.text.cells import repeat_targets
from core.text.natural_scores import LAGS, in_context_score


@dataclass(frozen=True)
class TextOutcome:
    """One set's losses on the judged windows, by target (nats, NaN at position 0), and its lag profile."""

    token_loss: Float[np.ndarray, "windows tokens"]
    lags: Float[np.ndarray, "windows lags"]


@dataclass(frozen=True)
class TextAblation:
    """What taking `heads` away changes on text. repeat: which targets end a bigram seen earlier. b: 1 with a BOS."""

    heads: HeadSet
    mode: Mode
    clean: TextOutcome
    ablated: TextOutcome
    repeat: Bool[np.ndarray, "windows tokens"]
    b: int

    def loss(self, which: str, ablated: bool) -> Float[np.ndarray, " some"]:
        """The mean loss of each window that has such tokens: `repeat` or `other`."""
        return mean_where((self.ablated if ablated else self.clean).token_loss, self._mask(which))

    def change(self, which: str) -> Number:
        """By how much the loss rises on `repeat` or `other` tokens, with its interval over windows."""
        return estimate(self.loss(which, True) - self.loss(which, False))

    @property
    def in_context(self) -> tuple[Number, Number, Number]:
        """The in-context-learning score before, after, and the change, in nats."""
        before, after = (in_context_score(found.token_loss, self.b) for found in (self.clean, self.ablated))
        return estimate(before), estimate(after), estimate(after - before)

    @property
    def windows_with_lags(self) -> int:
        """How many windows have a token that comes back, so that there are places around its earlier copy."""
        return int((~np.isnan(self.clean.lags) & ~np.isnan(self.ablated.lags)).any(axis=1).sum())

    def at_lag(self, lag: int) -> tuple[Number, Number]:
        """The probability of the token `lag` places from the earlier copy, before and after."""
        place = LAGS.index(lag)
        found = [outcome.lags[:, place] for outcome in (self.clean, self.ablated)]
        both = ~np.isnan(found[0]) & ~np.isnan(found[1])
        return estimate(found[0][both], SHARE), estimate(found[1][both], SHARE)

    def _mask(self, which: str) -> Bool[np.ndarray, "windows tokens"]:
        return self.repeat if which == "repeat" else other_targets(self.repeat, self.b)


@dataclass(frozen=True)
class TextBaselines:
    """The same of other sets, matched by layer: changes in nats on repeat and other tokens, and in the in-context score."""

    sets: tuple[HeadSet, ...]
    note: str
    repeat: Float[np.ndarray, " sets"]
    other: Float[np.ndarray, " sets"]
    in_context: Float[np.ndarray, " sets"]
    successor: Float[np.ndarray, " sets"]

    def range(self, which: str) -> tuple[float, float, float]:
        """Smallest, largest and mean change: `repeat`, `other`, `in_context` or `successor`."""
        return range_of(getattr(self, which))

    def p(self, which: str, observed: float) -> float:
        """How likely a set that could as well have been chosen changes at least as much."""
        return p_value(observed, getattr(self, which))

    @property
    def smallest_p(self) -> float:
        """What p can be at least with so many sets."""
        return smallest_p(len(self.sets))


def mean_where(
    values: Float[np.ndarray, "windows tokens"], mask: Bool[np.ndarray, "windows tokens"]
) -> Float[np.ndarray, " some"]:
    """Each window's mean over the masked tokens; windows without one are left out."""
    some = mask.any(-1)
    found: Float[np.ndarray, " some"] = np.where(mask, values, 0.0)[some].sum(-1, dtype=np.float64) / mask[some].sum(-1)
    return found


def other_targets(repeat: Bool[np.ndarray, "windows tokens"], b: int) -> Bool[np.ndarray, "windows tokens"]:
    """Predicted tokens that are no repeats; the first of the text is left out, for only a BOS is before it."""
    return ~repeat & (np.arange(repeat.shape[1]) > b)


def repeats_of(
    tokens: Int[np.ndarray, "windows tokens"], b: int, uncounted: frozenset[int]
) -> Bool[np.ndarray, "windows tokens"]:
    """Which targets of each window end a bigram seen earlier in it."""
    return np.stack([repeat_targets(row, b, uncounted) for row in tokens])
