"""Causal map: what taking each head away alone does, and whether heads that look are the heads that matter."""

import streamlit as st

from core.ablation.cached import known_causal_map
from core.ui.components.behaviour import behaviour_banner
from core.ui.components.experiment_controls import floor_control, mode_control
from core.ui.components.results import estimate_of, map_of
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import job_key, scores_of
from core.ui.panels.causal import Effects, exact_wanted, maps, picked_head, scatter, scatter_sentence, source_of


def causal(page: Page) -> None:
    """The page's body."""
    view = page.view
    mode = view.experiment.mode
    st.title(f"Causal map of {verbatim(page.name)}")
    st.markdown("Each head is taken away alone. How much worse does the model predict the second copy?")
    scores = scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        mode_control(page)
    with right:
        floor_control()
    estimate = estimate_of(page.subject, mode)
    if estimate is None:
        return
    wanted = exact_wanted(page.subject.card, known_causal_map(page.subject, mode), job_key(page.subject, "map", mode))
    known = map_of(page.subject, mode, wanted=wanted)
    effects = Effects.of(scores, known, estimate)
    source = source_of(page, known, effects)

    st.subheader("Does looking mean mattering?", anchor=False)
    st.markdown(scatter_sentence(page, effects))
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        scatter(page, effects, source)
    with right:
        picked_head(page, effects)
    maps(page, effects, source)


run_page("Causal map", causal)
