"""The report's last question: scores beside size, for the models of this machine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from core.replication.cached import measure_models, sized_models
from core.replication.reproduction import Reproduction
from core.replication.size import SizedModel, missing
from core.replication.tables import size_notes, size_rows
from core.replication.words import size_answer
from core.settings.view import View
from core.ui.components.folded import TABLE, folded
from core.ui.frame.navigation import HEADS
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_job

_ASKED = "scale_asked_for"
_PROBLEMS = "scale_problems"


def size_question(page: Page, own: Reproduction) -> None:
    """What is known about scale here, what is missing, and what it would take."""
    models = sized_models()
    st.markdown(verbatim(size_answer(page.subject.card, own, models)))
    # With its links: a machine may hold many models, and the page stays as tall as it is.
    folded("Every model of this machine", "sizes", partial(_sizes, page.view, models), TABLE)
    _measure_missing(models)


def _sizes(view: View, models: tuple[SizedModel, ...]) -> None:
    st.table(size_rows(models), border="horizontal", hide_index=True)
    for note in size_notes(models):
        st.caption(verbatim(note))
    st.markdown("Open a model in **Heads**, with its highest head picked where it is known and everything else as it is:")
    with st.container(horizontal=True):
        for model in models:
            HEADS.link(verbatim(model.name), _showing(view, model))


def _showing(view: View, model: SizedModel) -> View:
    """The same view of another model; a head of this one would mean nothing there."""
    head = None if model.top is None else model.top[0]
    return replace(view, request=replace(view.request, model=model.name), head=head)


def _measure_missing(models: tuple[SizedModel, ...]) -> None:
    state = st.session_state
    names = missing(models)
    if _ASKED in state:
        # The names that were asked for, not those that are still missing: it stays one job while the table fills in.
        asked: tuple[str, ...] = state[_ASKED]
        key = " ".join(["sizes", *asked])
        doing = "Measuring each model on the default probe; the table fills in as they come"
        problems = await_job(key, partial(measure_models, asked), doing, background=True, live=True)
        if problems is None:
            return
        state[_PROBLEMS] = problems
        del state[_ASKED]
    for name, problem in state.get(_PROBLEMS, {}).items():
        st.caption(verbatim(f"{name} could not be measured: {problem}"))
    if names:
        count = "the one that is" if len(names) == 1 else f"the {len(names)} that are"
        st.button(
            f"Measure {count} missing", key="measure_missing", on_click=partial(_ask, names), icon=":material/play_arrow:"
        )


def _ask(names: tuple[str, ...]) -> None:
    st.session_state.pop(_PROBLEMS, None)
    st.session_state[_ASKED] = names
