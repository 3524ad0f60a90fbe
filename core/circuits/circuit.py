"""A circuit: previous-token heads, the induction heads they serve, and the edges between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from core.attention.head_scores import HeadScores
from core.heads import Head, HeadSet, ranked
from core.settings.modes import Mode
from core.stats import DIFFERENCE_OF_SHARES, Number, estimate

# How a reader reads what an earlier head wrote: as key, query or value.
KINDS = ("k", "q", "v")
# From this score on a head can be where an edge begins.
PREVIOUS_TOKEN_FLOOR = 0.4


@dataclass(frozen=True)
class Edge:
    """From a previous-token head to an induction head, both in two independent ways: weights, and what is lost without it.

    rank: the place of its K-composition among the `earlier` heads of the model that have one, 1 the highest. Compositions are
    NaN and the rank is None where the weights do not show them: `Circuit.withheld` says why.
    clean, patched: the induction head's prefix matching, before and after its keys are read without the other head.
    low, high: the 95 % Student-t interval over sequences of what it loses; NaN for one sequence.
    """

    previous: Head
    induction: Head
    k_composition: float
    q_composition: float
    v_composition: float
    baseline: float
    rank: int | None
    earlier: int
    clean: float
    patched: float
    low: float
    high: float

    @property
    def drop(self) -> float:
        """What prefix matching loses."""
        return self.clean - self.patched

    @property
    def lost(self) -> Number:
        """The same with its interval."""
        return Number(self.drop, self.low, self.high)


@dataclass(frozen=True)
class Circuit:
    """Previous-token heads, induction heads, and every edge between them.

    clean, patched: prefix matching by sequence. withheld: why some compositions are not given (NaN); None where all are.
    exists: which heads there are; compositions with others are NaN, too.
    """

    previous: HeadSet
    induction: HeadSet
    mode: Mode
    withheld: str | None
    composition: Float[np.ndarray, "induction kinds n_layers n_heads"]
    baseline: float
    clean: Float[np.ndarray, "n_layers n_heads sequences"]
    patched: Float[np.ndarray, "previous n_layers n_heads sequences"]
    exists: Bool[np.ndarray, "n_layers n_heads"]

    @property
    def n_sequences(self) -> int:
        """Sequences that prefix matching was measured on."""
        found: int = self.clean.shape[-1]
        return found

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """One for each previous-token head that lies in an earlier layer than an induction head, the largest drop first."""
        found = [
            self._edge(i, previous, j, induction)
            for i, previous in enumerate(self.previous)
            for j, induction in enumerate(self.induction)
            if previous.layer < induction.layer
        ]
        return tuple(sorted(found, key=lambda edge: -edge.drop))

    def _edge(self, i: int, previous: Head, j: int, induction: Head) -> Edge:
        clean, patched = self.clean[induction], self.patched[i][induction]
        lost = self.lost(i, induction)
        k, q, v = (self.composition[j][KINDS.index(kind)] for kind in ("k", "q", "v"))
        return Edge(
            previous=previous,
            induction=induction,
            k_composition=float(k[previous]),
            q_composition=float(q[previous]),
            v_composition=float(v[previous]),
            baseline=self.baseline,
            rank=None if np.isnan(k[previous]) else int((k > k[previous]).sum()) + 1,
            earlier=int((~np.isnan(k)).sum()),
            clean=float(clean.mean(dtype=np.float64)),
            patched=float(patched.mean(dtype=np.float64)),
            low=lost.low,
            high=lost.high,
        )

    def lost(self, i: int, induction: Head) -> Number:
        """What the prefix matching of `induction` loses without its path from previous-token head number `i`."""
        change = self.clean[induction].astype(np.float64) - self.patched[i][induction]
        return estimate(change, DIFFERENCE_OF_SHARES)


def heads_to_prune(scores: HeadScores, edges: Sequence[Edge], picked: Head | None, called: HeadSet) -> HeadSet:
    """The head to look at (the picked one, else the one with the largest drop) and the two with the nearest previous-token
    score among all that are not called: if they do nothing, the score alone does not make a circuit."""
    previous = scores.mean("previous_token")
    others = [head for head in ranked(previous) if head not in called]
    first = picked or (edges[0].previous if edges else others[0])
    others = [head for head in others if head != first]
    nearest = sorted(others, key=lambda head: abs(float(previous[head] - previous[first])))[:2]
    return (first, *nearest)
