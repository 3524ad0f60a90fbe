"""The parts of the sensitivity page: the work behind it, what it means, and the panels."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.attention.cached import sensitivity
from core.attention.sensitivity import Sensitivity
from core.attention.tables import spread_rows
from core.attention.words import sensitivity_sentences
from core.figures.attention.sensitivity import describe_sensitivity, sensitivity_overlay, sensitivity_panels
from core.figures.base.memo import drawn
from core.heads import HeadSet
from core.settings.cost import PASSES_OF_SENSITIVITY, expected_seconds
from core.settings.provenance import measured_on
from core.sharing.commands import sensitivity_command
from core.sharing.facts import sensitivity_facts
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_result, job_key

_COLUMNS, _COLUMNS_LARGE, _COLUMNS_NARROW = 6, 3, 2


def sensitivity_of(page: Page) -> Sensitivity | None:
    """The score at every setting; None, with progress shown, while it is not there."""
    score = page.view.score
    doing = "Measuring every head at other lengths and seeds, and with the BOS changed"
    key, work = job_key(page.subject, "sensitivity", score), partial(sensitivity, page.subject, score)
    return await_result(key, work, doing, seconds=partial(expected_seconds, page.subject, PASSES_OF_SENSITIVITY))


def shown_heads(page: Page, found: Sensitivity) -> HeadSet:
    """As many heads as fit beside each other."""
    columns = _COLUMNS_NARROW if page.look.narrow else _COLUMNS_LARGE if page.look.large else _COLUMNS
    return found.top(columns, page.view.head)


def meaning(page: Page, found: Sensitivity) -> None:
    """What it means for the threshold."""
    first, *others = sensitivity_sentences(found, page.view.threshold)
    st.header(first, anchor=False)
    for sentence in others:
        st.markdown(f"- {verbatim(sentence)}")


def panels(page: Page, found: Sensitivity) -> None:
    """The small multiples, with the table behind them."""
    view, heads = page.view, shown_heads(page, found)
    source = Source(
        f"{measured_on(page.subject.at(sequences=found.sequences))}; one thing is varied at a time from these settings",
        sensitivity_command(view, heads),
        partial(sensitivity_facts, page.subject, found, heads, view.threshold),
        f"{page.stem}-sensitivity",
    )
    figure_panel(
        drawn(sensitivity_panels, found, heads, view.head, page.look),
        key="sensitivity",
        alt=describe_sensitivity(found, heads),
        rows=partial(spread_rows, found, heads, view.threshold),
        source=source,
        overlay=sensitivity_overlay(found, heads, view.threshold, page.look),
        on_pick=None,
    )
