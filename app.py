"""Home: what induction is, whether the chosen model does it, whether this machine can be trusted, where to go next."""

import streamlit as st

from core.attention.example import induction_example
from core.figures.attention.arcs import describe_arcs, explain_arcs, induction_arcs
from core.models.catalogue import DEFAULT_MODEL
from core.runtime.cache import at_hand
from core.settings.view import measured_on
from core.ui.components.behaviour import absent_banner, behaviour_numbers
from core.ui.components.figure_panel import FIGURE_CONFIG
from core.ui.components.self_check import self_check
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import plain
from core.ui.frame.state import link_to
from core.ui.frame.waiting import awaited, awaited_scores

_WHAT_INDUCTION_IS = """
When a text repeats itself, a language model can predict the second time from the first. Heads that do this are called
**induction heads**. Reading a word that came before, such a head looks at the word that *followed* it last time, and
predicts that word again. To measure it, HeadScope shows a model random tokens twice in a row, so that the only way to
predict the second copy is to look back at the first. A head's **induction score** is the share of its attention that
goes to exactly the right place: 1 is all of it, and looking everywhere equally gives almost 0.
"""
_NEXT = (
    ("pages/1_Heads.py", "Heads: which heads do it?", ":material/grid_on:"),
    ("pages/2_Attention.py", "Attention: where does a head look?", ":material/visibility:"),
    ("pages/3_Ablation.py", "Ablation: does it matter?", ":material/content_cut:"),
    ("pages/4_Causal_map.py", "Causal map: which heads matter?", ":material/bolt:"),
    ("pages/5_Sweep.py", "Sweep: what does a threshold buy?", ":material/show_chart:"),
    ("pages/6_Verdicts.py", "Verdicts: which heads are induction heads?", ":material/gavel:"),
    ("pages/7_Circuits.py", "Circuits: which heads work together?", ":material/account_tree:"),
    ("pages/8_Report.py", "Report: what did the first report find, and what holds?", ":material/article:"),
    ("pages/9_Sensitivity.py", "Sensitivity: how far does a score move?", ":material/tune:"),
    ("pages/10_Head_card.py", "Head card: what is this one head?", ":material/badge:"),
)


def home(page: Page) -> None:
    """The page's body."""
    st.title("HeadScope")
    st.markdown("Pick a model, and check a claim about its attention heads.")
    st.subheader("What induction is", anchor=False)
    st.markdown(_WHAT_INDUCTION_IS)
    _live_picture(page)
    st.subheader(f"Does {plain(page.identity.card.name)} do it?", anchor=False)
    _behaviour(page)
    st.subheader("Where to go next", anchor=False)
    for path, label, icon in _NEXT:
        link_to(path, label, icon)
    st.subheader("Self-check", anchor=False)
    self_check()


def _live_picture(page: Page) -> None:
    example = at_hand(induction_example) or awaited(
        f"example {DEFAULT_MODEL}", lambda progress: induction_example(progress=progress), "Measuring a small example"
    )
    if example is None:
        return
    st.plotly_chart(
        induction_arcs(example, page.look), key="arcs", theme=None, config=FIGURE_CONFIG, alt=describe_arcs(example)
    )
    st.caption(plain(explain_arcs(example)))


def _behaviour(page: Page) -> None:
    scores = awaited_scores(page.view.request)
    if scores is None:
        return
    losses = scores.losses()
    absent_banner(losses)
    behaviour_numbers(losses)
    st.caption(plain(f"Measured on {measured_on(page.view.request.probe(page.identity), page.identity)}."))


run_page("Home", home)
