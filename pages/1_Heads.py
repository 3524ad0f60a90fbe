"""Heads: which heads score above the threshold, by layer and head, by rank, and as a distribution."""

from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from core.attention.scores import ALL_SCORES
from core.attention.tables import bin_rows, head_rows
from core.attention.words import chance_words, later_words, withheld_reasons, withheld_sentence
from core.figures.attention.distribution import describe_distribution, distribution_overlay, score_distribution
from core.figures.attention.heatmap import describe_heatmap, heatmap_overlay, score_heatmap
from core.figures.attention.ranked import describe_ranked, ranked_overlay, ranked_scores
from core.figures.base.memo import drawn
from core.figures.base.overlay import Overlay
from core.heads import heads_above
from core.numbers import counted
from core.settings.provenance import measured_on
from core.sharing.commands import score_command
from core.sharing.facts import score_facts
from core.ui.components.behaviour import behaviour_banner, behaviour_line
from core.ui.components.figure_panel import Rows, Source, figure_panel, is_looked_into
from core.ui.components.folded import TABLE, folded, is_open
from core.ui.components.head_table import heads_above_table, picked_head_panel
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import awaited_scores, scores_of

ABOVE = "above"
PANELS = ("heatmap", "ranked", "distribution")


def heads(page: Page) -> None:
    """The page's body."""
    view, look = page.view, page.look
    st.title(f"Heads of {verbatim(page.name)}")
    scores = scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    answer = st.container(key="lags-answer")
    for warning in page.subject.probe.warnings:
        st.caption(verbatim(warning))
    if scores.later and (is_open(ABOVE) or any(map(is_looked_into, PANELS))):
        # One place for all tables: somebody looks at every score.
        scores = awaited_scores(page.subject, scores.later[0]) or scores
    source = Source(measured_on(page.subject), score_command(view), partial(score_facts, page.subject, scores), page.stem)

    if view.score not in scores.names:
        st.caption(behaviour_line(scores))
        st.info(verbatim(withheld_sentence(scores, view.score)), icon=":material/info:")
        return
    shown = (scores, view.score, view.threshold)
    rows = partial(head_rows, *shown)

    def panel(key: str, figure: go.Figure, alt: str, overlay: Overlay, rows: Rows, **more: Any) -> None:
        figure_panel(figure, key=key, alt=alt, overlay=overlay, rows=rows, source=source, **more)

    values = scores.mean(view.score)
    count = len(heads_above(values, view.threshold))
    there, chance = int(np.isfinite(values).sum()), chance_words(scores.chance(view.score))
    answer.header(f"{count} of {counted(there, 'head')} above {view.threshold:.2f}; chance {chance}", anchor=False)
    answer.caption(f"{ALL_SCORES[view.score].title}: {ALL_SCORES[view.score].meaning}.")
    # Large text needs the whole width: the picked head then stands below the picture, not beside it.
    left, right = (st.container(), st.container()) if look.large else st.columns([5, 3], gap="large")
    with left:
        panel(
            "heatmap",
            drawn(score_heatmap, scores, view.score, view.head, look),
            describe_heatmap(scores, view.score),
            heatmap_overlay(*shown, look),
            rows,
        )
    with right:
        picked_head_panel(scores, view, look)
        if view.head is not None and scores.later:
            st.caption(verbatim(later_words(scores)))
    st.caption(behaviour_line(scores))

    for said in withheld_reasons(scores).values():
        st.caption(verbatim(said))
    folded("Heads above the threshold, with every score", ABOVE, partial(heads_above_table, scores, view, look), TABLE)
    st.header("All heads, highest first", anchor=False)
    panel(
        "ranked",
        drawn(ranked_scores, scores, view.score, view.head, look),
        describe_ranked(scores, view.score),
        ranked_overlay(*shown, look),
        rows,
    )
    st.header("How many heads have which score", anchor=False)
    panel(
        "distribution",
        drawn(score_distribution, scores, view.score, look),
        describe_distribution(scores, view.score),
        distribution_overlay(*shown, look),
        partial(bin_rows, *shown),
        on_pick=None,
    )


run_page("Heads", heads)
