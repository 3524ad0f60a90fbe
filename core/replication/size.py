"""Scores beside size: every model of this machine on the default probe, as far as it is measured.

A small live answer to the report's last question. A few unrelated models differ in data, width and attention at once, so
this is what is known here and no law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.attention.head_scores import HeadScores
from core.behaviour import Losses, State
from core.heads import Head, ranked
from core.models.catalogue import BY_CONSTRUCTION


@dataclass(frozen=True)
class SizedModel:
    """A model of this machine, its sizes, and its scores on the default probe; None while they are not measured.

    problem: why it cannot be measured here, in one sentence; empty if it can.
    """

    name: str
    n_layers: int
    n_heads: int
    n_params: int
    scores: HeadScores | None = None
    problem: str = ""

    @property
    def trained(self) -> bool:
        """Whether its weights were learned: those of the circuit by construction were set by hand."""
        return self.name != BY_CONSTRUCTION

    @property
    def losses(self) -> Losses | None:
        """First-copy and second-copy loss."""
        return None if self.scores is None else self.scores.losses()

    @property
    def state(self) -> State | None:
        """Whether the behaviour is there; None where that is not measured or cannot be said."""
        return None if self.scores is None else self.scores.behaviour.state

    @property
    def top(self) -> tuple[Head, float] | None:
        """The head with the highest induction score, and that score."""
        if self.scores is None:
            return None
        values = self.scores.mean("induction")
        head = ranked(values)[0]
        return head, float(values[head])

    @property
    def top_contrast(self) -> float | None:
        """The contrast of the head with the highest score; None where no control fits."""
        if self.scores is None or self.top is None or not self.scores.has_control:
            return None
        return float(self.scores.mean("contrast")[self.top[0]])


def missing(models: Sequence[SizedModel]) -> tuple[str, ...]:
    """The names of those that are not measured yet and can be."""
    return tuple(model.name for model in models if model.scores is None and not model.problem)
