"""Verdicts: which heads are induction heads, by test, interval and label, and why."""

import streamlit as st

from core.ui.components.behaviour import behaviour_banner, behaviour_line
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
    st.caption(behaviour_line(scores))
    left, right = (st.container(), st.container()) if page.look.large else st.columns([2, 1], gap="large")
    with right:
        floor_slider()
    with left:
        explanation()
    judged = judged_of(page.subject, page.view.experiment.effect_floor)
    if judged is None:
        return
    absent_at_every_length(judged)
    called = len(judged.called)
    heads = "1 head matches" if called == 1 else f"{called} heads match"
    st.header(f"{heads} and {'is' if called == 1 else 'are'} called, of {len(judged.verdicts)}", anchor=False)
    # The verdicts do not wait for heads without a label, whose progress stands below them.
    place = st.container()
    st.header("Matters, does not match", anchor=False)
    found = shown(page, judged, unexplained(page, judged))
    with place:
        sentences(found)
        on_text(page, judged)
    nominee_panel(found)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([1, 1], gap="large")
    with left:
        st.header("The contrasts that decide", anchor=False)
        interval_panel(page, found)
    with right:
        st.header("Every head's label", anchor=False)
        map_panel(page, found)
    placebo_panel(page, scores, found)
    if page.view.head is not None:
        see_where_it_looks()
        open_its_card()
    st.header("Every verdict, with its numbers", anchor=False)
    table(found)


run_page("Verdicts", verdicts)
