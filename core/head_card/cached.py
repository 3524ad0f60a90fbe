"""From a view to the card of its head: every part is a kept result of the module that defines it.

Nothing is measured in a way of its own, so a part that another page has computed is there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from core.ablation.cached import Controls, ablate, ablation_controls, stored_causal_map
from core.attention.cached import Progress, ScoreRequest, head_scores
from core.attention.patterns import check_head, head_pattern, stored_row_patterns
from core.attention.rows import TokenRow, probe_row
from core.attention.scores import HeadScores, head_name, heads_above, second_copy_targets
from core.attention.sensitivity import measure_sensitivity
from core.circuits.cached import CIRCUIT_MODES, circuit, circuit_heads
from core.errors import BadInput
from core.head_card.card import HeadCard, HeadEdges, HeadPatterns, InSet, PartName, Removal
from core.heads import Head, HeadSet, Mode
from core.models.load import model_identity
from core.runtime.cache import at_hand
from core.runtime.jobs import current_control
from core.settings.view import View
from core.verdicts.cached import Calls, call_heads


@dataclass(frozen=True)
class Part:
    """One part of the card: what is being done while it is measured, how, and on what of the view its result depends."""

    doing: str
    measure: Callable[[View], Any]
    depends: Callable[[View], object]


def head_card(view: View, progress: Progress | None = None) -> HeadCard:
    """The whole card of the view's head; every part is kept by itself, so an interrupted card goes on where it stopped.

    What this model or probe cannot give is told in `missing`. Raises BadInput for a head that the model does not have,
    none, or given tokens; ModelUnavailable if the model cannot be loaded.
    """
    head = checked_head(view)
    scores = head_scores(view.request, progress)
    found: dict[PartName, Any] = {}
    missing: dict[PartName, str] = {}
    control = current_control()
    for done, (name, part) in enumerate(PARTS.items()):
        control.checkpoint()
        control.progress(done / len(PARTS), part.doing)
        if progress is not None:
            progress(done / len(PARTS), part.doing)
        try:
            found[name] = part.measure(view)
        except BadInput as error:
            missing[name] = str(error)
    if progress is not None:
        progress(1.0, f"the card of {head_name(*head)}")
    return HeadCard(head, scores, **found, missing=missing)


def stored_head_card(view: View, scores: HeadScores) -> HeadCard:
    """The card from what is at hand; measures nothing. Raises BadInput as `head_card` does."""
    head = checked_head(view)
    found: dict[PartName, Any] = {}
    missing: dict[PartName, str] = {}
    for name, part in PARTS.items():
        try:
            found[name] = at_hand(partial(part.measure, view))
        except BadInput as error:
            missing[name] = str(error)
    return HeadCard(head, scores, **found, missing=missing)


def checked_head(view: View) -> Head:
    """The view's head; raises BadInput if there is none, the model lacks it, or the tokens are given ones."""
    if view.head is None:
        raise BadInput("A card is about one head: name it, such as L5H7.")
    if view.request.tokens is not None:
        raise BadInput("A card needs drawn tokens, of several lengths and seeds: leave the given ones out.")
    check_head(model_identity(view.request.model).card, *view.head)
    return view.head


def its_set(view: View) -> HeadSet:
    """The heads that are taken away together (above the threshold, or picked by hand), this one always among them."""
    above = heads_above(head_scores(view.request).mean(view.score), view.threshold)
    return tuple(sorted({*view.experiment.chosen(above), _head(view)}))


def _calls(view: View) -> Calls:
    return call_heads(view.request, floor=view.experiment.effect_floor)


def _patterns(view: View) -> HeadPatterns:
    request, head = view.request, _head(view)
    identity = model_identity(request.model)
    row = probe_row(request, 0)
    fresh = None
    if request.probe(identity).control is not None:
        fresh = _pattern(request, probe_row(request, 0, control=True), head)
    tokens = tuple(identity.token_text(i) for i in row.ids)
    return HeadPatterns(row, tokens, _pattern(request, row, head), fresh)


def _pattern(request: ScoreRequest, row: TokenRow, head: Head) -> Float[np.ndarray, "tokens tokens"]:
    """From every head's patterns where the attention page has left them, else this head's alone."""
    every = stored_row_patterns(request, row)
    if every is not None and every.quantised is not None:
        return every.head(*head)
    return head_pattern(request, row, *head)


def _alone(view: View) -> Removal:
    layer, head = _head(view)
    known = stored_causal_map(view.request, view.experiment.mode)
    if known is not None and not np.isnan(known.effect[layer, head]):
        return Removal(((layer, head),), known.losses[layer, head] - known.clean)
    return _removal(view, ((layer, head),))


def _in_set(view: View) -> InSet:
    heads = its_set(view)
    rest = tuple(head for head in heads if head != view.head)
    return InSet(_removal(view, heads), _removal(view, rest) if rest else None)


def _removal(view: View, heads: HeadSet) -> Removal:
    result = ablate(view.request, heads, view.experiment.mode, text=None)
    targets = second_copy_targets(result.layout)
    before, after = (loss[:, targets].mean(-1, dtype=np.float64) for loss in (result.clean, result.ablated))
    return Removal(heads, after - before)


def _controls(view: View, heads: HeadSet) -> Controls:
    return ablation_controls(view.request, heads, view.experiment.mode)


def _edges(view: View) -> HeadEdges:
    """The head's edges in the model's circuit; a head that is in no circuit is measured as if it were in both places."""
    head = _head(view)
    previous, induction = circuit_heads(view.request)
    if head not in (*previous, *induction):
        previous, induction = (*previous, head), (*induction, head)
    found = circuit(view.request, _circuit_mode(view), previous=previous, induction=induction)
    return HeadEdges(
        found.mode,
        into=tuple(edge for edge in found.edges if edge.induction == head),
        out=tuple(edge for edge in found.edges if edge.previous == head),
    )


def _circuit_mode(view: View) -> Mode:
    return view.experiment.mode if view.experiment.mode in CIRCUIT_MODES else "mean"


def _head(view: View) -> Head:
    assert view.head is not None
    return view.head


PARTS: dict[PartName, Part] = {
    "calls": Part(
        "Testing every head on several lengths",
        _calls,
        lambda view: view.experiment.effect_floor,
    ),
    "patterns": Part(
        "Reading where the head looks",
        _patterns,
        lambda view: view.head,
    ),
    "alone": Part(
        "Taking the head away alone",
        _alone,
        lambda view: (view.head, view.experiment.mode),
    ),
    "alone_controls": Part(
        "Taking random heads of its layer away, to compare",
        lambda view: _controls(view, (_head(view),)),
        lambda view: (view.head, view.experiment.mode),
    ),
    "in_set": Part(
        "Taking its set away, with it and without it",
        _in_set,
        lambda view: (view.head, its_set(view), view.experiment.mode),
    ),
    "in_set_controls": Part(
        "Taking random sets away, to compare",
        lambda view: _controls(view, its_set(view)),
        lambda view: (its_set(view), view.experiment.mode),
    ),
    "edges": Part(
        "Cutting the paths into the head and out of it",
        _edges,
        lambda view: (view.head, _circuit_mode(view)),
    ),
    "movement": Part(
        "Measuring at other lengths and seeds, and with the BOS changed",
        lambda view: measure_sensitivity(view.request, view.score),
        lambda view: view.score,
    ),
}
