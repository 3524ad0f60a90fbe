"""How a head's score moves with sequence length, with the seed and with the BOS, so that a threshold is chosen knowing it.

One thing is varied at a time, from the person's own settings. Every setting is an ordinary scoring pass, kept like every
other; the interval is Student's t over its sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.errors import BadInput
from core.heads import Head, heads_above, ranked
from core.probes.vocabulary import BosPolicy, candidate_ids, longest_length, use_bos
from core.settings.subject import Subject
from core.stats import estimate

Factor = Literal["length", "seed", "bos"]
FACTORS: tuple[Factor, ...] = ("length", "seed", "bos")
# An interval over the usual 4 sequences would say little.
MIN_SEQUENCES = 16
# Heads that never get above this are not worth a panel.
SHOWN_FLOOR = 0.1
_BOS_LABELS = {True: "with", False: "without"}


@dataclass(frozen=True)
class Extent:
    """At which lengths, beside the person's own, and at how many seeds."""

    lengths: tuple[int, ...]
    seeds: int


WHOLE = Extent((10, 25, 50, 100, 200), 6)
# Part of the whole, at less than half its cost: what is measured for one is at hand for the other.
BRIEF = Extent((10, 25, 50, 100), 3)


@dataclass(frozen=True)
class Setting:
    """One setting: which factor it varies, and how it is written on an axis."""

    factor: Factor
    label: str
    subject: Subject


@dataclass(frozen=True)
class Spread:
    """One head's score at one setting: its mean over sequences and the 95 % interval of that mean (Student's t)."""

    setting: Setting
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """Scores at every setting, in order; `base` are those at the person's own settings."""

    score: str
    base: HeadScores
    settings: tuple[Setting, ...]
    scores: tuple[HeadScores, ...]

    @property
    def sequences(self) -> int:
        """How many sequences each setting is measured on."""
        return self.settings[0].subject.request.sequences

    def of(self, head: Head, factor: Factor) -> tuple[Spread, ...]:
        """How one head's score moves with one factor."""
        return tuple(
            Spread(setting, *estimate(scores.sequences(self.score)[head], ALL_SCORES[self.score].possible))
            for setting, scores in zip(self.settings, self.scores, strict=True)
            if setting.factor == factor
        )

    def of_factor(self, factor: Factor) -> tuple[tuple[Setting, ...], Float[np.ndarray, "settings n_layers n_heads"]]:
        """The settings that vary one factor, and every head's score at each."""
        chosen = [place for place, setting in enumerate(self.settings) if setting.factor == factor]
        return tuple(self.settings[place] for place in chosen), self.means()[chosen]

    def means(self) -> Float[np.ndarray, "settings n_layers n_heads"]:
        """Every head's score at every setting."""
        return np.stack([scores.mean(self.score) for scores in self.scores])

    def steady(self, threshold: float) -> tuple[tuple[Head, ...], tuple[Head, ...]]:
        """Heads above `threshold` at every setting, and those above it at some settings only; highest first."""
        above = self.means() > threshold
        ordered = ranked(self.means().mean(0))
        always = tuple(head for head in ordered if above[:, head.layer, head.head].all())
        sometimes = tuple(head for head in ordered if above[:, head.layer, head.head].any() and head not in always)
        return always, sometimes

    def top(self, count: int, picked: Head | None = None) -> tuple[Head, ...]:
        """At most `count` heads, the highest first: those above .1 at any setting, two at least, the picked one among them."""
        highest = heads_above(self.means().max(0), SHOWN_FLOOR)
        best = (highest if len(highest) > 1 else ranked(self.means().max(0))[:2])[:count]
        return best if picked is None or picked in best else (picked, *best[: count - 1])


def sensitivity_settings(subject: Subject, extent: Extent = WHOLE) -> tuple[Setting, ...]:
    """One factor at a time from the subject's own settings: lengths that fit, seeds from its own on, with and without a BOS.

    Raises BadInput for given tokens, which have one length, no seed, and their own BOS.
    """
    request = subject.request
    if request.tokens is not None:
        raise BadInput("Sensitivity needs drawn tokens: given ones have one length and no seed.")
    vocabulary = subject.identity.vocabulary
    has_bos = use_bos(vocabulary, request.bos)
    room = min(longest_length(vocabulary, request.bos), len(candidate_ids(vocabulary, request.token_range)))
    lengths = sorted({*(n for n in extent.lengths if n <= room), request.length})
    other: BosPolicy = "never" if has_bos else "always"
    changes: list[tuple[Factor, str, dict[str, Any]]] = [("length", str(n), {"length": n}) for n in lengths]
    changes += [("seed", str(request.seed + i), {"seed": request.seed + i}) for i in range(extent.seeds)]
    changes.append(("bos", _BOS_LABELS[has_bos], {}))
    fits = request.length <= longest_length(vocabulary, "never" if has_bos or vocabulary.bos_token_id is None else "always")
    if fits and (has_bos or vocabulary.bos_token_id is not None):
        changes.append(("bos", _BOS_LABELS[not has_bos], {"bos": other}))
    sequences = max(MIN_SEQUENCES, request.sequences)
    return tuple(Setting(factor, label, subject.at(sequences=sequences, **new)) for factor, label, new in changes)


def movement(spreads: Sequence[Spread]) -> float:
    """How far apart a head's lowest and highest mean are over some settings."""
    means = [spread.mean for spread in spreads]
    return max(means) - min(means)


def assembled(score: str, base: HeadScores, settings: tuple[Setting, ...], found: Sequence[HeadScores]) -> Sensitivity:
    """The settings and what was found at each."""
    return Sensitivity(score, base, settings, tuple(found))
