"""Sentences about text: what was measured on, what each measure means, what a whole text gave."""

from __future__ import annotations

import math

import numpy as np

from core.attention.words import by_value_sentence
from core.heads import ranked
from core.numbers import counted, interval, share, unsigned
from core.stats import Number
from core.text.measures import TITLES
from core.text.natural_scores import FEWEST_WINDOWS, LIFT_FLOOR, NaturalScores
from core.text.windows import TextWindows

_SO_FAR = 5
NO_PAIRS = "No token of these windows comes back after another one"


def windows_words(windows: TextWindows) -> str:
    """Which windows: how many, how long, of which text, with or without a BOS, by which seed."""
    drawn = "given as ids" if windows.seed is None else f"of {windows.source}"
    bos = "with a BOS" if windows.b else "without a BOS"
    seed = "" if windows.seed is None else f", seed {windows.seed}"
    return f"{counted(windows.n_windows, 'window')} of {windows.length} tokens {drawn}, {bos}{seed}"


def too_few_sentence(windows: TextWindows) -> str:
    """What fewer windows than are needed mean; empty where there are enough."""
    half = windows.n_windows // 2
    if half >= FEWEST_WINDOWS:
        return ""
    if not half:
        return (
            "Heads are picked on one half of the windows and judged on the other, and one window has no halves: give more "
            "text, or ask for shorter windows."
        )
    judged_on = "one window" if half == 1 else f"{half} windows"
    return (
        f"Heads are judged on {judged_on}, and an interval over fewer than {FEWEST_WINDOWS} is not to be relied on: ask for "
        "more windows, or shorter ones."
    )


def so_far_sentence(found: NaturalScores) -> str:
    """What a few windows show while the others are read: no answer yet."""
    lift = found.lift.value
    if np.isnan(lift).all():
        return f"After {counted(found.n_windows, 'window')} there is no lift: no token has come back with both controls."
    told = ", ".join(f"{head.name} {unsigned(float(lift[head]))}" for head in ranked(lift)[:_SO_FAR])
    return f"After {counted(found.n_windows, 'window')} the largest lifts are {told}."


def loss_sentence(found: NaturalScores, b: int) -> str:
    """How much better repeat tokens are predicted, and the in-context-learning score."""
    from core.text.tables import icl_number, loss_numbers

    numbers = loss_numbers(found, b)
    repeat, other, score = numbers["repeat"], numbers["other"], icl_number(found, b)
    repeats = float(found.repeat[:, 1 + b :].mean())
    if not repeats:
        return (
            f"No token's bigram was seen earlier in its window, so there is no loss of repeats; all tokens cost "
            f"{unsigned(other.value)} nats."
        )
    than = f"{unsigned(abs(score.value))} nats {'more' if score.value > 0 else 'less'} than its first"
    return (
        f"Tokens whose bigram was seen earlier in the window ({share(repeats)} of all) cost {unsigned(repeat.value)} nats, all "
        f"others {unsigned(other.value)}; the last quarter of a window costs {than} "
        f"(last less first: {interval(score.low, score.high)})."
    )


def pairs_sentence(found: NaturalScores) -> str:
    """How many pairs had both controls, and from which lift on a head is said to match on text."""
    if math.isnan(found.paired):
        return f"{NO_PAIRS}, so there is no natural induction and no lift."
    return (
        f"{share(found.paired)} of the pairs of a token and its earlier copy have both controls; the lift is of these. A head "
        f"matches on text where the interval of its lift lies above {unsigned(LIFT_FLOOR)}."
    )


def value_sentence(found: NaturalScores) -> str:
    """Why the value-weighted measure is not there; empty where it is, or where there is nothing that it could be of."""
    lacking = np.isnan(found.mean("value_weighted")).all() and not math.isnan(found.paired)
    return by_value_sentence(TITLES["value_weighted"]) if lacking else ""


def number_words(found: Number) -> str:
    """`0.31 (0.28 to 0.34)`."""
    return f"{unsigned(found.value)} ({interval(found.low, found.high)})"
