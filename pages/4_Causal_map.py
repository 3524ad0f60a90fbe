"""Causal map: what taking each head away alone does, and whether heads that look are the heads that matter."""

import streamlit as st

from core.ablation.words import map_sentence
from core.ui.components.behaviour import behaviour_banner
from core.ui.components.experiment_controls import floor_control, mode_control
from core.ui.components.results import estimate_of, map_of
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.causal import picked_head, scatter, source_of, the_map


def causal(page: Page) -> None:
    """The page's body."""
    mode = page.view.experiment.mode
    st.title(f"Causal map of {verbatim(page.name)}")
    scores = scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    answer = st.container()
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        mode_control(page)
    with right:
        floor_control()
    picture = st.container()
    estimate = estimate_of(page.subject, mode)
    found = map_of(page.subject, mode)
    answer.markdown(map_sentence(found, int(scores.exists.sum())))
    source = source_of(page, scores, found, estimate)
    if found is not None and found.complete:
        with picture:
            st.header("Does looking mean mattering?", anchor=False)
            scatter(page, scores, found, source)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        st.header("What each head alone is worth", anchor=False)
        the_map(page, scores, found, estimate, source)
    with right, st.container(key="lags-picked"):
        picked_head(page, scores, found, estimate)


run_page("Causal map", causal)
