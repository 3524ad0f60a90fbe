"""Two quantities of the same heads beside each other: do they order heads alike, share their highest, and who falls out?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from core.heads import Head, HeadSet
from core.numbers import counted
from core.quantities.table import Quantity
from core.stats import Agreement, rank_agreement

# How many of the highest heads are compared; of a small model half of its heads.
TOP = 10
_NAN = math.nan


@dataclass(frozen=True)
class Axis:
    """A quantity with its numbers; NaN where a head has none.

    low, high: the 95 % interval over sequences; NaN where there is none. chance: each layer's level; NaN where there is none.
    picked: why only some heads have the quantity, where which ones was decided by another number; empty where it was not.
    title: what a person's own numbers were called, which head reads what the others wrote, whose words are copied.
    among: how many heads there are, where a person may have given numbers of some; 0 where each place is a head.
    """

    quantity: Quantity
    values: Float[np.ndarray, "n_layers n_heads"]
    low: Float[np.ndarray, "n_layers n_heads"]
    high: Float[np.ndarray, "n_layers n_heads"]
    chance: Float[np.ndarray, " n_layers"]
    picked: str = ""
    title: str = ""
    among: int = 0

    @property
    def name(self) -> str:
        """The quantity's name."""
        return self.quantity.name

    @property
    def words(self) -> str:
        """What it is called; with the name that a person's own numbers came under, the head that reads, or the text."""
        return f"{self.quantity.title} ({self.title})" if self.title else self.quantity.title


@dataclass(frozen=True)
class TopOverlap:
    """How many of the `k` highest heads two quantities share.

    expected: by chance alone, `k * k / n`. p: that chance alone gives as many (hypergeometric).
    """

    k: int
    shared: HeadSet
    expected: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """What two quantities have in common, and a third as colour.

    withheld: why there is no correlation and no overlap, where there is none. x_only, y_only: heads among the highest of one
    and in the lower half of the other, the highest first. tied: why there is no overlap, where heads that are equal leave
    open which are the highest.
    """

    x: Axis
    y: Axis
    colour: Axis | None
    agreement: Agreement
    overlap: TopOverlap | None
    x_only: HeadSet
    y_only: HeadSet
    withheld: str = ""
    tied: str = ""


def compare(x: Axis, y: Axis, colour: Axis | None = None) -> Comparison:
    """Spearman's rank correlation with its bootstrap interval over heads, the overlap of the highest, and who falls out.

    The highest: ten, or half of a small model's; fewer where equal heads would lie on both sides of the cut.
    Heads where either is NaN are left out. Nothing is concluded where which heads are measured was decided by another
    number, or where both are the same quantity.
    """
    known = ~(np.isnan(x.values) | np.isnan(y.values))
    heads = [Head(int(layer), int(head)) for layer, head in np.argwhere(known)]
    withheld = x.picked or y.picked
    if x.name == y.name:
        withheld = "Both axes show the same quantity, so there is nothing to compare."
    elif not withheld and len(heads) < 3:
        have = "has" if len(heads) == 1 else "have"
        withheld = f"Only {counted(len(heads), 'head')} {have} both numbers; it takes 3 to compare them."
    if withheld:
        return Comparison(x, y, colour, Agreement(_NAN, _NAN, _NAN, len(heads)), None, (), (), withheld)
    across, up = _ranked(x.values, heads), _ranked(y.values, heads)
    agreement = rank_agreement(x.values, y.values)
    most = min(TOP, len(heads) // 2)
    # Where one side is the same for all heads, which are its highest is no fact; and one head is no set.
    if not agreement.known or most < 2:
        return Comparison(x, y, colour, agreement, None, (), ())
    k = next((k for k in range(most, 1, -1) if _parted(x.values, across, k) and _parted(y.values, up, k)), None)
    if k is None:
        return Comparison(x, y, colour, agreement, None, (), (), tied=_tied(x, y, across, up, most))
    lower_across, lower_up = _lower_half(x.values, across), _lower_half(y.values, up)
    x_only = tuple(head for head in across[:k] if head in lower_up)
    y_only = tuple(head for head in up[:k] if head in lower_across)
    return Comparison(x, y, colour, agreement, top_overlap(across[:k], up[:k], len(heads)), x_only, y_only)


def _parted(values: Float[np.ndarray, "n_layers n_heads"], order: HeadSet, k: int) -> bool:
    """Whether the `k` highest are higher than all others: among equal ones the numbering of heads would decide."""
    return bool(values[order[k - 1]] > values[order[k]])


def _lower_half(values: Float[np.ndarray, "n_layers n_heads"], order: HeadSet) -> frozenset[Head]:
    """The heads below all of the upper half: one that is equal to the last of that is in neither."""
    upper = len(order) - len(order) // 2
    return frozenset(head for head in order[upper:] if values[head] < values[order[upper - 1]])


def _tied(x: Axis, y: Axis, across: HeadSet, up: HeadSet, most: int) -> str:
    """In which of the two no cut from two heads to `most` lies between heads that differ."""
    whose = [
        axis.words
        for axis, order in ((x, across), (y, up))
        if not any(_parted(axis.values, order, k) for k in range(2, most + 1))
    ]
    where = f"in {' and in '.join(whose)}" if whose else "at different places of the two orders"
    return f"Which heads are the highest of each is not said: too many are equal {where}."


def top_overlap(first: HeadSet, second: HeadSet, n_heads: int) -> TopOverlap:
    """What two sets of the same size, each of `n_heads` heads, share, beside what chance gives.

    >>> found = top_overlap((Head(0, 0), Head(0, 1)), (Head(0, 1), Head(1, 0)), 8)
    >>> found.shared, found.expected, round(found.p, 3)
    ((Head(layer=0, head=1),), 0.5, 0.464)
    """
    from scipy.stats import hypergeom

    k, shared = len(first), tuple(head for head in first if head in second)
    return TopOverlap(k, shared, k * k / n_heads, float(hypergeom.sf(len(shared) - 1, n_heads, k, k)))


def ranks(values: Float[np.ndarray, "n_layers n_heads"]) -> Float[np.ndarray, "n_layers n_heads"]:
    """Each head's place, 1 the highest, equal ones sharing theirs; NaN for heads without a number."""
    from scipy.stats import rankdata

    found: Float[np.ndarray, "n_layers n_heads"] = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    found[known] = rankdata(-values[known], method="average")
    return found


def _ranked(values: Float[np.ndarray, "n_layers n_heads"], heads: list[Head]) -> HeadSet:
    """`heads`, the highest first; equal ones by layer and head, which nothing that is said may rest on."""
    return tuple(sorted(heads, key=lambda head: (-values[head], head)))
