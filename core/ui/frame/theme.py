"""The page's theme and text size, for figures and for the page itself."""

from __future__ import annotations

import streamlit as st

from core.figures.base.style import Look
from core.ui.frame.screen import is_narrow

LARGE_TEXT = "large_text"
_STYLE = """<style>
/* Room for the picture: the default leaves a third of a projector's height empty above the title. */
.stMainBlockContainer { padding: 4rem 3rem 2rem; }
.stMainBlockContainer h1 { font-size: 2.1rem; padding: 0 0 .3rem; }
.stMainBlockContainer h2 { font-size: 1.4rem; padding: .5rem 0 .2rem; }
.stMainBlockContainer h3 { font-size: 1.15rem; padding: .3rem 0 .1rem; }
.stSidebar [data-testid="stSidebarHeader"] { height: 2.5rem; margin-bottom: 0; }
@media (max-width: 640px) {
.stMainBlockContainer { padding: 4rem 1rem 2rem; }
.stMain [data-testid="stTableStyledTable"] :is(th, td) { padding-left: .2rem; padding-right: .2rem; }
}
/* A box that is narrower than what it holds says so. */
.stSelectbox input { text-overflow: ellipsis; }
/* A link that has no room goes on in the next line: its last words say what it is for. */
.stMain [data-testid="stPageLink-NavLink"] { min-height: 1.75rem; }
.stMain [data-testid="stPageLink-NavLink"] :is(span:has(p), div, p) { white-space: normal; line-height: 1.4; }
/* A table that is wider than its place has a shadow at the edge beyond which it goes on. */
:has(> :is(.numbers, [data-testid="stTableStyledTable"])) { border-radius: 0 !important; background:
linear-gradient(to right, %(paper)s 50%%, transparent) left / 2rem 100%% no-repeat local,
linear-gradient(to left, %(paper)s 50%%, transparent) right / 2rem 100%% no-repeat local,
linear-gradient(to right, %(muted)s, transparent) left / .7rem 100%% no-repeat scroll,
linear-gradient(to left, %(muted)s, transparent) right / .7rem 100%% no-repeat scroll; }
/* The usual grey of captions has 4.2:1 on white; 4.5:1 is what small letters need. */
[data-testid="stCaptionContainer"] { color: inherit !important; opacity: .8 !important; }
/* The page that is shown, and the link that has the focus, look the same otherwise. */
[data-testid="stPageLink-NavLink"][aria-current="page"] { box-shadow: inset 3px 0 0 %(accent)s; }
[data-testid="stPageLink-NavLink"]:focus-visible { outline: 2px solid %(accent)s; outline-offset: -2px; }
.modebar-btn:is([data-attr="toImage"], [data-title^="Download plot"]) { display: none !important; }
.js-plotly-plot:focus-visible { outline: 2px solid %(accent)s; outline-offset: -2px; }
/* Numbers for another threshold than the one that the slider shows. */
[data-headscope-lags*="Threshold"] [class*="st-key-lags-"],
[data-headscope-lags*="Contrast floor"] [class*="st-key-floor-lags-"],
[class*="st-key-stale-"] { opacity: .45; }
/* Room for what comes and goes with the threshold, so that the page does not jump. */
@media (min-width: 641px) { .st-key-lags-holds-answer { min-height: 3.4rem; } .st-key-holds-set { min-height: 76rem; } }
/* On a telephone a table has the whole width, and its buttons, which always show there, lie on nothing. */
@media (max-width: 640px) {
[class*="st-key-behind-"] { flex-wrap: wrap; }
[class*="st-key-behind-"] > :first-child { flex: 1 1 100%% !important; width: 100%% !important; }
[class*="st-key-behind-"] [data-testid="stExpanderDetails"] { padding-top: 2.6rem; }
}
@media (prefers-reduced-motion: reduce) {
*, *::before, *::after { animation-duration: .01ms !important; transition-duration: 0s !important; }
* { scroll-behavior: auto !important; }
}
%(large)s
</style>"""
# Every length on the page is relative to the root's font size; but Streamlit puts the sidebar away by its own width in pixels,
# so that a closed one that was wider would stand out, over the page and over the button that opens it.
_LARGE = """html { font-size: 20px !important; }
.stApp:not(:has([data-testid="stExpandSidebarButton"])) section.stSidebar { min-width: 17.5rem !important; }"""


def current_look() -> Look:
    """The theme that the browser shows, the chosen text size, and whether it is as narrow as a telephone."""
    large = bool(st.session_state.get(LARGE_TEXT, False))
    return Look(dark=st.context.theme.type == "dark", large=large, narrow=is_narrow())


def enlarge() -> None:
    """Take the large text."""
    st.session_state[LARGE_TEXT] = True


def apply_theme(look: Look) -> None:
    """Set the page's own text size, colours and spacing."""
    colours = {"accent": look.accent, "paper": look.paper, "muted": look.muted}
    st.html(_STYLE % {**colours, "large": _LARGE if look.large else ""})
