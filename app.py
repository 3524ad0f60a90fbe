"""Home: what induction is, whether the chosen model does it, whether this machine can be trusted, where to go next."""

import streamlit as st

from core.attention.cached import induction_example
from core.figures.attention.arcs import describe_arcs, explain_arcs, induction_arcs
from core.figures.base.memo import drawn
from core.models.catalogue import DEFAULT_MODEL
from core.settings.provenance import measured_on
from core.ui.components.behaviour import behaviour_numbers
from core.ui.components.figure_panel import FIGURE_CONFIG
from core.ui.components.self_check import self_check
from core.ui.frame.navigation import questions, start_the_tour
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_result, awaited_scores
from core.ui.frame.words import glossary

_WHAT_INDUCTION_IS = """
A language model reads with *attention heads*: parts of it that, at each word, decide how much to take from each earlier
one. L1H3 is head 3 of layer 1, both counted from 0. When a text repeats itself, a model can predict the second time from
the first. Heads that do this are called **induction heads**. Reading a word that came before, such a head looks at the word
that *followed* it last time, and predicts that word again. To measure it, HeadScope shows a model random tokens twice in a
row, so that looking back at the first copy is what predicts the second. A head's **induction score** is the share
of its attention that goes to exactly the right place: 1 is all of it, and looking everywhere equally gives almost 0.
"""


def home(page: Page) -> None:
    """The page's body."""
    st.title("HeadScope")
    st.markdown("Pick a model, and check a claim about its attention heads.")
    st.header(f"Does {verbatim(page.name)} do induction?", anchor=False)
    _behaviour(page)
    start_the_tour(page.view)
    st.header("What induction is", anchor=False)
    st.markdown(_WHAT_INDUCTION_IS)
    _live_picture(page)
    st.header("Where to go next", anchor=False)
    questions()
    glossary()
    st.header("Self-check", anchor=False)
    self_check()


def _live_picture(page: Page) -> None:
    example = await_result(f"example {DEFAULT_MODEL}", induction_example, "Measuring a small example")
    if example is None:
        return
    st.plotly_chart(
        drawn(induction_arcs, example, page.look), key="arcs", theme=None, config=FIGURE_CONFIG, alt=describe_arcs(example)
    )
    st.caption(verbatim(explain_arcs(example)))


def _behaviour(page: Page) -> None:
    scores = awaited_scores(page.subject)
    if scores is None:
        return
    behaviour_numbers(page.subject, scores)
    st.caption(verbatim(f"Measured on {measured_on(page.subject)}."))


run_page("Home", home)
