"""The parts of the compare page: which quantities, a person's own numbers, the answer, the scatter, the picked head."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from core.attention.cached import existing_heads
from core.errors import BadInput
from core.figures.base.memo import drawn
from core.figures.base.number_table import small_table_html
from core.figures.quantities import comparison_scatter, describe_comparison, marks_sentence
from core.heads import Head
from core.numbers import NOTHING, counted, interval, unsigned
from core.quantities.cached import Asked, obtained, reading_head, source_of, text_digest, text_windows_of
from core.quantities.comparison import Axis, Comparison, ranks
from core.quantities.imported import MAX_CHARACTERS, Imported, read_numbers
from core.quantities.table import IMPORTED, QUANTITIES, reads_of_a_head, rests_on_text
from core.quantities.tables import comparison_rows
from core.quantities.words import sentences
from core.runtime.cache import if_cached
from core.settings.cost import spoken
from core.settings.provenance import measured_on
from core.sharing.commands import compare_command
from core.sharing.facts import compare_facts
from core.text.words import windows_words
from core.ui.components.experiment_controls import mode_control
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.navigation import go_to_its_card, open_its_card, see_where_it_looks
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import held_place, pick_head
from core.ui.frame.waiting import await_result, awaited_scores, job_key

_PASTED = "pasted_numbers"
_WANTED, _CLICKED = "quantities_wanted", "card_wanted"
# What is measured with every head anyway, and is waited for as on other pages.
_OF_SCORES = ("first_scores", "scores", "whole_rows", "place")
# These depend on what stands in for a head that is taken away.
_OF_REMOVAL = ("causal_map", "estimate", "verdicts", "path_patching")
_EXAMPLE = "layer,head,value\n5,7,0.56\n6,0,0.91"
FILE = "numbers.csv"


def controls(page: Page) -> None:
    """The two quantities, the third one as colour, and how heads are taken away where that matters."""
    across, up, colour = (st.container() for _ in range(3)) if page.look.large else st.columns(3)
    names, title = list(QUANTITIES), lambda name: QUANTITIES[name].title if name else "none"
    axes = page.view.axes
    across.selectbox("Across", names, held_place("x", names), key="x", format_func=title, help=_meaning(axes.x))
    up.selectbox("Up", names, held_place("y", names), key="y", format_func=title, help=_meaning(axes.y))
    colours = ["", *names]
    colour.selectbox(
        "Colour", colours, held_place("colour", colours), key="colour", format_func=title, help=_meaning(axes.colour)
    )
    if any(QUANTITIES[name].source in _OF_REMOVAL for name in _chosen(page)):
        mode_control(page)


def own_numbers(page: Page) -> Imported | None:
    """Numbers of a paper or another tool, pasted; None while there are none that can be used."""
    card = page.subject.card
    with st.expander("Numbers of a paper or another tool", icon=":material/content_paste:", expanded=IMPORTED in _chosen(page)):
        text = st.text_area(
            "Paste CSV or JSON: one number a head",
            st.session_state.get(_PASTED, ""),
            key=_PASTED,
            persist_state="session",
            max_chars=MAX_CHARACTERS,
            height=140,
            placeholder=_EXAMPLE,
            help="Layer, head and value; or a head's name (L5H7) and value; or a matrix with a row for each layer. Layers and "
            "heads are counted from 0.",
        )
        st.caption(
            "They stay in this window: the address names the quantities and cannot hold the numbers, so whoever opens a copied "
            f"link pastes them again. The command reads them from a file, `--import {FILE}`."
        )
        if not text or not text.strip():
            return None
        try:
            found = read_numbers(text, card.n_layers, card.n_heads)
        except BadInput as error:
            st.error(verbatim(str(error)), icon=":material/error:")
            return None
        have = "has" if found.n_heads == 1 else "have"
        there = int(existing_heads(page.subject).sum())
        st.caption(verbatim(f"{found.n_heads} of {counted(there, 'head')} {have} a number."))
        if IMPORTED not in _chosen(page):
            st.caption(f"Choose *{QUANTITIES[IMPORTED].title}* above to see them.")
        return found


def asked_on(page: Page, imported: Imported | None) -> Asked:
    """What the page's quantities are asked of."""
    experiment = page.view.experiment
    reader = page.view.head if any(reads_of_a_head(name) for name in _chosen(page)) else None
    return Asked(page.subject, experiment.mode, experiment.effect_floor, imported, reader, page.view.text)


def axes_of(page: Page, asked: Asked) -> list[Axis] | None:
    """The numbers of all chosen quantities; None, with what is missing said and offered, while some are not there.

    Raises Withheld where one cannot be shown to be right on this model.
    """
    found = {name: _axis_of(asked, name) for name in _chosen(page)}
    axes = [axis for name in _chosen(page) if (axis := found[name]) is not None]
    return axes if len(axes) == len(_chosen(page)) else None


