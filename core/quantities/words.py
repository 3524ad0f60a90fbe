"""What two quantities beside each other say, in sentences that agree with the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from core.ablation.words import agreement_sentence
from core.heads import Head, names
from core.numbers import counted, unsigned
from core.quantities.comparison import Axis, Comparison
from core.quantities.table import IMPORTED

_NAMED = 6


def comparison_sentence(found: Comparison) -> str:
    """The answer: how alike the two order heads, with interval and number of heads; or why nothing is said."""
    if found.withheld:
        return f"{found.x.words} and {found.y.words}: no rank correlation. {found.withheld}"
    return agreement_sentence(found.agreement, f"{found.x.words} and {found.y.words}")


def overlap_sentence(found: Comparison) -> str:
    """How many of the highest heads they share, beside chance; why that is open; empty where nothing is said."""
    overlap = found.overlap
    if overlap is None:
        return found.tied
    shared = f" ({_listed(overlap.shared)})" if overlap.shared else ""
    return (
        f"Of the {counted(overlap.k, 'highest head')} of each, {len(overlap.shared) or 'none'} {_are(overlap.shared)} the same"
        f"{shared}; chance alone gives {unsigned(overlap.expected, 1)} (p {_p(overlap.p)}, hypergeometric)."
    )


def outliers_sentence(found: Comparison) -> str:
    """Who is among the highest of one and in the lower half of the other; empty where nothing is said."""
    if found.overlap is None:
        return ""
    said = [
        f"{_listed(heads)} {_are(heads)} among the highest of {high.words} and in the lower half of {low.words}"
        for heads, high, low in ((found.x_only, found.x, found.y), (found.y_only, found.y, found.x))
        if heads
    ]
    if not said:
        return "No head is among the highest of one and in the lower half of the other."
    return "; ".join(said) + "."


def import_sentence(axes: Sequence[Axis]) -> str:
    """How many heads a person's own numbers are of, where they are compared and are not of all; else empty."""
    for axis in axes:
        given = int((axis.values == axis.values).sum())
        there = axis.among or axis.values.size
        if axis.name == IMPORTED and given < there:
            return (
                f"The imported numbers are of {given} of {counted(there, 'head')}: which ones was decided elsewhere, and "
                "a choice of high ones alone makes a rank correlation smaller than it is over all."
            )
    return ""


def sentences(found: Comparison) -> list[str]:
    """All of them, the answer first."""
    said = [comparison_sentence(found), overlap_sentence(found), outliers_sentence(found), import_sentence((found.x, found.y))]
    return [sentence for sentence in said if sentence]


def _are(heads: Sequence[Head]) -> str:
    return "is" if len(heads) == 1 else "are"


def _listed(heads: Sequence[Head]) -> str:
    return ", ".join(names(heads[:_NAMED])) + (f" and {len(heads) - _NAMED} more" if len(heads) > _NAMED else "")


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
