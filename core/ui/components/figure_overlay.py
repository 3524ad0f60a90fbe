"""Draws a figure's overlay over it, in the browser: what moves with the threshold is sent without the figure.

Two components: one has the marks for every threshold and draws them, and is sent once; the other says for which, and in words
what is seen, in a few hundred bytes.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.figures.base.overlay import Overlay

_FOLDER = Path(__file__).parent
_layer = st.components.v2.component(
    "headscope_figure_overlay_layer", js=(_FOLDER / "figure_overlay_layer.js").read_text(encoding="utf-8")
)
_state = st.components.v2.component("headscope_figure_overlay", js=(_FOLDER / "figure_overlay.js").read_text(encoding="utf-8"))


def figure_overlay(panel: str, overlay: Overlay) -> None:
    """Draw `overlay` over the figure in the container whose key is `panel`; call it inside that container."""
    # A tuple: in a list Streamlit looks for a data frame, and imports pandas for that before the first picture is there.
    _layer(data={"panel": panel, "marks": overlay.marks}, key=f"{panel}-overlay-layer", height=1)
    state = {"panel": panel, "said": overlay.said, "threshold": overlay.threshold, "slider": overlay.slider}
    _state(data=state, key=f"{panel}-overlay", height=1)
