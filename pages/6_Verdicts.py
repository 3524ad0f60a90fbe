"""Verdicts: which heads are induction heads, by test, interval and label, and why."""

from functools import partial

import streamlit as st

from core.numbers import counted
from core.ui.components.behaviour import behaviour_banner, behaviour_line
from core.ui.components.folded import TABLE, folded
from core.ui.components.results import judged_of
from core.ui.frame.navigation import open_its_card, see_where_it_looks
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.verdicts import (
    absent_at_every_length,
    explanation,
    floor_slider,
    interval_panel,
    map_panel,
    nominee_panel,
    on_text,
    placebo_head,
    placebo_panel,
    sentences,
    shown,
    table,
    unexplained,
)


def verdicts(page: Page) -> None:
    """The page's body."""
    st.title(f"Verdicts on {verbatim(page.name)}")
    scores = scores_of(page.subject)
    behaviour_banner(page.subject)
    answer = st.container(key="floor-lags-answer")
    left, right = (st.container(), st.container()) if page.look.large else st.columns([2, 1], gap="large")
    with right:
        floor_slider()
    with left:
        explanation()
    judged = judged_of(page.subject, page.view.experiment.effect_floor)
    if judged is None:
        return
    called = len(judged.called)
    heads = f"{counted(called, 'head')} {'matches' if called == 1 else 'match'}"
    with answer:
        absent_at_every_length(judged)
    answer.header(f"{heads} and {'is' if called == 1 else 'are'} called, of {len(judged.verdicts)}", anchor=False)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([1, 1], gap="large")
    # The verdicts do not wait for heads without a label, whose progress stands below them.
    place = st.container()
    st.header("Matters, does not match", anchor=False)
    found = shown(page, judged, unexplained(page, judged))
    with left, st.container(key="floor-lags-labels"):
        st.header("Every head's label", anchor=False)
        map_panel(page, found)
    with right:
        st.header("The contrasts that decide", anchor=False)
        interval_panel(page, found)
    with place, st.container(key="floor-lags-sentences"):
        sentences(found)
        on_text(page, judged)
    nominee_panel(found)
    head = placebo_head(page, found)
    folded(f"Placebo offsets of {head.name}", "placebo", partial(placebo_panel, page, scores, found))
    if page.view.head is not None:
        see_where_it_looks()
        open_its_card()
    folded("Every verdict, with its numbers", "verdicts", partial(table, found), TABLE)
    st.caption(behaviour_line(scores))


run_page("Verdicts", verdicts)
