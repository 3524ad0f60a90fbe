"""Causal map: what taking each head away alone does, and whether heads that look are the heads that matter."""

import numpy as np
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
    st.markdown("Each head is taken away alone. How much worse does the model predict the second copy?")
    scores = scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        mode_control(page)
    with right:
        floor_control()
    answer = st.container()
    estimate = estimate_of(page.subject, mode)
    found = map_of(page.subject, mode)
    answer.markdown(map_sentence(found, int((~np.isnan(scores.mean("induction"))).sum())))
    source = source_of(page, scores, found, estimate)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        the_map(page, scores, found, estimate, source)
    with right:
        picked_head(page, scores, found, estimate)
    if found is not None and found.complete:
        st.header("Does looking mean mattering?", anchor=False)
        scatter(page, scores, found, source)


run_page("Causal map", causal)
