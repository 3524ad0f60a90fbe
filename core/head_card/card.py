"""Everything that is known of one head, on one card: what it is, and what that rests on.

Each part is a result of the module that defines it; one that is missing leaves the rest of the card as it is. How parts come
about is in `core.head_card.cached`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from core.ablation.outcomes import Baselines
from core.attention.head_scores import HeadScores
from core.attention.rows import TokenRow
from core.attention.scores import ALL_SCORES
from core.attention.sensitivity import Sensitivity
from core.circuits.circuit import Edge
from core.heads import Head, HeadSet
from core.settings.modes import Mode
from core.stats import Number, estimate
from core.text.natural_scores import NaturalScores
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement
from core.verdicts.labels import OWN_SCORES
from core.verdicts.on_text import OnText
from core.verdicts.words import sentence

_ROUNDING = 1e-6
PartName = Literal[
    "judged",
    "own_effect",
    "patterns",
    "alone",
    "alone_baselines",
    "in_set",
    "in_set_baselines",
    "edges",
    "movement",
    "on_text",
]


@dataclass(frozen=True)
class ScoreLine:
    """One score of the head: its mean over sequences and the 95 % interval of that mean (Student's t; NaN for one sequence).

    control: the same cells where the second half is fresh tokens; None for a score without such a control.
    chance: what attending uniformly would give. place: 1 for the highest of the `among` heads that have a number at all; None
    where this one has none, as where nothing that it looks at has a value.
    """

    score: str
    mean: float
    low: float
    high: float
    control: float | None
    chance: float
    place: int | None
    among: int


@dataclass(frozen=True)
class HeadPatterns:
    """The head's attention on one repeated sequence, and on the same sequence with a fresh second half (None without one)."""

    row: TokenRow
    tokens: tuple[str, ...]
    repeated: Float[np.ndarray, "tokens tokens"]
    fresh: Float[np.ndarray, "tokens tokens"] | None


@dataclass(frozen=True)
class Removal:
    """What taking `heads` away together changes of the second-copy loss: nats, by sequence."""

    heads: HeadSet
    change: Float[np.ndarray, " sequences"]

    @property
    def cost(self) -> float:
        """The mean change: positive where the heads help."""
        return float(self.change.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the cost over sequences (Student's t; NaN for one sequence)."""
        _, low, high = estimate(self.change)
        return low, high


@dataclass(frozen=True)
class InSet:
    """The head among the heads it is taken away with: the whole set, and the set without it (None if it is alone there)."""

    whole: Removal
    rest: Removal | None

    @property
    def share(self) -> Removal | None:
        """What the head adds to the cost of the rest: large where others only stood in for it, small where they do its work."""
        if self.rest is None:
            return None
        [head] = set(self.whole.heads) - set(self.rest.heads)
        return Removal((head,), self.whole.change - self.rest.change)


@dataclass(frozen=True)
class HeadEdges:
    """Edges that end in the head, and edges that start from it, the largest drop first (see `core.circuits.circuit.Edge`)."""

    mode: Mode
    into: tuple[Edge, ...]
    out: tuple[Edge, ...]


@dataclass(frozen=True)
class HeadOnText:
    """The head on windows of a text, beside itself on random tokens. windows: which, in words."""

    windows: str
    natural: NaturalScores
    judged: OnText


@dataclass(frozen=True)
class HeadCard:
    """One head and everything at hand about it.

    A part is None while it is not measured; `missing` says in a sentence why a part cannot be had at all.
    own_effect: the head's total effect, as a share of the gain, on the sequences of the verdict, whatever its label.
    """

    head: Head
    scores: HeadScores
    judged: Judgement | None = None
    own_effect: Number | None = None
    patterns: HeadPatterns | None = None
    alone: Removal | None = None
    alone_baselines: Baselines | None = None
    in_set: InSet | None = None
    in_set_baselines: Baselines | None = None
    edges: HeadEdges | None = None
    movement: Sensitivity | None = None
    on_text: HeadOnText | None = None
    missing: Mapping[PartName, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`L5H7`."""
        return self.head.name

    @property
    def score_lines(self) -> tuple[ScoreLine, ...]:
        """Every score that was measured, in the table's order."""
        return tuple(_score_line(self.scores, score, self.head) for score in self.scores.names)

    @property
    def verdict(self) -> Verdict | None:
        """This head's label and the numbers that gave it."""
        if self.judged is None:
            return None
        return self.judged.of(self.head)

    @property
    def own_movement(self) -> Sensitivity | None:
        """How the score that its label is about moves: a previous-token head's induction score is 0 everywhere."""
        if self.movement is None or self.verdict is None:
            return self.movement
        return replace(self.movement, score=OWN_SCORES.get(self.verdict.label, self.movement.score))

    def own_threshold(self, threshold: float) -> float | None:
        """`threshold`, which is on the chosen score; None where `own_movement` is of another one."""
        own, chosen = self.own_movement, self.movement
        return threshold if own is None or chosen is None or own.score == chosen.score else None

    @property
    def complete(self) -> bool:
        """Whether every part is there, or cannot be had."""
        return all(getattr(self, part) is not None or part in self.missing for part in get_args(PartName))

    def random_costs(self, baselines: Baselines | None) -> Float[np.ndarray, " baselines"]:
        """What each random set costs (nats); empty where there is none."""
        return np.empty(0) if baselines is None else baselines.second_copy - self.scores.losses().second_copy

    @property
    def sentence(self) -> str | None:
        """The verdict in one sentence that a student can read, with the numbers that gave it."""
        return None if self.verdict is None or self.judged is None else sentence(self.verdict, self.judged)

    @property
    def called_among_random(self) -> HeadSet:
        """Heads that were drawn at random beside this one and are called themselves: they make the comparison harder."""
        if self.judged is None or self.alone_baselines is None:
            return ()
        called = {found.head for found in self.judged.called}
        return tuple(sorted({head for heads in self.alone_baselines.sets for head in heads} & called))


def _score_line(scores: HeadScores, score: str, head: Head) -> ScoreLine:
    values = scores.sequences(score)
    mean, low, high = estimate(values[head], ALL_SCORES[score].possible)
    means = values.mean(-1)
    control = scores.per_sequence["induction_control"][head].mean() if score == "induction" and scores.has_control else None
    place, among = place_of(float(means[head]), means)
    return ScoreLine(
        score=score,
        mean=mean,
        low=low,
        high=high,
        control=None if control is None else float(control),
        chance=float(scores.chance(score)[head.layer]),
        place=place,
        among=among,
    )


def place_of(value: float, values: Float[np.ndarray, "..."]) -> tuple[int | None, int]:
    """The place of `value`, 1 for the highest, and among how many of `values` that are numbers; no place for one that is none.

    Values that differ by rounding alone share a place.
    """
    place = None if np.isnan(value) else 1 + int((values > value + _ROUNDING).sum())
    return place, int((~np.isnan(values)).sum())
