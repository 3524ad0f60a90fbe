"""What was checked of a model before its numbers are shown, and what is withheld. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

CheckName = Literal["complete", "finite", "causal", "patterns", "ablation", "parts", "bos"]
EVERYTHING = "every number"
# What cannot be said where a check fails. Without the fast pass nothing is lost but time.
RESTS_ON: dict[CheckName, tuple[str, ...]] = {
    "complete": (EVERYTHING,),
    "finite": (EVERYTHING,),
    "causal": (EVERYTHING,),
    "patterns": ("the fast pass",),
    "ablation": ("effects of removal",),
    "parts": ("direct effect",),
    # Numbers are right on what they are of: a remark says what that is.
    "bos": (),
}


@dataclass(frozen=True)
class Check:
    """One check: by how much it misses at worst, how much is allowed (None where nothing is measured), and why it failed."""

    name: CheckName
    passed: bool
    worst: float | None
    tolerance: float | None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.worst is not None and not math.isfinite(self.worst):
            # A number that is none: nothing that could be written down was measured.
            object.__setattr__(self, "worst", None)


@dataclass(frozen=True)
class Conformance:
    """All checks of a model at one length (tokens a copy)."""

    length: int
    checks: tuple[Check, ...]

    @property
    def withheld(self) -> tuple[str, ...]:
        """What is not shown because its check failed, each with the reason."""
        return tuple(f"{what}: {check.reason}" for check in self.checks if not check.passed for what in RESTS_ON[check.name])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know although nothing is withheld for it."""
        return tuple(check.reason for check in self.checks if not check.passed and not RESTS_ON[check.name])

    @property
    def refused(self) -> str:
        """Why no number at all is shown, in a sentence; empty where some are."""
        reasons = [check.reason for check in self.checks if not check.passed and EVERYTHING in RESTS_ON[check.name]]
        return f"No number is shown at length {self.length}: {'; '.join(reasons).rstrip('.')}." if reasons else ""

    @property
    def passed(self) -> bool:
        """Whether nothing is withheld, and nothing remarked."""
        return all(check.passed for check in self.checks)


def conformance_sentence(found: Conformance) -> str:
    """What holds on the model at hand, and what is therefore not shown."""
    against = f"against the model's own module at length {found.length}"
    remarks = "".join(f" {remark}" for remark in found.remarks)
    if not found.withheld:
        return f"Checked {against}: nothing is withheld.{remarks}"
    reasons = "; ".join(one.rstrip(".") for one in found.withheld)
    return f"Checked {against}. Withheld: {reasons}.{remarks}"
