"""Which cells of a window's pattern each measure on text reads, and with what weight: index sets, made once for all layers.

Notation: a window `x` of `n` ids, `b` = 1 with a BOS in front, else 0. An *occurrence* of query `q` is an earlier place `p` of
the same token: `x_p = x_q`, `b <= p < q`. No special token is one, the BOS among them
wherever it stands, and no token that stands for every unknown word. A *pair* is an occurrence whose successor lies before the
query, `p + 1 < q`: in "A A" the successor of the first A is the query itself, and a head that looks at its own token is no
induction head.

Every pair has two controls, each the nearest other query of the same window (the earlier of two that are as near):

- *distance*: the same distance `q - (p + 1)`, at a query whose token differs from the token before that key;
- *key*: the same key `p + 1`, from a query behind it whose token differs from `x_p`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float, Int

PREFIXES = (1, 2, 3)
# The columns that are sums of attention over cells; thresholds and values come in the pass.
CELL_MEASURES = (
    "natural_induction",
    "paired",
    "distance_control",
    "key_control",
    "previous_token",
    "duplicate_token",
    "match_2",
    "shorter_2",
    "match_3",
    "shorter_3",
)
NEAREST = 1 << 30

Pairs = tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]


@dataclass(frozen=True)
class WeightedCells:
    """Cells `A[query, key]` and what each weighs in each of `CELL_MEASURES`; a measure without any cell is NaN.

    headvis: each cell's weight in HeadVis's own formula.
    """

    queries: Int[np.ndarray, " cells"]
    keys: Int[np.ndarray, " cells"]
    weights: Float[np.ndarray, "cells measures"]
    headvis: Float[np.ndarray, " cells"]
    known: Bool[np.ndarray, " measures"]


def occurrences(
    ids: Int[np.ndarray, " tokens"], b: int, uncounted: frozenset[int] = frozenset()
) -> Bool[np.ndarray, "tokens tokens"]:
    """`[q, p]`: whether `p` is an earlier place of the token at `q`. The BOS in front and `uncounted` ids never are."""
    known = (np.arange(len(ids)) >= b) & ~np.isin(ids, list(uncounted))
    same = (ids[:, None] == ids[None, :]) & known[:, None] & known[None, :]
    found: Bool[np.ndarray, "tokens tokens"] = np.tril(same, k=-1)
    return found


def pairs_of(same: Bool[np.ndarray, "tokens tokens"]) -> Pairs:
    """Queries and occurrences whose successor lies before the query."""
    queries, places = np.nonzero(np.tril(same, k=-2))
    return queries, places


def prefix_matches(same: Bool[np.ndarray, "tokens tokens"], n: int) -> Bool[np.ndarray, "tokens tokens"]:
    """`[q, p]`: whether the last `n` tokens at `q` are those at `p`; `n` = 1 is `same`."""
    found = same
    for _ in range(n - 1):
        shifted = np.zeros_like(found)
        shifted[1:, 1:] = found[:-1, :-1]
        found = same & shifted
    return found


def distance_controls(ids: Int[np.ndarray, " tokens"], b: int, pairs: Pairs) -> Int[np.ndarray, " pairs"]:
    """For each pair the nearest other query whose token differs from the one before the key at the same distance; -1: none."""
    queries, places = pairs
    n_tokens = len(ids)
    back = np.arange(n_tokens)
    source = np.arange(n_tokens)[:, None] - back[None, :]
    # [query, how far before it]: whether the tokens differ there.
    differs = (source >= b) & (ids[:, None] != ids[np.maximum(source, 0)])
    before, after = _nearest(differs)
    return _nearer(queries, before[queries, queries - places], after[queries, queries - places])


def key_controls(ids: Int[np.ndarray, " tokens"], pairs: Pairs) -> Int[np.ndarray, " pairs"]:
    """For each pair the nearest other query behind the key whose token differs from the occurrence's; -1: none."""
    queries, places = pairs
    # What differs from the occurrence differs from the query.
    before, after = _nearest(ids[:, None] != ids[None, :])
    earlier = before[queries, queries]
    return _nearer(queries, np.where(earlier > places + 1, earlier, -NEAREST), after[queries, queries])


