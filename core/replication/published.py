"""What the report that started this project recorded (Muhia 2022): two heat maps of two models, and one table.

The numbers are kept as they were published. What it calls "loss" is a mean *log-probability*, negative, higher is better;
everywhere else in this project a loss is positive, in nats, and lower is better. Imports no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from core.heads import HeadSet, heads_above

_FILE = Path(__file__).with_name("report_scores.json")
# The thresholds whose counts stand beside every other list of heads.
COUNTED_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
REPORT_LENGTH = 100
REPORT_SEQUENCES = 4
REPORT_TOKEN_RANGE = (1000, 10000)


@dataclass(frozen=True)
class ReportedModel:
    """One model's two heat maps, as recorded.

    previous_token: measured on one English paragraph, not on the random tokens that `induction` is measured on.
    """

    name: str
    title: str
    induction: Float[np.ndarray, "n_layers n_heads"]
    previous_token: Float[np.ndarray, "n_layers n_heads"]

    def __post_init__(self) -> None:
        if self.induction.shape != self.previous_token.shape or self.induction.ndim != 2:
            raise ValueError(f"two maps of one model differ: {self.induction.shape} and {self.previous_token.shape}")
        for array in (self.induction, self.previous_token):
            array.setflags(write=False)

    def counts(self) -> dict[float, int]:
        """How many heads are strictly above each of `COUNTED_THRESHOLDS`."""
        return {threshold: len(heads_above(self.induction, threshold)) for threshold in COUNTED_THRESHOLDS}


@dataclass(frozen=True)
class ReportedRow:
    """One row of its table. threshold: None for the untouched model; log_probability: what it called loss."""

    model: str
    threshold: float | None
    heads: HeadSet
    log_probability: float

    @property
    def loss(self) -> float:
        """The same number as a loss: nats, positive, lower is better."""
        return -self.log_probability


@lru_cache
def reported_models() -> dict[str, ReportedModel]:
    """Its models by name, SoLU-8l-old first."""
    return {
        name: ReportedModel(name, facts["title"], np.array(facts["induction"]), np.array(facts["previous_token"]))
        for name, facts in _recorded()["models"].items()
    }


@lru_cache
def reported_table() -> tuple[ReportedRow, ...]:
    """Its table: the untouched model first, then thresholds from the highest down."""
    models = reported_models()
    return tuple(
        ReportedRow(
            model=row["model"],
            threshold=row["threshold"],
            heads=() if row["threshold"] is None else heads_above(models[row["model"]].induction, row["threshold"]),
            log_probability=row["log_probability"],
        )
        for row in _recorded()["table"]
    )


@lru_cache
def _recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found
