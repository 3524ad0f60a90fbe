"""Baselines: other head sets of the same size, matched by layer; the range that they span, and p.

Without them a large loss says nothing: ablating any five heads of a layer may cost as much. They are distinct, and all of them
where there are few, so that p is exact: of `K` sets that could as well have been chosen, how many cost at least as much?
Percentiles of a handful of draws are no interval (those of 20 draws cover 86 %), so their range is shown and nothing else.
Heads that are themselves under test are never drawn: a null that holds the effect would hide it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from math import comb, isnan, nan, prod

import numpy as np
from jaxtyping import Float

from core.heads import Head, HeadSet, heads_above
from core.numbers import counted
from core.settings.experiment import EFFECT_FLOOR

# Up to here every set is measured; of more, a sample.
ALL_UP_TO = 200
# With fewer no p could be below .025, so neighbouring layers are let in.
FEWEST_SETS = 39
LEFT_OUT = "Heads that match, heads that look at the token before, and the set itself are in none of them."
DEFAULT_BASELINES = FEWEST_SETS
NOTHING_TO_MATCH = "There is nothing to match."
NONE_ASKED_FOR = "No other head sets were asked for."
# Losses of the same run differ by less than this share of them, by which rows it was among.
_ROUNDING = 1e-6
# Heads that look at the token before by more than this may be half of the very circuit that is tested.
PREVIOUS_TOKEN_FROM = 0.4


@dataclass(frozen=True)
class BaselineSets:
    """`sets` to ablate beside a head set, all distinct, and in `note` how they were found, in sentences for the screen."""

    sets: tuple[HeadSet, ...]
    note: str


@dataclass(frozen=True)
class _Group:
    """Neighbouring layers that are drawn from together, as many heads as the set under test has there."""

    layers: range
    size: int
    free: HeadSet

    @property
    def possible(self) -> int:
        return comb(len(self.free), self.size)


def baseline_sets(
    heads: HeadSet,
    n_layers: int,
    n_heads: int,
    count: int = DEFAULT_BASELINES,
    seed: int = 0,
    *,
    excluded: frozenset[Head] = frozenset(),
) -> BaselineSets:
    """Distinct sets with as many heads in each layer as `heads` has, none of them in `heads` or in `excluded`.

    All of them if there are at most `ALL_UP_TO`, else a sample of `count`; none at all for `count` 0. Where fewer than
    `FEWEST_SETS` exist, the layers that offer least are joined with their neighbours until there are enough, and `note` says
    so. The same seed gives the same sets.
    """
    if not heads:
        return BaselineSets((), NOTHING_TO_MATCH)
    if not count:
        return BaselineSets((), NONE_ASKED_FOR)
    taken = excluded | set(heads)
    free = {layer: [Head(layer, h) for h in range(n_heads) if (layer, h) not in taken] for layer in range(n_layers)}
    exact = _groups(heads, free, {head.layer: 0 for head in heads})
    groups = _widened(heads, free)
    possible = prod(group.possible for group in groups)
    if not possible:
        return BaselineSets((), "There are too few other heads for even one set to compare with.")
    sets = (
        tuple(_every_set(groups))
        if possible <= ALL_UP_TO
        else _sample(groups, min(count, possible), np.random.default_rng(seed))
    )
    return BaselineSets(sets, _note(len(sets), possible, exact, groups))


def never_drawn(
    matching: Float[np.ndarray, "n_layers n_heads"], previous_token: Float[np.ndarray, "n_layers n_heads"]
) -> frozenset[Head]:
    """Heads that no baseline may hold: those that match, those that look at the token before, and those that do not exist.

    matching: induction less its control, or induction alone where there is no control. A head without a score is none.
    """
    missing = [Head(int(layer), int(head)) for layer, head in np.argwhere(np.isnan(matching))]
    return frozenset([*heads_above(matching, EFFECT_FLOOR), *heads_above(previous_token, PREVIOUS_TOKEN_FROM), *missing])


def p_value(observed: float, baselines: Float[np.ndarray, " sets"]) -> float:
    """`(1 + #{baseline >= observed}) / (1 + K)`: one-sided, for a cost (Phipson and Smyth 2010).

    NaN without baselines, and where any of these numbers is NaN: what was not measured is not beaten. Nothing but rounding
    apart is as large.
    """
    if not len(baselines) or isnan(observed) or np.isnan(baselines).any():
        return nan
    as_large = baselines >= observed - _ROUNDING * max(1.0, abs(observed))
    return float(1 + np.count_nonzero(as_large)) / (1 + len(baselines))


def smallest_p(count: int) -> float:
    """What p is at least with `count` baselines, however large the effect; NaN for none."""
    return 1 / (1 + count) if count else nan


def range_of(values: Float[np.ndarray, " sets"]) -> tuple[float, float, float]:
    """Smallest, largest and mean; NaN where there are none."""
    if not len(values):
        return nan, nan, nan
    return float(values.min()), float(values.max()), float(values.mean())


def _widened(heads: HeadSet, free: Mapping[int, list[Head]]) -> list[_Group]:
    """The narrowest groups that give `FEWEST_SETS` sets, or the widest there are."""
    reach = {head.layer: 0 for head in heads}
    while True:
        groups = _groups(heads, free, reach)
        narrow = [group for group in groups if len(group.layers) < len(free)]
        if prod(group.possible for group in groups) >= FEWEST_SETS or not narrow:
            return groups
        fewest = min(narrow, key=lambda group: group.possible)
        reach |= {layer: reach[layer] + 1 for layer in fewest.layers if layer in reach}


def _groups(heads: HeadSet, free: Mapping[int, list[Head]], reach: Mapping[int, int]) -> list[_Group]:
    """Each layer of `heads` with `reach` layers on both sides; those that meet are one group."""
    wanted = Counter(head.layer for head in heads)
    spans: list[range] = []
    for layer in sorted(wanted):
        first, end = max(0, layer - reach[layer]), min(len(free), layer + reach[layer] + 1)
        while spans and first < spans[-1].stop:
            before = spans.pop()
            first, end = min(first, before.start), max(end, before.stop)
        spans.append(range(first, end))
    return [
        _Group(span, sum(wanted[layer] for layer in span), tuple(head for layer in span for head in free[layer]))
        for span in spans
    ]


def _every_set(groups: list[_Group]) -> Iterator[HeadSet]:
    for parts in product(*(combinations(group.free, group.size) for group in groups)):
        yield tuple(head for part in parts for head in part)


def _sample(groups: list[_Group], count: int, random: np.random.Generator) -> tuple[HeadSet, ...]:
    """`count` distinct sets, each as likely as any other."""
    found: dict[HeadSet, None] = {}
    while len(found) < count:
        picked: list[Head] = []
        for group in groups:
            places = np.sort(random.choice(len(group.free), size=group.size, replace=False))
            picked += [group.free[place] for place in places.tolist()]
        found[tuple(picked)] = None
    return tuple(found)


def _note(count: int, possible: int, exact: list[_Group], groups: list[_Group]) -> str:
    which = f"all {counted(count, 'set')}" if count == possible else f"a sample of {count} of the {possible:,} sets"
    which = "the only set" if possible == 1 else which
    that_are = "that is" if possible == 1 else "that are"
    wider = [group for group in groups if group not in exact]
    if wider:
        few = prod(group.possible for group in exact)
        exist = "no other set exists" if not few else f"only {counted(few, 'other set')} can be drawn"
        layers = " and ".join(f"layers {group.layers.start} to {group.layers.stop - 1}" for group in wider)
        said = f"Layer by layer {exist}, so heads of {layers} are let in: {which} {that_are} matched that way."
        if possible == few:
            said = f"Layer by layer {exist}, and heads of {layers} add none."
    else:
        said = f"{which[0].upper()}{which[1:]} with as many heads in each layer."
    return f"{said} {LEFT_OUT}"
