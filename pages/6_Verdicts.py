"""Verdicts: which heads are induction heads, by test, interval and label, and why."""

import streamlit as st

from core.ui.components.behaviour import absent_banner, behaviour_line
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import plain
from core.ui.frame.state import CARD_LINK, link_to
from core.ui.frame.waiting import scores_of
from core.ui.panels.verdicts import (
    absent_at_every_length,
    calls_of,
    costs,
    explanation,
    floor_slider,
    interval_panel,
    judged,
    map_panel,
    placebo_panel,
    sentences,
    table,
)


def verdicts(page: Page) -> None:
    """The page's body."""
    st.title(f"Verdicts on {plain(page.identity.card.name)}")
    scores = scores_of(page.view.request)
    absent_banner(scores.losses())
    st.caption(behaviour_line(scores.losses()))
    left, right = (st.container(), st.container()) if page.look.large else st.columns([2, 1], gap="large")
    with right:
        floor_slider()
    with left:
        explanation()
    calls = calls_of(page.view.request, page.view.experiment.effect_floor)
    if calls is None:
        return
    absent_at_every_length(calls)
    called = len(calls.called)
    heads = "1 head matches" if called == 1 else f"{called} heads match"
    st.subheader(f"{heads} and {'is' if called == 1 else 'are'} called, of {len(calls.verdicts)}", anchor=False)
    # The verdicts do not wait for the costs, whose progress stands below them.
    told = st.container()
    found = judged(page, calls, costs(page, calls))
    with told:
        sentences(page, found)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([1, 1], gap="large")
    with left:
        st.subheader("The contrasts that decide", anchor=False)
        interval_panel(page, found)
    with right:
        st.subheader("Every head's label", anchor=False)
        map_panel(page, found)
    placebo_panel(page, scores, found)
    if page.view.head is not None:
        link_to("pages/2_Attention.py", "See where it looks", ":material/visibility:")
        link_to(*CARD_LINK)
    st.subheader("Every verdict, with its numbers", anchor=False)
    table(found)


run_page("Verdicts", verdicts)
