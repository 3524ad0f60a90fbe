"""What every page does first and last: settings, theme, sidebar, errors as sentences, warm start.

A link can open any page first, and then that page's script runs alone: nothing here depends on the home page having run.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.errors import ModelUnavailable
from core.runtime.app_root import app_root
from core.settings.view import FLOOR_SLIDER, THRESHOLD_SLIDER, View
from core.ui.frame.bring_in import offer_to_bring_in
from core.ui.frame.conformance import check_model
from core.ui.frame.lesson import answer_at_the_end, begin_anew_if_asked, take_part
from core.ui.frame.read_model import read_model
from core.ui.frame.screen import look_after_screen
from core.ui.frame.sentences import errors_as_sentences, verbatim
from core.ui.frame.sidebar import Page, draw_sidebar
from core.ui.frame.state import corrections
from core.ui.frame.theme import apply_theme, current_look, enlarge
from core.ui.frame.waiting import server_warnings
from core.ui.frame.warm import start_warm_up
from core.ui.frame.words import words_of_page
from core.ui.guard.stand import stand_guard

__all__ = ["Page", "run_page"]
_ICON = app_root() / "static" / "icon.svg"


def _sliders(view: View) -> dict[str, float]:
    return {THRESHOLD_SLIDER: view.threshold, FLOOR_SLIDER: view.experiment.effect_floor}


def run_page(title: str, body: Callable[[Page], None], without_model: Callable[[], None] | None = None) -> None:
    """Draw a page: the sidebar, what was corrected in its address, then `body`.

    without_model: what can be shown although the chosen model is not on this machine.
    """
    # At the latest now, where Streamlit's own command started the server.
    stand_guard()
    st.set_page_config(page_title=f"{title} · HeadScope", page_icon=_ICON, layout="wide")
    apply_theme(current_look())
    try:
        with errors_as_sentences():
            try:
                begin_anew_if_asked()
                page = draw_sidebar()
            except ModelUnavailable as error:
                look_after_screen({}, current_look(), enlarge)
                if without_model is None:
                    st.title(title, anchor=False)
                _show_corrections()
                offer_to_bring_in(st.session_state["model"], error)
                if without_model is not None:
                    without_model()
                return
            look_after_screen({} if page is None else _sliders(page.view), current_look(), enlarge)
            _show_corrections()
            if page is None:
                st.title(title, anchor=False)
                read_model(st.session_state["model"])
                return
            take_part(title, page.view)
            if page.refusal:
                st.title(title, anchor=False)
                raise ModelUnavailable(page.refusal)
            body(page)
            words_of_page(title)
            answer_at_the_end(title, page.view)
            if page.badge is not None:
                check_model(page.subject, page.badge)
            _warn()
    finally:
        # Last, also where the page stopped early: the first screen comes before the warm start.
        start_warm_up()


def _show_corrections() -> None:
    for note in corrections():
        st.warning(verbatim(note), icon=":material/edit:")


def _warn() -> None:
    for warning in server_warnings():
        st.caption(verbatim(warning))
