"""Verdicts on every head of a model, together."""

from __future__ import annotations

from dataclasses import dataclass

from core.behaviour import State
from core.heads import Head
from core.verdicts.judge import Verdict
from core.verdicts.labels import MATCHING


@dataclass(frozen=True)
class Judgement:
    """Verdicts on every head of a model, and on what they rest.

    behaviour: the strongest state at any of the lengths; where it is absent, the labels are not to be trusted. None where
        it cannot be said.
    """

    verdicts: tuple[Verdict, ...]
    behaviour: State | None
    lengths: tuple[int, ...]
    sequences: int
    floor: float

    @property
    def called(self) -> tuple[Verdict, ...]:
        """Heads that match, whatever they do with it: strongest contrast first."""
        return tuple(sorted((v for v in self.verdicts if v.label in MATCHING), key=lambda v: -v.contrast))

    def of(self, head: Head) -> Verdict:
        """One head's verdict."""
        return next(found for found in self.verdicts if found.head == head)
