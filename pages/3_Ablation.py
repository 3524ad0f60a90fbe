"""Ablation: take heads away and see what it costs, beside taking other heads away."""

import streamlit as st

from core.heads import heads_above
from core.ui.components.behaviour import behaviour_banner
from core.ui.components.experiment_controls import head_set_controls, mode_control
from core.ui.components.results import ablation_of, baselines_of
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.ablation import (
    baseline_sentences,
    effect_on_logit,
    keep_only,
    numbers,
    other_heads,
    position_panel,
    set_map,
    set_sentence,
    single_heads,
    source_of,
    text_editor,
)


def ablation(page: Page) -> None:
    """The page's body."""
    view = page.view
    st.title(f"Ablation in {verbatim(page.name)}")
    scores = scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    above = heads_above(scores.mean(view.score), view.threshold)
    heads = view.experiment.chosen(above)
    source = source_of(page, heads)
    # Large text needs the whole width.
    left, right = (st.container(), st.container()) if page.look.large else st.columns(2, gap="large")
    with left:
        head_set_controls()
    with right:
        mode_control(page)

    left, right = (st.container(), st.container()) if page.look.large else st.columns([4, 5], gap="large")
    with left:
        st.header(f"{len(heads)} of {scores.n_layers * scores.n_heads} heads to take away", anchor=False)
        st.caption("A cross marks a head that is taken away. Click a head to add it to the set or take it out.")
        set_map(page, scores, above, heads, source)
    with right:
        if not heads:
            st.header("Nothing is taken away", anchor=False)
            st.info("No head is in the set: lower the threshold, or click heads on the map.", icon=":material/info:")
            return
        st.header(set_sentence(heads), anchor=False)
        result = ablation_of(page.subject, heads, view.experiment.mode)
        if result is None:
            return
        numbers(page, result)
        effect_on_logit(page, result.heads)
        text_editor(page)
        beside = st.container()
        baselines = baselines_of(page.subject, heads, view.experiment.mode)
        with beside:
            if baselines is not None:
                baseline_sentences(result, baselines)
            other_heads(page, result, baselines, source)

    st.header("Loss at every position", anchor=False)
    position_panel(page, result, baselines, source)
    st.header("Each head alone, and all together", anchor=False)
    single_heads(page, result, source)
    st.header("Are these heads enough?", anchor=False)
    keep_only(page, result)


run_page("Ablation", ablation)
