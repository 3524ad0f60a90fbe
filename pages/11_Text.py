"""Text: is a head that does induction on random tokens the same head on real text?"""

from functools import partial

import streamlit as st

from core.text.cached import chosen_windows_of
from core.ui.components.behaviour import behaviour_banner
from core.ui.components.folded import folded
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.text import answer, judged_of, natural_of, picked_head, scatter_panel, text_controls, typed_text, worth


def text(page: Page) -> None:
    """The page's body."""
    st.title(f"Real text in {verbatim(page.name)}")
    top = st.container()
    with st.expander("Which text", icon=":material/menu_book:", expanded=False):
        text_controls(page)
    windows = chosen_windows_of(page.subject, page.view.text)
    scores_of(page.subject, page.view.score)
    behaviour_banner(page.subject)
    found = natural_of(page, windows)
    if found is None:
        return
    judged = judged_of(page, windows)
    if judged is None:
        return
    with top:
        answer(windows, found, judged)
    st.header("On text against on random tokens", anchor=False)
    scatter_panel(page, windows, found, judged)
    picked_head(page, windows, found, judged)
    st.header("What these heads are worth on this text", anchor=False)
    worth(page, windows, found, judged)
    folded("A text of your own", "typed", partial(typed_text, page, judged), ":material/edit:")


run_page("Text", text)
