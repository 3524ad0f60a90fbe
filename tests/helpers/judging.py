"""Verdicts straight from evidence, without a request, a probe of its own or a store."""

from __future__ import annotations

from core.settings.experiment import EFFECT_FLOOR
from core.verdicts.evidence import Evidence
from core.verdicts.judge import Verdict, judge_heads
from core.verdicts.significance import contrast_intervals, contrast_q_values


def judge_evidence(evidence: Evidence, floor: float = EFFECT_FLOOR, *, seed: int = 0) -> tuple[Verdict, ...]:
    """A verdict on every head, in layer order; `seed` draws the sign flips of the test."""
    return judge_heads(evidence, contrast_q_values(evidence.contrast, seed), *contrast_intervals(evidence.contrast), floor)
