"""Sensitivity: how a score moves with length, seed and BOS, so that a threshold is chosen knowing it."""

import streamlit as st

from core.attention.scores import ALL_SCORES
from core.attention.words import beside_heads_sentence
from core.ui.components.behaviour import behaviour_banner
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.sensitivity import meaning, panels, sensitivity_of, shown_heads


def sensitivity(page: Page) -> None:
    """The page's body."""
    st.title(f"Sensitivity in {verbatim(page.name)}")
    scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    answer = st.container(key="lags-answer")
    found = sensitivity_of(page)
    if found is None:
        return
    with answer:
        meaning(page, found)
    st.caption(
        "A score is measured on some length, some seed, with or without a BOS. How much of it is the head, and how much the "
        "setting? A threshold that a head crosses when the length changes says little about that head."
    )
    st.caption(
        f"{ALL_SCORES[page.view.score].title}. Points are means, bars 95 % intervals over sequences (Student's t); a filled "
        "point is above the threshold, which is the dashed line through all panels. Choose another score, the threshold or "
        "a head in the sidebar."
    )
    panels(page, found)
    shown = shown_heads(page, found)
    head = page.view.head if page.view.head in shown else shown[0]
    st.caption(verbatim(beside_heads_sentence(found, head)))


run_page("Sensitivity", sensitivity)
