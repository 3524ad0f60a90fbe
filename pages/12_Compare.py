"""Compare: any two quantities of every head beside each other, also numbers of a paper or of another tool."""

import streamlit as st

from core.quantities.comparison import compare
from core.ui.components.behaviour import behaviour_banner
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.compare import (
    answer,
    asked_on,
    axes_of,
    controls,
    own_numbers,
    picked_head,
    scatter,
    to_the_card_of_a_clicked_head,
)


def comparison(page: Page) -> None:
    """The page's body."""
    to_the_card_of_a_clicked_head(page)
    st.title(f"Compare heads of {verbatim(page.name)}")
    scores_of(page.subject)
    behaviour_banner(page.subject)
    said = st.container()
    st.caption("Two numbers of every head, a point each. Do they order the heads alike, and which heads fall out?")
    controls(page)
    picture = st.container()
    asked = asked_on(page, own_numbers(page))
    with said:
        axes = axes_of(page, asked)
    if axes is None:
        return
    found = compare(*axes)
    with said:
        answer(found)
    with picture:
        left, right = (st.container(), st.container()) if page.look.large else st.columns([2, 1], gap="large")
        with left:
            scatter(page, asked, found)
        with right:
            picked_head(page, found)


run_page("Compare", comparison)
