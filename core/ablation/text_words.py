"""Sentences about what heads are worth on text."""

from __future__ import annotations

import math

from core.ablation.on_text import TextAblation, TextBaselines
from core.numbers import counted, digits_that_add_up, signed, signed_interval, with_interval
from core.stats import Number

_NO_REPEATS = "no token comes back with the one before it in a window"


def change_sentence(found: TextAblation) -> str:
    """What the loss does on repeat tokens and on all others."""
    them = "this head" if len(found.heads) == 1 else "these heads"
    some, every = len(found.loss("repeat", True)), len(found.repeat)
    if not some:
        return (
            f"Without {them} the loss of a token changes by {_change(found.change('other'))} nats, over "
            f"{counted(every, 'window')} of the half that heads are judged on; {_NO_REPEATS}."
        )
    fewer = "" if some == every else f", {some} of which {'has' if some == 1 else 'have'} a repeat token"
    return (
        f"Without {them} the loss of a repeat token changes by {_change(found.change('repeat'))} nats, that of any other token "
        f"by {_change(found.change('other'))}, over {counted(every, 'window')} of the half that heads are judged on{fewer}."
    )


def against_sets_sentence(found: TextAblation, baselines: TextBaselines) -> str:
    """The same beside other sets, with p."""
    if not baselines.sets:
        return baselines.note
    said, repeats = [], bool(found.repeat.any())
    for which, what in (("repeat", "repeat tokens"), ("other", "all others" if repeats else "all tokens")):
        low, high, _ = baselines.range(which)
        p = baselines.p(which, found.change(which).value)
        if not math.isnan(p):
            said.append(f"{what} {signed_interval(low, high)} (p = {p:.3f})")
    cost = "costs" if len(baselines.sets) == 1 else "cost"
    return (
        f"{counted(len(baselines.sets), 'other set')} of as many heads {cost} on {' and on '.join(said)}; p is at least "
        f"{baselines.smallest_p:.3f}.{'' if repeats else f' On repeat tokens there is none: {_NO_REPEATS}.'}"
    )


def in_context_sentence(found: TextAblation, baselines: TextBaselines | None) -> str:
    """What the in-context-learning score and the successor's probability become."""
    before, after, change = found.in_context
    first, second = found.at_lag(1)
    successor = (
        "no token comes back after another one, so none comes after an earlier copy"
        if math.isnan(first.value)
        else "the token after the earlier copy has a probability of "
        f"{_of_windows(first)} before and {_of_windows(second)} after"
        f"{_p(baselines, 'successor', first.value - second.value)}"
    )
    digits = digits_that_add_up(before.value, change.value, after.value)
    return (
        f"On the {counted(len(found.repeat), 'window')} on which heads are taken away, the loss in a window's last quarter "
        "less that in its first, which is the in-context-learning score, goes from "
        f"{signed(before.value, digits)} to {signed(after.value, digits)} nats (change "
        f"{_change(change, digits)}{_p(baselines, 'in_context', change.value)}); {successor}."
    )


def _p(baselines: TextBaselines | None, which: str, observed: float) -> str:
    return "" if baselines is None or not baselines.sets else f", p = {baselines.p(which, observed):.3f} beside those sets"


def _of_windows(found: Number) -> str:
    return with_interval(found.value, found.low, found.high)


def _change(found: Number, digits: int = 2) -> str:
    # Of several windows there is one, even without a width.
    between = "one window gives no interval" if math.isnan(found.low) else signed_interval(found.low, found.high, digits)
    return signed(found.value, digits) + ("" if math.isnan(found.value) else f" ({between})")
