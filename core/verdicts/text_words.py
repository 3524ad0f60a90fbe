"""Sentences about heads on real text beside the same heads on random tokens."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from core.heads import Head, HeadSet, names
from core.numbers import beside, counted, interval, unsigned, with_interval
from core.stats import Agreement
from core.text.natural_scores import FEWEST_WINDOWS, LIFT_FLOOR
from core.verdicts.on_text import OnText

_NAMED = 6


def answer_sentence(found: OnText) -> str:
    """How many of the heads that match on random tokens match on text, too: there their attention alone is asked."""
    matching, too = len(found.matching), found.labelled("on text too")
    if not matching:
        return "No head matches on random tokens, so there is none to look for on text."
    if found.judged.windows < 2:
        return "There are too few windows with repeats to say which heads match on this text."
    match = "match" if len(too) > 1 else "matches"
    few = "" if found.judged.windows >= FEWEST_WINDOWS else ", as far as so few windows say"
    # That an interval holds the floor shows nothing, neither way.
    open_yet = not too and len(found.labelled("random only")) < matching
    if matching == 1:
        says = "matches on text, too" if too else "is not shown to match on text" if open_yet else "does not match on text"
        return f"The one head that matches on random tokens {says}{few}."
    does = "is shown to match" if open_yet else match
    return f"{len(too) or 'None'} of the {counted(matching, 'head')} that match on random tokens {does} on text, too{few}."


def outlier_sentences(found: OnText) -> list[str]:
    """Which heads differ, by name and number."""
    said = []
    undecided = "the interval holds {floor}" if found.judged.windows > 1 else "too few windows for an interval"
    for label, what in (
        ("on text too", "On text too"),
        ("random only", "Random only (on text the interval of the lift lies below {floor})"),
        ("undecided on text", f"Match on random tokens, undecided on text ({undecided})"),
        ("text only", "Text only"),
    ):
        heads = found.labelled(label)  # type: ignore[arg-type]
        if heads:
            said.append(f"{what.format(floor=unsigned(LIFT_FLOOR))}: {_listed(found, heads)}.")
    return said


def correlation_sentence(found: OnText) -> str:
    """Whether both orders of heads agree."""
    score, lift = found.rank_correlation, found.lift_correlation
    if not score.known:
        why = "no token of these windows comes back after another one"
        return f"There is no rank correlation of random tokens with this text: {_why_none(score, found.natural, why)}."
    said = f"Rank correlation of the induction score on random tokens with natural induction {_agreement(score)}"
    over = f"over {counted(score.n_heads, 'head')}"
    if not lift.known:
        why = "no window that heads are judged on has a token that comes back with both its controls"
        return f"{said}, {over}; with the lift there is none: {_why_none(lift, found.judged.value, why)}."
    return f"{said}, with the lift {_agreement(lift)}, {over}."


def _why_none(found: Agreement, on_text: Float[np.ndarray, "n_layers n_heads"], nothing: str) -> str:
    """Why there is no rank correlation. nothing: what is so where no head has the measure on text."""
    if np.isnan(on_text).all():
        return nothing
    return "there are too few heads" if found.n_heads < 3 else "one of the two is the same for all heads"


def head_on_text(found: OnText, head: Head) -> str:
    """What one head is on text, in words, with its numbers."""
    label, random = found.label(head), unsigned(found.random[head])
    if label == "neither":
        if found.judged.high[head] < LIFT_FLOOR:
            return (
                f"Matches neither on random tokens, where its induction score is {random}, nor on text: lift "
                f"{_lift(found, head)}."
            )
        return (
            f"Does not match on random tokens, where its induction score is {random}; whether it matches on text is not shown: "
            f"lift {_lift(found, head)}, {_why_open(found, head)}."
        )
    return f"{label[0].upper()}{label[1:]}: lift {_lift(found, head)}; induction score on random tokens {random}."


def _why_open(found: OnText, head: Head) -> str:
    """Why nothing can be said of a head's lift, whose interval does not lie below the floor."""
    floor = unsigned(LIFT_FLOOR)
    if np.isnan(found.judged.high[head]):
        return "of too few windows for an interval"
    if found.judged.low[head] <= LIFT_FLOOR:
        return f"and the interval holds {floor}"
    chosen = beside(found.chosen.value[head], LIFT_FLOOR)
    return f"but {chosen} on the other half of the windows, by which heads are picked, not above {floor}"


def _listed(found: OnText, heads: HeadSet) -> str:
    shown = [f"{name} {_lift(found, head)}" for name, head in zip(names(heads), heads, strict=True)][:_NAMED]
    more = len(heads) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _lift(found: OnText, head: Head) -> str:
    judged = found.judged
    return with_interval(judged.value[head], judged.low[head], judged.high[head], LIFT_FLOOR)


def _agreement(found: Agreement) -> str:
    between = "" if np.isnan(found.low) else f" ({interval(found.low, found.high)})"
    return f"{unsigned(found.rho)}{between}"
