"""The parts of the head card's page: label and sentence, the numbers, and a picture for each thing that is claimed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.ablation.tables import page_json
from core.attention.cached import score_key
from core.attention.scores import ALL_SCORES, HeadScores, head_name, heads_above
from core.attention.tables import head_rows, scores_json
from core.documents.head_card import card_page, card_title, cost_picture
from core.errors import BadInput
from core.figures.attention.heatmap import describe_heatmap, heatmap_marks, score_heatmap
from core.figures.attention.sensitivity import describe_one_head, one_head_marks, one_head_panels
from core.figures.base.number_table import number_table_html
from core.figures.head_card.edges import describe_edges, edge_lines
from core.figures.head_card.patterns import describe_patterns, pattern_pair, pattern_rows
from core.head_card.cached import PARTS
from core.head_card.card import HeadCard, PartName
from core.head_card.tables import COLUMNS, card_command, card_facts, card_rows, cost_rows, edge_rows, movement_rows
from core.head_card.words import (
    alone_sentence,
    call_sentence,
    control_note,
    edges_sentence,
    in_set_sentence,
    interval_note,
    movement_sentence,
)
from core.settings.view import measured_on, parse_head, score_command
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.page import Page
from core.ui.frame.sentences import plain
from core.ui.frame.state import link_to, pick_head
from core.ui.frame.waiting import awaited

T = TypeVar("T")
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
    ("pages/6_Verdicts.py", "Verdicts on all heads", ":material/gavel:"),
    ("pages/2_Attention.py", "See where it looks", ":material/visibility:"),
    ("pages/3_Ablation.py", "Take other heads away", ":material/content_cut:"),
    ("pages/7_Circuits.py", "The whole circuit", ":material/account_tree:"),
    ("pages/9_Sensitivity.py", "How other heads move", ":material/tune:"),
)
# Where the progress of a part is shown.
_PLACES: dict[PartName, str] = {
    "calls": "sentence",
    "patterns": "patterns",
    "alone": "costs",
    "alone_controls": "costs",
    "in_set": "costs",
    "in_set_controls": "costs",
    "edges": "edges",
    "movement": "movement",
}


def picker(page: Page, scores: HeadScores) -> None:
    """Choose the head that the card is about, the highest score first."""
    view = page.view
    values = scores.mean(view.score)
    heads = {head_name(*head): float(values[head]) for head in heads_above(values, -2.0)}
    st.session_state[_PICKER] = None if view.head is None else head_name(*view.head)
    st.selectbox(
        "Head" if view.head is None else "Another head",
        list(heads),
        key=_PICKER,
        format_func=lambda name: f"{name} · {heads[name]:.2f}",
        on_change=_take_picked,
        placeholder="Choose a head",
        help=f"The highest first: {ALL_SCORES[view.score].title}. L5H7 is head 7 of layer 5, both counted from 0.",
    )


def choose_in_map(page: Page, scores: HeadScores) -> None:
    """Every head's score; a click opens its card."""
    view, identity = page.view, page.identity
    shown = (scores, view.score, view.threshold)
    probe = view.request.probe(identity)
    json_text = partial(scores_json, scores, view, probe, identity)
    source = Source(measured_on(probe, identity), score_command(view), json_text, _stem(page, "heads"))
    figure_panel(
        score_heatmap(scores, view.score, None, page.look),
        key="choose",
        alt=describe_heatmap(scores, view.score),
        rows=partial(head_rows, *shown),
        source=source,
        marks=heatmap_marks(*shown, page.look),
    )


def places_for(page: Page) -> dict[str, DeltaGenerator]:
    """An empty place for each panel, under its heading, in two columns; large text needs the whole width."""
    places = {name: st.container() for name in ("sentence", "tools", "numbers")}
    columns = [st.container(), st.container()] if page.look.large else st.columns(2, gap="large")
    for column, names in zip(columns, (("patterns", "edges"), ("costs", "movement")), strict=True):
        places |= {name: column.container() for name in names}
    for name, title in _TITLES.items():
        places[name].subheader(title, anchor=False)
    return places


def gathered(page: Page, card: HeadCard, places: Mapping[str, DeltaGenerator]) -> HeadCard:
    """The card with what is missing measured as shared work, its progress in the part's place; or why it cannot be had."""
    for name, part in PARTS.items():
        if getattr(card, name) is not None:
            continue
        with places[_PLACES[name]]:
            if name not in card.missing:
                key = f"card {name} {score_key(page.view.request)} {part.depends(page.view)}"
                work = partial(part.measure, page.view)
                try:
                    found: dict[str, Any] = {name: awaited(key, partial(_run, work), part.doing, background=True)}
                    card = replace(card, **found)
                except BadInput as error:
                    card = replace(card, missing={**card.missing, name: str(error)})
            if name in card.missing:
                st.info(plain(card.missing[name]), icon=":material/info:")
    return card


