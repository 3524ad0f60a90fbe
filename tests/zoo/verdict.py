"""Comparing what the product says with what the oracle says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["right", "withheld", "refused", "unchecked", "WRONG", "TRACEBACK"]
# float32, by two ways of doing the same sums; relative to the largest number of its kind beside it.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verdict:
    """How one quantity of one row stands, and why, where it is not right."""

    kind: Kind
    why: str = ""


def compared(found: Any, wanted: Any, *, unit: float = 1.0, tolerance: float = TOLERANCE, reason: str = "") -> Verdict:
    """`found`, of the product's JSON (numbers, lists, null), beside `wanted`, of the oracle (NaN: there is no such head).

    unit: what a miss is a share of, where that is more than 1. reason: why the product withholds, where it says so.
    """
    if found is None:
        return Verdict("withheld", reason or "null")
    if wanted is None:
        return Verdict("unchecked", "the oracle has no such number")
    said, true = np.array(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    if said.shape != true.shape:
        return Verdict("WRONG", f"shape {said.shape}, not {true.shape}")
    invented = np.isfinite(said) & ~np.isfinite(true)
    if invented.any():
        return Verdict("WRONG", f"{int(invented.sum())} numbers for heads that there are not")
    both = np.isfinite(said) & np.isfinite(true)
    if both.any():
        miss = float(np.abs(said - true)[both].max()) / max(1.0, unit)
        if not miss <= tolerance:
            return Verdict("WRONG", f"off by {miss:.2g}")
    missing = int((np.isfinite(true) & ~both).sum())
    if missing:
        return Verdict("withheld", reason or f"{missing} of {int(np.isfinite(true).sum())} are null")
    return Verdict("right")


def worst(verdicts: dict[str, Verdict]) -> Verdict:
    """Of several parts of one quantity, the one that matters most, named."""
    order: tuple[Kind, ...] = ("TRACEBACK", "WRONG", "unchecked", "withheld", "refused", "right")
    name, verdict = min(verdicts.items(), key=lambda item: order.index(item[1].kind))
    return (
        verdict
        if verdict.kind == "right"
        else Verdict(verdict.kind, f"{name}: {verdict.why}" if len(verdicts) > 1 else verdict.why)
    )


def finite(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and math.isfinite(value)