def answer(found: Comparison) -> None:
    """The answer first, then what the highest heads share and who falls out."""
    first, *others = sentences(found)
    st.markdown(f"**{verbatim(first)}**")
    for sentence in others:
        st.markdown(f"- {verbatim(sentence)}")


def scatter(page: Page, asked: Asked, found: Comparison) -> None:
    """A point a head, with the table behind it. A click opens the head's card."""
    own = FILE if IMPORTED in _chosen(page) else ""
    measured = measured_on(page.subject)
    if any(QUANTITIES[name].source == "verdicts" for name in _chosen(page)):
        measured += "; what verdicts give, on several lengths"
    if any(QUANTITIES[name].source == "text" for name in _chosen(page)):
        measured += f"; what text gives, on {windows_words(text_windows_of(asked))}"
    facts = partial(compare_facts, asked, found)
    figure_panel(
        drawn(comparison_scatter, found, page.view.head, page.look),
        key="comparison",
        alt=describe_comparison(found),
        rows=partial(comparison_rows, found),
        source=Source(measured, compare_command(page.view, own), facts, f"{page.stem}-compare"),
        on_pick=_open_card,
    )
    st.caption(verbatim(f"{marks_sentence(found)} A click on a point opens the head's card."))


def picked_head(page: Page, found: Comparison) -> None:
    """The picked head's numbers and places, and the way to its card."""
    head = page.view.head
    if head is None:
        st.markdown("**No head picked.** Choose one in the sidebar, or click a point.")
        return
    st.header(head.name, anchor=False)
    axes = [found.x, found.y, *([] if found.colour is None else [found.colour])]
    rows = [_picked_row(axis, head) for axis in axes]
    headings = {"what": "number", "value": "value", "interval": "95 % interval", "place": "place"}
    st.html(small_table_html(rows, headings, f"Numbers of {head.name}", page.look, {}))
    see_where_it_looks()
    open_its_card()


def to_the_card_of_a_clicked_head(page: Page) -> None:
    """Leave for the card, if a point was clicked since this page was drawn. First of all: the page need not be drawn again."""
    if st.session_state.pop(_CLICKED, False) and page.view.head is not None:
        go_to_its_card(page.view)


def _open_card(head: Head) -> None:
    pick_head(head)
    st.session_state[_CLICKED] = True


def _axis_of(asked: Asked, name: str) -> Axis | None:
    """One quantity's numbers if they are there; else what every page measures is awaited, and the rest is offered."""
    quantity, source = QUANTITIES[name], source_of(name)
    if quantity.source == "import" and asked.imported is None:
        st.info(
            "Imported numbers are chosen, and no address can hold them: paste them below, or choose another quantity.",
            icon=":material/content_paste:",
        )
        return None
    if quantity.source in _OF_SCORES:
        scores = awaited_scores(asked.subject, name)
        return None if scores is None else source.read(quantity, scores, asked)
    known = if_cached(partial(obtained, name, asked))
    if known is not None:
        return known
    reader = reading_head(asked).name if reads_of_a_head(name) else ""
    text = text_digest(asked) if rests_on_text(name) else ""
    key = job_key(asked.subject, "quantity", quantity.source, asked.mode, asked.floor, reader, text)
    wanted: set[str] = st.session_state.setdefault(_WANTED, set())
    if key not in wanted:
        st.info(
            f"{quantity.title} is not measured yet with these settings. It takes about {spoken(source.seconds(asked))} here.",
            icon=":material/pending:",
        )
        st.button(
            f"Measure: {quantity.title}", key=f"want {name}", on_click=wanted.add, args=(key,), icon=":material/play_arrow:"
        )
        return None
    found = await_result(
        key, partial(source.work, asked), source.doing, background=True, seconds=partial(source.seconds, asked)
    )
    return None if found is None else source.read(quantity, found, asked)


def _chosen(page: Page) -> list[str]:
    axes = page.view.axes
    return [axes.x, axes.y, *([axes.colour] if axes.colour else [])]


def _meaning(name: str) -> str | None:
    quantity = QUANTITIES.get(name)
    return None if quantity is None else f"{quantity.title}: {quantity.meaning} ({quantity.unit})."


def _picked_row(axis: Axis, head: Head) -> dict[str, str]:
    place, known = ranks(axis.values)[head], int((~np.isnan(axis.values)).sum())
    return {
        "what": axis.words,
        "value": unsigned(axis.values[head]),
        "interval": interval(axis.low[head], axis.high[head]),
        "place": NOTHING if np.isnan(place) else f"{place:g} of {known}",
    }
