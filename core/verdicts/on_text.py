"""Is it the same head on real text? Heads that match on random tokens beside heads whose lift on text is above the floor.

Heads are picked on one half of the windows, by their lift, and judged on the other, by its interval: a head matches on
text where it lies above the floor, does not where it lies below, and else nothing can be said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from core.heads import Head, HeadSet, ranked
from core.stats import Agreement, rank_agreement
from core.text.natural_scores import LIFT_FLOOR, Measured, NaturalScores

TextLabel = Literal["on text too", "random only", "text only", "undecided on text", "neither"]


@dataclass(frozen=True)
class OnText:
    """Which heads do on text what they do on random tokens.

    matches: on random tokens. random, natural: induction on each. chosen, judged: the lift on the two halves of the windows.
    """

    matches: Bool[np.ndarray, "n_layers n_heads"]
    random: Float[np.ndarray, "n_layers n_heads"]
    natural: Float[np.ndarray, "n_layers n_heads"]
    chosen: Measured
    judged: Measured

    def label(self, head: Head) -> TextLabel:
        """What a head is called."""
        above = self.judged.low[head] > LIFT_FLOOR
        if self.matches[head]:
            if above:
                return "on text too"
            return "random only" if self.judged.high[head] < LIFT_FLOOR else "undecided on text"
        return "text only" if above and self.chosen.value[head] > LIFT_FLOOR else "neither"

    def labelled(self, label: TextLabel) -> HeadSet:
        """The heads of one label, the largest lift first."""
        heads = [Head(int(layer), int(head)) for layer, head in np.argwhere(~np.isnan(self.judged.value))]
        found = [head for head in heads if self.label(head) == label]
        return tuple(sorted(found, key=lambda head: -self.judged.value[head]))

    @property
    def matching(self) -> HeadSet:
        """Heads that match on random tokens."""
        return tuple(Head(int(layer), int(head)) for layer, head in np.argwhere(self.matches))

    def top(self, count: int) -> HeadSet:
        """The heads with the largest lift on the half that heads are picked on, in layer order; fewer where fewer have one."""
        return tuple(sorted(ranked(self.chosen.value)[:count]))

    def lifted(self, count: int) -> HeadSet:
        """Those of `top` whose lift is above the floor there: another one would be taken away for nothing."""
        return tuple(head for head in self.top(count) if self.chosen.value[head] > LIFT_FLOOR)

    @property
    def foremost(self) -> Head:
        """The head with the largest lift; where no token comes back, the one that scores highest on random tokens."""
        return (ranked(self.judged.value) or ranked(self.random))[0]

    @cached_property
    def rank_correlation(self) -> Agreement:
        """Of the induction score on random tokens and the natural one."""
        return rank_agreement(self.random, self.natural)

    @cached_property
    def lift_correlation(self) -> Agreement:
        """Of the induction score on random tokens and the lift, judged half."""
        return rank_agreement(self.random, self.judged.value)


def on_text(
    matches: Bool[np.ndarray, "n_layers n_heads"], random: Float[np.ndarray, "n_layers n_heads"], found: NaturalScores
) -> OnText:
    """Both beside each other."""
    return OnText(matches, random, found.mean("natural_induction"), found.chosen_half.lift, found.judged_half.lift)
