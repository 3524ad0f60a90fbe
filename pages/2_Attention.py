"""Attention: where the picked head looks, beside all other heads, and how well each token is predicted."""

import streamlit as st

from core.attention.scores import ALL_SCORES, heads_above
from core.settings.view import measured_on
from core.ui.components.behaviour import absent_banner
from core.ui.components.row_picker import pick_row
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import plain
from core.ui.frame.state import CARD_LINK, link_to
from core.ui.frame.waiting import scores_of
from core.ui.panels.attention import (
    circuitsvis_panel,
    grid_panel,
    head_numbers,
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
    view = page.view
    title = st.empty()
    title.title(f"Attention in {plain(page.identity.card.name)}")
    scores = scores_of(view.request)
    absent_banner(scores.losses())
    head = view.head or heads_above(scores.mean(view.score), -2.0)[0]
    row, choice = pick_row(page)
    for warning in row.warnings:
        st.warning(plain(warning), icon=":material/warning:")
    patterns = patterns_of(view.request, row)
    pattern = pattern_of(view.request, row, patterns, head)
    looked = look_at(page, scores, row, choice, patterns, pattern, head)
    title.title(f"Attention of {looked.name} in {plain(page.identity.card.name)}")
    if view.head is None:
        st.caption(f"No head is picked, so this is the one with the highest score: {ALL_SCORES[view.score].title}.")

    # Side by side there is no room for large text.
    left, right = (st.container(), st.container()) if page.look.large else st.columns([5, 4], gap="large")
    with left:
        st.subheader(f"Where {looked.name} looks", anchor=False)
        st.markdown(stripe_sentence(looked))
        drawn = circuitsvis_panel(page, looked)
    with right:
        st.subheader("All heads", anchor=False)
        grid_panel(page, patterns, scores, looked)
    with right if drawn and page.identity.card.n_layers <= FEW_LAYERS else left:
        st.subheader(f"Scores of {looked.name}", anchor=False)
        head_numbers(scores, head)
        st.caption(plain(f"Measured on {measured_on(view.request.probe(page.identity), page.identity)}."))
        if view.head is not None:
            link_to(*CARD_LINK)
    st.subheader("How well each token is predicted", anchor=False)
    loss_panel(page, patterns, looked)
    st.subheader(f"The pattern of {looked.name} as a heat map", anchor=False)
    heat_map_panel(page, looked)


run_page("Attention", attention)
