"""Ablation: take heads away and see what it costs, beside taking other heads away."""

from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.ablation.outcomes import Ablation
from core.ablation.words import against_baselines
from core.glossary import help_on
from core.heads import heads_above
from core.numbers import counted
from core.ui.components.behaviour import behaviour_banner
from core.ui.components.experiment_controls import head_set_controls, mode_control
from core.ui.components.folded import folded
from core.ui.components.results import ablation_of, baselines_of
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.ablation import (
    effect_on_logit,
    how_drawn,
    keep_only,
    numbers,
    other_heads,
    position_panel,
    remember_set,
    set_before,
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
    answer = st.container(key="lags-holds-answer")
    above = heads_above(scores.mean(view.score), view.threshold)
    heads = view.experiment.chosen(above)
    # Large text needs the whole width.
    left, right = (st.container(), st.container()) if page.look.large else st.columns(2, gap="large")
    with left:
        head_set_controls()
    with right:
        mode_control(page)

    left, right = (st.container(), st.container()) if page.look.large else st.columns([4, 5], gap="large")
    with left:
        st.header(f"{len(heads)} of {counted(int(scores.exists.sum()), 'head')} to take away", anchor=False)
        st.caption("A cross marks a head that is taken away. Click a head to add it to the set or take it out.")
        set_map(page, scores, above, source_of(page, heads))
    # As tall for every set: the page does not jump while the threshold moves.
    with right, st.container(key="holds-set"):
        if not heads:
            answer.markdown("No head is taken away, so nothing changes.")
            st.header("Nothing is taken away", anchor=False)
            st.info("No head is in the set: lower the threshold, or click heads on the map.", icon=":material/info:")
            return
        with st.container(key="lags-set"):
            st.header(set_sentence(heads), anchor=False)
            result = ablation_of(page.subject, heads, view.experiment.mode)
            if result is not None:
                _the_set(page, result, answer)
                return
        # The numbers of the set before stay, pale, until those of this one are there.
        before = set_before(page)
        if before is not None:
            with st.container(key="stale-set"):
                numbers(page, before)


def _the_set(page: Page, result: Ablation, answer: DeltaGenerator) -> None:
    """What is known of a set: the numbers, then what they are compared with, then the second pictures."""
    remember_set(page, result)
    mode, source = page.view.experiment.mode, source_of(page, result.heads)
    numbers(page, result)
    effect_on_logit(page, result.heads)
    text_editor(page)
    beside = st.container()
    baselines = baselines_of(page.subject, result.heads, mode)
    if baselines is not None:
        answer.markdown(against_baselines(result, baselines), help=help_on("baseline", "p"))
    with beside:
        if baselines is not None:
            how_drawn(baselines)
        other_heads(page, result, baselines, source)
    keep_only(page, result)
    folded("Loss at every position", "positions", partial(position_panel, page, result, baselines, source))
    # One head alone is all of them together.
    if len(result.heads) > 1:
        folded("Each head alone, and all together", "singles", partial(single_heads, page, result, source))


run_page("Ablation", ablation)
