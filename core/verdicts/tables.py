"""Verdicts as rows, for the screen and for files."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.attention.tables import Row
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement
from core.verdicts.nominees import Nominee
from core.verdicts.words import nominee_sentence, ordered, route_words, sentence

# Every number of a verdict that has an interval, in the order in which it decides.
NUMBERS = (
    "contrast",
    "rotation_contrast",
    "specificity",
    "total_effect",
    "direct_effect",
    "induction",
    "previous_token",
    "duplicate_token",
    "sink",
)


def verdict_rows(judged: Judgement) -> list[Row]:
    """One row a head, called heads first; effects are shares of the gain; None for what is not measured or withheld."""
    return [
        {"head": verdict.name, "label": verdict.label, "route": route_words(verdict)}
        | _number_columns(verdict)
        | {"q": _known(verdict.q), "copying": _known(verdict.copying), "sentence": sentence(verdict, judged)}
        for verdict in ordered(judged)
    ]


def nominee_rows(nominees: Sequence[Nominee]) -> list[Row]:
    """Heads that matter and do not match, the largest effect first."""
    return [
        {
            "head": nominee.name,
            "total_effect": nominee.total_effect.value,
            "total_effect_low": nominee.total_effect.low,
            "total_effect_high": nominee.total_effect.high,
            "p": nominee.p,
            "q": nominee.q,
            "sentence": nominee_sentence(nominee),
        }
        for nominee in nominees
    ]


def placebo_rows(name: str, offsets: list[int], values: list[float], control: float | None, length: int) -> list[Row]:
    """One row a bar; the induction offset is `length - 1`, and the last row is its control on fresh tokens, if any."""
    bars = [(offset, value, "repeat") for offset, value in zip(offsets, values, strict=True)]
    if control is not None:
        bars.append((length - 1, control, "fresh tokens"))
    return [
        {"head": name, "tokens_back": back, "attention": value, "induction_offset": back == length - 1, "second_half": half}
        for back, value, half in bars
    ]


def _number_columns(verdict: Verdict) -> Row:
    columns: Row = {}
    for name in NUMBERS:
        found = getattr(verdict, name)
        columns |= {name: _known(found.value), f"{name}_low": _known(found.low), f"{name}_high": _known(found.high)}
    return columns


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
