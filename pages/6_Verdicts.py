"""Verdicts: which heads are induction heads, by test, interval and label, and why."""

from functools import partial

import streamlit as st

from core.settings.provenance import measured_on
from core.ui.components.behaviour import behaviour_banner, behaviour_line
from core.ui.components.existing_head import with_an_existing_head
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
from core.verdicts.words import answer


def verdicts(page: Page) -> None:
    """The page's body."""
    st.title(f"Verdicts on {verbatim(page.name)}")
    scores = scores_of(page.subject)
    page = with_an_existing_head(page, scores)
    behaviour_banner(page.subject)
    place = st.container(key="floor-lags-answer")
    left, right = (st.container(), st.container()) if page.look.large else st.columns([2, 1], gap="large")
    with right:
        floor_slider()
    with left:
        explanation()
    judged = judged_of(page.subject, page.view.experiment.effect_floor)
    if judged is None:
        return
    with place:
        absent_at_every_length(judged)
    place.header(answer(judged), anchor=False)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([1, 1], gap="large")
    # The verdicts do not wait for heads without a label, whose progress stands below them.
    told = st.container()
    st.header("Matters, does not match", anchor=False)
    found = shown(page, judged, unexplained(page, judged))
    with left, st.container(key="floor-lags-labels"):
        st.header("Every head's label", anchor=False)
        map_panel(page, found)
    with right:
        st.header("The contrasts that decide", anchor=False)
        interval_panel(page, found)
    with told, st.container(key="floor-lags-sentences"):
        sentences(found)
        on_text(page, judged)
    nominee_panel(page, found)
    head = placebo_head(page, found)
    folded(f"Placebo offsets of {head.name}", "placebo", partial(placebo_panel, page, scores, found))
    if page.view.head is not None:
        see_where_it_looks()
        open_its_card()
    folded("Every verdict, with its numbers", "verdicts", partial(table, found), TABLE)
    st.caption(f"{behaviour_line(scores)} {verbatim(f'Measured on {measured_on(page.subject)}.')}")


run_page("Verdicts", verdicts)
