"""Scores beside size: every model of this machine on the default probe, as far as it is measured.

A small live answer to the report's last question. A few unrelated models differ in data, width and attention at once, so
this is what is known here and no law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.attention.cached import ScoreRequest, head_scores, stored_head_scores
from core.attention.scores import HeadScores, Losses, heads_above
from core.errors import BadInput, ModelUnavailable
from core.heads import Head
from core.models.catalogue import BY_CONSTRUCTION, CatalogueEntry, catalogue
from core.models.load import model_identity
from core.runtime.jobs import current_control


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
        """First-copy and second-copy loss, and whether the behaviour is there."""
        return None if self.scores is None else self.scores.losses()

    @property
    def top(self) -> tuple[Head, float] | None:
        """The head with the highest induction score, and that score."""
        if self.scores is None:
            return None
        values = self.scores.mean("induction")
        head = heads_above(values, -1.0)[0]
        return head, float(values[head])

    @property
    def top_contrast(self) -> float | None:
        """The contrast of the head with the highest score; None where no control fits."""
        if self.scores is None or self.top is None or not self.scores.has_control:
            return None
        return float(self.scores.mean("contrast")[self.top[0]])


def scale_request(name: str) -> ScoreRequest:
    """What every model is measured on: the default probe, whose results travel with the bundled models."""
    return ScoreRequest(name)


def sized_models() -> tuple[SizedModel, ...]:
    """Every model that is on this machine, the smallest first, with the scores that are at hand. Measures nothing."""
    found = [_sized(entry) for entry in catalogue() if entry.available]
    return tuple(sorted(found, key=lambda model: (model.n_params, model.name)))


def missing(models: Sequence[SizedModel]) -> tuple[str, ...]:
    """The names of those that are not measured yet and can be."""
    return tuple(model.name for model in models if model.scores is None and not model.problem)


def measure_models(names: Sequence[str]) -> dict[str, str]:
    """Score each of `names` on the default probe; gives one sentence for each that could not be, by name.

    Each is kept by itself, so what was cancelled goes on where it stopped; one that fails does not hold up the others.
    """
    control = current_control()
    problems: dict[str, str] = {}
    for done, name in enumerate(names):
        control.checkpoint()

        def report(fraction: float, message: str, done: int = done, name: str = name) -> None:
            control.raise_if_cancelled()
            control.progress((done + fraction) / len(names), f"{name}, {done + 1} of {len(names)}: {message}")

        report(0.0, "starting")
        try:
            head_scores(scale_request(name), report)
        except (BadInput, ModelUnavailable) as error:
            problems[name] = str(error)
        control.partial(done + 1)
    return problems


def _sized(entry: CatalogueEntry) -> SizedModel:
    try:
        card = model_identity(entry.name).card
        scores, problem = stored_head_scores(scale_request(entry.name)), ""
    except (BadInput, ModelUnavailable) as error:
        return SizedModel(entry.name, entry.n_layers or 0, entry.n_heads or 0, entry.n_params or 0, problem=str(error))
    if scores is None and entry.fits_in_memory is False:
        problem = "It does not fit into the memory that is free here."
    return SizedModel(entry.name, card.n_layers, card.n_heads, card.n_params, scores, problem)
