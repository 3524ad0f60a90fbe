"""Attention: where the picked head looks, beside all other heads, and how well each token is predicted."""

from functools import partial

import streamlit as st

from core.attention.scores import ALL_SCORES
from core.settings.provenance import measured_on
from core.ui.components.behaviour import behaviour_banner
from core.ui.components.existing_head import with_an_existing_head
from core.ui.components.folded import folded
from core.ui.components.head_table import head_numbers
from core.ui.components.row_picker import pick_row
from core.ui.frame.navigation import open_its_card
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.attention import (
    circuitsvis_panel,
    grid_panel,
    heat_map_panel,
    look_at,
    loss_panel,
    pattern_of,
    patterns_of,
    stripe_sentence,
)

# The grid of more layers is taller than the picked head's pattern: what goes below is put under the shorter of the two.
FEW_LAYERS = 6


def attention(page: Page) -> None:
    """The page's body."""
    title = st.empty()
    title.title(f"Attention in {verbatim(page.name)}")
    answer = st.container()
    scores = scores_of(page.subject, page.view.score)
    page = with_an_existing_head(page, scores)
    view = page.view
    behaviour_banner(page.subject)
    head = view.head or scores.ranked(view.score)[0]
    row = pick_row(page)
    for warning in row.warnings:
        st.warning(verbatim(warning), icon=":material/warning:")
    patterns = patterns_of(page, row)
    pattern = pattern_of(page, row, patterns, head)
    looked = look_at(page, row, patterns, pattern, head)
    title.title(f"Attention of {looked.name} in {verbatim(page.name)}")
    answer.markdown(stripe_sentence(looked))
    if view.head is None:
        answer.caption(f"No head is picked, so this is the one with the highest score: {ALL_SCORES[view.score].title}.")

    # Side by side there is no room for large text.
    left, right = (st.container(), st.container()) if page.look.large else st.columns([5, 4], gap="large")
    with left:
        st.header(f"Where {looked.name} looks", anchor=False)
        drawn = circuitsvis_panel(page, looked)
    with right:
        st.header("All heads", anchor=False)
        grid_panel(page, patterns, scores, looked)
    with right if drawn and page.subject.card.n_layers <= FEW_LAYERS else left:
        st.header(f"Scores of {looked.name}", anchor=False)
        head_numbers(scores, head, page.look)
        st.caption(verbatim(f"Measured on {measured_on(page.subject)}."))
        if view.head is not None:
            open_its_card()
    st.header("How well each token is predicted", anchor=False)
    loss_panel(page, patterns, looked)
    if drawn:
        folded("Its pattern as a heat map, to save", "pattern", partial(heat_map_panel, page, looked))
    else:
        st.header(f"The pattern of {looked.name} as a heat map", anchor=False)
        heat_map_panel(page, looked)


run_page("Attention", attention)
