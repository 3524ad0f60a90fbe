"""The page's theme and text size, for figures and for the page itself."""

from __future__ import annotations

import streamlit as st

from core.figures.base.style import Look

LARGE_TEXT = "large_text"
_STYLE = """<style>
/* Room for the picture: the default leaves a third of a projector's height empty above the title. */
.stMainBlockContainer { padding: 4rem 3rem 3rem; }
.stMainBlockContainer h1 { padding-top: 0; }
.stSidebar [data-testid="stSidebarHeader"] { height: 2.5rem; margin-bottom: 0; }
%s
</style>"""
# Every length on the page is relative to the root's font size.
_LARGE = """html { font-size: 20px !important; }
section.stSidebar { min-width: 17.5rem !important; }"""


def current_look() -> Look:
    """The theme that the browser shows and the chosen text size."""
    return Look(dark=st.context.theme.type == "dark", large=bool(st.session_state.get(LARGE_TEXT, False)))


def apply_theme(look: Look) -> None:
    """Set the page's own text size and spacing."""
    st.html(_STYLE % (_LARGE if look.large else ""))
