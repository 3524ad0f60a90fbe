"""Circuits: which previous-token heads the induction heads depend on, and what happens without one of them."""

from functools import partial

import streamlit as st

from core.circuits.words import circuit_sentence
from core.ui.components.behaviour import behaviour_banner, behaviour_line
from core.ui.components.folded import TABLE, folded
from core.ui.frame.navigation import open_its_card, see_where_it_looks
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.circuits import circuit_of, composition_panel, edge_table, graph_panel, mode_choice, pruning_panel


def circuits(page: Page) -> None:
    """The page's body."""
    st.title(f"Circuits in {verbatim(page.name)}")
    scores = scores_of(page.subject)
    behaviour_banner(page.subject)
    answer = st.container()
    st.caption(
        "An induction head must know what came *before* each token. A previous-token head in an earlier layer can leave "
        "that note; the induction head then reads it in its keys. Which heads work together like this?"
    )
    mode = mode_choice(page)
    found = circuit_of(page, mode)
    if found is None:
        return
    answer.markdown(circuit_sentence(found))
    if found.edges:
        st.header("Who feeds whom", anchor=False)
        graph_panel(page, found, scores)
    if page.view.head is not None:
        see_where_it_looks()
        open_its_card()
    if not found.induction:
        return
    st.header("Prune a previous-token head", anchor=False)
    pruning_panel(page, found, scores, mode)
    folded("What one head reads of every earlier head", "composition", partial(composition_panel, page, found, scores))
    if found.edges:
        folded("Every edge, with its numbers", "edges", partial(edge_table, page, found), TABLE)
    st.caption(behaviour_line(scores))


run_page("Circuits", circuits)
