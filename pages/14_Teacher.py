"""Teacher: what to give out, who is here and how far, what is computed; for whoever gives the lesson."""

import streamlit as st

from core.tour.room import the_room
from core.ui.frame.page import Page, run_page
from core.ui.frame.visitors import may_teach
from core.ui.panels.teacher import (
    fresh_beginning,
    give_out,
    locked,
    sheets,
    tour_address,
    what_is_computed,
    who_is_here,
)


def teacher(page: Page) -> None:
    """The page's body."""
    st.title("Teacher")
    if not may_teach():
        locked()
        return
    the_room().begin()
    st.header("Who is here", anchor=False)
    who_is_here(page)
    st.header("Give this out", anchor=False)
    give_out(page)
    st.header("What is computed", anchor=False)
    what_is_computed(page)
    st.header("On paper, and from the beginning", anchor=False)
    sheets(tour_address())
    fresh_beginning()


run_page("Teacher", teacher)
