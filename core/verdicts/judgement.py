"""Verdicts on every head of a model, together."""

from __future__ import annotations

from dataclasses import dataclass

from core.behaviour import State
from core.heads import Head
from core.settings.modes import Mode
from core.stats import Number
from core.verdicts.judge import Verdict
from core.verdicts.labels import MATCHING
from core.verdicts.stability import Stability


@dataclass(frozen=True)
class Judgement:
    """Verdicts on every head of a model, and on what they rest.

    behaviour: the strongest state at any of the lengths; None where none can be told. Where it is absent, labels say where
    heads look and no more. behaviours: the state at each length. gain: the model's own, in logits. mode: what stood in for
    heads that were taken away. effect_sequences: how many sequences effects were measured on, which no head was picked on,
    unless `picked_on_the_same`. withheld: why direct effects are, if they are.
    """

    verdicts: tuple[Verdict, ...]
    behaviour: State | None
    behaviours: tuple[State | None, ...]
    lengths: tuple[int, ...]
    sequences: int
    floor: float
    gain: Number
    mode: Mode
    effect_sequences: int
    picked_on_the_same: bool
    stability: Stability
    withheld: str = ""

    @property
    def called(self) -> tuple[Verdict, ...]:
        """Heads that match, whatever they do with it: strongest contrast first."""
        return tuple(sorted((v for v in self.verdicts if v.label in MATCHING), key=lambda v: -v.contrast.value))

    def of(self, head: Head) -> Verdict:
        """One head's verdict; raises KeyError for a head that does not exist."""
        for verdict in self.verdicts:
            if verdict.head == head:
                return verdict
        raise KeyError(head.name)
