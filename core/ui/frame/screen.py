"""What only the browser knows and does: how wide the window is, words in figures that would cover each other, heads of a
picture by keyboard and by a finger, and sliders while they are dragged.

One component for a page, which looks after every figure on it, so that figures need not know of each other or of the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from core.figures.base.style import Look

_FOLDER = Path(__file__).parent
_PARTS = ("screen_fit.js", "screen_keys.js", "screen_presses.js", "screen_sliders.js", "screen.js")
_KEY = "screen"
_screen = st.components.v2.component(
    "headscope_screen",
    html='<div role="status"></div>',
    # Read out, and not seen.
    css="div { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }",
    js="\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _PARTS),
)
# Out of the page's flow: it takes no room.
_NOWHERE = "<style>.st-key-screen { position: absolute; width: 1px; }</style>"


def look_after_screen(sliders: dict[str, float], look: Look, enlarge: Callable[[], None]) -> None:
    """Have the browser look after what is on the page, drawn for `look`.

    sliders: for which place of each its numbers are, by the slider's name; a page need not have all of them.
    enlarge: what a window does that was reloaded while its text was large: the server knows nothing of it then.
    """
    st.html(_NOWHERE)
    _screen(
        # A tuple: in a mapping Streamlit looks for a data frame, and imports pandas for that before the first picture is there.
        data={"sliders": tuple(sliders.items()), "narrow": is_narrow(), "dark": look.dark, "large": look.large},
        default={"narrow": False, "theme": "", "large": False},
        key=_KEY,
        on_narrow_change=_drawn_again,
        on_theme_change=_drawn_again,
        on_large_change=enlarge,
        height=1,
    )


def is_narrow() -> bool:
    """Whether the window is as narrow as a telephone, as far as the browser has said so."""
    said = st.session_state.get(_KEY)
    return said is not None and said.get("narrow") is True


def _drawn_again() -> None:
    """The page runs again by itself."""
