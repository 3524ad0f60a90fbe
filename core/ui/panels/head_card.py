"""The parts of the head card's page: label and sentence, the numbers, and a picture for each thing that is claimed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.attention.tables import Row, head_rows
from core.documents.head_card import card_page, card_title, cost_picture
from core.errors import BadInput
from core.figures.attention.heatmap import describe_heatmap, heatmap_overlay, score_heatmap
from core.figures.attention.sensitivity import describe_one_head, one_head_overlay, one_head_panels
from core.figures.base.memo import drawn
from core.figures.base.number_table import number_table_html
from core.figures.head_card.edges import describe_edges, edge_lines
from core.figures.head_card.patterns import describe_patterns, pattern_pair, pattern_rows
from core.head_card.cached import PARTS
from core.head_card.card import HeadCard, PartName
from core.head_card.tables import COLUMNS, card_facts, card_rows, cost_rows, edge_rows, movement_rows
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
from core.heads import Head
from core.numbers import NOTHING, unsigned
from core.settings.provenance import measured_on
from core.sharing.commands import card_command, score_command
from core.sharing.facts import score_facts
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.navigation import ABLATION, ATTENTION, CIRCUITS, SENSITIVITY, TEXT, VERDICTS
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import pick_head
from core.ui.frame.waiting import await_job, job_key

# A part of the card: one small picture among others, and no map of heads to pick from.
_part_panel = partial(figure_panel, on_pick=None, compact=True)
_PICKER = "card_head"
_TITLES = {
    "patterns": "Where it looks",
    "costs": "What taking it away costs",
    "edges": "Edges in and out",
    "movement": "How it moves",
}
_LINKS = (
    (VERDICTS, "All verdicts"),
    (ATTENTION, "See where it looks"),
    (ABLATION, "Take other heads away"),
    (CIRCUITS, "The whole circuit"),
    (SENSITIVITY, "How other heads move"),
    (TEXT, "On real text"),
)
# Where the progress of a part is shown.
_PLACES: dict[PartName, str] = {
    "judged": "sentence",
    "own_effect": "sentence",
    "patterns": "patterns",
    "alone": "costs",
    "alone_baselines": "costs",
    "in_set": "costs",
    "in_set_baselines": "costs",
    "edges": "edges",
    "movement": "movement",
    "on_text": "numbers",
}


def picker(page: Page, scores: HeadScores) -> None:
    """Choose the head that the card is about, the highest score first."""
    view = page.view
    values = scores.mean(view.score)
    heads = {head.name: unsigned(values[head]) for head in scores.ranked(view.score)}
    held = None if view.head is None else view.head.name
    st.session_state[_PICKER] = held
    st.selectbox(
        "Head" if view.head is None else "Another head",
        list(heads),
        # Where what it holds is lost on the way, too.
        list(heads).index(held) if held in heads else None,
        key=_PICKER,
        format_func=lambda name: f"{name} · {heads[name]}",
        on_change=_take_picked,
        placeholder="Choose a head",
        help=f"The highest first: {ALL_SCORES[view.score].title}. L5H7 is head 7 of layer 5, both counted from 0.",
    )


def choose_in_map(page: Page, scores: HeadScores) -> None:
    """Every head's score; a click opens its card."""
    view = page.view
    shown = (scores, view.score, view.threshold)
    facts = partial(score_facts, page.subject, scores)
    source = Source(measured_on(page.subject), score_command(view), facts, f"{page.stem}-heads")
    figure_panel(
        drawn(score_heatmap, scores, view.score, None, page.look),
        key="choose",
        alt=describe_heatmap(scores, view.score),
        rows=partial(head_rows, *shown),
        source=source,
        overlay=heatmap_overlay(*shown, page.look),
    )


def places_for(page: Page) -> dict[str, DeltaGenerator]:
    """An empty place for each panel, under its heading, in two columns; large text needs the whole width."""
    places = {name: st.container() for name in ("sentence", "tools", "numbers")}
    columns = [st.container(), st.container()] if page.look.large else st.columns(2, gap="large")
    for column, names in zip(columns, (("patterns", "movement"), ("costs", "edges")), strict=True):
        places |= {name: column.container() for name in names}
    for name, title in _TITLES.items():
        places[name].header(title, anchor=False)
    return places


def gathered(page: Page, card: HeadCard, places: Mapping[str, DeltaGenerator]) -> HeadCard:
    """The card with what is missing measured as shared work, its progress in the part's place; or why it cannot be had."""
    for name, part in PARTS.items():
        if getattr(card, name) is not None:
            continue
        with places[_PLACES[name]]:
            if name not in card.missing:
                key = job_key(page.subject, "card", name, part.depends(page.subject, page.view))
                work = partial(part.measure, page.subject, page.view)
                seconds = partial(part.seconds, page.subject)
                try:
                    found: dict[str, Any] = {name: await_job(key, work, part.doing, background=True, seconds=seconds)}
                    card = replace(card, **found)
                except BadInput as error:
                    card = replace(card, missing={**card.missing, name: str(error)})
            if name in card.missing:
                st.info(verbatim(card.missing[name]), icon=":material/info:")
    return card


def title_of(page: Page, card: HeadCard) -> str:
    """The head, its model, and its label once that is known."""
    return verbatim(card_title(card, page.subject.identity))