def _nearest(
    wanted: Bool[np.ndarray, "tokens columns"],
) -> tuple[Int[np.ndarray, "tokens columns"], Int[np.ndarray, "tokens columns"]]:
    """In each column the nearest wanted place at or before each token, and at or behind it."""
    places = np.arange(len(wanted))[:, None]
    before = np.maximum.accumulate(np.where(wanted, places, -NEAREST), axis=0)
    after = np.minimum.accumulate(np.where(wanted, places, NEAREST)[::-1], axis=0)[::-1]
    return before, after


def _nearer(
    queries: Int[np.ndarray, " pairs"], before: Int[np.ndarray, " pairs"], after: Int[np.ndarray, " pairs"]
) -> Int[np.ndarray, " pairs"]:
    found = np.where(queries - before <= after - queries, before, after)
    return np.where((found < 0) | (found >= NEAREST), -1, found)


def weighted_cells(ids: Int[np.ndarray, " tokens"], b: int, uncounted: frozenset[int] = frozenset()) -> WeightedCells:
    """Every measure's cells in one window. Each is a mean over its queries of a sum over their occurrences."""
    n_tokens = len(ids)
    same = occurrences(ids, b, uncounted)
    queries, places = pairs = pairs_of(same)
    distance, key = distance_controls(ids, b, pairs), key_controls(ids, pairs)
    both = (distance >= 0) & (key >= 0)
    asked, earlier = queries[both], places[both]
    other = distance[both]
    order = np.arange(b + 1, n_tokens)
    again, first = np.nonzero(same)
    parts: list[tuple[Int[np.ndarray, " cells"], Int[np.ndarray, " cells"], Int[np.ndarray, " cells"]]] = [
        (queries, queries, places + 1),
        (asked, asked, earlier + 1),
        (asked, other, other - (asked - (earlier + 1))),
        (asked, key[both], earlier + 1),
        (order, order, order - 1),
        (again, again, first),
    ]
    for n in PREFIXES[1:]:
        longer, shorter = prefix_matches(same, n), prefix_matches(same, n - 1)
        for found in (longer, shorter & ~longer):
            where, place = pairs_of(found)
            parts.append((where, where, place + 1))
    flat = np.concatenate([query * n_tokens + at for _, query, at in parts] + [again * n_tokens + first + 1])
    cells, positions = np.unique(flat, return_inverse=True)
    weights = np.zeros((len(cells), len(parts)), dtype=np.float32)
    headvis = np.zeros(len(cells), dtype=np.float32)
    start = 0
    for column, (asked, _, _) in enumerate(parts):
        # A query can meet the same control cell twice.
        np.add.at(weights[:, column], positions[start : start + len(asked)], _share(asked))
        start += len(asked)
    np.add.at(headvis, positions[start:], _share(again))
    known = np.array([len(asked) > 0 for asked, _, _ in parts])
    return WeightedCells(cells // n_tokens, cells % n_tokens, weights, headvis, known)


def _share(asked: Int[np.ndarray, " cells"]) -> float:
    return 1.0 / max(1, len(np.unique(asked)))


def paired_share(ids: Int[np.ndarray, " tokens"], b: int, uncounted: frozenset[int] = frozenset()) -> float:
    """The share of a window's pairs that have both controls; NaN for a window without a pair."""
    pairs = pairs_of(occurrences(ids, b, uncounted))
    if not len(pairs[0]):
        return nan
    both = (distance_controls(ids, b, pairs) >= 0) & (key_controls(ids, pairs) >= 0)
    return float(both.mean())


def repeat_targets(
    ids: Int[np.ndarray, " tokens"], b: int, uncounted: frozenset[int] = frozenset()
) -> Bool[np.ndarray, " tokens"]:
    """Tokens that end a bigram seen earlier in the window: what an induction head could have known."""
    return np.asarray(prefix_matches(occurrences(ids, b, uncounted), 2).any(-1))


def uniform_levels(cells: WeightedCells, window: int = 0) -> Float[np.ndarray, " measures"]:
    """What uniform attention to all that a layer sees gives each measure: to the last `window` tokens, or (0) all."""
    seen = np.minimum(cells.queries + 1.0, window or np.inf)
    levels = ((cells.queries - cells.keys < seen) / seen) @ cells.weights.astype(np.float64)
    found: Float[np.ndarray, " measures"] = np.where(cells.known, levels, nan)
    return found
