"""Heads: which heads score above the threshold, by layer and head, by rank, and as a distribution."""

from functools import partial

import streamlit as st

from core.figures.distribution import describe_distribution, score_distribution
from core.figures.heatmap import describe_heatmap, score_heatmap
from core.figures.ranked import describe_ranked, ranked_scores
from core.scores import ALL_SCORES
from core.tables import bin_rows, head_rows, scores_json
from core.ui.behaviour import absent_banner, behaviour_line
from core.ui.figure_panel import Source, figure_panel
from core.ui.head_table import heads_above_table, picked_head_panel
from core.ui.page import Page, run_page
from core.ui.sentences import plain
from core.ui.working import scores_of
from core.view import measured_on, score_command


def heads(page: Page) -> None:
    """The page's body."""
    view, look = page.view, page.look
    st.title(f"Heads of {plain(page.identity.card.name)}")
    scores = scores_of(view.request)
    probe = view.request.probe(page.identity)
    source = Source(
        measured_on(probe, page.identity),
        score_command(view),
        partial(scores_json, scores, view, probe, page.identity),
        f"headscope-{page.identity.card.name.replace('/', '--')}",
    )
    absent_banner(scores.losses())
    st.caption(behaviour_line(scores.losses()))
    for warning in probe.warnings:
        st.caption(plain(warning))

    shown = (scores, view.score, view.threshold)
    rows = head_rows(*shown)
    count = sum(row["above_threshold"] for row in rows)
    chance = ALL_SCORES[view.score].chance(scores.layout)
    st.subheader(f"{count} of {len(rows)} heads above {view.threshold:.2f}; chance {chance:.2f}", anchor=False)
    st.caption(f"{ALL_SCORES[view.score].title}: {ALL_SCORES[view.score].meaning}.")
    # Large text needs the whole width: the picked head then stands below the picture, not beside it.
    left, right = (st.container(), st.container()) if look.large else st.columns([2, 1], gap="large")
    with left:
        figure_panel(
            score_heatmap(*shown, view.head, look),
            key="heatmap",
            alt=describe_heatmap(*shown),
            rows=rows,
            source=source,
        )
    with right:
        picked_head_panel(scores, view)

    st.subheader("Heads above the threshold", anchor=False)
    heads_above_table(scores, view, look)
    st.subheader("All heads, highest first", anchor=False)
    figure_panel(ranked_scores(*shown, view.head, look), key="ranked", alt=describe_ranked(*shown), rows=rows, source=source)
    st.subheader("How many heads have which score", anchor=False)
    figure_panel(
        score_distribution(*shown, look),
        key="distribution",
        alt=describe_distribution(*shown),
        rows=bin_rows(*shown),
        source=source,
        on_pick=None,
    )


run_page("Heads", heads)
