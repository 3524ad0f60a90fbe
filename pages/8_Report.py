"""Report: the published report beside a live run, question by question, and what each later correction changes."""

from functools import partial

import streamlit as st

from core.replication.published import reported_models
from core.replication.words import QUESTIONS, recorded_and_live
from core.settings.view import DEFAULT_THRESHOLD, OWN_RECIPE
from core.ui.components.folded import TABLE, folded
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.panels.report import (
    corrections_panel,
    counts_table,
    detector_question,
    heat_maps,
    pick_recorded,
    pruning_question,
    questions_header,
    recorded_maps,
    recorded_table,
    report_table,
    reproduction_of,
    sweep_question,
    switches,
)
from core.ui.panels.report_download import download_panel
from core.ui.panels.report_size import size_question

_WHAT_IT_IS = """
A notebook of 2022 measured induction heads in two models, SoLU-8l-old and GPT-2 small, chose a threshold by eye, took the
heads above it away and watched its “loss”. It ended with open questions. Here are its recorded numbers, the same recipe on
the model you chose, each correction as a switch, and its questions with live answers.
"""


def report(page: Page) -> None:
    """The page's body."""
    name = verbatim(page.name)
    st.title(f"The report, beside {name}")
    answer = st.container()
    st.caption(_WHAT_IT_IS)
    switches()
    corrections = page.view.corrections
    own = reproduction_of(page, OWN_RECIPE)
    chosen = reproduction_of(page, corrections) if own is not None and corrections != OWN_RECIPE else own
    if own is not None:
        answer.markdown(recorded_and_live(own, name))
    st.header("Its heat maps: recorded and live", anchor=False)
    pick_recorded()
    recorded = reported_models()[page.view.recorded]
    heat_maps(page, recorded, chosen, "induction")
    previous = partial(heat_maps, page, recorded, chosen, "previous_token")
    folded("Previous-token scores: recorded and live", "previous", previous)
    folded("How many heads are above each threshold", "counts", partial(counts_table, chosen, page.name), TABLE)
    if own is None or chosen is None:
        return
    st.header("Its table", anchor=False)
    report_table(page, own, chosen)
    corrections_panel(page)
    questions_header(page)
    st.subheader(QUESTIONS["sweep"], anchor=False)
    sweep_question(page)
    st.subheader(QUESTIONS["pruning"], anchor=False)
    pruning_question(page)
    st.subheader(QUESTIONS["detector"], anchor=False)
    detector_question(page)
    st.subheader(QUESTIONS["scale"], anchor=False)
    size_question(page, own)
    download_panel(page)


def recorded_only() -> None:
    """What the page has to show without the chosen model: the recorded numbers."""
    st.title("The report, as recorded")
    st.markdown(_WHAT_IT_IS)
    st.info(
        "The chosen model is not on this machine, so these are the recorded numbers alone: nothing here was measured now.",
        icon=":material/history:",
    )
    st.header("Its heat maps", anchor=False)
    for recorded in reported_models().values():
        recorded_maps(recorded, DEFAULT_THRESHOLD)
    counts_table(None, "")
    st.header("Its table", anchor=False)
    recorded_table()


run_page("Report", report, recorded_only)