def title_of(page: Page, card: HeadCard) -> str:
    """The head, its model, and its label once that is known."""
    return plain(card_title(card, page.identity))


def tools(page: Page, card: HeadCard, source: Source) -> None:
    """Another head, and the card as a file."""
    left, *right = [st.container()] * 3 if page.look.large else st.columns([3, 1, 1], vertical_alignment="bottom")
    with left:
        picker(page, card.scores)
    ready = card.complete
    why = "Live figures, no network needed." if ready else "When every part has been measured."
    right[0].download_button(
        "Card as one page",
        lambda: card_page(card, page.view, page.identity),
        f"{source.stem}.html",
        "text/html",
        key="card-html",
        on_click="ignore",
        disabled=not ready,
        help=why,
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
    if card.sentence is None or card.verdict is None or card.calls is None:
        return
    if card.calls.behaviour == "absent" and card.scores.losses().behaviour == "present":
        st.warning(
            "**The behaviour is absent at every length that was tested**, so the label says where the head looks, not that "
            "the model does induction.",
            icon=":material/warning:",
        )
    st.markdown(f"**{plain(card.sentence.partition('. ')[2])}**")
    st.caption(plain(call_sentence(card)))


def numbers(page: Page, card: HeadCard) -> None:
    """Every number with interval, control and chance; in words what each is."""
    st.html(number_table_html(card_rows(card), COLUMNS, f"Every number of {card.name}", page.look))
    st.caption(plain(interval_note(card)))


def patterns_panel(page: Page, card: HeadCard, source: Source) -> None:
    """Where the head looks, on the repeat and on fresh tokens."""
    if card.patterns is None:
        return
    _part_panel(
        pattern_pair(card.patterns, page.look),
        key="patterns",
        alt=describe_patterns(card.name, card.patterns),
        rows=pattern_rows(card.patterns),
        source=source,
    )
    st.caption(
        "The first sequence of the probe; a stronger colour is more attention. Orange: the token after the earlier copy, where "
        "an induction head looks. A head that follows tokens leaves the orange line when the second half is fresh."
    )


def removal_panel(page: Page, card: HeadCard, source: Source) -> None:
    """What taking the head away costs, alone and in its set, beside random heads."""
    if card.alone is None:
        return
    for said in (alone_sentence(card), in_set_sentence(card)):
        if said:
            st.markdown(plain(said))
    picture = cost_picture(card, page.look)
    if picture is not None:
        _part_panel(
            picture.figure,
            key="removal",
            alt=picture.description,
            rows=cost_rows(card),
            source=source,
        )
    mode = page.view.experiment.mode.capitalize()
    st.caption(
        plain(
            f"{mode} ablation. Diamond: without these heads. Rings and band: random heads matched by layer, 95 %. "
            f"{control_note(card)}"
        )
    )


def edges_panel(page: Page, card: HeadCard, source: Source) -> None:
    """Which heads this one depends on, and which depend on it."""
    if card.edges is None:
        return
    st.markdown(plain(edges_sentence(card)))
    if not card.edges.into and not card.edges.out:
        return
    _part_panel(
        edge_lines(card.edges, page.look),
        key="edges",
        alt=describe_edges(card.name, card.edges),
        rows=edge_rows(card),
        source=source,
    )
    st.caption(
        "Prefix matching is the induction score of the head after the arrow: as it is, and with its keys read without what the "
        "head before the arrow wrote. A long line: it needs that path."
    )


def movement_panel(page: Page, card: HeadCard, source: Source) -> None:
    """How the score moves with length, seed and BOS."""
    found = card.own_movement
    if found is None:
        return
    threshold = page.view.threshold
    st.markdown(plain(movement_sentence(card, threshold)))
    _part_panel(
        one_head_panels(found, card.head, None, page.look),
        key="movement",
        alt=describe_one_head(found, card.head),
        rows=movement_rows(card, threshold),
        source=source,
        marks=one_head_marks(found, card.head, threshold, page.look),
    )


def links() -> None:
    """Where each part of the card comes from."""
    with st.container(horizontal=True):
        for path, label, icon in _LINKS:
            link_to(path, label, icon)


def card_source(page: Page, card: HeadCard) -> Source:
    """What the files of this page say."""
    view, identity = page.view, page.identity
    return Source(
        measured_on(view.request.probe(identity), identity),
        card_command(card, view),
        page_json(view, identity, **card_facts(card, view)),
        _stem(page, card.name),
    )


def _run(work: Callable[[], T], _: object) -> T:
    """Work as a job: it reports to the job that runs it, not to the function it is handed."""
    return work()


def _take_picked() -> None:
    picked = st.session_state[_PICKER]
    pick_head(None if picked is None else parse_head(picked))


def _stem(page: Page, what: str) -> str:
    return f"headscope-{page.identity.card.name.replace('/', '--')}-{what}"
