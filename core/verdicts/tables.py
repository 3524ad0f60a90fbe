"""Verdicts as rows, for the screen and for files."""

from __future__ import annotations

from core.ablation.outcomes import CausalMap
from core.attention.tables import Row
from core.verdicts.costs import cost_of
from core.verdicts.judgement import Judgement
from core.verdicts.words import ordered, sentence


def verdict_rows(judged: Judgement, effects: CausalMap | None = None) -> list[Row]:
    """One row a head, called heads first; `cost` (nats) is None where it was not measured."""
    costs = {verdict: cost_of(verdict, judged, effects) for verdict in judged.verdicts}
    return [
        {
            "head": verdict.name,
            "label": verdict.label,
            "contrast": verdict.contrast,
            "low": verdict.low,
            "high": verdict.high,
            "q": verdict.q,
            "copying": verdict.copying,
            "attribution": verdict.attribution,
            "induction": verdict.induction,
            "previous_token": verdict.previous_token,
            "duplicate_token": verdict.duplicate_token,
            "sink": verdict.sink,
            "cost": costs[verdict].effect,
            "random_heads": costs[verdict].random_heads,
            "sentence": sentence(verdict, judged, effects),
        }
        for verdict in ordered(judged)
    ]


def placebo_rows(name: str, offsets: list[int], values: list[float], length: int) -> list[Row]:
    """One row an offset; the induction offset is `length - 1`."""
    return [
        {"head": name, "tokens_back": offset, "attention": value, "induction_offset": offset == length - 1}
        for offset, value in zip(offsets, values, strict=True)
    ]