def tools(page: Page, card: HeadCard, source: Source) -> None:
    """Another head, and the card as a file."""
    left, *right = [st.container()] * 3 if page.look.large else st.columns([3, 1, 1], vertical_alignment="bottom")
    with left:
        picker(page, card.scores)
    so_far = "" if card.complete else " So far as it is measured: what is missing says so in its place."
    right[0].download_button(
        "Card as one page",
        lambda: card_page(page.subject, card, page.view),
        f"{source.stem}.html",
        "text/html",
        key="card-html",
        on_click="ignore",
        help=f"Live figures, no network needed.{so_far}",
        width="stretch",
        icon=":material/download:",
    )
    right[1].download_button(
        "Numbers as JSON",
        source.json_text,
        f"{source.stem}.json",
        "application/json",
        key="card-json",
        on_click="ignore",
        width="stretch",
        icon=":material/data_object:",
    )


def sentence(card: HeadCard) -> None:
    """What the head is, in words, and why it is called that."""
    if card.sentence is None or card.verdict is None or card.judged is None:
        return
    if card.judged.behaviour == "absent" and card.scores.behaviour.state != "absent":
        st.warning(
            "**The behaviour is absent at every length that was tested**, so the label says where the head looks, not that "
            "the model does induction.",
            icon=":material/warning:",
        )
    st.markdown(f"**{verbatim(card.sentence.partition('. ')[2])}**")
    if matters := unmatched_sentence(card):
        st.markdown(f"**{verbatim(matters)}**")
    st.caption(verbatim(call_sentence(card)))


def numbers(page: Page, card: HeadCard) -> None:
    """Every number with interval, control and chance; in words what each is."""
    st.html(number_table_html(card_rows(card), COLUMNS, f"Every number of {card.name}", page.look))
    st.caption(
        verbatim(
            " ".join(said for said in (looks_note(card), writing_note(card), text_sentence(card), interval_note(card)) if said)
        )
    )


def patterns_panel(page: Page, card: HeadCard, source: Source) -> None:
    """Where the head looks, on the repeat and on fresh tokens."""
    if card.patterns is None:
        return
    _part_panel(
        pattern_pair(card.patterns, page.look),
        key="patterns",
        alt=describe_patterns(card.name, card.patterns),
        rows=partial(pattern_rows, card.patterns),
        source=source,
    )
    st.caption(
        "The first sequence of the probe; a stronger colour is more attention. Orange: the token after the earlier copy, where "
        "an induction head looks. A head that follows tokens leaves the orange line when the second half is fresh."
    )


def removal_panel(page: Page, card: HeadCard, source: Source) -> None:
    """What taking the head away costs, alone and in its set, beside other heads."""
    if card.alone is None:
        return
    for said in (alone_sentence(card), in_set_sentence(card)):
        if said:
            st.markdown(verbatim(said))
    picture = cost_picture(card, page.look)
    if picture is not None:
        _part_panel(
            picture.figure,
            key="removal",
            alt=picture.description,
            rows=partial(_cost_table, card),
            source=source,
        )
    mode = page.view.experiment.mode.capitalize()
    st.caption(
        verbatim(f"{mode} ablation. Diamond: without these heads. Rings: other heads, and their range. {baselines_note(card)}")
    )


def edges_panel(page: Page, card: HeadCard, source: Source) -> None:
    """Which heads this one depends on, and which depend on it."""
    if card.edges is None:
        return
    st.markdown(verbatim(edges_sentence(card)))
    if not card.edges.into and not card.edges.out:
        return
    _part_panel(
        drawn(edge_lines, card.edges, page.look),
        key="edges",
        alt=describe_edges(card.name, card.edges),
        rows=partial(edge_rows, card),
        source=source,
    )
    st.caption(
        "The induction score of the head after the arrow, with its keys read as they are and without what the head before it "
        "wrote: a long line needs that path."
    )


def movement_panel(page: Page, card: HeadCard, source: Source) -> None:
    """How the score moves with length, seed and BOS."""
    found = card.own_movement
    if found is None:
        return
    threshold = page.view.threshold
    own = card.own_threshold(threshold)
    st.markdown(verbatim(movement_sentence(card, threshold)))
    _part_panel(
        drawn(one_head_panels, found, card.head, None, page.look),
        key="movement",
        alt=describe_one_head(found, card.head),
        rows=partial(movement_rows, card, threshold),
        source=source,
        overlay=None if own is None else one_head_overlay(found, card.head, own, page.look),
    )


def links() -> None:
    """Where each part of the card comes from."""
    with st.container(horizontal=True):
        for target, label in _LINKS:
            target.link(label)


def card_source(page: Page, card: HeadCard) -> Source:
    """What the files of this page say."""
    view = page.view
    in_set = None if card.in_set is None else card.in_set.whole.heads
    facts = partial(card_facts, page.subject, card, view)
    return Source(measured_on(page.subject), card_command(view, in_set), facts, f"{page.stem}-{card.name}")


def _cost_table(card: HeadCard) -> list[Row]:
    """The costs as a table and a file have them: nothing where the card has a dash."""
    return [{name: "" if value == NOTHING else value for name, value in row.items()} for row in cost_rows(card)]


def _take_picked() -> None:
    picked = st.session_state[_PICKER]
    pick_head(None if picked is None else Head.parse(picked))
