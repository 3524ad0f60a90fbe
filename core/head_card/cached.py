"""From a subject and a view to the card of the view's head: every part is a cached result of the topic that defines it.

Nothing is measured in a way of its own, so a part that another page has computed is there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import DEFAULT_BASELINES
from core.ablation.cached import ablate, random_baselines
from core.ablation.cached_map import known_causal_map
from core.ablation.outcomes import Baselines
from core.ablation.subjects import pruning_mode
from core.attention.cached import check_existing, head_pattern, row_patterns, score_heads, sensitivity
from core.attention.head_scores import HeadScores
from core.attention.rows import TokenRow, probe_row
from core.attention.sensitivity import BRIEF
from core.circuits.cached import circuit, circuit_heads
from core.errors import BadInput
from core.head_card.card import HeadCard, HeadEdges, HeadOnText, HeadPatterns, InSet, PartName, Removal
from core.heads import Head, HeadSet, check_head, heads_above
from core.runtime.cache import if_cached
from core.runtime.jobs import current_control
from core.settings.cost import PASSES_OF_A_CIRCUIT, PASSES_OF_BRIEF_SENSITIVITY, PASSES_OF_ONE_SET, expected_seconds
from core.settings.subject import Subject
from core.settings.view import View
from core.text.cached import chosen_windows_of, natural_scores
from core.text.words import windows_words
from core.verdicts.cached import judge, judged_on_text, total_effect_of, verdict_seconds
from core.verdicts.judgement import Judgement

# Windows of text are as a rule this many times the tokens of a probe.
PASSES_OF_TEXT = 20.0


@dataclass(frozen=True)
class Part:
    """One part of the card: what is being done while it is measured, how, and on what of the view its result depends.

    seconds: how long it is expected to take here.
    """

    doing: str
    seconds: Callable[[Subject], float]
    measure: Callable[[Subject, View], Any]
    depends: Callable[[Subject, View], object]

    def takes(self, subject: Subject) -> float:
        """The seconds expected; 0 for what the probe cannot give, which is said at once."""
        try:
            return self.seconds(subject)
        except BadInput:
            return 0.0


def head_card(subject: Subject, view: View) -> HeadCard:
    """The whole card of the view's head; every part is kept by itself, so an interrupted card goes on where it stopped.

    What this model or probe cannot give is said in `missing`. Raises BadInput for a head that the model does not have,
    none, or given tokens; ModelUnavailable if the model cannot be loaded.
    """
    head = checked_head(subject, view)
    control, steps = current_control(), [expected_seconds(subject, 3.0), *(part.takes(subject) for part in PARTS.values())]
    with control.part(0, steps, "Scoring every head"):
        scores = score_heads(subject)
    check_existing(subject, head)
    found: dict[str, Any] = {}
    missing: dict[PartName, str] = {}
    for done, (name, part) in enumerate(PARTS.items()):
        with control.part(done + 1, steps, part.doing):
            try:
                found[name] = part.measure(subject, view)
            except BadInput as error:
                missing[name] = str(error)
    return HeadCard(head, scores, **found, missing=missing)


def known_head_card(subject: Subject, view: View, scores: HeadScores) -> HeadCard:
    """The card from what is there; computes nothing. Raises BadInput as `head_card` does."""
    head = checked_head(subject, view)
    found: dict[str, Any] = {}
    missing: dict[PartName, str] = {}
    for name, part in PARTS.items():
        try:
            found[name] = if_cached(partial(part.measure, subject, view))
        except BadInput as error:
            missing[name] = str(error)
    return HeadCard(head, scores, **found, missing=missing)


def checked_head(subject: Subject, view: View) -> Head:
    """The view's head; raises BadInput if there is none, the model lacks it, or the tokens are given ones."""
    if view.head is None:
        raise BadInput("A card is about one head: name it, such as L5H7.")
    if subject.request.tokens is not None:
        raise BadInput("A card needs drawn tokens, of several lengths and seeds: leave the given ones out.")
    check_head(view.head, subject.card.n_layers, subject.card.n_heads)
    return view.head


def its_set(subject: Subject, view: View) -> HeadSet:
    """The heads that are taken away together (above the threshold, or picked by hand), this one always among them."""
    above = heads_above(score_heads(subject).mean(view.score), view.threshold)
    return tuple(sorted({*view.experiment.chosen(above), _head(view)}))


def _judged(subject: Subject, view: View) -> Judgement:
    return judge(subject, floor=view.experiment.effect_floor)


def _patterns(subject: Subject, view: View) -> HeadPatterns:
    head, row = _head(view), probe_row(subject, 0)
    fresh = None
    if subject.probe.control is not None:
        fresh = _pattern(subject, probe_row(subject, 0, control=True), head)
    tokens = tuple(subject.identity.token_text(i) for i in row.ids)
    return HeadPatterns(row, tokens, _pattern(subject, row, head), fresh)


