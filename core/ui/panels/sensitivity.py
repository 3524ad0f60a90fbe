"""The parts of the sensitivity page: the work behind it, what it means, and the panels."""

from __future__ import annotations

import streamlit as st

from core.ablation.tables import page_json
from core.attention.cached import score_key
from core.attention.sensitivity import Sensitivity, measure_sensitivity, sensitivity_sentences, spread_rows, stored_sensitivity
from core.figures.attention.sensitivity import describe_sensitivity, sensitivity_marks, sensitivity_panels
from core.heads import Head
from core.settings.view import measured_on, score_command
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.page import Page
from core.ui.frame.sentences import plain
from core.ui.frame.waiting import awaited

_COLUMNS, _COLUMNS_LARGE = 6, 3


def sensitivity_of(page: Page) -> Sensitivity | None:
    """The score at every setting; None, with progress shown, while it is not there."""
    request, score = page.view.request, page.view.score
    known = stored_sensitivity(request, score)
    return known or awaited(
        f"sensitivity {score_key(request)} {score}",
        lambda _: measure_sensitivity(request, score),
        "Measuring every head at other lengths and seeds, and with the BOS changed",
    )


def shown_heads(page: Page, found: Sensitivity) -> tuple[Head, ...]:
    """As many heads as fit beside each other."""
    return found.top(_COLUMNS_LARGE if page.look.large else _COLUMNS, page.view.head)


def meaning(page: Page, found: Sensitivity) -> None:
    """What it means for the threshold."""
    first, *others = sensitivity_sentences(found, shown_heads(page, found), page.view.threshold)
    st.subheader(first, anchor=False)
    for sentence in others:
        st.markdown(f"- {plain(sentence)}")


def panels(page: Page, found: Sensitivity) -> None:
    """The small multiples, with the table behind them."""
    view = page.view
    heads = shown_heads(page, found)
    rows = spread_rows(found, heads, view.threshold)
    always, sometimes = found.steady(view.threshold)
    card = page.identity.card
    numbers = page_json(view, page.identity, above_always=always, above_sometimes=sometimes, settings=rows)
    sequences = found.settings[0].request.options.sequences
    usual = measured_on(view.request.probe(page.identity), page.identity)
    source = Source(
        f"{sequences} sequences at each setting, one thing varied at a time; otherwise {usual}",
        score_command(view),
        numbers,
        f"headscope-{card.name.replace('/', '--')}-sensitivity",
    )
    figure_panel(
        sensitivity_panels(found, heads, view.head, page.look),
        key="sensitivity",
        alt=describe_sensitivity(found, heads),
        rows=rows,
        source=source,
        marks=sensitivity_marks(found, heads, view.threshold, page.look),
        on_pick=None,
    )
