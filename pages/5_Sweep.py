"""Sweep: what every threshold buys, beside other heads, and two thresholds compared."""

from functools import partial

import streamlit as st

from core.ablation.sweep import DEFAULT_GRID
from core.ablation.sweep_words import at_threshold, beyond_baselines
from core.heads import heads_above
from core.ui.components.behaviour import behaviour_banner
from core.ui.components.experiment_controls import comparison_controls, curves_control, mode_control
from core.ui.components.folded import TABLE, folded
from core.ui.components.results import sweep_of
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.sweep import comparison, curve, other_modes, source_of, sweep_table


def sweep(page: Page) -> None:
    """The page's body."""
    view = page.view
    experiment = view.experiment
    st.title(f"Threshold sweep in {verbatim(page.name)}")
    st.markdown("At each threshold, the heads above it are taken away. What does that cost, and what do other heads cost?")
    scores = scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    answer = st.container()
    left, right = (st.container(), st.container()) if page.look.large else st.columns([3, 1], gap="large")
    with left:
        mode_control(page)
    with right:
        curves_control()
    found = sweep_of(page.subject, DEFAULT_GRID, experiment.mode, view.score)
    if found is None:
        return
    others = other_modes(page, view.score)
    source = source_of(page, found, others)
    answer.markdown(beyond_baselines(found))
    with answer.container(key="lags-slider"):
        st.markdown(at_threshold(found, view.threshold, heads_above(scores.mean(view.score), view.threshold)))
    curve(page, found, others, source)
    folded("Every threshold, with its numbers", "thresholds", partial(sweep_table, found, page.look), TABLE)
    folded("Two thresholds compared", "compared", partial(_two_thresholds, page))


def _two_thresholds(page: Page) -> None:
    view, experiment = page.view, page.view.experiment
    st.caption("The report that started this project compared 0.50 and 0.60, with nothing beside them.")
    comparison_controls()
    pair = sorted({experiment.first, experiment.second})
    compared = sweep_of(page.subject, pair, experiment.mode, view.score)
    if compared is not None:
        low, high = pair[0], pair[-1]
        grid = f"{low:.2f}:{high:.2f}:{max(high - low, 0.01):.2f}"
        comparison(page, compared, source_of(page, compared, {}, grid))


run_page("Sweep", sweep)
