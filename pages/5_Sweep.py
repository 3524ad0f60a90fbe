"""Sweep: what every threshold buys, beside random heads, and two thresholds compared."""

import streamlit as st

from core.ablation.baselines import DEFAULT_CONTROLS
from core.ablation.sweep import DEFAULT_GRID
from core.ablation.words import how_wide
from core.attention.scores import heads_above
from core.ui.components.behaviour import absent_banner
from core.ui.components.experiment_controls import comparison_controls, curves_control, mode_control
from core.ui.components.experiments import sweep_of
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import plain
from core.ui.frame.waiting import scores_of
from core.ui.panels.sweep import at_the_slider, comparison, curve, other_modes, source_of, sweep_table


def sweep(page: Page) -> None:
    """The page's body."""
    view = page.view
    experiment = view.experiment
    st.title(f"Threshold sweep in {plain(page.identity.card.name)}")
    st.markdown("At each threshold, the heads above it are taken away. What does that cost, and what do random heads cost?")
    scores = scores_of(view.request)
    absent_banner(scores.losses())
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        mode_control(page)
    with right:
        curves_control()
    found = sweep_of(view.request, DEFAULT_GRID, experiment.mode, view.score, controls=DEFAULT_CONTROLS)
    if found is None:
        return
    others = other_modes(page, view.score)
    source = source_of(page, found, others)
    st.markdown(how_wide(found))
    st.markdown(at_the_slider(page, found, heads_above(scores.mean(view.score), view.threshold)))
    curve(page, found, others, source)
    st.subheader("Every threshold", anchor=False)
    sweep_table(found, page.look)

    st.subheader("Two thresholds compared", anchor=False)
    st.caption("The report that started this project compared 0.50 and 0.60, with nothing beside them.")
    comparison_controls()
    pair = sorted({experiment.first, experiment.second})
    compared = sweep_of(view.request, pair, experiment.mode, view.score, controls=DEFAULT_CONTROLS)
    if compared is not None:
        comparison(page, compared, source)


run_page("Sweep", sweep)
