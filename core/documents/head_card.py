"""One head's card as one standalone page: every claim with its number, its control and a live figure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from core.ablation.outcomes import Baselines
from core.attention.head_scores import HeadScores
from core.attention.tables import Row
from core.attention.words import behaviour_sentence, losses_sentence, set_remark
from core.documents.standalone import Picture, Section, standalone_page
from core.figures.ablation.beside_baselines import BesideRow, beside_baselines, describe_beside
from core.figures.attention.sensitivity import describe_one_head, one_head_panels
from core.figures.base.style import Look
from core.figures.head_card.edges import describe_edges, edge_lines
from core.figures.head_card.patterns import describe_patterns, pattern_pair
from core.head_card.card import HeadCard, PartName, Removal
from core.head_card.tables import COLUMNS, cost_rows, score_rows, text_rows, writing_rows
from core.head_card.words import (
    alone_sentence,
    baselines_note,
    call_sentence,
    edges_sentence,
    in_set_sentence,
    interval_note,
    looks_note,
    movement_sentence,
    text_sentence,
    unmatched_sentence,
    writing_note,
)
from core.heads import HeadSet
from core.settings.provenance import measured_on
from core.settings.subject import Subject
from core.settings.view import View
from core.sharing.address import params_of
from core.sharing.commands import card_command
from core.transformer.card import ModelIdentity
from core.transformer.checks import conformance_sentence
from core.verdicts.conformance import conformance
from core.verdicts.words import judged_on

# A page in a file has room for larger patterns than a screen with everything on it.
_PATTERN_HEIGHT = 480
_NOT_MEASURED = "Not measured yet."


def card_page(subject: Subject, card: HeadCard, view: View) -> str:
    """The whole page as HTML; what is not measured, or cannot be, is said in its place."""
    measured = f"Measured on {measured_on(subject)}."
    sections = [
        _behaviour(card.scores),
        _verdict(subject, card),
        _looks(card, measured),
        _text(card),
        _writes(card),
        _costs(card, view),
        _edges(card),
        _movement(card, view.threshold),
        Section(
            "The same card again",
            (
                f"In HeadScope: /Head_card?{urlencode(params_of(view))}",
                f"Without a browser: {card_command(view, _its_set(card))}",
            ),
            notes=(f"Weights: {subject.identity.weights_digest}", conformance_sentence(conformance(subject))),
        ),
    ]
    return standalone_page(card_title(card, subject.identity), sections)


def card_title(card: HeadCard, identity: ModelIdentity) -> str:
    """The head, its model, and its label once that is known."""
    where = f"{card.name} of {identity.card.name}"
    if card.verdict is None:
        return where
    return f"{where}: {'no label' if card.verdict.label == 'none' else card.verdict.label}"


def cost_picture(card: HeadCard, look: Look) -> Picture | None:
    """The head alone and in its set, on one line of nats with random heads beside; None while it is not measured."""
    if card.alone is None:
        return None
    rows = [_beside(card, card.name, card.alone, card.alone_baselines)]
    if card.in_set is not None and card.in_set.rest is not None:
        name = f"its set of {len(card.in_set.whole.heads)}"
        rows.append(_beside(card, name, card.in_set.whole, card.in_set_baselines))
    losses = card.scores.losses()
    return Picture(beside_baselines(rows, losses, look), describe_beside(rows, losses))


def _behaviour(scores: HeadScores) -> Section:
    found = scores.behaviour
    title = {
        "present": "This model does induction on this probe",
        "weak": "This model hardly does induction on this probe",
        "absent": "This model does not do induction on this probe",
        None: "Whether this model does induction on this probe is not known",
    }[found.state]
    if found.unsure:
        title = "Too few sequences to show how far this model does induction on this probe"
    warning = ("Do not call any of its heads an induction head.",) if found.state == "absent" and not found.unsure else ()
    notes = (losses_sentence(found), set_remark(scores.losses()))
    return Section(title, (behaviour_sentence(found), *warning), notes=notes)


def _verdict(subject: Subject, card: HeadCard) -> Section:
    if card.judged is None or card.sentence is None:
        return Section("What it is", (_why(card, "judged"),))
    return Section(
        "What it is",
        tuple(said for said in (card.sentence, unmatched_sentence(card), call_sentence(card)) if said),
        notes=(f"Judged on {judged_on(card.judged, subject)}.",),
    )


def _looks(card: HeadCard, measured: str) -> Section:
    notes = [*filter(None, [looks_note(card)]), interval_note(card), measured]
    pictures: tuple[Picture, ...] = ()
    if card.patterns is None:
        notes.append(f"Pattern: {_why(card, 'patterns')}")
    else:
        figure = pattern_pair(card.patterns, Look(), height=_PATTERN_HEIGHT)
        pictures = (Picture(figure, describe_patterns(card.name, card.patterns)),)
        notes.append("Orange: the token after the earlier copy, where an induction head looks. First sequence of the probe.")
    return Section("Where it looks", ("Scores are shares of its attention.",), _table(score_rows(card)), pictures, notes)


def _text(card: HeadCard) -> Section:
    if card.on_text is None:
        return Section("On real text", (_why(card, "on_text"),))
    return Section("On real text", (text_sentence(card),), _table(text_rows(card)))


def _writes(card: HeadCard) -> Section:
    said = writing_note(card) if card.judged else _why(card, "judged")
    return Section("What it writes", rows=_table(writing_rows(card)), notes=(said,) if said else ())


def _table(rows: Sequence[Row]) -> list[Row]:
    return [
        {"": row["what"], "what it means": row["meaning"]} | {title: row[name] for name, title in COLUMNS.items()}
        for row in rows
    ]


def _costs(card: HeadCard, view: View) -> Section:
    picture = cost_picture(card, Look())
    said = [text for text in (alone_sentence(card), in_set_sentence(card)) if text] or [_why(card, "alone")]
    note = f"{view.experiment.mode.capitalize()} ablation, beside other heads. {baselines_note(card)}".strip()
    pictures = () if picture is None else (picture,)
    return Section("What taking it away costs", said, _table(cost_rows(card)), pictures, (note,))


def _edges(card: HeadCard) -> Section:
    if card.edges is None:
        return Section("Edges in and out", (_why(card, "edges"),))
    pictures: tuple[Picture, ...] = ()
    if card.edges.into or card.edges.out:
        pictures = (Picture(edge_lines(card.edges, Look()), describe_edges(card.name, card.edges)),)
    note = "Prefix matching of the head after the arrow, and the same with its keys read without the head before it."
    return Section("Edges in and out", (edges_sentence(card),), pictures=pictures, notes=(note,))


def _movement(card: HeadCard, threshold: float) -> Section:
    found = card.own_movement
    if found is None:
        return Section("How it moves", (_why(card, "movement"),))
    picture = Picture(
        one_head_panels(found, card.head, card.own_threshold(threshold), Look()),
        describe_one_head(found, card.head),
    )
    return Section("How it moves", (movement_sentence(card, threshold),), pictures=(picture,))


def _beside(card: HeadCard, name: str, removal: Removal, baselines: Baselines | None) -> BesideRow:
    before = card.scores.losses().second_copy
    return BesideRow(name, before + removal.cost, before + card.random_costs(baselines))


def _its_set(card: HeadCard) -> HeadSet | None:
    return None if card.in_set is None else card.in_set.whole.heads


def _why(card: HeadCard, part: PartName) -> str:
    return card.missing.get(part, _NOT_MEASURED)