def _pattern(subject: Subject, row: TokenRow, head: Head) -> Float[np.ndarray, "tokens tokens"]:
    """From every head's patterns where the attention page has left them, else this head's alone."""
    every = if_cached(partial(row_patterns, subject, row))
    if every is not None and every.quantised is not None:
        return every.head(head)
    return head_pattern(subject, row, head)


def _alone(subject: Subject, view: View) -> Removal:
    head = _head(view)
    known = known_causal_map(subject, view.experiment.mode)
    if known is not None and known.knows(head):
        return Removal((head,), known.losses[head] - known.clean)
    return _removal(subject, view, (head,))


def _in_set(subject: Subject, view: View) -> InSet:
    heads = its_set(subject, view)
    rest = tuple(head for head in heads if head != view.head)
    return InSet(_removal(subject, view, heads), _removal(subject, view, rest) if rest else None)


def _removal(subject: Subject, view: View, heads: HeadSet) -> Removal:
    result = ablate(subject, heads, view.experiment.mode, text=None)
    targets = result.layout.second_copy_targets
    before, after = (loss[:, targets].mean(-1, dtype=np.float64) for loss in (result.clean, result.ablated))
    return Removal(heads, after - before)


def _baselines(subject: Subject, view: View, heads: HeadSet) -> Baselines:
    return random_baselines(subject, heads, view.experiment.mode)


def _edges(subject: Subject, view: View) -> HeadEdges:
    """The head's edges in the model's circuit; a head that is in no circuit is measured as if it were in both places."""
    head = _head(view)
    previous, induction = circuit_heads(subject, view.experiment.effect_floor)
    if head not in (*previous, *induction):
        previous, induction = (*previous, head), (*induction, head)
    found = circuit(subject, pruning_mode(view.experiment.mode), previous=previous, induction=induction)
    return HeadEdges(
        found.mode,
        into=tuple(edge for edge in found.edges if edge.induction == head),
        out=tuple(edge for edge in found.edges if edge.previous == head),
    )


def _on_text(subject: Subject, view: View) -> HeadOnText:
    windows, floor = chosen_windows_of(subject, view.text), view.experiment.effect_floor
    return HeadOnText(windows_words(windows), natural_scores(subject, windows), judged_on_text(subject, windows, floor))


def _head(view: View) -> Head:
    assert view.head is not None
    return view.head


# What is cheap first. Where a part rests on another one, as edges on who is called, that comes before it; the set before the
# head alone, for the mean that stands in for its deepest head serves both.
PARTS: dict[PartName, Part] = {
    "patterns": Part(
        "Reading where the head looks",
        partial(expected_seconds, passes=0.5),
        _patterns,
        lambda subject, view: view.head,
    ),
    "in_set": Part(
        "Taking its set away, with it and without it",
        partial(expected_seconds, passes=3.0),
        _in_set,
        lambda subject, view: (view.head, its_set(subject, view), view.experiment.mode),
    ),
    "alone": Part(
        "Taking the head away alone",
        partial(expected_seconds, passes=2.0),
        _alone,
        lambda subject, view: (view.head, view.experiment.mode),
    ),
    "judged": Part(
        "Testing every head on several lengths",
        verdict_seconds,
        _judged,
        lambda subject, view: view.experiment.effect_floor,
    ),
    "own_effect": Part(
        "Taking the head away on the sequences of the verdict",
        partial(expected_seconds, passes=PASSES_OF_ONE_SET),
        lambda subject, view: total_effect_of(subject, _head(view), view.experiment.effect_floor),
        lambda subject, view: (view.head, view.experiment.effect_floor),
    ),
    "alone_baselines": Part(
        "Taking other heads away, to compare",
        partial(expected_seconds, passes=PASSES_OF_ONE_SET * DEFAULT_BASELINES),
        lambda subject, view: _baselines(subject, view, (_head(view),)),
        lambda subject, view: (view.head, view.experiment.mode),
    ),
    "in_set_baselines": Part(
        "Taking other sets away, to compare",
        partial(expected_seconds, passes=PASSES_OF_ONE_SET * DEFAULT_BASELINES),
        lambda subject, view: _baselines(subject, view, its_set(subject, view)),
        lambda subject, view: (its_set(subject, view), view.experiment.mode),
    ),
    "edges": Part(
        "Cutting the paths into the head and out of it",
        partial(expected_seconds, passes=PASSES_OF_A_CIRCUIT),
        _edges,
        lambda subject, view: (view.head, pruning_mode(view.experiment.mode), view.experiment.effect_floor),
    ),
    "on_text": Part(
        "Reading windows of real text",
        lambda subject: expected_seconds(subject, PASSES_OF_TEXT),
        _on_text,
        # Which edges are drawn on another page changes no number.
        lambda subject, view: (replace(view.text, edges=View().text.edges), view.experiment.effect_floor),
    ),
    "movement": Part(
        "Measuring at other lengths and seeds, and with the BOS changed",
        partial(expected_seconds, passes=PASSES_OF_BRIEF_SENSITIVITY),
        lambda subject, view: sensitivity(subject, view.score, BRIEF),
        lambda subject, view: view.score,
    ),
}
