"""One head's card as one standalone page: every claim with its number, its control and a live figure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from core.ablation.cached import Controls
from core.attention.scores import Losses
from core.attention.tables import Row
from core.documents.standalone import Picture, Section, standalone_page
from core.figures.ablation.beside_baselines import BesideRow, beside_controls, describe_beside
from core.figures.attention.sensitivity import describe_one_head, one_head_panels
from core.figures.base.style import Look
from core.figures.head_card.edges import describe_edges, edge_lines
from core.figures.head_card.patterns import describe_patterns, pattern_pair
from core.head_card.card import HeadCard, PartName, Removal
from core.head_card.tables import COLUMNS, card_command, cost_rows, reading_rows, writing_rows
from core.head_card.words import (
    alone_sentence,
    call_sentence,
    control_note,
    edges_sentence,
    in_set_sentence,
    interval_note,
    movement_sentence,
)
from core.settings.view import View, measured_on, params_of
from core.transformer.card import ModelIdentity
from core.verdicts.tables import judged_on

# A page in a file has room for larger patterns than a screen with everything on it.
_PATTERN_HEIGHT = 480
_NOT_MEASURED = "Not measured yet."


def card_page(card: HeadCard, view: View, identity: ModelIdentity) -> str:
    """The whole page as HTML; what is not measured, or cannot be, is said in its place."""
    measured = f"Measured on {measured_on(view.request.probe(identity), identity)}."
    sections = [
        *_absent(card.scores.losses()),
        _verdict(card, view, identity),
        _looks(card, measured),
        Section("What it writes", rows=_table(writing_rows(card)), notes=() if card.calls else (_why(card, "calls"),)),
        _costs(card, view),
        _edges(card),
        _movement(card, view.threshold),
        Section(
            "The same card again",
            (f"In HeadScope: /Head_card?{urlencode(params_of(view))}", f"Without a browser: {card_command(card, view)}"),
            notes=(f"Weights: {identity.weights_digest}",),
        ),
    ]
    return standalone_page(card_title(card, identity), sections)


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
    rows = [_beside(card, card.name, card.alone, card.alone_controls)]
    if card.in_set is not None and card.in_set.rest is not None:
        name = f"its set of {len(card.in_set.whole.heads)}"
        rows.append(_beside(card, name, card.in_set.whole, card.in_set_controls))
    losses = card.scores.losses()
    return Picture(beside_controls(rows, losses, look), describe_beside(rows, losses))


def _absent(losses: Losses) -> list[Section]:
    if losses.behaviour == "present":
        return []
    return [
        Section(
            "This model does not do induction on this probe",
            (
                f"Its loss on the repeated half is {losses.second_copy:.2f} nats; knowing only which tokens are in the text "
                f"would already give {losses.ln_length:.2f}. Do not call any of its heads an induction head.",
            ),
        )
    ]


def _verdict(card: HeadCard, view: View, identity: ModelIdentity) -> Section:
    if card.calls is None or card.sentence is None:
        return Section("What it is", (_why(card, "calls"),))
    return Section(
        "What it is",
        (card.sentence, call_sentence(card)),
        notes=(f"Judged on {judged_on(card.calls, view, identity)}.",),
    )


def _looks(card: HeadCard, measured: str) -> Section:
    notes = [interval_note(card), measured]
    pictures: tuple[Picture, ...] = ()
    if card.patterns is None:
        notes.append(f"Pattern: {_why(card, 'patterns')}")
    else:
        figure = pattern_pair(card.patterns, Look(), height=_PATTERN_HEIGHT)
        pictures = (Picture(figure, describe_patterns(card.name, card.patterns)),)
        notes.append("Orange: the token after the earlier copy, where an induction head looks. First sequence of the probe.")
    return Section("Where it looks", ("Scores are shares of its attention.",), _table(reading_rows(card)), pictures, notes)


def _table(rows: Sequence[Row]) -> list[Row]:
    return [
        {"": row["what"], "what it means": row["meaning"]} | {title: row[name] for name, title in COLUMNS.items()}
        for row in rows
    ]


def _costs(card: HeadCard, view: View) -> Section:
    picture = cost_picture(card, Look())
    said = [text for text in (alone_sentence(card), in_set_sentence(card)) if text] or [_why(card, "alone")]
    note = f"{view.experiment.mode.capitalize()} ablation; random heads matched by layer. {control_note(card)}".strip()
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
        one_head_panels(found, card.head, threshold, Look()),
        describe_one_head(found, card.head),
    )
    return Section("How it moves", (movement_sentence(card, threshold),), pictures=(picture,))


def _beside(card: HeadCard, name: str, removal: Removal, controls: Controls | None) -> BesideRow:
    before = card.scores.losses().second_copy
    return BesideRow(name, before + removal.cost, before + card.random_costs(controls))


def _why(card: HeadCard, part: PartName) -> str:
    return card.missing.get(part, _NOT_MEASURED)
