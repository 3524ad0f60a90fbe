"""Tour: seven tasks through the pages, each with an answer that is checked against the measured numbers."""

import streamlit as st

from core.ui.frame.page import Page, run_page
from core.ui.frame.words import glossary
from core.ui.panels.tour import beginning, how_far, last_lines, open_step


def tour(page: Page) -> None:
    """The page's body."""
    st.title("Tour")
    progress = page.view.tour
    if progress.step:
        how_far(progress)
        open_step(page)
    else:
        beginning(progress)
    glossary()
    last_lines(progress)


run_page("Tour", tour)
